"""Reconstruction losses: elementwise functions, the `LogCoshLoss` module, and a registry of losses by name.

- `elementwise`: squared L2, L1 and the input checks that all losses share.
- `log_cosh`: the log-cosh loss of the paper, its gradient, its surrogate and `LogCoshLoss`.
- `likelihood`: losses as likelihoods with a learned scale and shape, on the base class in `likelihood_base`.
- `distribution`: the distribution of the log-cosh likelihood.
- `cpu_kernel` (with `log_cosh.c`) and `cuda_kernels`: fused kernels for log-cosh, used automatically.
- `registry`: `make_loss` and `LOSSES`, used by configs and the command line.

Only torch is imported.
"""

from __future__ import annotations

import sys
import warnings
from typing import Any

from .distribution import LogCoshDistribution
from .elementwise import l1, squared_l2
from .likelihood import GaussianLikelihood, LaplaceLikelihood, LogCoshLikelihood
from .likelihood_base import Likelihood
from .log_cosh import LogCoshLoss, log_cosh, log_cosh_grad, log_cosh_surrogate
from .registry import LOSSES, Elementwise, Loss, LossKind, make_loss

__all__ = [
    "LOSSES",
    "Elementwise",
    "GaussianLikelihood",
    "LaplaceLikelihood",
    "Likelihood",
    "LogCoshDistribution",
    "LogCoshLikelihood",
    "LogCoshLoss",
    "Loss",
    "LossKind",
    "l1",
    "log_cosh",
    "log_cosh_grad",
    "log_cosh_surrogate",
    "make_loss",
    "squared_l2",
]

_RENAMED = {"log_cosh_gradient_only": log_cosh_surrogate, "log_cosh_slope": log_cosh_grad}


def __getattr__(name: str) -> Any:
    if name not in _RENAMED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    function = _RENAMED[name]
    if sys._getframe(1).f_globals.get("__name__") == "importlib._bootstrap":  # `from ... import` asks twice
        return function
    warnings.warn(f"{name} is now called {function.__name__}", DeprecationWarning, stacklevel=2)
    return function
