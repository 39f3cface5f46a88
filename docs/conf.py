"""The book: `sphinx-autobuild docs build/docs`, or `sphinx-build -W --keep-going -n docs build/docs`."""

import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS.parent), str(DOCS)]

from extensions.sources import resolve as linkcode_resolve  # noqa: E402, F401

import minigan  # noqa: E402

project = "minigan"
copyright = "the minigan developers"
release = version = minigan.__version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.linkcode",
    "extensions.docstrings",
    "extensions.generated",
    "extensions.contents",
    "extensions.links",
    "extensions.mathml",
    "extensions.names",
    "extensions.sources",
]
nitpicky = True
highlight_language = "text"
smartquotes = False  # "same" is a value

# Markdown as GitHub reads it.
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_dmath_double_inline = True
myst_heading_anchors = 4
myst_url_schemes = ("http", "https", "mailto", "source")
myst_fence_as_directive = ["math"]

# Docstrings: code in single backticks, sections as Google has them.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 90
add_module_names = False
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = "minigan"
html_static_path = ["static"]
html_css_files = ["book.css"]
html_math_renderer = "mathml"
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "light_css_variables": {
        "color-brand-primary": "#8f3d0e",
        "color-brand-content": "#1c5a94",
        "color-brand-visited": "#5f3f8f",
    },
    "dark_css_variables": {
        "color-brand-primary": "#f0a060",
        "color-brand-content": "#7cb8f2",
        "color-brand-visited": "#b9a2ee",
    },
}
