"""The page as one HTML file: page.js has the controls, view.js draws, both in plain JavaScript."""

from importlib import resources

from minigan.support.web_page import framed

__all__ = ["live_page", "packaged"]


def live_page() -> str:
    """The page that the server sends; all that changes comes as events."""
    style = packaged("page.css") + packaged("view.css")
    script = packaged("view.js") + packaged("page.js")
    return framed("minigan live", packaged("page.html"), style=style, script=script, calls_home=True)


def packaged(name: str) -> str:
    """The text of a file that belongs to this package."""
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
