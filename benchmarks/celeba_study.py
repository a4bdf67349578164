"""Steps and learning rate of the laptop profile on faces: what the FID of VAE (Conv) is made of in each setting.

    python benchmarks/celeba_study.py [--runs runs] [--data-root FOLDER]

Trains what is missing under RUNS (ten minutes a run on a core) and writes `results/celeba-study-laptop.json`. All
settings have the same network and the same 24 epochs; `profile` marks the one that the laptop profile has. For each
setting and loss it measures the FID of

- samples: codes from the prior, as in Table 2;
- samples from a Gaussian with the mean and covariance of the codes of training images: the prior without its mismatch;
- samples from the codes of training images themselves;
- reconstructions of the test images.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from fid_study import ROOT, code_moments, from_posterior, statistics
from torch import Tensor

from logcosh_vae import VAE, WAE, load
from logcosh_vae.autoencoders import run_name, train
from logcosh_vae.config import TrainConfig, resolve, to_dict
from logcosh_vae.data import ImageSet, load_images
from logcosh_vae.data.batches import to_unit
from logcosh_vae.environment import describe
from logcosh_vae.evaluation import generate, reconstruct
from logcosh_vae.features import load_extractor
from logcosh_vae.files import write_json
from logcosh_vae.metrics.frechet import FeatureStatistics, frechet_distance
from logcosh_vae.paper.tables import PROFILES, configuration
from logcosh_vae.training import stream, use_threads

SETTINGS = ((100, 1e-3), (25, 1e-3), (25, 3e-3), (25, 8e-3))
"""Batch size and learning rate."""


def in_setting(loss: str, batch_size: int, rate: float) -> TrainConfig:
    config = PROFILES["laptop"].change(configuration("celeba", "vae-conv", loss))
    return replace(config, batch_size=batch_size, optimizer=replace(config.optimizer, learning_rate=rate))


@torch.inference_mode()
def from_gaussian(model: VAE | WAE, images: ImageSet, count: int) -> Tensor:
    """Decode draws from a Gaussian fitted to the codes of images."""
    noise = stream(0, "codes")
    codes = torch.cat([model(to_unit(part), noise).z for part in images.images.split(1_000)])
    own = FeatureStatistics.of(codes)
    factor = torch.linalg.cholesky(own.covariance.double())
    draws = torch.randn(count, codes.shape[1], generator=stream(0, "gaussian")).double()
    return torch.cat([model.decode(z) for z in (own.mean.double() + draws @ factor.T).float().split(500)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=ROOT / "runs")
    parser.add_argument("--data-root", type=Path)
    arguments = parser.parse_args()
    started = time.perf_counter()
    use_threads(1)
    train_set, test_set = (load_images("celeba", split, root=arguments.data_root) for split in ("train", "test"))
    extractor = load_extractor("celeba", (3, 64, 64), arguments.data_root)
    assert extractor is not None
    real = to_unit(test_set.images)
    real_statistics = statistics(extractor.features, real)
    count = len(train_set.images)
    rows: list[dict[str, Any]] = []
    for batch_size, rate in SETTINGS:
        for loss in ("l2", "log-cosh"):
            config = resolve(in_setting(loss, batch_size, rate))
            path = arguments.runs / run_name(config)
            folder = train(config, path, resume=True, root=arguments.data_root)
            model = load(path)
            sets = {
                "samples": generate(model, count, 0),
                "samples from a Gaussian fitted to codes": from_gaussian(model, train_set, count),
                "samples from codes of images": from_posterior(model, train_set, count),
                "reconstructions": reconstruct(model, real),
            }
            fid = {
                kind: frechet_distance(statistics(extractor.features, x), real_statistics) for kind, x in sets.items()
            }
            records = folder.metrics()
            rows.append(
                {
                    "batch_size": batch_size,
                    "learning_rate": rate,
                    "loss": loss,
                    "profile": config == resolve(PROFILES["laptop"].change(configuration("celeba", "vae-conv", loss))),
                    "fid": fid,
                    "codes": code_moments(model, test_set),
                    "validation": records[-1]["validation"],
                    "training_seconds": sum(record["seconds"] for record in records),
                    "config": to_dict(config),
                }
            )
            print(batch_size, rate, loss, {kind: round(value, 1) for kind, value in fid.items()}, flush=True)
    result = {
        "experiment": "celeba-study",
        "profile": "laptop",
        "rows": rows,
        "features": extractor.describe(),
        "environment": describe(),
        "seconds": round(time.perf_counter() - started, 1),
    }
    write_json(ROOT / "results" / "celeba-study-laptop.json", result)


if __name__ == "__main__":
    main()
