"""The losses that the command line offers, and the paper's values beside them."""

import subprocess
import sys

import pytest

from logcosh_vae.cli.compare import _autoencoders, _Request
from logcosh_vae.cli.options import LOSS_CHOICE, a_for, check_a, loss_names
from logcosh_vae.losses import LOSSES, LossKind, l1
from logcosh_vae.reporting.tables import LOSS_NAMES


def request(losses: list[str], epochs: int | None = None, settings: list[str] | None = None) -> _Request:
    return _Request("mnist", "vae-mlp", losses, None, epochs, None, None, settings or [], None, None)


def test_compare_accepts_a_loss_without_a_display_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LOSSES, "charbonnier", LossKind(l1, curvature=lambda _: 100.0))
    experiment = _autoencoders(request(["l2", "charbonnier"], epochs=1)).experiment
    assert experiment.title == "VAE (MLP) on mnist: squared L2 against charbonnier"
    assert LOSS_NAMES.keys() == {"l2", "l1", "log-cosh"}


def test_help_lists_the_registered_losses_without_importing_torch() -> None:
    assert loss_names() == list(LOSSES)
    assert LOSS_CHOICE.split(" | ") == list(LOSSES)
    code = "import sys, logcosh_vae.cli.command; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_loss_with_a_parameter_takes_a(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LOSSES, "charbonnier", LossKind(l1, curvature=lambda a: a, takes_a=True))
    check_a(["l2", "charbonnier"], 3.0)
    assert [a_for(loss, 3.0) for loss in ("l2", "charbonnier")] == [None, 3.0]
    with pytest.raises(ValueError, match="--a belongs to log-cosh and charbonnier, but --loss is l2"):
        check_a(["l2"], 3.0)


@pytest.mark.parametrize(
    ("epochs", "settings", "has_reported"),
    [
        (None, [], True),
        (None, ["log_every=7", "seed=3", "threads=2"], True),
        (1, [], False),
        (None, ["model.hidden=[16]"], False),
        (None, ["data.limit=1000"], False),
    ],
)
def test_the_papers_values_stand_beside_runs_with_its_settings_only(
    epochs: int | None, settings: list[str], has_reported: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = _autoencoders(request(["l2", "log-cosh"], epochs, settings)).experiment.rows
    assert all(bool(row.reported) == has_reported for row in rows)
    assert ("not the paper's" in capsys.readouterr().err) != has_reported
