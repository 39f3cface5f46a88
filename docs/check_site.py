"""Checks the built book: every link and anchor leads somewhere, and no page fetches anything from another host.

python docs/check_site.py build/docs
"""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

FETCHED = {"img": "src", "script": "src", "iframe": "src", "source": "src", "video": "src", "embed": "src"}
STYLE_URL = re.compile(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)")


class Page(HTMLParser):
    """The anchors of a page, where its links lead, and what it fetches when it is opened."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = {"", "top"}
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag == "link" and values.get("rel") not in ("canonical", "author"):
            (self.links if values.get("rel") in ("index", "search", "next", "prev") else self.fetched).append(
                values["href"]
            )
        if tag in FETCHED and FETCHED[tag] in values:
            self.fetched.append(values[FETCHED[tag]])
        self.fetched += [one or other for one, other in STYLE_URL.findall(values.get("style", ""))]


def is_foreign(target: str) -> bool:
    return bool(urlsplit(target).netloc)


def problems(site: Path) -> list[str]:
    """A line for each link that leads nowhere, and for each thing that is fetched from elsewhere."""
    pages = {path.resolve(): Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        name = path.relative_to(site.resolve())
        found += [f"{name}: fetches {target}" for target in page.fetched if is_foreign(target)]
        for target in [*page.links, *page.fetched]:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            file = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not file.is_file():
                found.append(f"{name}: {target}: no such file")
            elif parts.fragment and file in pages and unquote(parts.fragment) not in pages[file].anchors:
                found.append(f"{name}: {target}: no such anchor")
    for path in sorted(site.rglob("*.css")):
        urls = [one or other for one, other in STYLE_URL.findall(path.read_text(encoding="utf-8"))]
        found += [f"{path.relative_to(site)}: fetches {url}" for url in urls if is_foreign(url)]
    return found


if __name__ == "__main__":
    lines = problems(Path(sys.argv[1]))
    print("\n".join(lines) or "every link and anchor leads somewhere, and nothing is fetched from elsewhere")
    sys.exit(bool(lines))
