"""Settings of the documentation: `make docs` builds it, without a network."""

from typing import Any

import dare

project = "DaRe"
author = "The DaRe authors"
project_copyright = author
version = release = dare.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
root_doc = "index"

# `name` in a docstring is code, as in the rest of the documentation.
default_role = "code"
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
# As a plain list: the signature has the types, and "height, width: in pixels" describes two fields at once.
napoleon_custom_sections = [("Attributes", "params_style")]
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = f"{project} {version}"


def keep_colons(_app: Any, what: str, _name: str, _object: Any, _options: Any, lines: list[str]) -> None:
    """napoleon takes what stands before a colon in the first line of a value's docstring for its type."""
    if what in {"attribute", "data", "property"}:
        lines[:0] = ["..", ""]  # an empty comment


def setup(app: Any) -> None:
    """Called by sphinx; comes before napoleon, whose priority is 500."""
    app.connect("autodoc-process-docstring", keep_colons, priority=400)
