"""The verb `compare`: the same network trained with several losses, for autoencoders or for restoration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..base.errors import UsageError
from .experiments import run_all, track_runs
from .json_option import with_json
from .options import (
    WITH_AUTO,
    A,
    Data,
    DataRoot,
    Device,
    Epochs,
    Jobs,
    LikelihoodChoice,
    Model,
    Scheduler,
    Seeds,
    Settings,
    Size,
    Tiles,
    Track,
    a_for,
    app,
    check_a,
    fitted_priors,
    likelihood_for,
    picture_set,
    trackers,
    train_config,
)
from .report import NO_FEATURES, Report
from .streams import tell

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..experiments.autoencoders import Row
    from ..experiments.experiment import Experiment
    from ..experiments.results import ExperimentResults
    from ..reporting.narrative import Narrative
    from ..training.config import TrainConfig


Out = Annotated[Path, typer.Option("--out", help="Folder for the runs, results and report.", show_default=False)]
Losses = Annotated[
    list[str] | None,
    typer.Option(
        "--loss",
        metavar="LOSS",
        help=f"{WITH_AUTO}. Repeat for each loss. By default l2 and log-cosh.",
        show_default=False,
    ),
]
FittedPrior = Annotated[
    str | None,
    typer.Option(
        "--prior",
        help="Measure samples of fitted densities as well: standard (the prior alone) | gaussian | mixture | all. By "
        "default mixture if a likelihood is learned, else standard.",
        show_default=False,
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Reuse the runs in --out; train only what is missing.")]
Task = Annotated[
    str | None,
    typer.Option(
        "--task",
        help="Compare restoration networks instead, for: text | denoise | impulse | deblur | demosaic | "
        "super-resolution; by default autoencoders.",
        show_default=False,
    ),
]
Test = Annotated[
    Path | None,
    typer.Option("--test", help="With --task, required: folder of pictures to evaluate on.", show_default=False),
]


@dataclass(frozen=True)
class _Request:
    """The options that decide what is compared."""

    data: str
    model: str
    losses: list[str]
    a: float | None
    epochs: int | None
    size: str | None
    device: str | None
    settings: list[str]
    task: str | None
    test: Path | None
    likelihood: str | None = None
    prior: str | None = None
    tiles: bool = False


@dataclass(frozen=True)
class _Comparison:
    """An experiment with one row per loss, its narrative, and what draws its picture from results and runs folder."""

    experiment: Experiment[Any]
    narrative: Narrative
    draw: Callable[[ExperimentResults, Path], Image | None] = lambda _results, _runs: None


@app.command()
@with_json
def compare(
    out: Out,
    data: Data = "mnist",
    model: Model = "vae-mlp",
    loss: Losses = None,
    a: A = None,
    likelihood: LikelihoodChoice = None,
    prior: FittedPrior = None,
    epochs: Epochs = None,
    seeds: Seeds = 1,
    size: Size = None,
    tiles: Tiles = False,
    jobs: Jobs = None,
    scheduler: Scheduler = None,
    device: Device = None,
    resume: Resume = False,
    settings: Settings = None,
    track: Track = None,
    data_root: DataRoot = None,
    task: Task = None,
    test: Test = None,
) -> None:
    """Train one model with several losses and compare them.

    Prints a table and writes results.json, report.html and report.md. Models that are trained already are shown side by
    side by 'logcosh-vae explore'.
    """
    if out.exists() and any(out.iterdir()) and not resume:
        raise UsageError(f"{out} is not empty; add --resume to reuse the runs in it, or choose another --out")
    tracker_names = trackers(track)
    losses = list(dict.fromkeys(loss or ["l2", "log-cosh"]))
    request = _Request(
        data, model, losses, a, epochs, size, device, settings or [], task, test, likelihood, prior, tiles
    )
    comparison = _comparison(request)
    runs = out / "runs"
    report = Report(runs=runs)
    for results in run_all([comparison.experiment], range(seeds), runs, data_root, jobs, scheduler):
        draw = partial(comparison.draw, results, runs)
        report.add(results, comparison.narrative, out / "results.json", out / "examples.png", draw)
        if task is None and results.features is None:
            tell(f"note: {NO_FEATURES}")
        track_runs([runs / name for row in results.rows for name in row.runs], tracker_names)
    report.write(out / "report.html")


def _comparison(request: _Request) -> _Comparison:
    """Check the options that depend on each other, and return what they ask for."""
    check_a(request.losses, request.a, takes_auto=request.task is None)
    if request.task is None:
        if request.test is not None:
            raise UsageError("--test needs --task; autoencoders are evaluated on the test split of --data")
        return _autoencoders(request)
    if request.size is not None or request.model != "vae-mlp" or request.tiles:
        raise UsageError("--size, --tiles and --model cannot be used with --task")
    if request.likelihood is not None or request.prior is not None:
        raise UsageError("--likelihood and --prior cannot be used with --task; they belong to autoencoders")
    if request.test is None:
        raise UsageError("--task needs --test FOLDER: pictures to evaluate on that are not in --data")
    return _restoration(request, request.task, request.test.resolve())


def _autoencoders(request: _Request) -> _Comparison:
    from ..evaluation.evaluate import evaluation_for
    from ..experiments.autoencoders import AutoencoderExperiment, Row
    from ..paper.reported import reported, reported_for
    from ..reporting.labels import loss_text, model_text
    from ..reporting.narrative import NARRATIVE

    data, model, configs = request.data, request.model, _configs(request)
    rows = tuple(Row(config, reported_for(config)) for config in configs)
    if any(not row.reported and reported(data, model, row.config.objective.loss) for row in rows if _is_fixed(row)):
        tell("note: these settings are not the paper's, so its values are not shown")
    evaluation = evaluation_for(configs[0].data.name, priors=_priors(request, configs))
    losses = [loss_text(config.objective.loss, likelihood=config.objective.likelihood) for config in configs]
    title = _title(f"{model_text(model)} on {Path(data).name}", losses)
    experiment = AutoencoderExperiment("compare", title, "custom", rows, evaluation, "Tables 1 to 4")
    return _Comparison(experiment, NARRATIVE)


def _configs(request: _Request) -> list[TrainConfig]:
    """The resolved configuration of each loss, without duplicates: two names can stand for the same setting."""
    from ..base.settings import override
    from ..training.config import resolve

    configs = [
        train_config(
            request.data,
            request.model,
            loss,
            a_for(loss, request.a),
            likelihood=likelihood_for(loss, request.likelihood),
            size=request.size,
            tiles=request.tiles,
            device=request.device,
            epochs=request.epochs,
        )
        for loss in request.losses
    ]
    return list(dict.fromkeys(resolve(override(config, request.settings)) for config in configs))


def _is_fixed(row: Row) -> bool:
    return row.config.objective.likelihood is None


def _priors(request: _Request, configs: Sequence[TrainConfig]) -> tuple[str, ...] | None:
    """The densities that the codes of every run are fitted with; None for none."""
    from ..training.defaults import RECOMMENDED

    if request.prior is not None:
        return fitted_priors(request.prior)
    is_learned = any(config.objective.likelihood is not None for config in configs)
    return fitted_priors(RECOMMENDED.prior) if is_learned else None


def _title(subject: str, losses: Sequence[str]) -> str:
    return f"{subject}: {' against '.join(losses)}"


def _restoration(request: _Request, task: str, folder: Path) -> _Comparison:
    from ..base.settings import override, validate_choice
    from ..paper.restoration_figures import examples
    from ..reporting.labels import LOSS_NAMES
    from ..reporting.restoration_narrative import NARRATIVE
    from ..restoration.config import RestorationConfig, resolve_restoration
    from ..restoration.corruptions import CORRUPTIONS
    from ..restoration.experiment import RestorationExperiment

    validate_choice("--task", task, CORRUPTIONS)
    if folder == Path(request.data).resolve():
        raise UsageError(f"--test {folder} is the same folder as --data; evaluate on pictures that are not trained on")
    data, device = picture_set(request.data), "cpu" if request.device is None else request.device
    configs = [RestorationConfig(data, task, loss, a_for(loss, request.a), device=device) for loss in request.losses]
    if request.epochs is not None:
        configs = [replace(config, epochs=request.epochs) for config in configs]
    rows = tuple(resolve_restoration(override(config, request.settings)) for config in configs)
    subject = f"{CORRUPTIONS[task].title}, {Path(request.data).name}"
    title = _title(subject, [LOSS_NAMES[loss] for loss in request.losses])
    experiment = RestorationExperiment("compare", title, "custom", rows, test=folder)
    return _Comparison(experiment, NARRATIVE, lambda results, runs: examples(results, task, runs, folder))
