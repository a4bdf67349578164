"""The log-cosh reconstruction loss, and the variational auto-encoders it improves.

    from logcosh_vae import log_cosh, LogCoshLoss

The losses need nothing but torch. Every name is imported when it is first asked for, so that neither the command
line's help nor the loss alone pays for the rest.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .autoencoders import load
    from .losses import LogCoshLoss, l1, log_cosh, log_cosh_gradient_only, squared_l2
    from .models import VAE, WAE

__all__ = ["VAE", "WAE", "LogCoshLoss", "l1", "load", "log_cosh", "log_cosh_gradient_only", "squared_l2"]

_MODULES = {"VAE": "models", "WAE": "models", "load": "autoencoders"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULES.get(name, 'losses')}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
