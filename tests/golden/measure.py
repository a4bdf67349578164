"""Measure the pinned numbers: random draws, initial weights, losses, corruptions, metrics and decoding.

    PYTHONPATH=. python tests/golden/measure.py            compare with values.json
    PYTHONPATH=. python tests/golden/measure.py --write    replace values.json after an intended change

`values.json` holds the numbers and the versions (`logcosh_vae.base.versions`) that they belong to. A change to an
initialisation, a random stream, a preprocessing step or a formula changes at least one of them. `test_golden.py` then
fails until the version is bumped and the values are written again. `--write` refuses changed values whose version has
not been bumped, since old and new results would be taken for the same.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
from torch import Tensor

from logcosh_vae.base.settings import override
from logcosh_vae.base.versions import numerics
from logcosh_vae.data.batches import Batch, to_unit, training_batches
from logcosh_vae.data.decode import Preparation, Tiling, decode, decode_tiles
from logcosh_vae.evaluation.evaluate import choose_images, generate, interpolations, reconstruct
from logcosh_vae.evaluation.feature_training import FeatureConfig, classifier_step
from logcosh_vae.losses import LOSSES, make_loss
from logcosh_vae.metrics.classifier import FeatureClassifier, feature_statistics
from logcosh_vae.metrics.frechet import frechet_distance
from logcosh_vae.metrics.image_quality import psnr, ssim
from logcosh_vae.metrics.sharpness import sharpness
from logcosh_vae.models.distributions import DiagonalGaussian, kl_divergence, mmd, standard_normal
from logcosh_vae.restoration.config import RestorationConfig, resolve_restoration
from logcosh_vae.restoration.corruptions import CORRUPTIONS, TRAINED_AS
from logcosh_vae.restoration.examples import epoch_examples
from logcosh_vae.restoration.network import RestorationNetwork
from logcosh_vae.restoration.step import build_restoration_optimizer, restoration_step
from logcosh_vae.restoration.text import CAPTIONS, PLAIN, TRAINING, draw_text_canvas
from logcosh_vae.restoration.tiling import restore
from logcosh_vae.training.builders import autoencoding_step, build_model, build_objective, build_optimizer
from logcosh_vae.training.config import TrainConfig, resolve
from logcosh_vae.training.loop import make_generator, update
from logcosh_vae.training.session import on_threads

HERE = Path(__file__).parent
VALUES = HERE / "values.json"
FILES = HERE / "files"

Values = dict[str, Any]
"""By name: a number, a list of numbers, or a string. Strings and integers have to be equal."""


def projection(tensor: Tensor | np.ndarray[Any, Any]) -> float:
    """Return a number that depends on every element and its position, but hardly on rounding."""
    values = np.asarray(tensor, dtype=np.float64).ravel()
    return float(values @ np.random.default_rng(len(values)).uniform(-1.0, 1.0, len(values)))


def smooth_images(count: int, channels: int, side: int) -> Tensor:
    """Return uint8 images `(count, channels, side, side)` with edges and ramps.

    They are computed from integers alone, so they are the same on every machine.
    """
    y, x = np.mgrid[:side, :side]
    images = [
        ((x * (3 + index) + y * (5 + channel)) % (97 + 8 * index) > 40 + channel) * 155 + (x * y + 7 * index) % 101
        for index in range(count)
        for channel in range(channels)
    ]
    return torch.from_numpy(np.stack(images).astype(np.uint8)).view(count, channels, side, side)


def draws() -> Values:
    """Values drawn from seeded generators, each for one purpose and epoch."""
    values: Values = {}
    for seed, name, epoch in ((0, "weights", 0), (0, "noise", 1), (0, "noise", 2), (1, "shuffle", 1)):
        key = f"{seed}/{name}/{epoch}"
        values[f"integers {key}"] = torch.randint(2**31, (4,), generator=make_generator(seed, name, epoch)).tolist()
        values[f"normal {key}"] = torch.randn(4, generator=make_generator(seed, name, epoch)).tolist()
    values["order"] = torch.randperm(10, generator=make_generator(0, "shuffle", 1)).tolist()
    like = torch.zeros(1)
    values["codes"] = standard_normal((2, 3), like=like, generator=make_generator(0, "generate")).flatten().tolist()
    images = smooth_images(20, 1, 5)
    values["chosen"] = projection(choose_images(images, 7, 0, "sharpness"))
    values["batches"] = [
        projection(batch.images) for batch in training_batches(images, 6, make_generator(0, "shuffle", 1))
    ]
    return values


def _config(model: str, loss: str) -> TrainConfig:
    family, _, network = model.partition("-")
    size = "model.hidden=[32,16]" if network == "mlp" else "model.width=0.03125"
    settings = [f"model.family={family}", f"model.network={network}", size, f"objective.loss={loss}"]
    return resolve(override(TrainConfig(batch_size=16), settings))


MODELS = ("vae-mlp", "vae-conv", "wae-mlp", "wae-conv")


def weights() -> Values:
    """Initial weights of the autoencoders and of a classifier, by layer."""
    values: Values = {}
    for model in MODELS:
        built = build_model(_config(model, "l2"), (1, 28, 28))
        values[model] = [projection(weight.detach()) for weight in built.parameters()]
    faces = resolve(override(_config("vae-conv", "l2"), ["data.name=celeba", "seed=3"]))
    values["vae-conv, faces"] = [projection(weight.detach()) for weight in build_model(faces, (3, 64, 64)).parameters()]
    full = build_model(replace(_config("vae-conv", "l2"), model=replace(faces.model, width=1.0)), (1, 28, 28))
    values["vae-conv, full width"] = [float(weight.detach().double().abs().mean()) for weight in full.parameters()]
    torch.manual_seed(0)
    values["classifier"] = [projection(weight.detach()) for weight in FeatureClassifier(widths=(4, 6)).parameters()]
    return values


def _losses(step: Any, optimizer: torch.optim.Optimizer, batches: Iterator[Batch], count: int = 10) -> list[float]:
    noise, losses = make_generator(0, "noise", 1), []
    for _, batch in zip(range(count), batches, strict=False):
        losses.append(float(update(step, optimizer, batch, noise, compute_loss=True)["loss"]))
    return losses


def training() -> Values:
    """The first ten losses of every model with every loss, and of a classifier."""
    values: Values = {}
    images = smooth_images(160, 1, 28)
    for model in MODELS:
        for loss in LOSSES:
            config = _config(model, loss)
            built = build_model(config, (1, 28, 28)).train()
            step = autoencoding_step(built, build_objective(config))
            batches = training_batches(images, config.batch_size, make_generator(0, "shuffle", 1))
            values[f"{model} {loss}"] = _losses(step, build_optimizer(config, built), batches)
    labels = torch.arange(len(images)) % 10
    torch.manual_seed(0)
    classifier = FeatureClassifier(widths=(4, 6))
    optimizer = torch.optim.Adam(classifier.parameters(), lr=2e-3)
    batches = training_batches(images, 16, make_generator(0, "shuffle", 1), labels)
    values["classifier"] = _losses(classifier_step(classifier, FeatureConfig(flip=True)), optimizer, batches)
    return values


def losses() -> Values:
    """Losses and divergences of fixed tensors."""
    values: Values = {}
    residuals = torch.tensor([-3.0, -0.4, -0.011, 0.0, 1e-4, 0.02, 0.5, 2.0], dtype=torch.float64, requires_grad=True)
    for name, kind in LOSSES.items():
        loss = make_loss(name, 20.0 if kind.takes_a else None)
        value = loss.value(residuals, torch.zeros_like(residuals))
        values[f"loss {name}"] = value.tolist()
        (grad,) = torch.autograd.grad(value.sum(), residuals)
        values[f"gradient {name}"] = grad.tolist()
        values[f"surrogate's gradient {name}"] = loss.grad(
            residuals.detach(), torch.zeros(8, dtype=torch.float64)
        ).tolist()
    z = torch.from_numpy(np.random.default_rng(0).uniform(-2, 2, (12, 4)))
    prior = torch.from_numpy(np.random.default_rng(1).uniform(-1, 1, (12, 4)))
    values["mmd"] = float(mmd(z, prior))
    values["kl"] = kl_divergence(z, prior).tolist()
    values["posterior's sample"] = projection(DiagonalGaussian(z, prior).sample(make_generator(0, "noise")))
    return values


def metrics() -> Values:
    """Metrics of fixed tensors."""
    values: Values = {}
    images = to_unit(smooth_images(6, 3, 40))
    values["sharpness"] = sharpness(images).tolist()
    values["sharpness grey"] = sharpness(images[:, :1]).tolist()
    values["ssim"], values["psnr"] = ssim(images[0], images[1]), psnr(images[0], images[1])
    features = torch.from_numpy(np.random.default_rng(2).normal(size=(40, 5)) @ np.diag([1.0, 2.0, 0.5, 1.0, 3.0]))
    first, second = (feature_statistics(lambda rows: rows, part) for part in (features, features[:20] * 1.5 + 0.2))
    values["frechet"] = frechet_distance(first, second)
    return values


def inference() -> Values:
    """Samples, reconstructions and features of freshly initialised models."""
    values: Values = {}
    images = to_unit(smooth_images(6, 1, 28))
    for model in MODELS:
        built = build_model(_config(model, "l2"), (1, 28, 28)).eval()
        values[f"samples {model}"] = projection(generate(built, 5, 0))
        values[f"reconstructions {model}"] = projection(reconstruct(built, images))
        values[f"interpolation {model}"] = projection(interpolations(built, images, 3))
    torch.manual_seed(0)
    classifier = FeatureClassifier(widths=(4, 6)).eval()
    values["features"] = projection(classifier.features(images).detach())
    return values


def restoration() -> Values:
    """Initial weights of a restoration network, its first ten losses, and a picture restored by tiles."""
    values: Values = {}
    config = RestorationConfig(
        "", "denoise", widths=(4, 6), crop_size=32, batch_size=2, targets=2, steps=10, bfloat16=False
    )
    restoring = resolve_restoration(config)
    torch.manual_seed(0)
    network = RestorationNetwork(restoring.widths)
    step = restoration_step(network, make_loss("log-cosh", 50.0), restoring)
    generator = make_generator(0, "shuffle", 1)
    squares = epoch_examples(smooth_images(4, 3, 48), CORRUPTIONS["denoise"], restoring, generator)
    fresh = [weight.detach().clone() for weight in network.parameters()]
    values["weights"] = [projection(weight) for weight in fresh]
    values["losses"] = _losses(step, build_restoration_optimizer(network, restoring), squares)
    moved = [weight.detach() - before for weight, before in zip(network.parameters(), fresh, strict=True)]
    values["how far the weights moved"] = [float(change.double().norm()) for change in moved]
    picture = smooth_images(1, 3, 70)[0].permute(1, 2, 0).numpy()
    values["restored"] = projection(restore(network.eval(), picture, bfloat16=False))
    return values


def corruptions() -> Values:
    """Every corruption, for training and for evaluation, except text, which a library draws."""
    values: Values = {}
    images = to_unit(smooth_images(3, 3, 32))
    for task, corruption in CORRUPTIONS.items():
        if task != "text":
            values[f"training {task}"] = projection(corruption.training(images, make_generator(0, "corruption")))
            values[f"measured {task}"] = projection(corruption.evaluation(images[0], 5))
    return values


def text() -> Values:
    """Text as drawn, and over images, with the version of the library that draws it."""
    values: Values = {"pillow": PIL.__version__}
    for name, style in (("plain", PLAIN), ("training", TRAINING), ("captions", CAPTIONS)):
        sheet = draw_text_canvas(96, 128, np.random.default_rng(4), style)
        values[name] = hashlib.sha256(np.ascontiguousarray(sheet).tobytes()).hexdigest()[:16]
        values[f"{name}, covered"] = float((sheet != sheet.max()).mean())
    images = to_unit(smooth_images(2, 3, 48))
    values["over an image"] = projection(CORRUPTIONS["text"].evaluation(images[0], 5))
    values["in training"] = projection(CORRUPTIONS["text"].training(images, make_generator(0, "corruption")))
    source, _, target = TRAINED_AS["text"].pair(images, make_generator(0, "corruption"))
    values["captions in training"] = [projection(source), projection(target())]
    return values


def decoding() -> Values:
    """Unusual image files, decoded for an image set: mean and projection of each."""
    values: Values = {}
    for path in sorted(FILES.iterdir()):
        content = path.read_bytes()
        for channels in (1, 3):
            pixels, size, mode = decode(content, Preparation(20, 24, channels))
            values[f"{path.name} {channels}"] = [float(pixels.mean()), projection(pixels) / 100, *size]
            values[f"{path.name} {channels} mode"] = mode
        tiles, _, _ = decode_tiles(content, Tiling(32, max_pixels=4_000))
        values[f"{path.name} tiles"] = [len(tiles), float(tiles.mean()), projection(tiles) / 100]
    return values


@dataclass(frozen=True)
class Section:
    """Values that are measured together.

    Attributes:
        measure: measures them.
        version: the version they belong to, a key of `logcosh_vae.base.versions.numerics()`.
        relative: relative tolerance, as processors add in different orders.
        absolute: absolute tolerance.
    """

    measure: Callable[[], Values]
    version: str
    relative: float
    absolute: float = 1e-9


SECTIONS = {
    "draws": Section(draws, "training", 1e-6),
    "weights": Section(weights, "training", 1e-6, 1e-7),
    "training": Section(training, "training", 2e-3),
    "losses": Section(losses, "training", 1e-6, 1e-12),
    "metrics": Section(metrics, "evaluation", 1e-6, 1e-12),
    "inference": Section(inference, "evaluation", 1e-4, 1e-4),
    "restoration": Section(restoration, "restoration", 2e-3),
    "corruptions": Section(corruptions, "restoration", 1e-3, 0.02),
    "text": Section(text, "restoration", 1e-3, 0.02),
    "decoding": Section(decoding, "data", 1e-3, 0.5),
}


def differences(known: Any, found: Any, section: Section, path: str) -> list[str]:
    """Return a line for each value that has changed; names that exist on one side only do not count."""
    if isinstance(known, dict):
        pairs = [(f"{path}/{key}", known[key], found[key]) for key in known if key in found]
        return [line for name, a, b in pairs for line in differences(a, b, section, name)]
    if isinstance(known, str | int):
        same = found == known
    else:
        same = np.shape(found) == np.shape(known)
        same = same and bool(np.allclose(found, known, rtol=section.relative, atol=section.absolute))
    return [] if same else [f"{path}: was {known}, is {found}"]


def measured(name: str) -> Values:
    """Measure a section; returns its values as they would be read back from JSON.

    This uses one thread, as the order of summation depends on the number of threads.
    """
    with on_threads(1):
        values: Values = json.loads(json.dumps(SECTIONS[name].measure(), allow_nan=False))
    return values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="replace values.json")
    write = parser.parse_args().write
    known = json.loads(VALUES.read_text(encoding="utf-8")) if VALUES.exists() else {"versions": {}}
    values: dict[str, Any] = {"versions": numerics(), **{name: measured(name) for name in SECTIONS}}
    changed = False
    for name, section in SECTIONS.items():
        for line in differences(known.get(name, {}), values[name], section, name):
            bumped = known["versions"].get(section.version, 0) < values["versions"][section.version]
            changed |= not bumped
            print(line if bumped else f"{line}; bump {section.version.upper()} in src/logcosh_vae/base/versions.py")
    if changed:
        sys.exit("error: values have changed, but their versions have not been bumped; values.json was not written")
    if write:
        # values within their tolerance stay, so that a change of one number changes one line
        for name, section in SECTIONS.items():
            for key, value in values[name].items():
                stored = known.get(name, {}).get(key)
                if stored is not None and not differences(stored, value, section, key):
                    values[name][key] = stored
        VALUES.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
