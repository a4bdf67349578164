"""Samples from densities that are fitted to the codes of a run, and how much better they are than those of the prior.

`densities_for` fits the densities of a run and keeps them in its folder. `measure_priors` compares where the codes come
from: the prior, the fitted densities, and images themselves, which bounds what any density can reach.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path

import torch
from torch import Tensor

from ..base.errors import ConfigError, DataError, RunError
from ..data import ImageSet
from ..data.batches import to_unit
from ..metrics.classifier import feature_statistics
from ..metrics.frechet import FeatureStatistics, frechet_distance
from ..models.autoencoder import VAE, WAE
from ..models.density import PRIORS, CodeDensity, fit_gaussian
from ..training.autoencoder import config_of, split
from ..training.density_file import load_densities, save_densities, stored_densities
from ..training.loop import make_generator
from ..training.run_folder import DENSITY_FILE, RunFolder
from ..training.weights_file import digest_of_model
from .densities import MIN_CODES, check_enough_codes, fit_mixture
from .features import Extractor
from .images import BATCH_SIZE, choose_images, generated_batches, real_statistics, reconstruct
from .latents import codes_of, nearest_distances
from .records import EvaluationConfig

FITTED_IMAGES = 20_000
"""Number of training images whose codes the densities are fitted to, and among which neighbours are searched."""


def densities_for(
    folder: Path, model: VAE | WAE, train: ImageSet, names: Sequence[str], seed: int = 0
) -> dict[str, CodeDensity]:
    """Return fitted densities of a run's codes: from its folder, or fitted now and written there if possible.

    Args:
        folder: the run folder; nothing is written to that of a pretrained model.
        model: the run's model, in evaluation mode.
        train: its training images; the codes of `FITTED_IMAGES` of them are used.
        names: `gaussian`, `mixture`.
        seed: of the choice of images, the draws from the posterior and the mixture.

    Raises:
        RunError: no density can be fitted, because there are too few images or codes that are not finite.
    """
    path, origin = folder / DENSITY_FILE, _origin(model, train, seed)
    known: dict[str, CodeDensity] = {}
    if path.is_file():
        try:
            known, written = load_densities(path, model.latent_size)
        except RunError:
            written = {}  # damaged: fit again
        if written != origin:
            known = {}
    missing = [name for name in names if name not in known]
    if missing:
        codes = codes_of(model, _chosen(train, seed), seed)
        try:
            known |= {name: fit_gaussian(codes) if name == "gaussian" else fit_mixture(codes, seed) for name in missing}
        except ValueError as error:
            raise RunError(f"{folder}: no density can be fitted: {error}") from None
        if not RunFolder(folder).is_pretrained:
            with suppress(OSError):  # a run folder that cannot be written to: fit again the next time
                save_densities(known, path, **origin)
    return {name: known[name] for name in names}


def _origin(model: VAE | WAE, train: ImageSet, seed: int) -> dict[str, str]:
    return {"weights": digest_of_model(model), "images": train.fingerprint, "seed": str(seed)}


def _chosen(train: ImageSet, seed: int) -> Tensor:
    """Return the training images whose codes are used, `(N, C, H, W)`, uint8."""
    order = torch.randperm(len(train.images), generator=make_generator(seed, "density images"))[:FITTED_IMAGES]
    return train.images[order.sort().values]


def check_fitted_priors(data: str, count: int, priors: Sequence[str]) -> None:
    """Check, before anything is trained, that densities can be fitted to the codes of the training images.

    Args:
        data: name of the data set, for the message.
        count: number of its training images.
        priors: the densities.

    Raises:
        ConfigError: there are too few images.
        MissingPackageError: a mixture is asked for, and scikit-learn is not installed.
    """
    for name in priors:
        try:
            check_enough_codes(name, count)
        except ValueError:
            raise ConfigError(
                f"{data} has {count} training images, but a {name} can only be fitted to the codes of at least "
                f"{MIN_CODES[name]}: add images, or choose --prior standard"
            ) from None


@dataclass(frozen=True)
class Splits:
    """The images that a model is measured with.

    Attributes:
        train: those it was trained on.
        test: test images, at least two.
        validation: images to choose settings with, which are in neither of the others; None for none.
    """

    train: ImageSet
    test: ImageSet
    validation: ImageSet | None = None


@torch.inference_mode()
def measure_priors(
    model: VAE | WAE,
    splits: Splits,
    densities: Mapping[str, CodeDensity],
    extractor: Extractor,
    config: EvaluationConfig,
) -> dict[str, float]:
    """Measure samples by where their codes come from.

    Args:
        model: the run's model, in evaluation mode.
        splits: the images.
        densities: as returned by `densities_for`.
        extractor: features of the FID, on the model's device.
        config: numbers of images and the seed.

    Returns:
        `fid_gaussian` and `fid_mixture`, as far as there are these densities; `fid_codes`, of decoded codes of training
        images; `fid_reconstructed`, of reconstructed test images. With validation images, `validation_fid` and the like
        compare the same samples with them. `nearest_generated` and `nearest_test` are the mean distances of samples
        (from the last of the densities) and of test images to the nearest training image; samples that are much nearer
        than test images would be memorised.
    """
    real = {"": real_statistics(splits.test, extractor)}
    if splits.validation is not None:
        real["validation_"] = real_statistics(splits.validation, extractor)
    chosen = _chosen(splits.train, config.seed)
    metrics: dict[str, float] = {}
    standard = [PRIORS[0]] if splits.validation is not None or not densities else []  # else `measure` has its FID
    some: list[Tensor] = []
    for name in (*standard, *densities):
        samples = generated_batches(model, config.fid_images, config.seed, densities.get(name))
        suffix = "" if name == PRIORS[0] else f"_{name}"
        some.clear()
        statistics = _statistics(_kept(samples, config.sharpness_images, some), extractor)
        metrics |= {f"{split}fid{suffix}": frechet_distance(statistics, those) for split, those in real.items()}
    metrics["nearest_generated"] = _distance(torch.cat(some)[: config.sharpness_images], chosen, model)
    decoded = _decoded(model, codes_of(model, chosen[: config.fid_images], config.seed))
    metrics["fid_codes"] = frechet_distance(_statistics(decoded, extractor), real[""])
    batches = splits.test.images[: config.fid_images].split(BATCH_SIZE)
    reconstructions = (reconstruct(model, to_unit(batch)) for batch in batches)
    metrics["fid_reconstructed"] = frechet_distance(_statistics(reconstructions, extractor), real[""])
    unseen = choose_images(splits.test.images, config.sharpness_images, config.seed, "neighbours")
    return metrics | {"nearest_test": _distance(unseen, chosen, model)}


def _kept(batches: Iterable[Tensor], count: int, kept: list[Tensor]) -> Iterator[Tensor]:
    """Pass batches on, and add the first ones to `kept` until they have `count` images."""
    for batch in batches:
        if sum(map(len, kept)) < count:
            kept.append(batch)
        yield batch


def _statistics(batches: Iterable[Tensor], extractor: Extractor) -> FeatureStatistics:
    """Return the feature statistics of images that are computed batch by batch, so that memory holds only one."""
    return reduce(add, (feature_statistics(extractor.features, batch) for batch in batches))


def _distance(images: Tensor, training: Tensor, model: VAE | WAE) -> float:
    """Return the mean distance to the nearest training image, computed on the model's device."""
    return float(nearest_distances(images.to(next(model.parameters()).device), training).mean())


def density_of_run(run: Path, model: VAE | WAE, prior: str, root: Path | None = None) -> CodeDensity | None:
    """Return the density of a run that `prior` names, fitted if need be; None for the prior itself.

    Args:
        run: the run folder.
        model: the run's model, in evaluation mode.
        prior: one of `PRIORS`.
        root: data root.

    Raises:
        RunError: no density can be fitted.
        DataError: the training images cannot be loaded.
    """
    if prior == PRIORS[0]:
        return None
    if prior in model.densities:
        return model.densities[prior]
    folder = RunFolder(run)
    stored = stored_densities(folder, model, model.latent_size)
    if prior in stored:
        return stored[prior]
    config, _ = config_of(folder)
    try:
        train = split(config, "train", root)
    except DataError as error:
        if folder.is_pretrained:
            raise DataError(
                f"{run} holds no {prior} density, and the images to fit one to are missing: {error}"
            ) from None
        raise
    return densities_for(run, model, train, [prior])[prior]


@torch.inference_mode()
def drawn_interpolations(
    model: VAE | WAE, pairs: int, steps: int, seed: int, density: CodeDensity | None = None
) -> Tensor:
    """Interpolate between codes drawn from the prior or from a density.

    Args:
        model: in evaluation mode.
        pairs: number of pairs.
        steps: images per pair, both ends included.
        seed: of the draws.
        density: to draw from instead of the prior.

    Returns:
        `(pairs * steps, C, H, W)` in [0, 1], on the CPU, pair after pair.
    """
    generator = make_generator(seed, "interpolate")
    if density is None:
        codes = torch.randn(2 * pairs, model.latent_size, generator=generator)
    else:
        codes = density.sample(2 * pairs, generator).float()
    fraction = torch.linspace(0.0, 1.0, steps)[None, :, None]
    path = torch.lerp(codes[:pairs, None], codes[pairs:, None], fraction)
    return torch.cat(list(_decoded(model, path.flatten(0, 1))))


def _decoded(model: VAE | WAE, codes: Tensor) -> Iterator[Tensor]:
    """Yield the images of codes in batches, on the CPU."""
    device = next(model.parameters()).device
    for batch in codes.split(BATCH_SIZE):
        yield model.decode(batch.to(device)).cpu()
