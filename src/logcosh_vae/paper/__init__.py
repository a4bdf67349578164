"""The paper's tables as declared experiments, with the numbers it reports."""

from __future__ import annotations

from ..base.extras import require

require(__name__, "PIL")
