"""The stages of `gpu.py`."""

from __future__ import annotations

import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from gpu_session import Session, key_of

from logcosh_vae.base.settings import from_dict, to_dict
from logcosh_vae.bench import gpu
from logcosh_vae.data import data_root, text_removal
from logcosh_vae.experiments.autoencoders import AutoencoderExperiment, AutoencoderJob
from logcosh_vae.experiments.experiment import Preparing
from logcosh_vae.experiments.scheduler import JobState, Workers, run_jobs
from logcosh_vae.paper.figures import FIGURES, figure
from logcosh_vae.paper.registry import EXPERIMENTS
from logcosh_vae.paper.tables import excerpt, table
from logcosh_vae.restoration.config import RestorationConfig
from logcosh_vae.restoration.corruptions import CORRUPTIONS
from logcosh_vae.restoration.evaluation import RestorationJob, measure
from logcosh_vae.restoration.experiment import RestorationExperiment
from logcosh_vae.restoration.network import RestorationNetwork
from logcosh_vae.restoration.training import load_restoration, load_splits, train_restoration
from logcosh_vae.restoration.training import run_name as restoration_name
from logcosh_vae.training.config import resolve
from logcosh_vae.training.loop import make_generator
from logcosh_vae.training.run_folder import RunFolder

REPOSITORY = gpu.__file__.rpartition("/src/")[0]
EVALUATION_SECONDS = 30.0
"""Of a stage's time, for starting workers and measuring their runs."""

STEP_SECONDS = 5e-3
"""Of a step on faces, where it has not been measured."""

RESTORATION_STEP_SECONDS = 8e-3
"""Of a step of restoration on the GPU, while the host prepares nothing."""

RESTORATION_EPOCHS = 4
"""Of the excerpt of figure 10; each is followed by a validation."""


def profile_of(session: Session, name: str = "paper") -> str:
    """The profile that the stage's results have."""
    return "smoke" if session.smoke else name


def tests(session: Session) -> None:
    """The tests that need a GPU; in a smoke run they are collected and skipped."""
    name = "gpu-tests"
    if (known := session.rows(name)) and all(row["outcome"] == "passed" for row in known):
        session.say("done before")
        return
    report = session.runs / "tests.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
    started = time.monotonic()
    try:
        done = subprocess.run(
            [*command, "tests/gpu/test_cuda.py"],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=max(1.0, session.left()),
            check=False,
        )
    except subprocess.TimeoutExpired:
        session.say("not done in time")
        return
    session.say("\n".join(done.stdout.strip().splitlines()[-30:]))
    rows = []
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        found = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        outcome = found[0].replace("failure", "failed") if found else "passed"
        rows.append({"what": case.get("name"), "outcome": outcome, "seconds": float(case.get("time") or 0.0)})
    seconds = round(time.monotonic() - started, 1)
    session.record(name, {"experiment": name, "profile": profile_of(session), "rows": rows, "seconds": seconds})


def speed(session: Session) -> None:
    """Ceilings first, then each row that is missing while there is time."""
    scale = gpu.SMOKE if session.smoke else gpu.Scale()
    _measure(session, scale, gpu.measures(scale, session.device))


def compiled(session: Session) -> None:
    """The loss beside the compiled formula; on a CPU that is left to the tests of the loss."""
    if session.device == "cpu":
        session.say("needs a GPU")
        return
    scale = gpu.SMOKE if session.smoke else gpu.Scale()
    ceilings = {"ceilings": gpu.measures(scale, session.device)["ceilings"]}
    _measure(session, scale, ceilings | gpu.compiled_measures(scale, session.device))


def _measure(session: Session, scale: gpu.Scale, measures: Mapping[str, gpu.Measure]) -> None:
    """Measure and record the rows that are missing, until the deadline."""
    name = "bench-gpu"
    card = torch.cuda.get_device_name() if session.device != "cpu" else None
    # shares of another card's ceilings would say nothing
    rows = {row["what"]: row for row in session.rows(name) if row["accelerator"] == card}
    started = time.monotonic()
    for what, make_row in measures.items():
        if what in rows:
            continue
        session.check_time()
        row = make_row(rows["ceilings"]["rates"] if rows else {})
        rows[what] = row
        session.say(f"{what}: {short(row)}")
        session.record(
            name,
            {
                "experiment": name,
                "profile": profile_of(session),
                "rounds": scale.rounds,
                "rows": [row],
                "seconds": round(time.monotonic() - started, 1),
            },
        )
        if session.device != "cpu":
            torch.cuda.empty_cache()


def short(row: dict[str, Any]) -> str:
    """A row of the speed stage on one line."""
    if "microseconds" in row:
        return ", ".join(f"{name[:40]} {value:.0f} us" for name, value in list(row["microseconds"].items())[:12])
    if "rates" in row:
        return ", ".join(f"{name} {value / 1e12:.3g} T/s" for name, value in row["rates"].items())
    times = ", ".join(f"{name} {1e3 * spread['median']:.4g} ms" for name, spread in row["seconds"].items())
    return f"{times}; share " + ", ".join(f"{name} {share:.2f}" for name, share in row["share"].items())


def _finished(
    experiment: AutoencoderExperiment, plan: Sequence[Sequence[AutoencoderJob]]
) -> tuple[AutoencoderExperiment, list[list[AutoencoderJob]], dict[Any, dict[str, Any]]]:
    """The rows whose runs are done, and what was measured of them."""
    measured = {job.path: done for jobs in plan for job in jobs if (done := job.cached_result()) is not None}
    kept = [number for number, jobs in enumerate(plan) if all(job.path in measured for job in jobs)]
    rows = tuple(experiment.rows[number] for number in kept)
    return replace(experiment, rows=rows), [list(plan[number]) for number in kept], measured


def _keep(session: Session, experiment: AutoencoderExperiment, plan: Sequence[Sequence[AutoencoderJob]]) -> bool:
    """Record the rows that are done; whether all are."""
    finished, done, measured = _finished(experiment, plan)
    if finished.rows:
        result = {
            "experiment": experiment.name,
            "title": experiment.title,
            "profile": experiment.profile,
            "source": experiment.source,
            **finished.results(done, measured, data_root()),
            "workers": session.jobs,
            "seconds": round(time.monotonic() - session.started, 1),
        }
        session.record(f"{experiment.name}-{experiment.profile}", result)
    return len(finished.rows) == len(experiment.rows)


def train_rows(session: Session, experiment: AutoencoderExperiment) -> None:
    """Train and measure the rows that are missing, several at a time, until the deadline."""
    known = {key_of(row) for row in session.rows(f"{experiment.name}-{experiment.profile}")}

    def missing(config: Any) -> bool:
        objective = config.objective
        return (config.data.name, config.model_name, None, objective.loss, objective.a, objective.weight) not in known

    rows = tuple(row for row in experiment.rows if missing(resolve(row.config)))
    if not rows:
        session.say("done before")
        return
    experiment = replace(experiment, rows=rows).on_device(session.device)
    experiment = experiment.prepare(session.runs, data_root(), Preparing())
    plan = experiment.plan(1, session.runs, data_root())
    seen: set[Any] = set()
    told = time.monotonic()

    def watch(states: Sequence[JobState]) -> None:
        nonlocal told
        done = {state.job.path for state in states if state.finished}
        if done - seen:
            seen.update(done)
            session.say(f"{len(done)} of {len(states)} runs done")
            _keep(session, experiment, plan)
        if time.monotonic() - told > 20:
            told = time.monotonic()
            session.say(", ".join(f"{s.position.fraction:.0%}" if s.position else "-" for s in states))
        session.check_time()

    workers = Workers.local(min(session.jobs, len(plan)))
    try:
        run_jobs([job for jobs in plan for job in jobs], workers, watch)
    finally:
        workers.stop()
        _keep(session, experiment, plan)


def draw(session: Session, experiment: AutoencoderExperiment) -> None:
    """A figure of runs that are done here, and its results; nothing where some are missing."""
    experiment = experiment.on_device(session.device)
    experiment = experiment.prepare(session.runs, data_root(), Preparing())
    plan = experiment.plan(1, session.runs, data_root())
    name = f"{experiment.name}-{experiment.profile}"
    if not _keep(session, experiment, plan):
        session.say(f"{experiment.name}: not all of its runs are here")
        return
    session.picture(name, FIGURES[experiment.name].draw(session.results[name], session.runs, data_root()))
    session.say(f"{experiment.name}: drawn")


def table3(session: Session) -> None:
    """All rows on MNIST, and the figures that are drawn from them."""
    profile = profile_of(session)
    train_rows(session, table("table3", profile))
    for name in ("figure2", "figure3", "figure7", "figure9"):
        session.check_time()
        draw(session, figure(name, profile))


def _epochs(session: Session, runs: int, batches: int) -> int:
    """Epochs on faces that the time allows, or those of the rows that are there."""
    for row in session.rows("table4-excerpt"):
        return int(row["config"]["epochs"])
    steps = {row["what"]: row for row in session.rows("bench-gpu")}.get("VAE (Conv), 64x64, batch 100")
    seconds = steps["seconds"][gpu.step.BFLOAT16]["median"] if steps is not None else STEP_SECONDS
    return int(0.75 * (session.left() - EVALUATION_SECONDS) / (runs * batches * seconds))


def table4(session: Session) -> None:
    """As many epochs of the paper's training on faces as the time allows, the same for every row."""
    if session.smoke:
        train_rows(session, table("table4", "smoke"))
        return
    epochs = _epochs(session, runs=6, batches=64)
    if epochs < 4:
        session.say("too little time is left")
        return
    session.say(f"{epochs} epochs of 6,400 faces")
    train_rows(session, excerpt(table("table4", "paper"), epochs))
    for name in ("figure4", "figure5", "figure8"):
        session.check_time()
        draw(session, excerpt(figure(name, "paper"), epochs))


def figure6(session: Session) -> None:
    """The effect of curvature."""
    experiment = figure("figure6", profile_of(session))
    train_rows(session, experiment)
    session.check_time()
    draw(session, experiment)


@dataclass(frozen=True)
class RestorationTraining(RestorationJob):
    """A restoration network that is trained on the GPU; its pictures are measured elsewhere."""

    def cached_result(self) -> dict[str, Any] | None:
        """Validation and seconds of a finished run."""
        folder = RunFolder(self.path)
        if not folder.is_finished(self.config.epochs):
            return None
        records = folder.metrics()
        return {
            "validation": [record["validation"] for record in records],
            "training_seconds": sum(record["seconds"] for record in records),
        }

    def run(self) -> dict[str, Any]:
        """Train."""
        train_restoration(self.config, self.path, resume=True, root=self.root)
        done = self.cached_result()
        assert done is not None
        return done


def _restoration_steps(session: Session, config: RestorationConfig) -> int:
    """Steps that the time allows: corrupting the images on the host takes most of one."""
    corruption, generator = CORRUPTIONS[config.task], make_generator(0, "gpu")
    images = torch.rand(config.batch_size, 3, config.crop_size, config.crop_size)
    corruption.training(images, generator)  # draws the text canvases
    started = time.monotonic()
    for _ in range(10):
        corruption.training(images, generator)
    seconds = (1 + config.targets) * (time.monotonic() - started) / 10 + RESTORATION_STEP_SECONDS
    return int(0.7 * (session.left() - EVALUATION_SECONDS) / seconds)


def _restoration_configs(session: Session) -> list[RestorationConfig]:
    """The rows of figure 10, all for as many steps as the time allows, or as many as those that are known."""
    rows = EXPERIMENTS["figure10"].experiment(profile_of(session)).rows
    if session.smoke:
        return [replace(row, device=session.device) for row in rows]
    steps = next((row["config"]["steps"] for row in session.rows("figure10-excerpt")), None)
    if steps is None:
        steps = _restoration_steps(session, rows[0]) // RESTORATION_EPOCHS
    return [replace(row, epochs=RESTORATION_EPOCHS, steps=steps, device=session.device) for row in rows]


def figure10(session: Session) -> None:
    """Text removal: networks are trained here, and `--merge` measures them on whole pictures."""
    profile = profile_of(session, "excerpt")
    name = f"figure10-{profile}"
    known = {row["loss"] for row in session.rows(name)}
    configs = [config for config in _restoration_configs(session) if config.loss not in known]
    if not configs:
        session.say("done before")
        return
    if configs[0].steps < (1 if session.smoke else 100):
        session.say("too little time is left")
        return
    session.say(f"{configs[0].epochs * configs[0].steps} steps")
    root = data_root()
    images = load_splits(configs[0], root, None)
    jobs = [
        RestorationTraining(config, session.runs / restoration_name(config, *images), root, root)
        for config in map(resolve, configs)
    ]
    kept: set[Path] = set()

    def watch(states: Sequence[JobState]) -> None:
        for state in states:
            if state.finished and state.job.path not in kept:
                kept.add(state.job.path)
                assert isinstance(state.job, RestorationTraining)
                _keep_restoration(session, name, profile, state.job)
        session.check_time()

    workers = Workers.local(min(session.jobs, len(jobs)))
    try:
        run_jobs(jobs, workers, watch)
    finally:
        workers.stop()


def _keep_restoration(session: Session, name: str, profile: str, job: RestorationTraining) -> None:
    """Record a trained network, with its weights in half precision."""
    network, config = load_restoration(job.path)
    weights = {key: value.half().contiguous() for key, value in network.state_dict().items()}
    safetensors.torch.save_file(weights, session.out / f"weights-{name}-{config.loss}.safetensors")
    row = {
        "data": config.data,
        "model": "restoration",
        "task": config.task,
        "loss": config.loss,
        "a": config.a,
        "weight": 1.0,
        "config": to_dict(config),
        **(job.cached_result() or {}),
    }
    session.record(name, {"experiment": "figure10", "profile": profile, "rows": [row]})
    session.say(f"{config.loss}: {row['training_seconds']:.0f} s, {row['validation'][-1]}")


def complete(name: str, result: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Measure the networks of figure 10 on whole pictures, here and in float32; other results are complete."""
    if not name.startswith("figure10"):
        return result
    test, rows = text_removal("test", data_root()), result["rows"]
    configs = [from_dict(RestorationConfig, row["config"]) for row in rows]
    experiment = EXPERIMENTS["figure10"].experiment("paper")
    assert isinstance(experiment, RestorationExperiment)
    experiment = replace(experiment, rows=tuple(configs), profile=result["profile"])
    plan = [
        [RestorationJob(config, folder / f"weights-{name}-{config.loss}.safetensors", data_root(), test)]
        for config in configs
    ]
    outcomes = {}
    for (job,), row in zip(plan, rows, strict=True):
        network = RestorationNetwork(job.config.widths, job.config.blocks)
        network.load_state_dict({key: value.float() for key, value in safetensors.torch.load_file(job.path).items()})
        measured = measure(network.eval(), test, CORRUPTIONS[job.config.task])
        outcomes[job.path] = measured | {key: row[key] for key in ("validation", "training_seconds")}
        print(f"{name}, {job.config.loss}: mean SSIM {sum(measured['ssim']) / len(measured['ssim']):.4f}", flush=True)
    measured_rows = experiment.results(plan, outcomes, data_root())
    for row, new in zip(rows, measured_rows["rows"], strict=True):
        new["accelerator"] = row["accelerator"]
    return {**result, "title": experiment.title, "source": experiment.source, **measured_rows}


STAGES: dict[str, Callable[[Session], None]] = {
    "tests": tests,
    "speed": speed,
    "table3": table3,
    "table4": table4,
    "figure6": figure6,
    "figure10": figure10,
    "compiled": compiled,
}
