"""Exported pages in a browser: opened, clicked, and their pictures read."""

import base64
import json
import zlib
from pathlib import Path

import numpy as np

from minigan.export import Subject
from minigan.export import graph as g
from minigan.export.fewer_bits import in_bits
from minigan.export.html_operations import Program

PICTURE = """(() => { const shown = document.getElementById('picture'), canvas = document.createElement('canvas');
[canvas.width, canvas.height] = [shown.width, shown.height];
const context = canvas.getContext('2d', { willReadFrequently: true });
context.drawImage(shown, 0, 0);
return [canvas.height, canvas.width, ...context.getImageData(0, 0, canvas.width, canvas.height).data]; })()"""


def settled(browser) -> None:
    """Waits until a change is drawn."""
    browser.run("new Promise(done => setTimeout(done, 60))")


def opened(browser, path: Path, address: str = "", **window) -> None:
    """Opens a page and waits for its self-check."""
    browser.open("about:blank")
    browser.open(path.as_uri() + address, **window)
    browser.run(
        "new Promise(done => { const look = () => document.getElementById('check').textContent === "
        "'Checking ...' ? setTimeout(look, 10) : done(); look(); })"
    )
    settled(browser)


def picture(browser, channels: int) -> np.ndarray:
    """The pixels of the page's picture."""
    height, width, *numbers = browser.run(PICTURE)
    found = np.array(numbers).reshape(height, width, 4)
    assert (found[..., 3] == 255).all()
    return found[..., :channels]


def click(browser, selector: str) -> None:
    browser.run(f"document.querySelector({json.dumps(selector)}).click()")
    settled(browser)


def drawn_by_javascript(browser, subject: Subject, x: np.ndarray, c: np.ndarray | None, kind: str = "fp32"):
    """Outputs of the page's engine, and the graph whose weights it has."""
    program = Program(in_bits(g.fold_batch_norms(subject.graph(to="html")), kind))
    packed = base64.b64encode(zlib.compress(program.content)).decode()
    given = [[row.ravel().tolist(), None if c is None else c[n].ravel().tolist()] for n, row in enumerate(x)]
    script = f"""(async () => {{ {program.script}
const generator = new Generator({json.dumps(program.data)}, await unpacked(bytesOf("{packed}")));
const array = numbers => numbers && Float32Array.from(numbers);
return {json.dumps(given)}.map(([x, c]) => Array.from(generator.run(array(x), array(c)))); }})()"""
    return np.array(browser.run(script)).reshape(len(x), *subject.network.output_shape), program
