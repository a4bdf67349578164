"""Reports of results: tables, generated sentences, plots and a self-contained HTML page."""

from __future__ import annotations

from ..base.extras import require

require(__name__, "jinja2", "PIL")
