"""The verbs that use one trained model: `evaluate`, `sample`, `reconstruct` and `interpolate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..base.errors import UsageError
from ..base.levels import naming_weights
from .json_option import with_json
from .options import DataRoot, Overwrite, PngOut, Prior, Run, Seed, app, fitted_priors
from .pictures import check_png_path, default_png, save_grid
from .report import NO_FEATURES
from .streams import inform, result, say, tell

if TYPE_CHECKING:
    from ..evaluation.latents import DensityStatistics
    from ..evaluation.records import RunEvaluation
    from ..training.config import ObjectiveConfig


@app.command()
@with_json
def evaluate(
    run: Run,
    features: Annotated[
        Path | None,
        typer.Option(
            "--features",
            help="TorchScript file of the feature network for the FID; by default the installed one for the image set.",
            show_default=False,
        ),
    ] = None,
    trust_features: Annotated[
        bool,
        typer.Option(
            "--trust-features",
            "--trust",
            help="Run the TorchScript file of --features, a program that can read and change all your files.",
        ),
    ] = False,
    prior: Annotated[
        str,
        typer.Option(
            "--prior",
            help="Measure samples of fitted densities as well: standard (the prior alone) | gaussian | mixture | all.",
        ),
    ] = "standard",
    data_root: DataRoot = None,
) -> None:
    """Measure a trained model: sharpness, FID, test losses.

    Writes evaluation.json to the run folder, and pictures of samples, reconstructions and an interpolation. For a
    pretrained model, the results are only printed.
    """
    from ..evaluation.evaluate import evaluate as measure
    from ..evaluation.evaluate import evaluation_for
    from ..training.autoencoder import config_of
    from ..training.run_folder import RunFolder

    if features is not None and not features.is_file():
        raise UsageError(f"--features {features}: no such file")
    if trust_features and features is None:
        raise UsageError("--trust-features needs --features FILE")
    fitted = fitted_priors(prior)
    config, _ = config_of(RunFolder(run))
    settings = evaluation_for(
        config.data.name,
        features=str(features.resolve()) if features else None,
        trust_features=True if trust_features else None,
        priors=fitted,
    )
    unwritable: list[str] = []

    def on_unwritable(message: str) -> None:
        unwritable.append(message)
        tell(f"note: {message}")

    measured = measure(run, settings, root=data_root, on_unwritable=on_unwritable)
    result(measured, *_evaluation_text(measured, config.objective))
    if "fid" in measured.metrics and measured.fid_caveat:
        tell(f"note: {measured.fid_caveat}")
    if RunFolder(run).is_pretrained:
        tell(f"note: {run} holds a pretrained model, so the results are not stored")
    elif not unwritable:
        samples = ["samples.png", *(f"samples-{name}.png" for name in fitted or ())]
        say(f"written: {run / 'evaluation.json'}, {', '.join(samples)}, reconstructions.png, interpolation.png")


def _evaluation_text(measured: RunEvaluation, objective: ObjectiveConfig) -> list[str]:
    """Return lines about the metrics of a run."""
    from ..reporting.tables import METRIC_NAMES

    lines = [f"{METRIC_NAMES[name]}: {value:.4g}" for name, value in measured.metrics.items()]
    lines.append("test split: " + ", ".join(f"{name} {value:.4g}" for name, value in measured.test.items()))
    if measured.density is not None:
        lines += density_text(measured.density, objective)
    network = measured.features
    if network is None:
        return [*lines, NO_FEATURES]
    if "fid" not in measured.metrics:
        lines.append(f"FID not computed: it needs at least 2 test images, and there is {measured.real.count}")
    return [*lines, f"features: {network.name} {network.fingerprint}; {measured.seconds:.1f} s"]


def density_text(density: DensityStatistics, objective: ObjectiveConfig) -> list[str]:
    """Return lines about a model as a density and its latent variables, trained with an objective."""
    from ..reporting.latents import terms_text

    lines = []
    if density.nll_per_dimension is not None:
        line = f"negative log-likelihood per pixel given the code: {density.nll_per_dimension:.4g} nats"
        if density.elbo_per_dimension is not None:
            line += f"; negative ELBO: {density.elbo_per_dimension:.4g} nats"
        lines.append(line)
    lines.append(f"active latent variables: {density.active_units} of {density.latent_size}")
    if density.scale is not None:
        learned = {"scale": density.scale} | ({} if density.shape is None else {"shape": density.shape})
        values = ", ".join(f"{name}: {value:.4g}" for name, value in learned.items())
        lines.append(f"learned {values}; {terms_text(objective.loss, learned, objective.reconstruction_weight or 1.0)}")
    return lines


@app.command()
def sample(
    run: Run,
    count: Annotated[int, typer.Option("--count", min=1, max=10_000, help="Number of images.")] = 100,
    prior: Prior = "standard",
    seed: Seed = 0,
    out: PngOut = None,
    overwrite: Overwrite = False,
    data_root: DataRoot = None,
) -> None:
    """Generate images with a trained model.

    Codes are drawn from the prior, or from a density that is fitted to the codes of training images, and decoded; the
    images are written as one picture.
    """
    from ..base.settings import validate_choice
    from ..evaluation.evaluate import generate
    from ..evaluation.priors import density_of_run
    from ..models.density import PRIORS
    from ..training.autoencoder import load
    from ..training.run_folder import RunFolder

    validate_choice("--prior", prior, PRIORS)
    path = out or default_png(run, f"sample-{'' if prior == PRIORS[0] else f'{prior}-'}seed{seed}-{count}.png")
    check_png_path(path, overwrite)
    model = load(run)
    if prior != PRIORS[0] and prior not in model.densities:
        inform(
            f"fitting a {prior} to codes of the training images; 'evaluate --prior {prior}' keeps it in a run folder"
        )
    density = density_of_run(run, model, prior, data_root)
    with naming_weights(RunFolder(run).weights_path):
        save_grid(generate(model, count, seed, density), path, columns=round(count**0.5) or 1, follow=out is not None)
    if density is None and model.likelihood is not None:
        inform("note: the codes of a model with a learned likelihood do not fit the prior; try --prior mixture")


@app.command()
def reconstruct(
    run: Run,
    count: Annotated[int, typer.Option("--count", min=1, max=10_000, help="Number of test images.")] = 40,
    seed: Seed = 0,
    out: PngOut = None,
    overwrite: Overwrite = False,
    data_root: DataRoot = None,
) -> None:
    """Draw test images above their reconstructions.

    The test images are chosen at random. In the picture, each row of test images is followed by a row of their
    reconstructions.
    """
    from ..evaluation.evaluate import paired_reconstructions, random_test_images
    from ..training.autoencoder import load
    from ..training.run_folder import RunFolder

    path = out or default_png(run, f"reconstruct-seed{seed}-{count}.png")
    check_png_path(path, overwrite)
    real = random_test_images(run, count, seed, data_root)
    with naming_weights(RunFolder(run).weights_path):
        save_grid(paired_reconstructions(load(run), real, columns=10), path, columns=10, follow=out is not None)


@app.command()
def interpolate(
    run: Run,
    pairs: Annotated[int, typer.Option("--pairs", min=1, max=1_000, help="Pairs of test images, one per row.")] = 8,
    steps: Annotated[int, typer.Option("--steps", min=2, max=100, help="Images per row.")] = 12,
    prior: Annotated[
        str | None,
        typer.Option(
            "--prior",
            help="Interpolate between drawn codes instead: standard | gaussian | mixture; by default between test "
            "images.",
            show_default=False,
        ),
    ] = None,
    seed: Seed = 0,
    out: PngOut = None,
    overwrite: Overwrite = False,
    data_root: DataRoot = None,
) -> None:
    """Interpolate between test images in the latent space, or between codes that are drawn.

    Pairs of test images are chosen at random and encoded; each row of the picture shows the decoded codes on the way
    from one image to the other. With --prior, the ends are drawn from the prior or from a fitted density.
    """
    from ..base.settings import validate_choice
    from ..evaluation.evaluate import interpolations, random_test_images
    from ..evaluation.priors import density_of_run, drawn_interpolations
    from ..models.density import PRIORS
    from ..training.autoencoder import load
    from ..training.run_folder import RunFolder

    if prior is not None:
        validate_choice("--prior", prior, PRIORS)
    drawn_from = "" if prior is None else f"{prior}-"
    path = out or default_png(run, f"interpolate-{drawn_from}seed{seed}-{pairs}x{steps}.png")
    check_png_path(path, overwrite)
    model = load(run)
    if prior is None:
        images = interpolations(model, random_test_images(run, 2 * pairs, seed, data_root), steps)
    else:
        images = drawn_interpolations(model, pairs, steps, seed, density_of_run(run, model, prior, data_root))
    with naming_weights(RunFolder(run).weights_path):
        save_grid(images, path, columns=steps, follow=out is not None)
