"""Restoring pictures with a network that learnt from corrupted pictures only (paper, Appendix D)."""

from __future__ import annotations

from ..base.extras import require

require(__name__, "PIL")
