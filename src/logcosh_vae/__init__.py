"""The log-cosh reconstruction loss, and the variational auto-encoders it improves."""

from .losses import LogCoshLoss, l1, log_cosh, log_cosh_gradient_only, squared_l2

__all__ = ["LogCoshLoss", "l1", "log_cosh", "log_cosh_gradient_only", "squared_l2"]
