"""The verb compare: one model, several losses, side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..base.errors import UsageError
from .many import run_all
from .options import Data, DataRoot, Device, Epochs, Jobs, Model, Settings, Size, app, picture_set, train_config

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..experiments.experiment import Experiment
    from ..experiments.results import ExperimentResults
    from ..reporting.narrative import Narrative

    # what is compared, what is said of it, and what draws it from results and runs
    _Compared = tuple[Experiment[Any], Narrative, Callable[[ExperimentResults, Path], Image] | None]


EXAMPLES = "examples.png"


@app.command()
def compare(
    out: Annotated[Path, typer.Option("--out", help="Folder for runs, results and report.", show_default=False)],
    data: Data = "mnist",
    model: Model = "vae-mlp",
    loss: Annotated[list[str] | None, typer.Option("--loss", help="Repeat for each loss.")] = None,
    a: Annotated[float | None, typer.Option("--a", help="a of log-cosh; the paper's by default.")] = None,
    epochs: Epochs = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1)] = 1,
    size: Size = None,
    jobs: Jobs = None,
    device: Device = None,
    resume: Annotated[bool, typer.Option("--resume", help="Use what --out holds; train what is missing.")] = False,
    settings: Settings = None,
    data_root: DataRoot = None,
    task: Annotated[
        str | None,
        typer.Option(
            "--task",
            help="Compare in restoration instead: text | denoise | impulse | deblur | demosaic | super-resolution",
            show_default=False,
        ),
    ] = None,
    test: Annotated[
        Path | None, typer.Option("--test", help="With --task: folder of pictures to measure on.", show_default=False)
    ] = None,
) -> None:
    """Train one model with several losses and compare them in a table and a report."""
    from ..base import image_grid as pictures
    from ..experiments.results import write_results
    from ..reporting.html import Part, build, png, write_markdown
    from .terminal import console, results_table

    if out.exists() and any(out.iterdir()) and not resume:
        raise UsageError(f"{out} is not empty; add --resume to use what it holds, or choose another --out")
    losses = list(dict.fromkeys(loss or ["l2", "log-cosh"]))
    if a is not None and "log-cosh" not in losses:
        raise UsageError("--a belongs to log-cosh, which is none of the losses")
    if task is None:
        if test is not None:
            raise UsageError("--test belongs to --task; without it, a part of --data is kept to measure on")
        made = _autoencoders(data, model, losses, a, epochs, size, device, settings or [])
    else:
        if size is not None or model != "vae-mlp":
            raise UsageError("--size and --model do not go with --task")
        made = _restoration(data, test, task, losses, a, epochs, device, settings or [])
    experiment, words, draw = made
    (results,) = run_all([experiment], seeds, out / "runs", data_root, jobs)
    write_results(results, out / "results.json")
    drawn = draw(results, out / "runs") if draw else None
    if drawn is not None:
        pictures.save(drawn, out / EXAMPLES)
    parts = [Part(results, words, png(drawn) if drawn else None, None if drawn else out / "runs", file=EXAMPLES)]
    report = build(parts, out / "report.html")
    write_markdown(parts, out / "report.md")
    console().print(results_table(results))
    print(f"report: {report}")


def _autoencoders(
    data: str,
    model: str,
    losses: Sequence[str],
    a: float | None,
    epochs: int | None,
    size: str | None,
    device: str | None,
    settings: list[str],
) -> _Compared:
    from ..base.settings import override
    from ..evaluation.evaluate import evaluation_for
    from ..experiments.autoencoders import AutoencoderExperiment, Row
    from ..paper.reported import reported
    from ..reporting.narrative import NARRATIVE
    from ..reporting.tables import LOSS_NAMES, model_text

    configs = [
        train_config(data, model, name, a if name == "log-cosh" else None, size=size, device=device, epochs=epochs)
        for name in losses
    ]
    rows = tuple(
        Row(override(config, settings), reported(data, model, name))
        for config, name in zip(configs, losses, strict=True)
    )
    title = f"{model_text(model)} on {Path(data).name}: {' against '.join(LOSS_NAMES[name] for name in losses)}"
    evaluation = evaluation_for(configs[0].data.name)
    return AutoencoderExperiment("compare", title, "custom", rows, evaluation, "Tables 1 to 4"), NARRATIVE, None


def _restoration(
    data: str,
    test: Path | None,
    task: str,
    losses: Sequence[str],
    a: float | None,
    epochs: int | None,
    device: str | None,
    settings: list[str],
) -> _Compared:
    from ..base.settings import override, validate_choice
    from ..losses import LOSSES
    from ..paper.restoration_figures import examples
    from ..reporting.restoration_narrative import NARRATIVE
    from ..reporting.tables import LOSS_NAMES
    from ..restoration.config import RestorationConfig, resolve_restoration
    from ..restoration.corruptions import CORRUPTIONS
    from ..restoration.experiment import RestorationExperiment

    validate_choice("--task", task, CORRUPTIONS)
    for name in losses:
        validate_choice("--loss", name, LOSSES)
    if test is None:
        raise UsageError("--task needs --test FOLDER: pictures to measure on, others than those of --data")
    folder = test.resolve()
    if folder == Path(data).resolve():
        raise UsageError(f"--test {test} holds the pictures of --data; what is learnt from cannot be measured on")
    configs = [
        RestorationConfig(picture_set(data), task, name, a if name == "log-cosh" else None, device=device or "cpu")
        for name in losses
    ]
    if epochs is not None:
        configs = [replace(config, epochs=epochs) for config in configs]
    rows = tuple(resolve_restoration(override(config, settings)) for config in configs)
    title = f"{CORRUPTIONS[task].title}, {Path(data).name}: {' against '.join(LOSS_NAMES[name] for name in losses)}"
    experiment = RestorationExperiment("compare", title, "custom", rows, test=folder)
    return experiment, NARRATIVE, lambda results, store: examples(results, task, store, folder)
