"""Evaluation of a run and restoration of a picture, beside the time of their networks alone."""

from __future__ import annotations

import itertools

import numpy as np
import torch

from ..base.devices import takes_bfloat16
from ..data import ImageSet, data_root
from ..evaluation.evaluate import BATCH_SIZE, measure
from ..evaluation.features import load_extractor
from ..evaluation.records import EvaluationConfig
from ..restoration.blending import restore_changed
from ..restoration.pretrained import load_pretrained
from ..training.builders import build_model
from ..training.loop import make_generator
from .step import SHAPE, config_of
from .timing import Contender

OURS, LIMIT = "logcosh-vae", "networks alone"
SIDE = 1024
"""Height and width of the picture that is restored: 2^20 pixels."""


def evaluation_contenders() -> list[Contender]:
    """Return the evaluation of a VAE (MLP), and its networks alone.

    The evaluation computes both sharpness values and the FID of 10,000 samples against 10,000 images, including the
    feature statistics of the real images.
    """
    config = config_of("mlp")
    model = build_model(config, SHAPE).eval()
    extractor = load_extractor("mnist", SHAPE, data_root(), None)
    assert extractor is not None
    evaluation = EvaluationConfig()
    pixels = torch.randint(256, (10_000, *SHAPE), dtype=torch.uint8, generator=make_generator(0, "benchmark"))
    floats = pixels[: evaluation.fid_images].float() / 255.0
    turns = itertools.count()

    def ours(count: int) -> None:
        for _ in range(count):
            test = ImageSet(
                "mnist", "test", pixels, None, f"turn {next(turns)}"
            )  # a new name, so that no statistics are cached
            measure(model, test, extractor, evaluation)

    @torch.inference_mode()
    def limit(count: int) -> None:
        for _ in range(count):
            for batch in floats.split(BATCH_SIZE):
                model.sample(len(batch))
                extractor.features(batch)  # of real images
                extractor.features(batch)  # of samples
            for batch in floats[: evaluation.sharpness_images].split(BATCH_SIZE):
                model.reconstruct(batch)

    return [Contender(OURS, ours), Contender(LIMIT, limit)]


def restoration_contenders() -> list[Contender]:
    """Return text removal from one megapixel by the network shipped with the package, and that network alone."""
    network, _ = load_pretrained("text")
    picture = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
    whole = torch.rand(1, 3, SIDE, SIDE).to(memory_format=torch.channels_last)

    def ours(count: int) -> None:
        for _ in range(count):
            restore_changed(network, picture, 1.0)

    @torch.inference_mode()
    def limit(count: int) -> None:
        with torch.autocast(
            "cpu", torch.bfloat16, enabled=takes_bfloat16(torch.device("cpu"))
        ):  # as `restore_changed` does
            for _ in range(count):
                network(whole)

    return [Contender(OURS, ours), Contender(LIMIT, limit)]
