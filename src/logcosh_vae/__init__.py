"""The log-cosh reconstruction loss, and variational and Wasserstein autoencoders trained with it.

    from logcosh_vae import log_cosh, LogCoshLoss, VAE, WAE, load

`load` reads a trained model from a run folder. The losses depend only on torch. Names are imported on first use, so
that `import logcosh_vae` and the help of the command line are fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .losses import LogCoshLoss, l1, log_cosh, log_cosh_surrogate, squared_l2
    from .models import VAE, WAE
    from .training.autoencoder import load

__all__ = ["VAE", "WAE", "LogCoshLoss", "l1", "load", "log_cosh", "log_cosh_surrogate", "squared_l2"]

_MODULES = {"VAE": "models", "WAE": "models", "load": "training.autoencoder"}
_RENAMED = {"log_cosh_gradient_only": "log_cosh_surrogate"}


def __getattr__(name: str) -> Any:
    if name in _RENAMED:
        import sys
        import warnings

        if sys._getframe(1).f_globals.get("__name__") == "importlib._bootstrap":  # `from ... import` asks twice
            return __getattr__(_RENAMED[name])
        warnings.warn(f"{name} is now called {_RENAMED[name]}", DeprecationWarning, stacklevel=2)
        return __getattr__(_RENAMED[name])
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULES.get(name, 'losses')}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
