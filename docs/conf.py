"""Configuration of the documentation site, which Sphinx builds from the Markdown pages of this folder: `make docs`.

The pages are also read on GitHub, so they contain no directives of Sphinx. The navigation is therefore declared here,
in `NAVIGATION`, and added to the index page while it is read. Docstrings are Markdown-like text; `as_rst` makes
reStructuredText of them.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

DOCS = Path(__file__).resolve().parent
PROJECT = tomllib.loads((DOCS.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]

NAVIGATION = {
    "Get started": ["get-started", "first-ten-minutes", "gallery"],
    "The loss": ["losses", "weights", "likelihood"],
    "Train on my images": ["training", "data"],
    "Restore a photograph": ["restoration"],
    "Reproduce the paper": ["paper", "results", "metrics"],
    "Use elsewhere": ["models", "explore"],
    "Speed": ["speed", "scaling"],
    "How it works": ["architecture", "reliability", "api/index", "project/contributing", "project/changelog"],
    "FAQ": ["faq"],
}
"""Pages under each heading of the sidebar. `tests/test_docs.py` checks that every page has its place."""

project = "logcosh-vae"
version = release = PROJECT["version"]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
exclude_patterns = ["_static"]
highlight_language = "none"  # indented blocks are layouts and formulas
pygments_style, pygments_dark_style = "friendly", "github-dark"

myst_heading_anchors = 4
myst_links_external_new_tab = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_inherit_docstrings = False
napoleon_numpy_docstring = False
napoleon_use_ivar = True
default_role = "py:obj"  # `name` in a docstring: a link if the name is documented, else code
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
add_module_names = False

html_theme = "furo"
html_title = f"{project} {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_show_sphinx = html_show_copyright = False
html_copy_source = False
html_theme_options = {"sidebar_hide_name": False, "navigation_with_keys": True}
copybutton_exclude = ".linenos, .gp, .go"  # copies the input of a doctest without prompts and output

OUTSIDE = re.compile(r"\]\(\.\./(CONTRIBUTING|CHANGELOG)\.md")
DOCTEST = re.compile(r"(```python\n>>> .+?)\n+```", re.S)
PAGE_NAME = re.compile(r"\[[\w./-]+\.md\]\(")
SECTIONS = re.compile(r"(Args|Attributes|Example|Examples|Note|Raises|Returns|Yields|References?|Warning):$")


def with_navigation(pages: dict[str, list[str]]) -> str:
    """Return hidden tables of contents, one for each heading, in MyST."""
    blocks = []
    for caption, names in pages.items():
        options = [":hidden:", f":caption: {caption}", *names]
        blocks.append("\n".join(["```{toctree}", *options, "```"]))
    return "\n\n" + "\n\n".join(blocks) + "\n"


def adapt_page(_: Sphinx, page: str, source: list[str]) -> None:
    """Add the navigation to the index page, and adapt what reads well on GitHub only.

    Links to files outside of `docs` lead to their pages on the site. A link whose text is the name of a page gets the
    title of the page or section instead. The empty line that ends a doctest in a block is removed.
    """
    if page == "index":
        source[0] += with_navigation(NAVIGATION)
    if "/" not in page:
        source[0] = DOCTEST.sub(r"\1\n```", source[0])
        source[0] = PAGE_NAME.sub("[](", source[0])
        source[0] = OUTSIDE.sub(lambda found: f"](project/{found[1].lower()}.md", source[0])


def as_rst(lines: list[str]) -> list[str]:
    """Return a docstring in which an indented paragraph is marked as a literal block.

    In a section such as `Args:` indentation has another meaning, so sections stay as they are.
    """
    result: list[str] = []
    heading = ""
    for line in lines:
        if line and not line.startswith(" "):
            heading = line
        starts_block = line.startswith("    ") and result and not result[-1] and not SECTIONS.match(heading)
        if starts_block and not heading.startswith(("- ", "* ")) and not line.lstrip().startswith(">>>"):
            result += ["::", ""]
            heading = "Example:"  # further lines of the block
        result.append(line)
    return result


def adapt_docstring(_app: Sphinx, what: str, _name: str, _object: object, _options: object, lines: list[str]) -> None:
    """Make reStructuredText of a docstring, before napoleon reads its sections.

    In the first line of an attribute's docstring, napoleon takes what precedes a colon for the type; types are in the
    annotations here, so an empty line goes before it.
    """
    lines[:] = ([""] if what in ("attribute", "data", "property") else []) + as_rst(lines)


def setup(app: Sphinx) -> None:
    """Connect the functions above to the build."""
    app.connect("source-read", adapt_page)
    app.connect("autodoc-process-docstring", adapt_docstring, priority=400)
