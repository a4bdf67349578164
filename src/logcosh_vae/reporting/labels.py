"""Names of models and losses for readers: every table, caption and title takes them from here."""

from __future__ import annotations


class _LossNames(dict[str, str]):
    """Names of losses for readers; a loss without an entry keeps its name in the registry."""

    def __missing__(self, loss: str) -> str:
        return loss


LOSS_NAMES = _LossNames({"l2": "squared L2", "l1": "L1", "log-cosh": "log-cosh"})


def model_text(model: str) -> str:
    """Return the name of a model as in the paper.

    Example:
        >>> model_text("vae-mlp")
        'VAE (MLP)'
    """
    family, _, network = model.partition("-")
    return f"{family.upper()} ({'MLP' if network == 'mlp' else network.capitalize()})"


def learned_text(likelihood: str) -> str:
    """Return what is learned of a likelihood.

    Example:
        >>> learned_text("scale+shape")
        'learned scale and shape'
    """
    return f"learned {likelihood.replace('+', ' and ')}"


def loss_text(loss: str, a: float | None = None, likelihood: str | None = None) -> str:
    """Return the name of a loss with its parameter, or with what is learned of its likelihood.

    Args:
        loss: name of the loss in the registry.
        a: parameter of log-cosh; None for other losses, or to leave it out.
        likelihood: what is learned of the likelihood; None for a fixed loss.

    Example:
        >>> loss_text("log-cosh", 100.0), loss_text("l2", likelihood="scale")
        ('log-cosh, a = 100', 'squared L2, learned scale')
    """
    name = LOSS_NAMES[loss]
    if likelihood is not None:
        return f"{name}, {learned_text(likelihood)}"
    return name if a is None else f"{name}, a = {a:g}"
