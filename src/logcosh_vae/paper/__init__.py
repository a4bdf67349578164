"""Every table and figure of the paper as a declared experiment, with the values that the paper reports.

`registry.EXPERIMENTS` lists them by the name that `logcosh-vae reproduce NAME` takes. `tables`, `figures` and
`restoration` declare which runs each needs, `reported` holds the paper's numbers, and `drawing` and
`restoration_figures` draw the figures from finished runs.
"""

from __future__ import annotations

from ..base.extras import require

require(__name__, "PIL")
