"""Formulas as MathML, made when the book is built: they need no JavaScript, no font file and no network.

docutils, on which Sphinx stands, has the translator. A formula that it cannot translate is a warning, which ends a
strict build.
"""

import re
from typing import Any

from docutils import nodes
from docutils.utils.math import MathError, latex2mathml
from sphinx.util import logging

logger = logging.getLogger(__name__)


# Signs that TeX leaves as they are and a browser would stretch; after \left and \right TeX stretches them, too.
FIXED = re.compile(r"<mo((?: \w+=\"\w+\")*)>(‖|∥|⟨|⟩|⌈|⌉|⌊|⌋)</mo>")
# Signs that TeX sets close, and a browser apart from what is before and behind.
CLOSE = re.compile(r"<mo((?: \w+=\"\w+\")*)>([|‖∥/])</mo>")
# Names of functions, which TeX sets apart from a factor before and from an argument without a bracket behind.
NAMES = r"<mi>(?:log|exp|sin|cos|tan|tanh|arg)</mi>"
BEHIND = re.compile(rf"({NAMES}\s*<mo>&ApplyFunction;</mo>|<msup>\s*{NAMES}\s*<mn>\d+</mn>\s*</msup>)(?=\s*<m(?!o))")
BEFORE = re.compile(rf"(</m(?:i|n|sup|sub|frac)>)(?=\s*(?:<msup>\s*)?{NAMES})")
THIN = '<mspace width="0.1667em"></mspace>'


def spaced(mathml: str) -> str:
    """A formula with thin spaces around the names of functions."""
    return BEFORE.sub(rf"\1{THIN}", BEHIND.sub(rf"\1{THIN}", mathml))


def as_mathml(node: nodes.Element, *, block: bool) -> str:
    tex = node.astext()
    try:
        text = spaced(str(latex2mathml.tex2mathml(tex, as_block=block)))
        text = CLOSE.sub(r'<mo\1 lspace="0" rspace="0">\2</mo>', text)
        return text if r"\left" in tex else FIXED.sub(r'<mo\1 stretchy="false">\2</mo>', text)
    except MathError as error:
        logger.warning("no MathML for the formula %r: %s", tex, error, location=node, type="minigan", subtype="math")
        return ""


def visit_math(translator: Any, node: nodes.math) -> None:
    translator.body.append(f'<span class="math">{as_mathml(node, block=False)}</span>')
    raise nodes.SkipNode


def visit_math_block(translator: Any, node: nodes.math_block) -> None:
    translator.body.append(translator.starttag(node, "div", CLASS="math"))
    translator.body.append(as_mathml(node, block=True) + "</div>\n")
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, Any]:
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
