"""Densities of a run's codes: measured, kept in the run folder, fitted anew for other weights, used by the commands."""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from logcosh_vae import load
from logcosh_vae.base.errors import ConfigError, RunError
from logcosh_vae.base.settings import override
from logcosh_vae.cli import main
from logcosh_vae.evaluation import priors
from logcosh_vae.evaluation.evaluate import evaluate, evaluation_for
from logcosh_vae.evaluation.latents import nearest_distances
from logcosh_vae.evaluation.priors import density_of_run
from logcosh_vae.experiments.autoencoders import AutoencoderExperiment, Row
from logcosh_vae.experiments.experiment import PrepareCallbacks
from logcosh_vae.training.autoencoder import train
from logcosh_vae.training.config import ObjectiveConfig, TrainConfig
from logcosh_vae.training.run_folder import DENSITY_FILE

SMALL = ["data.limit=500", "model.hidden=[32,32]", "log_every=2", "track_images=0", "picture_every=9"]
EVALUATION = evaluation_for(
    "mnist", priors=("gaussian", "mixture"), validation=300, fid_images=300, sharpness_images=40
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, data_root: Path) -> Path:
    path = tmp_path_factory.mktemp("priors") / "run"
    config = TrainConfig(objective=ObjectiveConfig("log-cosh", likelihood="scale+shape"), epochs=2)
    train(override(config, SMALL), path, root=data_root)
    return path


def test_samples_of_every_prior_are_measured(trained: Path, data_root: Path) -> None:
    result = evaluate(trained, EVALUATION, root=data_root)
    fids = {"fid", "fid_gaussian", "fid_mixture"}
    sharpnesses = {"sharpness_reconstructed", "sharpness_generated"}
    expected = fids | sharpnesses | {f"validation_{name}" for name in fids}
    assert set(result.metrics) >= expected | {"fid_codes", "fid_reconstructed", "nearest_generated", "nearest_test"}
    assert all(value > 0 for value in result.metrics.values())
    assert result.metrics["fid_mixture"] != result.metrics["fid"]
    density = result.density
    assert density is not None
    assert density.kl is not None
    assert density.nll_per_dimension is not None
    assert density.elbo_per_dimension == pytest.approx(density.nll_per_dimension + sum(density.kl) / 784)
    assert 784 * density.nll_per_dimension == pytest.approx(result.test["reconstruction"], rel=0.02)
    assert sum(density.kl) == pytest.approx(result.test["kl"], rel=1e-3)
    again = evaluate(trained, EVALUATION, root=data_root)
    assert again.metrics == result.metrics
    assert {f"samples{suffix}.png" for suffix in ("", "-gaussian", "-mixture")} <= {p.name for p in trained.iterdir()}
    assert (trained / "samples-mixture.png").read_bytes() != (trained / "samples.png").read_bytes()
    plain = evaluate(trained, replace(EVALUATION, priors=None), root=data_root)
    assert plain.metrics["fid"] == pytest.approx(result.metrics["fid"], rel=1e-6)


def test_densities_are_fitted_once_for_the_same_weights(trained: Path, data_root: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    (run / DENSITY_FILE).unlink(missing_ok=True)
    first = density_of_run(run, load(run), "mixture", data_root)
    written = (run / DENSITY_FILE).read_bytes()
    assert density_of_run(run, load(run), "standard", data_root) is None
    again = density_of_run(run, load(run), "mixture", data_root)
    assert first is not None
    assert again is not None
    assert torch.equal(first.means, again.means)
    assert (run / DENSITY_FILE).read_bytes() == written
    train(override(TrainConfig(objective=ObjectiveConfig("log-cosh", likelihood="scale+shape"), epochs=3), SMALL),
          run, root=data_root, resume=True)  # fmt: skip
    grown = density_of_run(run, load(run), "mixture", data_root)
    assert grown is not None
    assert not torch.equal(first.means[0], grown.means[0])
    (run / DENSITY_FILE).write_bytes(written[:-9])  # damaged: fitted again
    assert density_of_run(run, load(run), "mixture", data_root) is not None


def test_a_run_without_validation_images_is_refused(trained: Path, data_root: Path) -> None:
    with pytest.raises(ConfigError, match="60000 validation images are asked for, but training left out 59500"):
        evaluate(trained, replace(EVALUATION, validation=60_000), root=data_root)


def test_too_few_codes_for_a_mixture_are_named(tmp_path: Path, data_root: Path) -> None:
    few = ["data.limit=12", "batch_size=6", "model.hidden=[8]", "log_every=1", "track_images=0"]
    train(override(TrainConfig(epochs=1), few), tmp_path / "run", root=data_root)
    with pytest.raises(RunError, match="run: no density can be fitted: a mixture needs at least 20 codes; got 12"):
        evaluate(tmp_path / "run", replace(EVALUATION, validation=None), root=data_root)


def test_too_few_images_for_a_mixture_are_refused_before_training(tmp_path: Path, data_root: Path) -> None:
    config = override(TrainConfig(epochs=1), ["data.limit=12", "batch_size=6", "model.hidden=[8]"])
    experiment = AutoencoderExperiment("compare", "few", "custom", (Row(config),), replace(EVALUATION, validation=None))
    with pytest.raises(ConfigError, match=r"mnist has 12 training images, but a mixture .* at least 20"):
        experiment.prepare(tmp_path, data_root, PrepareCallbacks())


def test_a_run_that_cannot_be_written_to_is_sampled_from_a_fitted_density(
    trained: Path, data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "run" / DENSITY_FILE).unlink(missing_ok=True)

    def read_only(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(priors, "save_densities", lambda *_, **__: read_only())
    assert density_of_run(tmp_path / "run", load(tmp_path / "run"), "gaussian", data_root) is not None


def test_evaluate_prints_what_was_learned_in_the_papers_terms(
    trained: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate", trained, "--prior", "gaussian", "--data-root", data_root]
    monkeypatch.setattr("sys.argv", ["logcosh-vae", *map(str, arguments)])
    with pytest.raises(SystemExit) as done:
        main()
    assert done.value.code in (None, 0)
    output = capsys.readouterr().out
    likelihood = load(trained).likelihood
    assert likelihood is not None
    weight = likelihood.equivalent()["reconstruction_weight"].item()
    assert f"in the paper's terms a = {1 / likelihood.scale.item():.3g} and weight {weight:.3g}" in output
    assert "samples.png, samples-gaussian.png, reconstructions.png" in output


@pytest.mark.parametrize("command", ["sample", "interpolate"])
@pytest.mark.parametrize("prior", ["standard", "gaussian", "mixture"])
def test_the_commands_draw_from_the_prior_that_is_named(
    command: str, prior: str, trained: Path, data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "picture.png"
    arguments = [command, trained, "--prior", prior, "--out", out, "--data-root", data_root]
    monkeypatch.setattr("sys.argv", ["logcosh-vae", *map(str, arguments)])
    with pytest.raises(SystemExit) as done:
        main()
    assert done.value.code in (None, 0)
    with Image.open(out) as picture:
        assert picture.size[0] > 100


def test_distances_to_the_nearest_image_are_root_mean_squares() -> None:
    others = torch.randint(0, 256, (30, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images = torch.cat([others[7:8].float() / 255, torch.full((1, 1, 4, 4), 0.5)])
    distances = nearest_distances(images, others, batch_size=7)
    expected = (others.float() / 255 - 0.5).square().mean((1, 2, 3)).sqrt().min()
    assert distances[0] == pytest.approx(0, abs=1e-3)
    assert distances[1] == pytest.approx(float(expected), rel=1e-5)
