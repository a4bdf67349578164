"""Evaluation of trained models: metrics and pictures of a run, feature extractors of the FID and their training."""

from __future__ import annotations

from ..base.extras import require

require(__name__, "PIL")
