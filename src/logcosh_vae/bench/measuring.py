"""Measuring a run, and restoring a picture, beside the networks' work alone."""

from __future__ import annotations

import numpy as np
import torch

from ..base.devices import takes_bfloat16
from ..data import ImageSet, data_root
from ..evaluation.evaluate import BATCH_SIZE, measure
from ..evaluation.features import load_extractor
from ..evaluation.records import EvaluationConfig
from ..restoration.blending import restore_changed
from ..restoration.pretrained import load_shipped
from ..training.builders import build_model
from ..training.loop import make_generator
from .step import SHAPE, config_of
from .timing import Contender

OURS, LIMIT = "logcosh-vae", "networks alone"
SIDE = 1024
"""Of the picture that is restored: a megapixel of 2^20."""


def of_a_run() -> list[Contender]:
    """Both sharpness values and the FID of 10,000 samples against 10,000 images, those of the images included."""
    config = config_of("mlp")
    model = build_model(config, SHAPE).eval()
    extractor = load_extractor("mnist", SHAPE, data_root(), None)
    assert extractor is not None
    evaluation = EvaluationConfig()
    pixels = torch.randint(256, (10_000, *SHAPE), dtype=torch.uint8, generator=make_generator(0, "benchmark"))
    floats = pixels[: evaluation.fid_images].float() / 255.0
    turns = iter(range(1 << 30))

    def ours(count: int) -> None:
        for _ in range(count):
            test = ImageSet("mnist", "test", pixels, None, f"turn {next(turns)}")  # nothing is remembered
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


def of_a_picture() -> list[Contender]:
    """Text removed from a megapixel by the network that comes with the package."""
    network, _ = load_shipped("text")
    picture = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
    whole = torch.rand(1, 3, SIDE, SIDE).to(memory_format=torch.channels_last)

    def ours(count: int) -> None:
        for _ in range(count):
            restore_changed(network, picture, 1.0)

    @torch.inference_mode()
    def limit(count: int) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=takes_bfloat16(torch.device("cpu"))):  # as it restores
            for _ in range(count):
                network(whole)

    return [Contender(OURS, ours), Contender(LIMIT, limit)]
