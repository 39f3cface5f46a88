"""Documents as text and as pages: whole, escaped, and quiet in a real browser."""

import html.parser
import re
import subprocess

import numpy as np
import pytest

from benchmarks.browser import BROWSER
from minigan.inspection import Document, as_page, as_text, contents, explain
from minigan.inspection.document import Bars, Code, Facts, Formulas, Graph, Heading, Matrices, Table, Text, Verbatim
from minigan.inspection.graph import Chain, Node, Panel
from minigan.inspection.numbers import compact, nbytes
from minigan.inspection.terminal import number_texts

EVIL = "<script>alert(1)</script>\"'&\x1b[2J"
VOID = {"meta", "path", "rect", "br"}
TINY = {"width": 2, "size": 28, "channels": 1, "batch_size": 4}


class Tags(html.parser.HTMLParser):
    """Collects tags and attributes, and checks that each tag is closed."""

    def __init__(self, page):
        super().__init__()
        self.seen, self.attributes, self.open = set(), [], []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.add(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def evil_document():
    node = Node(EVIL, EVIL, True, False, False, False, EVIL, EVIL)
    graph = Graph([Panel(EVIL, (Chain(EVIL, EVIL, (node,), EVIL, True, EVIL),))])
    blocks = [
        *(Heading(EVIL), Text(EVIL, lead=EVIL), Verbatim(EVIL), Facts([(EVIL, EVIL)]), Formulas([(EVIL, EVIL)])),
        *(Table([EVIL], [[EVIL]]), Matrices([(EVIL, np.ones((1, 1)))]), Code(EVIL, EVIL, EVIL), graph),
        Bars([EVIL, EVIL], [(EVIL, [0.5])]),
    ]
    return Document(EVIL, blocks)


def test_every_text_is_escaped():
    page = as_page(evil_document())
    tags = Tags(page)
    assert "script" not in tags.seen
    assert "<script" not in page.lower()
    assert page.count("&lt;script&gt;") >= 16
    assert "\x1b" not in as_text(evil_document())


def test_words_between_backticks_are_code():
    page = as_page(Document("t", [Text("Add `lr=<1>`, or `."), Facts([("a", "`b`")]), Formulas([("y", "`x`")])]))
    assert "Add <code>lr=&lt;1&gt;</code>, or `." in page
    assert "<dd><code>b</code></dd>" in page and "<dd>`x`</dd>" in page


def test_bars_are_drawn_to_scale():
    bars = Bars(("range", "one", "two"), [("low", [1.0, 0.0]), ("high", [0.5, 0.25])])
    page = as_page(Document("t", [bars]))
    assert [float(width) for width in re.findall(r'<rect width="([\d.]+)"', page)] == [100, 0, 50, 25]
    lines = as_text(Document("t", [bars])).splitlines()
    assert [line.count("#") for line in lines[-2:]] == [17, 9 + 5]


@pytest.fixture(scope="module")
def documents():
    return [contents(), explain("dcgan", settings=TINY, backend="reference"), explain("Conv2D"), explain("adam")]


def test_a_page_asks_for_nothing(documents):
    """No script, no request, no style but the one whose digest the policy names."""
    for document in documents:
        tags = Tags(as_page(document))
        assert tags.seen & {"script", "link", "img", "iframe", "object", "base", "form", "a"} == set()
        assert not [
            a for a in tags.attributes if a[1] in ("src", "href", "style", "xlink:href") or a[1].startswith("on")
        ]
        policy = next(value for tag, name, value in tags.attributes if tag == "meta" and "default-src" in (value or ""))
        assert re.fullmatch(
            r"default-src 'none'; style-src 'sha256-[\w+/]{43}='; base-uri 'none'; form-action 'none'", policy
        )


def test_a_drawing_has_an_arrow_for_each_pass(documents):
    (graph,) = (block for block in documents[1].blocks if isinstance(block, Graph))
    d_step, g_step = re.findall(r"<svg.*?</svg>", as_page(documents[1]), re.DOTALL)
    for panel, drawing in zip(graph.panels, (d_step, g_step), strict=True):
        nodes = [node for chain in panel.chains for node in chain.nodes]
        from_loss = sum(chain.backward for chain in panel.chains)
        computed = sum(node.dx + node.dw for node in nodes) + from_loss
        gray = sum((not node.dx) + (node.has_weights and not node.dw) for node in nodes)
        assert drawing.count('class="edge backward"') == computed > 10
        assert drawing.count('class="edge none"') == gray > 2
        assert drawing.count('class="edge forward"') == len(nodes) + len(panel.chains)
    assert "no dx: the image has no weights" in d_step
    assert "no dw: G&#x27;s step leaves D&#x27;s" in g_step


def test_matrices_stand_side_by_side():
    text = as_text(Document("t", [Matrices([("a", np.eye(2)), ("b", np.array([[0.5, -1.0]]))])]))
    assert text.splitlines()[2:] == ["  a      b", "  1 0     0.500 -1.000", "  0 1"]


def test_a_table_is_wrapped_to_the_width():
    table = Table(["layer", "n"], [["inner.0 SomeVeryLongName with words", "1"], ["b", "23"]])
    for width in (60, 24):
        lines = as_text(Document("t", [table]), width=width).splitlines()[2:]
        assert max(map(len, lines)) <= width
        assert lines[-1].split() == ["b", "23"]
        assert " ".join(lines).replace(" ", "").count("SomeVeryLongName") == 1


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (512, "512"),
        (999, "999"),
        (1000, "1.00k"),
        (999_499, "999k"),
        (999_500, "1.00M"),
        (26_900_000, "26.9M"),
    ],
)
def test_compact_numbers(number, text):
    assert compact(number) == text
    assert nbytes(number) == (f"{text} B" if text.isdigit() else f"{text[:-1]} {text[-1]}B")


def test_numbers_of_a_matrix_share_a_precision():
    assert number_texts(np.array([[1.0, -2.0]])) == [["1", "-2"]]
    assert number_texts(np.array([[0.5, -0.0001]])) == [["0.500", "0.000"]]
    assert number_texts(np.array([[12.5, 1.0]])) == [["12.50", "1.00"]]
    assert number_texts(np.array([[0.01, 0.002]])) == [["0.01000", "0.00200"]]


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_has_nothing_to_complain_about(documents, tmp_path, scheme):
    """No console message: no error, nothing that the policy had to refuse. The style sheet is in force."""
    page = tmp_path / "page.html"
    page.write_text(as_page(documents[1]), encoding="utf-8")
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--enable-logging=stderr", "--window-size=400,2000", f"--screenshot={tmp_path / 'page.png'}"]
    command += ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    run = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0
    assert "CONSOLE" not in run.stderr
    corner = pixels(tmp_path / "page.png")[5, 5]
    assert (corner.mean() < 60) == (scheme == "dark")


def pixels(path):
    image = pytest.importorskip("PIL.Image")
    with image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))
