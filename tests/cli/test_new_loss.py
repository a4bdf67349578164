"""A new loss needs an entry in `LOSSES` and nothing else."""

import pytest

from logcosh_vae.cli.compare import _autoencoders, _Request
from logcosh_vae.losses import LOSSES, LossKind, l1
from logcosh_vae.reporting.tables import LOSS_NAMES


def test_compare_accepts_a_loss_without_a_display_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LOSSES, "charbonnier", LossKind(l1, curvature=lambda _: 100.0))
    request = _Request("mnist", ["l2", "charbonnier"], a=None, epochs=1, device=None, settings=[])
    experiment = _autoencoders(request, "vae-mlp", None).experiment
    assert experiment.title == "VAE (MLP) on mnist: squared L2 against charbonnier"
    assert LOSS_NAMES.keys() == {"l2", "l1", "log-cosh"}
