"""Verbs about many runs: compare, reproduce."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import (
    Data,
    DataRoot,
    Device,
    Epochs,
    Jobs,
    Model,
    Overwrite,
    Profile,
    Settings,
    Size,
    UsageError,
    app,
    picture_set,
    train_config,
)

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..experiments import Experiment
    from ..jobs import Workers
    from ..words import Words

    # what is compared, what is said of it, and what draws it from results and runs
    _Compared = tuple[Experiment[Any], Words, Callable[[Mapping[str, Any], Path], Image] | None]


def _prepare(experiment: Experiment[Any], store: Path, data_root: Path) -> Experiment[Any]:
    """Fetch and prepare images once, with progress, before worker processes look for them; train missing features."""
    from ..experiments import Preparing
    from ..running import Watch
    from ..terminal import FetchDisplay, TrainingDisplay

    fetching, training = FetchDisplay(), TrainingDisplay()

    def watch(name: str) -> Watch:
        fetching.close()
        print(f"{name}: training the classifier whose features the FID is measured in", flush=True)
        return Watch(training.step, training.epoch)

    try:
        return experiment.prepare(store, data_root, Preparing(fetching, watch))
    finally:
        fetching.close()


@contextmanager
def _workers(jobs: int | None, scheduler: str | None, wanted: int, store: Path) -> Iterator[Workers]:
    """Workers that end at once when something goes wrong or the user stops."""
    from ..jobs import Workers, default_jobs

    workers = Workers.cluster(scheduler) if scheduler else Workers.local(min(jobs or default_jobs(), max(1, wanted)))
    try:
        yield workers
    except BaseException as error:
        workers.stop()
        if isinstance(error, KeyboardInterrupt):
            print(f"stopped; the same command goes on with what is in {store}", file=sys.stderr)
        raise
    workers.stop(wait_for_them=True)


def _run(
    experiments: Sequence[Experiment[Any]],
    seeds: int,
    store: Path,
    data_root: Path | None,
    jobs: int | None,
    scheduler: str | None = None,
) -> Iterator[dict[str, Any]]:
    """The results of experiments, whose runs are all done first, several at a time and none twice."""
    from ..data import data_root as find_root
    from ..experiments import jobs_of, run_experiment
    from ..jobs import run_jobs
    from ..terminal import ExperimentDisplay

    # workers on other machines have another folder and environment
    store, data_root = store.resolve(), find_root(data_root).resolve()
    ready = [_prepare(experiment, store, data_root) for experiment in experiments]
    wanted = [job for experiment in ready for job in jobs_of(experiment, seeds, store, data_root)]
    display = ExperimentDisplay()
    with _workers(jobs, scheduler, len(wanted), store) as workers:
        try:
            if len(ready) > 1:
                run_jobs(wanted, workers, display)
            for experiment in ready:
                yield run_experiment(
                    experiment, seeds=seeds, store=store, workers=workers, root=data_root, watch=display
                )
        finally:
            display.close()


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
    from .. import images as pictures
    from ..experiments import write_results
    from ..report import Part, build, png, write_markdown
    from ..terminal import console, results_table

    if out.exists() and any(out.iterdir()) and not resume:
        raise UsageError(f"{out} is not empty; add --resume to use what it holds, or choose another --out")
    losses = list(dict.fromkeys(loss or ["l2", "log-cosh"]))
    if task is None:
        if test is not None:
            raise UsageError("--test belongs to --task; without it, a part of --data is kept to measure on")
        made = _autoencoders(data, model, losses, a, epochs, size, device, settings or [])
    else:
        if size is not None or model != "vae-mlp":
            raise UsageError("--size and --model do not go with --task")
        made = _restoration(data, test, task, losses, a, epochs, device, settings or [])
    experiment, words, draw = made
    (results,) = _run([experiment], seeds, out / "runs", data_root, jobs)
    write_results(results, out / "results.json")
    drawn = draw(results, out / "runs") if draw else None
    if drawn is not None:
        pictures.save(drawn, out / "examples.png")
    parts = [Part(results, words, png(drawn) if drawn else None, None if drawn else out / "runs")]
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
    from ..autoencoder_experiments import AutoencoderExperiment, Row
    from ..config import override
    from ..evaluation import evaluation_for
    from ..paper.reported import reported
    from ..presentation import LOSS_NAMES, model_text
    from ..words import WORDS

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
    return AutoencoderExperiment("compare", title, "custom", rows, evaluation, "Tables 1 to 4"), WORDS, None


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
    from ..config import choose, override
    from ..losses import LOSSES
    from ..paper.restoration_drawing import examples
    from ..presentation import LOSS_NAMES
    from ..restoration.corruptions import CORRUPTIONS
    from ..restoration.experiment import RestorationExperiment
    from ..restoration.learning import RestorationConfig, resolved
    from ..restoration.words import WORDS

    choose("--task", task, CORRUPTIONS)
    for name in losses:
        choose("--loss", name, LOSSES)
    if test is None:
        raise UsageError("--task needs --test FOLDER: pictures to measure on, others than those of --data")
    folder = test.resolve()
    configs = [
        RestorationConfig(picture_set(data), task, name, a if name == "log-cosh" else None, device=device or "cpu")
        for name in losses
    ]
    if epochs is not None:
        configs = [replace(config, epochs=epochs) for config in configs]
    rows = tuple(resolved(override(config, settings)) for config in configs)
    title = f"{CORRUPTIONS[task].title}, {Path(data).name}: {' against '.join(LOSS_NAMES[name] for name in losses)}"
    experiment = RestorationExperiment("compare", title, "custom", rows, test=folder)
    return experiment, WORDS, lambda results, store: examples(results, task, store, folder)


@app.command()
def reproduce(
    name: Annotated[
        str, typer.Argument(help="table1 ... table4 | figure1 ... figure11 | all | restoration | restoration-a")
    ],
    profile: Annotated[Profile, typer.Option("--profile")] = Profile.laptop,
    seeds: Annotated[int, typer.Option("--seeds", min=1)] = 1,
    model: Annotated[
        list[str] | None, typer.Option("--model", help="Only the rows of this model; repeatable.", show_default=False)
    ] = None,
    jobs: Jobs = None,
    scheduler: Annotated[
        str | None,
        typer.Option("--scheduler", help="Run on a Dask cluster, e.g. tcp://HOST:8786.", show_default=False),
    ] = None,
    device: Device = None,
    runs: Annotated[Path, typer.Option("--runs", help="Where runs are kept and found again.")] = Path("runs"),
    results: Annotated[Path, typer.Option("--results", help="Where NAME-PROFILE.json goes.")] = Path("results"),
    overwrite: Overwrite = False,
    data_root: DataRoot = None,
) -> None:
    """Run a table or a figure of the paper, or all; writes results/NAME-PROFILE.json and a report."""
    from .. import images as pictures
    from ..config import choose
    from ..experiments import write_results
    from ..paper.registry import ALL, EXPERIMENTS
    from ..report import Part, build, png, write_markdown
    from ..terminal import console, results_table

    choose("experiment", name, (*EXPERIMENTS, "all"))
    names = ALL if name == "all" else [name]
    wanted = [_wanted(EXPERIMENTS[each].experiment(profile), model, device) for each in names]
    for folder in (runs, results):  # so that what cannot be written to is known before anything is trained
        folder.mkdir(parents=True, exist_ok=True)
    for each in wanted:
        _check_smaller(results / f"{each.name}-{profile}.json", each, seeds, overwrite)
    parts = []
    for obtained in _run(wanted, seeds, runs, data_root, jobs, scheduler):
        declared = EXPERIMENTS[obtained["experiment"]]
        path = results / f"{obtained['experiment']}-{profile}.json"
        write_results(obtained, path)
        drawn = declared.draw(obtained, runs, data_root) if declared.draw else None
        if drawn is not None:
            pictures.save(drawn, runs / f"{obtained['experiment']}-{profile}.png")
        shown = runs if drawn is None and name != "all" else None
        parts.append(Part(obtained, declared.words, png(drawn) if drawn else None, shown, declared.table))
        if declared.table:
            console().print(results_table(obtained))
        for sentence in declared.words.findings(obtained) if obtained["rows"] else []:
            print(f"- {sentence}")
        print(f"results: {path}" + (f"\npicture: {runs / path.stem}.png" if drawn else ""), flush=True)
    title = f"Every table and figure of the paper, profile “{profile}”" if name == "all" else None
    report = build(parts, runs / f"{name}-{profile}.html", title)
    print(f"report: {report}\nthe same as Markdown: {write_markdown(parts, report.with_suffix('.md'), title)}")


def _wanted(experiment: Experiment[Any], models: list[str] | None, device: str | None) -> Experiment[Any]:
    """The experiment with the rows of some models only, on a device."""
    from ..config import choose

    known = experiment.models()
    for wanted in models or []:
        choose(f"--model for {experiment.name}", wanted, known or ["none, it needs no training"])
    if models:
        experiment = experiment.only(models)
    return experiment.on_device(device) if device else experiment


def _check_smaller(path: Path, experiment: Experiment[Any], seeds: int, overwrite: bool) -> None:
    """Refuse to replace results by fewer rows or seeds."""
    from ..files import DamagedJsonError, read_json

    if overwrite or not path.exists():
        return
    try:
        there = read_json(path)["rows"]
    except (DamagedJsonError, KeyError, TypeError):
        raise UsageError(f"{path} is damaged; add --overwrite or use --results") from None
    if len(there) > len(experiment.rows) or (there and len(there[0].get("seeds", ())) > seeds):
        raise UsageError(f"{path} holds more rows or more seeds than this gives; add --overwrite or use --results")
