"""The verb `compare`: the same network trained with several losses, for autoencoders or for restoration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..base.errors import UsageError
from .experiments import run_all
from .options import (
    A,
    Data,
    DataRoot,
    Device,
    Epochs,
    Jobs,
    Model,
    Scheduler,
    Seeds,
    Settings,
    Size,
    app,
    picture_set,
    train_config,
)
from .report import Report

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..experiments.experiment import Experiment
    from ..experiments.results import ExperimentResults
    from ..reporting.narrative import Narrative


@dataclass(frozen=True)
class _Request:
    """The options that comparisons of autoencoders and of restoration share."""

    data: str
    losses: list[str]
    a: float | None
    epochs: int | None
    device: str | None
    settings: list[str]

    def a_of(self, loss: str) -> float | None:
        return self.a if loss == "log-cosh" else None

    def title(self, subject: str) -> str:
        from ..reporting.tables import LOSS_NAMES

        return f"{subject}: {' against '.join(LOSS_NAMES[loss] for loss in self.losses)}"


@dataclass(frozen=True)
class _Comparison:
    """An experiment with one row per loss, its narrative, and what draws its picture from results and runs folder."""

    experiment: Experiment[Any]
    narrative: Narrative
    draw: Callable[[ExperimentResults, Path], Image | None] = lambda _results, _runs: None


@app.command()
def compare(
    out: Annotated[Path, typer.Option("--out", help="Folder for the runs, results and report.", show_default=False)],
    data: Data = "mnist",
    model: Model = "vae-mlp",
    loss: Annotated[
        list[str] | None,
        typer.Option(
            "--loss",
            metavar="LOSS",
            help="l2 | l1 | log-cosh; repeat for each loss. By default l2 and log-cosh.",
            show_default=False,
        ),
    ] = None,
    a: A = None,
    epochs: Epochs = None,
    seeds: Seeds = 1,
    size: Size = None,
    jobs: Jobs = None,
    scheduler: Scheduler = None,
    device: Device = None,
    resume: Annotated[bool, typer.Option("--resume", help="Reuse the runs in --out; train only what is missing.")] = (
        False
    ),
    settings: Settings = None,
    data_root: DataRoot = None,
    task: Annotated[
        str | None,
        typer.Option(
            "--task",
            help="Compare restoration networks instead, for: text | denoise | impulse | deblur | demosaic | "
            "super-resolution",
            show_default=False,
        ),
    ] = None,
    test: Annotated[
        Path | None,
        typer.Option("--test", help="With --task: folder of pictures to evaluate on.", show_default=False),
    ] = None,
) -> None:
    """Train one model with several losses and compare them.

    Prints a table and writes results.json, report.html and report.md.
    """
    if out.exists() and any(out.iterdir()) and not resume:
        raise UsageError(f"{out} is not empty; add --resume to reuse the runs in it, or choose another --out")
    losses = list(dict.fromkeys(loss or ["l2", "log-cosh"]))
    if a is not None and "log-cosh" not in losses:
        raise UsageError(
            "--a belongs to log-cosh, which is not one of the losses; add --loss log-cosh or leave out --a"
        )
    request = _Request(data, losses, a, epochs, device, settings or [])
    if task is None:
        if test is not None:
            raise UsageError("--test needs --task; autoencoders are evaluated on the test split of --data")
        comparison = _autoencoders(request, model, size)
    else:
        if size is not None or model != "vae-mlp":
            raise UsageError("--size and --model cannot be used with --task")
        comparison = _restoration(request, task, test)
    runs = out / "runs"
    report = Report(runs=runs)
    for results in run_all([comparison.experiment], seeds, runs, data_root, jobs, scheduler):
        report.add(
            results,
            comparison.narrative,
            out / "results.json",
            out / "examples.png",
            partial(comparison.draw, results, runs),
        )
    report.write(out / "report.html")


def _autoencoders(request: _Request, model: str, size: str | None) -> _Comparison:
    from ..base.settings import override
    from ..evaluation.evaluate import evaluation_for
    from ..experiments.autoencoders import AutoencoderExperiment, Row
    from ..paper.reported import reported
    from ..reporting.narrative import NARRATIVE
    from ..reporting.tables import model_text

    data = request.data
    configs = {
        loss: train_config(
            data, model, loss, request.a_of(loss), size=size, device=request.device, epochs=request.epochs
        )
        for loss in request.losses
    }
    rows = tuple(
        Row(override(config, request.settings), reported(data, model, loss)) for loss, config in configs.items()
    )
    evaluation = evaluation_for(rows[0].config.data.name)
    title = request.title(f"{model_text(model)} on {Path(data).name}")
    experiment = AutoencoderExperiment("compare", title, "custom", rows, evaluation, "Tables 1 to 4")
    return _Comparison(experiment, NARRATIVE)


def _restoration(request: _Request, task: str, test: Path | None) -> _Comparison:
    from ..base.settings import override, validate_choice
    from ..losses import LOSSES
    from ..paper.restoration_figures import examples
    from ..reporting.restoration_narrative import NARRATIVE
    from ..restoration.config import RestorationConfig, resolve_restoration
    from ..restoration.corruptions import CORRUPTIONS
    from ..restoration.experiment import RestorationExperiment

    validate_choice("--task", task, CORRUPTIONS)
    for loss in request.losses:
        validate_choice("--loss", loss, LOSSES)
    if test is None:
        raise UsageError("--task needs --test FOLDER: pictures to evaluate on that are not in --data")
    folder = test.resolve()
    if folder == Path(request.data).resolve():
        raise UsageError(f"--test {test} is the same folder as --data; evaluate on pictures that are not trained on")
    data, device = picture_set(request.data), request.device or "cpu"
    configs = [RestorationConfig(data, task, loss, request.a_of(loss), device=device) for loss in request.losses]
    if request.epochs is not None:
        configs = [replace(config, epochs=request.epochs) for config in configs]
    rows = tuple(resolve_restoration(override(config, request.settings)) for config in configs)
    title = request.title(f"{CORRUPTIONS[task].title}, {Path(request.data).name}")
    experiment = RestorationExperiment("compare", title, "custom", rows, test=folder)
    return _Comparison(experiment, NARRATIVE, lambda results, runs: examples(results, task, runs, folder))
