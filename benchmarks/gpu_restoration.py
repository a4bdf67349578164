"""Restoration in `gpu.py`: networks are trained on the card, and measured elsewhere, on whole pictures.

The networks of figure 10 are measured when merging; that of the stage `captions` by `tools/ship_restoration.py`, which
also puts it into the package.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from gpu_runs import EVALUATION_SECONDS, preparing, result_of, run_all
from gpu_session import Session
from torch import Tensor

from logcosh_vae.base.environment import Environment
from logcosh_vae.base.errors import DataError, UserError
from logcosh_vae.base.files import atomic_write, one_line
from logcosh_vae.base.records import from_json, to_json
from logcosh_vae.base.settings import from_dict, to_dict
from logcosh_vae.base.versions import RESTORATION
from logcosh_vae.bench.gpu_results import ORIGIN, Result, Row, declared_keys, key_of, length_of
from logcosh_vae.bench.step import synchronize
from logcosh_vae.data import TEXT_REMOVAL, data_root, text_removal
from logcosh_vae.experiments.results import ExperimentResults, RunCounts
from logcosh_vae.losses import make_loss
from logcosh_vae.paper.registry import EXPERIMENTS
from logcosh_vae.restoration.config import RestorationConfig, resolve_restoration
from logcosh_vae.restoration.corruptions import CORRUPTIONS, Corruption
from logcosh_vae.restoration.evaluation import RestorationJob, RestorationMeasures, folder_digest, measure
from logcosh_vae.restoration.examples import epoch_examples, worker_count
from logcosh_vae.restoration.experiment import RestorationExperiment
from logcosh_vae.restoration.network import RestorationNetwork
from logcosh_vae.restoration.picture_files import find_pictures
from logcosh_vae.restoration.step import build_restoration_optimizer, restoration_step
from logcosh_vae.restoration.training import load_restoration, load_splits, train_restoration
from logcosh_vae.restoration.training import run_name as restoration_name
from logcosh_vae.training.loop import make_generator, update
from logcosh_vae.training.run_folder import RunFolder

EPOCHS = 4
"""Of the excerpt; each is followed by a validation."""

LEAST_STEPS = 100
"""Of an epoch; an excerpt of fewer would say nothing."""

TRIED_STEPS = 40
"""Steps that are trained to know how long one takes; half of them warm up."""

USED_SHARE = 0.8
"""Of the time that is left, for the steps: a training that does not end is worth nothing."""

CAPTIONS = RestorationConfig(
    TEXT_REMOVAL,
    captions=True,
    widths=(16, 32, 64, 128),
    blocks=2,
    mask=True,
    hint=True,
    clean_targets=True,
    tile_size=192,
    crop_size=128,
    batch_size=32,
    epochs=10,
)
"""The network of the stage `captions`, without the number of steps."""

CAPTIONS_FILES = ("config.json", "environment.json", "metrics.jsonl", "weights.safetensors")
"""What `tools/ship_restoration.py` needs of its run."""


@dataclass(frozen=True)
class RestorationTraining(RestorationJob):
    """A restoration network that is trained on the GPU; its pictures are measured elsewhere."""

    def cached_result(self) -> Any:
        """Validation and seconds of a finished run."""
        folder = RunFolder(self.path)
        if not folder.is_finished(self.config.epochs):
            return None
        records = folder.metrics()
        return {
            "validation": [record["validation"] for record in records],
            "training_seconds": sum(record["seconds"] for record in records),
        }

    def run(self) -> Any:
        """Train."""
        train_restoration(self.config, self.path, resume=True, root=self.root)
        done = self.cached_result()
        assert done is not None
        return done


def _name(session: Session) -> str:
    return session.name("figure10", "excerpt")


def count(session: Session) -> tuple[int, int]:
    """Rows that are known, with the excerpt's steps, and all."""
    wanted = declared_keys(_name(session))
    steps = None if session.smoke else _steps(session)
    rows = [row for row in session.rows(_name(session)) if session.smoke or length_of(row) == (EPOCHS, steps)]
    return len(set(wanted) & {key_of(row) for row in rows}), len(wanted)


def estimate(session: Session) -> float:
    """Seconds for the rest: nothing, or what time there is; a smoke run's networks train in seconds."""
    had, wanted = count(session)
    return 0.0 if had == wanted else EVALUATION_SECONDS if session.smoke else float("inf")


def needs_pictures(session: Session) -> list[str]:  # noqa: ARG001 - all problems are asked with the session
    """What is missing to learn text removal."""
    try:
        text_removal("train", data_root())
    except UserError as error:
        return [one_line(error)]
    return []


def _seconds_per_step(config: RestorationConfig, root: Path | None) -> float:
    """Seconds of a step, with the images that it needs, once both have warmed up."""
    config = resolve_restoration(replace(config, steps=TRIED_STEPS))
    device = torch.device(config.device)
    tiles = load_splits(config, root, None)[0].images
    network = RestorationNetwork.of(config.architecture).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's types
    optimizer = build_restoration_optimizer(network, config)
    step = restoration_step(network, make_loss(config.loss, config.a), config)
    corruption = config.corruption
    generator = make_generator(0, "gpu")
    for number, examples in enumerate(epoch_examples(tiles, corruption, config, generator, worker_count(device))):
        if number == TRIED_STEPS // 2:
            started = _now(device)
        update(step, optimizer, examples, generator)
    return (_now(device) - started) / (TRIED_STEPS - TRIED_STEPS // 2)


def _now(device: torch.device) -> float:
    """The time when all that was begun on the device has ended."""
    synchronize(str(device))
    return time.monotonic()


def _affordable_steps(session: Session, config: RestorationConfig, jobs: int) -> int:
    """Steps of an epoch that the time allows to `jobs` runs side by side; 0 where they are too few."""
    config = replace(config, device=session.device)
    seconds = jobs * _seconds_per_step(config, data_root())
    steps = int(USED_SHARE * (session.left() - EVALUATION_SECONDS) / seconds) // config.epochs
    return steps if steps >= LEAST_STEPS else 0


def _steps(session: Session, choose: Callable[[], int] = lambda: 0) -> int:
    return session.chosen("figure10 steps", "figure10-excerpt", "steps", choose)


def _configs(session: Session) -> list[RestorationConfig]:
    """The rows of figure 10, all with the same steps; none where too little time is left."""
    rows = EXPERIMENTS["figure10"].experiment("smoke" if session.smoke else "paper").rows
    if not session.smoke:
        jobs = min(session.jobs, len(rows))
        steps = _steps(session, lambda: _affordable_steps(session, replace(rows[0], epochs=EPOCHS), jobs))
        rows = [replace(row, epochs=EPOCHS, steps=steps) for row in rows if steps]
    return [resolve_restoration(replace(row, device=session.device)) for row in rows]


def figure10(session: Session) -> None:
    """Text removal: networks are trained here, and `--merge` measures them on whole pictures."""
    name = _name(session)
    known = {(key_of(row), length_of(row)) for row in session.rows(name)}
    configs = _configs(session)
    if not configs:
        session.say(f"too little time is left for {EPOCHS} epochs of {LEAST_STEPS} steps")
        return
    keys = {config: (config.data, "restoration", config.task, config.loss, config.a, 1.0) for config in configs}
    missing = [config for config in configs if (keys[config], (config.epochs, config.steps)) not in known]
    if not missing:
        session.say("done before")
        return
    session.say(f"{configs[0].epochs} epochs of {configs[0].steps} steps")
    root = data_root()
    images = load_splits(missing[0], root, preparing(session).on_images)
    jobs = [
        RestorationTraining(config, session.runs / restoration_name(config, *images), root, root) for config in missing
    ]
    recorded: set[Path] = set()

    def record() -> None:
        for job in jobs:
            if job.path not in recorded and (done := result_of(session, job)) is not None:
                recorded.add(job.path)
                _record(session, name, job, done)

    run_all(session, jobs, record)


def _record(session: Session, name: str, job: RestorationTraining, done: Mapping[str, Any]) -> None:
    """Keep a trained network's weights, in half precision, and then its row."""
    try:
        network, config = load_restoration(job.path)
    except UserError as error:
        session.failed = True
        session.say(f"{job.label}: left out: {one_line(error)}")
        return
    weights = {key: value.half().contiguous() for key, value in network.state_dict().items()}
    with atomic_write(weights_path(session.out, name, config.loss)) as aside:
        safetensors.torch.save_file(weights, aside)
    row = {
        "data": config.data,
        "model": "restoration",
        "task": config.task,
        "loss": config.loss,
        "a": config.a,
        "weight": 1.0,
        "config": to_dict(config),
        **done,
    }
    session.record(name, {"experiment": "figure10", "profile": session.profile("excerpt"), "rows": [row]})
    session.say(f"{config.loss}: trained in {row['training_seconds']:.0f} s, {row['validation'][-1]}")


def count_captions(session: Session) -> tuple[int, int]:
    """1 of 1 once the network is in the session's folder."""
    return int((session.out / "captions" / CAPTIONS_FILES[-1]).exists()), 1


def estimate_captions(session: Session) -> float:
    """Seconds for the rest: nothing, or what time there is."""
    had, wanted = count_captions(session)
    return 0.0 if had == wanted else EVALUATION_SECONDS if session.smoke else float("inf")


def captions(session: Session) -> None:
    """The network that removes captions from photographs; `tools/ship_restoration.py OUT/captions` ships it."""
    if count_captions(session)[0]:
        session.say("done before")
        return
    root = data_root()
    config = replace(CAPTIONS, device=session.device)
    if session.smoke:
        config = replace(config, widths=(4, 8), crop_size=32, batch_size=2, epochs=2, steps=4, val_images=4)
    else:
        steps = session.chosen(
            "captions steps", "captions", "steps", lambda: _affordable_steps(session, config, jobs=1)
        )
        if not steps:
            session.say(f"too little time is left for {config.epochs} epochs of {LEAST_STEPS} steps")
            return
        config = replace(config, steps=steps)
    config = resolve_restoration(config)
    session.say(f"{config.epochs} epochs of {config.steps} steps of {config.batch_size} crops")
    images = load_splits(config, root, preparing(session).on_images)
    job = RestorationTraining(config, session.runs / restoration_name(config, *images), root, root)

    def record() -> None:
        done = result_of(session, job)
        if done is not None and not count_captions(session)[0]:
            for name in CAPTIONS_FILES:  # the weights last: they say that all is there
                with atomic_write(session.out / "captions" / name) as aside:
                    aside.write_bytes((job.path / name).read_bytes())
            session.say(f"trained in {done['training_seconds']:.0f} s, {done['validation'][-1]}")

    run_all(session, [job], record)


def weights_path(folder: Path, name: str, loss: str) -> Path:
    """Where a session keeps the weights of a network of figure 10."""
    return folder / f"weights-{name}-{loss}.safetensors"


class _Counted:
    """A corruption that says how many pictures it was asked for; measuring asks once for each."""

    def __init__(self, corruption: Corruption, label: str, pictures: int) -> None:
        self._corruption, self._label, self._pictures = corruption, label, pictures
        self._told = time.monotonic()

    def evaluation(self, image: Tensor, index: int) -> Tensor:
        """The corruption's, with a line every ten seconds."""
        if time.monotonic() - self._told > 10:
            self._told = time.monotonic()
            print(f"{self._label}: picture {index + 1} of {self._pictures}", flush=True)
        return self._corruption.evaluation(image, index)


def unmeasured(known: Sequence[Row], rows: Sequence[Row]) -> list[Row]:
    """The rows of a session's folder that were not merged before."""
    merged = {key_of(row): row.get("training_seconds") for row in known}
    return [
        row
        for row in rows
        if not isinstance(there := merged.get(key_of(row)), dict) or there.get("values") != [row["training_seconds"]]
    ]


def networks(name: str, rows: Sequence[Row], folder: Path) -> list[tuple[RestorationConfig, RestorationNetwork]]:
    """Config and network of each row, the network in float32.

    Raises:
        DataError: a config cannot be used, or weights are missing, damaged or of another network.
    """
    loaded = []
    for row in rows:
        path = weights_path(folder, name, row["loss"])
        try:
            # measured on the CPU, in float32
            config = from_dict(RestorationConfig, row["config"])
            network = RestorationNetwork.of(config.architecture)
            weights = safetensors.torch.load_file(path)
            network.load_state_dict({key: value.float() for key, value in weights.items()})
        except Exception as error:
            raise DataError(f"{path} cannot be used for {name}, {row['loss']}: {one_line(error)}") from None
        loaded.append((config, network.eval()))
    return loaded


def complete(name: str, result: Result, folder: Path) -> Result:
    """Measure networks of a session's folder on whole pictures, here and in float32.

    Args:
        name: of the result.
        result: with rows as the session recorded them, none of which was merged before.
        folder: with their weights.

    Raises:
        DataError: pictures or weights are missing.
    """
    root, rows = data_root(), result["rows"]
    test = text_removal("test", root)
    text_removal("train", root)  # it is counted
    loaded = networks(name, rows, folder)
    pictures = len(list(find_pictures([test])))
    experiment = EXPERIMENTS["figure10"].experiment("paper")
    assert isinstance(experiment, RestorationExperiment)
    experiment = replace(experiment, rows=tuple(config for config, _ in loaded), profile=result["profile"])
    plan = [[RestorationJob(config, weights_path(folder, name, config.loss), root, test)] for config in experiment.rows]
    outcomes: dict[Path, RestorationMeasures] = {}
    for (job,), row, (config, network) in zip(plan, rows, loaded, strict=True):
        label = f"{name}, {config.loss}"
        print(f"{label}: measuring {pictures} pictures of {test}", flush=True)
        counted: Any = _Counted(CORRUPTIONS[config.task], label, pictures)
        measured = measure(network, test, counted)
        outcomes[job.path] = RestorationMeasures(
            **vars(measured),
            validation=tuple(row["validation"]),
            training_seconds=row["training_seconds"],
            version=RESTORATION,
            content=folder_digest(test),
            side=None,
        )
        print(f"{label}: mean SSIM {sum(measured.ssim) / len(measured.ssim):.4f}", flush=True)
    complete_result = ExperimentResults(
        experiment=experiment.name,
        title=experiment.title,
        profile=experiment.profile,
        rows=(),
        environment=from_json(Environment, result["environment"]),
        workers=len(plan),
        runs=RunCounts(len(plan), 0),
        seconds=result.get("seconds", 0.0),
        source=experiment.source,
    )
    measured_rows: Result = to_json(experiment.add_results(complete_result, plan, outcomes, root))
    for row, new in zip(rows, measured_rows["rows"], strict=True):
        new.update({key: row[key] for key in ORIGIN if key in row})
    return measured_rows
