"""The page as one HTML file: page.js has the controls, view.js draws, both in plain JavaScript."""

from minigan.support.package_files import packaged
from minigan.support.web_page import framed

__all__ = ["live_page"]


def live_page() -> str:
    """The page that the server sends; all that changes comes as events."""
    style = packaged(__package__, "page.css") + packaged(__package__, "view.css")
    script = packaged(__package__, "view.js") + packaged(__package__, "page.js")
    return framed("minigan live", packaged(__package__, "page.html"), style=style, script=script, calls_home=True)
