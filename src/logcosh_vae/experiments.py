"""Running many auto-encoders as one experiment: rows of configs, each over seeds, trained once and reused.

An experiment is data: what to train, and what was reported; `jobs` runs it.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from .autoencoders import config_of, run_name, split, train
from .build import build_model
from .config import DataConfig, ModelConfig, TrainConfig, required, resolve, to_dict
from .data import whole_count
from .data.describe import summarise
from .environment import describe, evaluation_fingerprint
from .evaluation import EvaluationConfig, evaluate, floor
from .features import load_extractor
from .files import DamagedJsonError, read_json, write_json
from .jobs import Job, Watcher, Workers, run_jobs
from .networks import ImageShape
from .runs import RunFolder


@dataclass(frozen=True)
class Row:
    """One model and loss of a table.

    Attributes:
        config: without its seed.
        reported: the paper's numbers by metric, empty where it gives none.
    """

    config: TrainConfig
    reported: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """Rows to train and measure alike.

    Attributes:
        name: as in `reproduce NAME`.
        title: for the report.
        profile: how the rows were scaled.
        source: where the reported numbers stand.
        features: changes of the feature classifiers' training, for checks that need no good ones.
    """

    name: str
    title: str
    profile: str
    rows: tuple[Row, ...]
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    source: str = ""
    features: Mapping[str, Any] = field(default_factory=dict)


def operations(config: TrainConfig, image_shape: ImageShape) -> int:
    """Floating point operations of the products and convolutions of one image's way through the config's model."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        build_model(config, image_shape)(torch.zeros(1, *image_shape), torch.Generator())
    return int(counter.get_total_flops())


@cache
def _shape(data: DataConfig, root: Path | None) -> tuple[int, ImageShape]:
    count, channels, height, width = split(TrainConfig(data), "train", root).images.shape
    return count, (channels, height, width)


@cache
def _of_one_image(model: ModelConfig, image_shape: ImageShape) -> int:
    return operations(TrainConfig(model=model), image_shape)


@dataclass(frozen=True)
class AutoencoderJob(Job):
    """A row with a seed."""

    config: TrainConfig
    path: Path
    evaluation: EvaluationConfig
    root: Path | None

    @property
    def label(self) -> str:
        """Model, loss and seed."""
        return f"{self.config.model_name} {self.config.objective.loss} seed {self.config.seed}"

    def work(self) -> float:
        """Operations of one image's way, times images and epochs."""
        count, image_shape = _shape(self.config.data, self.root)
        return float(_of_one_image(self.config.model, image_shape) * count * required(self.config.epochs, "epochs"))

    def done(self) -> dict[str, Any] | None:
        """The evaluation if it was made by this code with these features and settings, else None."""
        path = self.path / "evaluation.json"
        if not path.is_file() or not RunFolder(self.path).is_finished(required(self.config.epochs, "epochs")):
            return None
        try:
            result: dict[str, Any] = read_json(path)
        except DamagedJsonError:
            return None  # it is measured anew
        if result.get("evaluation") != asdict(self.evaluation) or result.get("code") != evaluation_fingerprint():
            return None
        _, image_shape = config_of(RunFolder(self.path))
        extractor = load_extractor(self.config.data.name, image_shape, self.root, self.evaluation.features)
        features = extractor.describe() if extractor is not None else None
        return result if result.get("features") == features else None

    def run(self) -> dict[str, Any]:
        """Train and evaluate."""
        train(self.config, self.path, resume=True, root=self.root)
        result = self.done()
        return evaluate(self.path, self.evaluation, root=self.root) if result is None else result


def plan(experiment: Experiment, seeds: int, store: Path, root: Path | None = None) -> list[list[AutoencoderJob]]:
    """The jobs of each row, one a seed."""
    plans = []
    for row in experiment.rows:
        configs = [resolve(replace(row.config, seed=seed)) for seed in range(seeds)]
        plans.append([AutoencoderJob(c, store / run_name(c), experiment.evaluation, root) for c in configs])
    return plans


def summary(values: Sequence[float]) -> dict[str, Any]:
    """Mean, sample standard deviation (None for one value) and the values themselves."""
    spread = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": statistics.fmean(values), "std": spread, "values": list(values)}


def _row_result(jobs: Sequence[AutoencoderJob], results: Mapping[Path, Mapping[str, Any]], row: Row) -> dict[str, Any]:
    config = jobs[0].config
    runs = [results[job.path] for job in jobs]
    return {
        "data": config.data.name,
        "model": config.model_name,
        "loss": config.objective.loss,
        "a": config.objective.a,
        "weight": config.objective.weight,
        "seeds": [job.config.seed for job in jobs],
        "metrics": {name: summary([run["metrics"][name] for run in runs]) for name in runs[0]["metrics"]},
        "test": {name: summary([run["test"][name] for run in runs]) for name in runs[0]["test"]},
        "training_seconds": summary([run["training_seconds"] for run in runs]),
        "reported": dict(row.reported),
        "runs": [job.path.name for job in jobs],
        "config": {key: value for key, value in to_dict(config).items() if key != "seed"},
    }


def jobs_of(experiment: Experiment, seeds: int, store: Path, root: Path | None = None) -> list[AutoencoderJob]:
    """All jobs of an experiment, the first seed of every row before the second of any."""
    return [job for row in zip(*plan(experiment, seeds, store, root), strict=True) for job in row]


def _images(config: TrainConfig, root: Path | None) -> dict[str, dict[str, int]]:
    """How many images of each split were used, and how many the complete set has where that is known."""
    counts = {name: {"used": len(split(config, name, root).images)} for name in ("train", "test")}
    for name, count in counts.items():
        complete = whole_count(config.data.name, name)
        if complete is not None:
            count["complete"] = complete
    return counts


def _advice(config: TrainConfig, root: Path | None) -> dict[str, Any]:
    """What the test images' pixels speak for (paper, footnote 1 and appendix B)."""
    summary = summarise(split(config, "test", root))
    return {"near_0_or_1": summary.near, "loss": summary.advised_loss, "words": summary.advice}


def run_experiment(
    experiment: Experiment,
    *,
    seeds: int,
    store: Path,
    workers: Workers,
    root: Path | None = None,
    watch: Watcher | None = None,
) -> dict[str, Any]:
    """Train and measure every row over `seeds` seeds; the result is what `results/*.json` holds.

    An experiment without rows (a figure that needs no training) gives a result without measures.
    """
    started = time.perf_counter()
    plans = plan(experiment, seeds, store, root)
    jobs = jobs_of(experiment, seeds, store, root)
    reused = sum(job.done() is not None for job in jobs)
    results = run_jobs(jobs, workers, watch)
    measured: dict[str, Any] = {}
    if jobs:
        first = results[jobs[0].path]
        measured = {name: first[name] for name in ("features", "evaluation", "real")}
        measured["images"] = _images(jobs[0].config, root)
        measured["advice"] = _advice(jobs[0].config, root)
        measured["floor"] = floor(jobs[0].config, experiment.evaluation, root=root)
    return {
        "experiment": experiment.name,
        "title": experiment.title,
        "profile": experiment.profile,
        "source": experiment.source,
        "rows": [_row_result(row_jobs, results, row) for row_jobs, row in zip(plans, experiment.rows, strict=True)],
        **measured,
        "environment": describe(),
        "workers": workers.count,
        "runs": {"total": len(jobs), "reused": reused},
        "seconds": round(time.perf_counter() - started, 1),
    }


def write_results(results: Mapping[str, Any], path: Path) -> None:
    """Write results as JSON in one step."""
    write_json(path, json.loads(json.dumps(results)))
