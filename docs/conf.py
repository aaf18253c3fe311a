"""How the documentation is built: MyST pages, docstrings by autodoc, the lifecycle from its table."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

sys.path[:0] = [str(Path(__file__).parent / "_ext"), str(Path(__file__).parent.parent)]

project = "liteq"
author = "the liteq authors"
project_copyright = author

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "lifecycle_diagram",
]
exclude_patterns = ["_build", "_ext"]

# Docstrings write names in single backticks; show them as code.
default_role = "code"
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = "liteq"


def let_words_end_after_code(
    app: object, what: str, name: str, subject: object, options: object, lines: list[str]
) -> None:
    """Let a plural follow a name in backticks; reStructuredText wants an escaped blank between them."""
    lines[:] = [re.sub(r"(?<![`\w])`([^`\s]+)`(?=\w)", r"`\1`\\ ", line) for line in lines]


def setup(app: Sphinx) -> None:
    """Hook into the reading of docstrings."""
    app.connect("autodoc-process-docstring", let_words_end_after_code)
