"""From a finished run to its metrics and pictures, and the feature networks in which the FID is measured."""

from __future__ import annotations

from ..base.extras import require

require(__name__, "PIL")
