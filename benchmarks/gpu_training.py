"""The stages of `gpu.py` that train autoencoders: tables 3 and 4, figure 6, and the figures drawn from their runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gpu_runs import EVALUATION_SECONDS, name_of, preparing, result_of, run_all
from gpu_session import Session

from logcosh_vae.base.environment import describe
from logcosh_vae.base.errors import UserError
from logcosh_vae.base.files import one_line
from logcosh_vae.base.records import to_json
from logcosh_vae.base.settings import from_dict
from logcosh_vae.bench import step
from logcosh_vae.bench.gpu_results import BENCH, Key, key_of, key_of_config
from logcosh_vae.data import count_images, data_root, load_images
from logcosh_vae.evaluation.features import load_extractor
from logcosh_vae.experiments.autoencoders import AutoencoderExperiment, AutoencoderJob, Row
from logcosh_vae.experiments.results import ExperimentResults, RunCounts
from logcosh_vae.models.networks import ImageShape
from logcosh_vae.paper.figures import FIGURES, figure
from logcosh_vae.paper.registry import EXPERIMENTS
from logcosh_vae.paper.tables import excerpt, table
from logcosh_vae.training.autoencoder import split
from logcosh_vae.training.config import TrainConfig, required, resolve

STEP_SECONDS = {"mlp": 4e-4, "conv": 2.5e-3, "conv, faces": 5e-3}
"""Of a training step, where it has not been measured."""

STUDY_SEEDS = 3

STUDY_RUN_SECONDS = 15.0
"""Of a run of the study of likelihoods beside others; a guess, because none has been measured yet."""

LEAST_EPOCHS = 4
"""An excerpt of fewer epochs would say nothing."""


def _identity(key: Key, config: TrainConfig) -> tuple[object, ...]:
    """A row's key, and what else must agree for it to be the declared one."""
    return key, config.epochs, config.model, config.optimizer


def _recorded(row: Mapping[str, Any]) -> tuple[object, ...] | None:
    """The identity of a row of a result; None if its config is of another version, so that it is trained again."""
    try:
        return _identity(key_of(row), from_dict(TrainConfig, row["config"]))
    except (UserError, AttributeError, KeyError, TypeError):
        return None


def missing_rows(session: Session, experiment: AutoencoderExperiment, seeds: int = 1) -> tuple[Row, ...]:
    """The rows that are not known yet, or only with other networks, another optimizer, fewer epochs or fewer seeds."""
    rows = [row for row in session.rows(_name(experiment)) if len(row.get("seeds") or ()) >= seeds]
    known = {identity for row in rows if (identity := _recorded(row)) is not None}
    declared = ((row, resolve(row.config)) for row in experiment.rows)
    return tuple(row for row, config in declared if _identity(key_of_config(config), config) not in known)


def _name(experiment: AutoencoderExperiment) -> str:
    return f"{experiment.name}-{experiment.profile}"


def _planned(
    session: Session, experiment: AutoencoderExperiment, seeds: int = 1
) -> tuple[AutoencoderExperiment, list[list[AutoencoderJob]]]:
    """The experiment on the session's device, prepared, and its jobs."""
    root = data_root()
    experiment = experiment.on_device(session.device).prepare(session.runs, root, preparing(session))
    return experiment, experiment.plan(range(seeds), session.runs, root)


class _Recorder:
    """Records the finished rows of an experiment; called again and again while its runs go on."""

    def __init__(
        self, session: Session, experiment: AutoencoderExperiment, plan: Sequence[Sequence[AutoencoderJob]]
    ) -> None:
        self._session, self._experiment, self._plan = session, experiment, plan
        self._measured: dict[Path, Any] = {}
        self._recorded = 0

    def finished(self) -> list[int]:
        """The numbers of the rows whose runs are done."""
        for job in (job for jobs in self._plan for job in jobs if job.path not in self._measured):
            if (done := result_of(self._session, job)) is not None:
                self._measured[job.path] = done
        return [number for number, jobs in enumerate(self._plan) if all(job.path in self._measured for job in jobs)]

    def result(self, numbers: Sequence[int]) -> ExperimentResults:
        """These rows as a result."""
        experiment = replace(self._experiment, rows=tuple(self._experiment.rows[number] for number in numbers))
        plan = [list(self._plan[number]) for number in numbers]
        result = ExperimentResults(
            experiment=experiment.name,
            title=experiment.title,
            profile=experiment.profile,
            rows=(),
            environment=describe(),
            workers=self._session.jobs,
            runs=RunCounts(len(plan), 0),
            seconds=0.0,
            source=experiment.source,
        )
        return experiment.add_results(result, plan, self._measured, data_root())

    def __call__(self) -> None:
        """Record what is new; where a row spoils that, the others one by one."""
        numbers = self.finished()
        if len(numbers) == self._recorded:
            return
        name = _name(self._experiment)
        try:
            self._session.record(name, to_json(self.result(numbers)))
        except Exception:
            for number in numbers:
                try:
                    self._session.record(name, to_json(self.result([number])))
                except Exception as error:
                    self._session.failed = True
                    label = name_of(self._plan[number][0])
                    self._session.say_once(f"{name}: left out {label}: {type(error).__name__}: {one_line(error)}")
        self._recorded = len(numbers)


def train_rows(session: Session, experiment: AutoencoderExperiment, seeds: int = 1) -> None:
    """Train and measure the rows that are missing, several at a time, until the deadline."""
    rows = missing_rows(session, experiment, seeds)
    if not rows:
        session.say(f"{experiment.name}: done before")
        return
    experiment, plan = _planned(session, replace(experiment, rows=rows), seeds)
    run_all(session, [job for jobs in plan for job in jobs], _Recorder(session, experiment, plan))


def draw(session: Session, experiment: AutoencoderExperiment) -> None:
    """Draw a figure and record its rows, if all of its runs are in `--runs`; else note how many are missing."""
    name = _name(experiment)
    if session.has_picture(name) and not missing_rows(session, experiment):
        session.say(f"{experiment.name}: drawn before")
        return
    session.check_time()
    experiment, plan = _planned(session, experiment)
    recorder = _Recorder(session, experiment, plan)
    numbers = recorder.finished()
    if len(numbers) < len(plan):
        reason = f"{len(plan) - len(numbers)} of its {len(plan)} runs are not in {session.runs}"
        session.not_drawn[experiment.name] = reason
        session.say(f"{experiment.name}: not drawn, {reason}")
        return
    result = recorder.result(numbers)
    picture = FIGURES[experiment.name].draw(result, session.runs, data_root())
    session.record(name, to_json(result))
    session.picture(name, picture)
    session.say(f"{experiment.name}: drawn")


def _draw_all(session: Session, experiments: Sequence[AutoencoderExperiment]) -> None:
    for experiment in experiments:
        session.check_time()
        draw(session, experiment)


def _count(session: Session, experiment: AutoencoderExperiment, seeds: int = 1) -> tuple[int, int]:
    return len(experiment.rows) - len(missing_rows(session, experiment, seeds)), len(experiment.rows)


def step_seconds(session: Session, network: str, shape: ImageShape) -> float:
    """Seconds of a training step at batch 100: measured on any card, or assumed."""
    name = f"VAE ({'MLP' if network == 'mlp' else 'Conv'}), {shape[1]}x{shape[2]}, batch 100"
    rows = {row["what"]: row for row in session.rows(session.name(BENCH))}
    if name not in rows:
        return STEP_SECONDS[network if shape[0] == 1 else "conv, faces"]
    seconds = rows[name]["seconds"]
    return float(seconds[step.BFLOAT16 if step.BFLOAT16 in seconds else step.OURS]["median"])


def _estimate(session: Session, experiment: AutoencoderExperiment) -> float:
    """Seconds for the missing rows of digits; runs that share a card take turns on it."""
    rows = [resolve(row.config) for row in missing_rows(session, experiment)]
    if not rows:
        return 0.0
    images = rows[0].data.limit or 60_000
    steps = [required(c.epochs, "epochs") * images / c.batch_size for c in rows]
    times = [step_seconds(session, config.model.network, (1, 28, 28)) for config in rows]
    return EVALUATION_SECONDS + sum(count * seconds for count, seconds in zip(steps, times, strict=True))


def count_table3(session: Session) -> tuple[int, int]:
    """Rows of table 3 that are known, and all."""
    return _count(session, table("table3", session.profile()))


def estimate_table3(session: Session) -> float:
    """Seconds for the rest of table 3."""
    return _estimate(session, table("table3", session.profile()))


def table3(session: Session) -> None:
    """All rows on MNIST, and the figures that are drawn from them."""
    profile = session.profile()
    train_rows(session, table("table3", profile))
    _draw_all(session, [figure(name, profile) for name in ("figure2", "figure3", "figure7", "figure9")])


def _epochs(session: Session) -> int:
    """Epochs on faces that the time allows for all rows of table 4."""
    rows = table("table4", "paper").rows
    config = resolve(rows[0].config)
    images = len(split(config, "train", data_root(), progress=preparing(session).on_images).images)
    epoch = len(rows) * (images // config.batch_size) * step_seconds(session, "conv", (3, 64, 64))
    epochs = int(0.75 * (session.left() - EVALUATION_SECONDS) / epoch)
    return epochs if epochs >= LEAST_EPOCHS else 0


def _table4(session: Session, epochs: int) -> AutoencoderExperiment:
    return table("table4", "smoke") if session.smoke else excerpt(table("table4", "paper"), epochs)


def _chosen_epochs(session: Session, choose: Callable[[], int] = lambda: 0) -> int:
    return session.chosen("table4 epochs", "table4-excerpt", "epochs", choose)


def count_table4(session: Session) -> tuple[int, int]:
    """Rows of table 4 that are known with the excerpt's epochs, and all."""
    return _count(session, _table4(session, 1 if session.smoke else _chosen_epochs(session) or 1))


def estimate_table4(session: Session) -> float:
    """Seconds for the rest: nothing, or what time there is; a smoke run's networks train in seconds."""
    had, wanted = count_table4(session)
    return 0.0 if had == wanted else EVALUATION_SECONDS if session.smoke else float("inf")


def table4(session: Session) -> None:
    """As many epochs of the paper's training on faces as the time allows, the same for every row."""
    if session.smoke:
        train_rows(session, table("table4", "smoke"))
        return
    epochs = _chosen_epochs(session, lambda: _epochs(session))
    if not epochs:
        session.say(f"too little time is left for {LEAST_EPOCHS} epochs of all rows")
        return
    session.say(f"{epochs} epochs")
    train_rows(session, _table4(session, epochs))
    _draw_all(session, [excerpt(figure(name, "paper"), epochs) for name in ("figure4", "figure5", "figure8")])


def count_figure6(session: Session) -> tuple[int, int]:
    """Rows of figure 6 that are known, and all."""
    return _count(session, figure("figure6", session.profile()))


def estimate_figure6(session: Session) -> float:
    """Seconds for the rest of figure 6."""
    return _estimate(session, figure("figure6", session.profile()))


def figure6(session: Session) -> None:
    """The effect of curvature."""
    experiment = figure("figure6", session.profile())
    train_rows(session, experiment)
    draw(session, experiment)


def _likelihood(session: Session) -> tuple[AutoencoderExperiment, int]:
    """The study of learned likelihoods on faces, and its number of seeds."""
    experiment = EXPERIMENTS["likelihood-faces"].experiment(session.profile("laptop"))
    assert isinstance(experiment, AutoencoderExperiment)
    return experiment, 1 if session.smoke else STUDY_SEEDS


def count_likelihood(session: Session) -> tuple[int, int]:
    """Rows of the study that are known with all of its seeds, and all."""
    return _count(session, *_likelihood(session))


def estimate_likelihood(session: Session) -> float:
    """Seconds for the rest of the study."""
    had, wanted = count_likelihood(session)
    seeds = _likelihood(session)[1]
    return 0.0 if had == wanted else EVALUATION_SECONDS + STUDY_RUN_SECONDS * seeds * (wanted - had)


def likelihood(session: Session) -> None:
    """The study of learned likelihoods on faces, row by row with all seeds."""
    train_rows(session, *_likelihood(session))


def needs_mnist(session: Session) -> list[str]:
    """What is missing to train on MNIST and to measure it."""
    return _needs(session, "mnist", (1, 28, 28), "table3-paper")


def needs_faces(session: Session) -> list[str]:
    """What is missing to train on faces and to measure them."""
    return _needs(session, "celeba", (3, 64, 64), "table4-excerpt")


def _needs(session: Session, data: str, shape: ImageShape, name: str) -> list[str]:
    """Images and features that are missing, or that rows already committed were not measured in."""
    try:
        if data == "mnist":
            for part in ("train", "test"):
                load_images(data, part, root=data_root(), fetch=False)
        else:
            count_images(data, data_root())
        extractor = None if session.smoke else load_extractor(data, shape, data_root())
    except UserError as error:
        return [one_line(error)]
    committed = session.committed(name)
    if extractor is None or committed is None or committed["features"]["fingerprint"] == extractor.fingerprint:
        return []
    return [
        f"results/{name}.json was measured in features {committed['features']['fingerprint']}, and these are "
        f"{extractor.fingerprint}: copy the former into {data_root() / 'features'}"
    ]
