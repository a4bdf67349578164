"""The losses that the command line offers, and the paper's values beside them."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from logcosh_vae.base.errors import ConfigError, UsageError
from logcosh_vae.cli.compare import _autoencoders, _comparison, _Request
from logcosh_vae.cli.options import LOSS_CHOICE, a_for, check_a, loss_names, train_config
from logcosh_vae.experiments.autoencoders import AutoencoderExperiment
from logcosh_vae.losses import LOSSES, LossKind, l1
from logcosh_vae.reporting.tables import LOSS_NAMES
from logcosh_vae.training.config import resolve
from logcosh_vae.training.defaults import RECOMMENDED


def request(
    losses: list[str], epochs: int | None = None, settings: list[str] | None = None, **options: str
) -> _Request:
    return _Request("mnist", "vae-mlp", losses, None, epochs, None, None, settings or [], None, None, **options)


def learned(*losses: str, **options: str) -> tuple[AutoencoderExperiment, list[tuple[str, str | None]]]:
    """The experiment of a comparison, and what each of its rows learns."""
    experiment = _autoencoders(request(list(losses), **options)).experiment
    assert isinstance(experiment, AutoencoderExperiment)
    objectives = [row.config.objective for row in experiment.rows]
    return experiment, [(objective.loss, objective.likelihood) for objective in objectives]


def test_auto_is_the_recommended_setting_in_train_and_compare() -> None:
    experiment, objectives = learned("l2", "log-cosh", "auto")
    assert objectives == [("l2", None), ("log-cosh", None), (RECOMMENDED.loss, RECOMMENDED.likelihood)]
    assert experiment.rows[2].config == resolve(train_config("mnist", "vae-mlp", "auto", None))
    assert experiment.evaluation.priors == (RECOMMENDED.prior,)
    assert experiment.title.endswith(": squared L2 against log-cosh against log-cosh, learned scale and shape")
    assert [bool(row.reported) for row in experiment.rows] == [True, True, False]


def test_a_likelihood_applies_to_every_loss_as_far_as_it_has_one() -> None:
    experiment, objectives = learned("l2", "l1", "log-cosh", "auto", likelihood="scale+shape")
    assert objectives == [("l2", "scale"), ("l1", "scale"), ("log-cosh", "scale+shape")]  # auto is the last of them
    assert not any(row.reported for row in experiment.rows)
    _, objectives = learned("log-cosh", "auto", likelihood="scale")
    assert objectives == [("log-cosh", "scale"), ("log-cosh", "scale+shape")]


def test_densities_are_fitted_if_something_is_learned_or_a_prior_is_named() -> None:
    assert learned("l2", "log-cosh")[0].evaluation.priors is None
    assert learned("l2", "log-cosh", prior="all")[0].evaluation.priors == ("gaussian", "mixture")
    assert learned("l2", "auto", prior="standard")[0].evaluation.priors is None


@pytest.mark.parametrize(
    ("losses", "a", "options", "message"),
    [
        (["atuo"], None, {}, "did you mean 'auto'"),
        (["l2", "auto"], 3.0, {}, "--a belongs to log-cosh, but --loss is l2 and auto"),
        (["l2"], None, {"likelihood": "shape"}, "--likelihood: unknown 'shape'"),
        (["l2"], None, {"prior": "mixtrue"}, "did you mean 'mixture'"),
        (["log-cosh"], 3.0, {"likelihood": "scale"}, "the inverse of the scale, which is learned"),
        (["auto"], None, {"task": "denoise", "test": "."}, "--loss: unknown 'auto'"),
        (["l2"], None, {"task": "denoise", "test": ".", "prior": "all"}, "cannot be used with --task"),
    ],
)
def test_options_that_contradict_each_other_are_named(
    losses: list[str], a: float | None, options: dict[str, str], message: str
) -> None:
    test = Path(options["test"]) if "test" in options else None
    wanted = replace(request(losses), a=a, **{**options, "test": test})
    with pytest.raises((ConfigError, UsageError), match=message):
        _comparison(wanted)


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
