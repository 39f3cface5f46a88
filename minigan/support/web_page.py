"""Pages: one HTML file that needs nothing else, whose policy forbids all but its own style sheet and script."""

import base64
import hashlib
import html

__all__ = ["framed", "safe"]


def framed(
    title: str, body: str, *, style: str, script: str = "", worker: bool = False, calls_home: bool = False
) -> str:
    """A page around a body.

    Args:
        title: one line of text.
        body: HTML in which all that is not minigan's own has been escaped.
        style: the style sheet.
        script: the only one that the page runs; with one, pictures in the file are allowed, too.
        worker: whether the script may run itself in another thread.
        calls_home: whether the script may speak with the server that the page is from.
    """
    policy = f"default-src 'none'; style-src {_digest(style)}; base-uri 'none'; form-action 'none'"
    if script:
        policy += f"; script-src {_digest(script)}; img-src data:{'; worker-src blob:' if worker else ''}"
    if calls_home:
        policy += "; connect-src 'self'"
    icon = '<link rel="icon" href="data:,">\n' if calls_home else ""  # a browser would ask the server for one
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
{icon}<title>{safe(title)}</title>
<style>{style}</style>
</head>
<body>
<h1>{safe(title)}</h1>
{body}{f"<script>{script}</script>" if script else ""}
</body>
</html>
"""


def _digest(text: str) -> str:
    """A text's digest, as a content-security policy names it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def safe(text: str) -> str:
    """A text as HTML that holds no markup of its own."""
    return html.escape(text, quote=True)
