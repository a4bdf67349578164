"""Verbs about many runs: compare, reproduce."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import Data, DataRoot, Epochs, Jobs, Model, Overwrite, Profile, Settings, UsageError, app, train_config

if TYPE_CHECKING:
    from ..experiments import Experiment


def _fetch(names: set[str], data_root: Path | None) -> None:
    """Fetch once, with progress, before worker processes each look for the images."""
    from ..data import load_images
    from ..terminal import FetchDisplay

    display = FetchDisplay()
    for name in sorted(names):
        load_images(name, "train", root=data_root, progress=display)
        load_images(name, "test", root=data_root, progress=display)
    display.close()


def _run_experiment(
    experiment: Experiment, seeds: int, jobs: int | None, store: Path, data_root: Path | None
) -> dict[str, Any]:
    from ..experiments import default_jobs, local_executor, run_experiment
    from ..features import load_extractor
    from ..terminal import ExperimentDisplay

    names = {row.config.data.name for row in experiment.rows}
    _fetch(names, data_root)
    for name in names:
        load_extractor(name, data_root)  # say what is missing before training, not after
    workers = min(jobs or default_jobs(), len(experiment.rows) * seeds)
    display = ExperimentDisplay()
    executor = local_executor(workers)
    try:
        results = run_experiment(
            experiment,
            seeds=seeds,
            store=store,
            executor=executor,
            workers=workers,
            root=data_root,
            watch=display,
        )
    except BaseException as error:
        # not `with executor`, which would wait for the runs under way; they end with this process
        executor.shutdown(wait=False, cancel_futures=True)
        display.close()
        if isinstance(error, KeyboardInterrupt):
            print(f"stopped; the same command goes on with what is in {store}", file=sys.stderr)
        raise
    executor.shutdown()
    display.close()
    return results


@app.command()
def compare(
    out: Annotated[Path, typer.Option("--out", help="Folder for runs, results and report.", show_default=False)],
    data: Data = "mnist",
    model: Model = "vae-mlp",
    loss: Annotated[list[str] | None, typer.Option("--loss", help="Repeat for each loss.")] = None,
    a: Annotated[float | None, typer.Option("--a", help="a of log-cosh; the paper's by default.")] = None,
    epochs: Epochs = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1)] = 1,
    jobs: Jobs = None,
    resume: Annotated[bool, typer.Option("--resume", help="Use what --out holds; train what is missing.")] = False,
    settings: Settings = None,
    data_root: DataRoot = None,
) -> None:
    """Train one model with several losses and compare them in a table and a report."""
    from ..config import override
    from ..experiments import Experiment, Row, write_results
    from ..paper.reported import reported
    from ..presentation import LOSS_NAMES, model_text
    from ..report import build
    from ..terminal import console, results_table

    if out.exists() and any(out.iterdir()) and not resume:
        raise UsageError(f"{out} is not empty; add --resume to use what it holds, or choose another --out")
    losses = list(dict.fromkeys(loss or ["l2", "log-cosh"]))
    configs = [train_config(data, model, name, a if name == "log-cosh" else None, epochs=epochs) for name in losses]
    rows = tuple(
        Row(override(config, settings or []), reported(data, model, name))
        for config, name in zip(configs, losses, strict=True)
    )
    title = f"{model_text(model)} on {data}: {' against '.join(LOSS_NAMES[name] for name in losses)}"
    experiment = Experiment("compare", title, "custom", rows, source="Tables 1 to 4")
    results = _run_experiment(experiment, seeds, jobs, out / "runs", data_root)
    write_results(results, out / "results.json")
    report = build(results, out / "runs", out / "report.html")
    console().print(results_table(results))
    print(f"report: {report}")


@app.command()
def reproduce(
    name: Annotated[str, typer.Argument(help="table1 | table3")],
    profile: Annotated[Profile, typer.Option("--profile")] = Profile.laptop,
    seeds: Annotated[int, typer.Option("--seeds", min=1)] = 1,
    jobs: Jobs = None,
    runs: Annotated[Path, typer.Option("--runs", help="Where runs are kept and found again.")] = Path("runs"),
    results: Annotated[Path, typer.Option("--results", help="Where NAME-PROFILE.json goes.")] = Path("results"),
    overwrite: Overwrite = False,
    data_root: DataRoot = None,
) -> None:
    """Run a table of the paper; writes results/NAME-PROFILE.json and a report."""
    from ..config import choose
    from ..experiments import write_results
    from ..files import read_json
    from ..paper.tables import EXPERIMENTS
    from ..presentation import findings
    from ..report import build
    from ..terminal import console, results_table

    choose("experiment", name, list(EXPERIMENTS))
    path = results / f"{name}-{profile}.json"
    if path.exists() and not overwrite and len(read_json(path)["rows"][0]["seeds"]) > seeds:
        raise UsageError(f"{path} holds more seeds than {seeds}; add --overwrite or choose another --results")
    obtained = _run_experiment(EXPERIMENTS[name](profile), seeds, jobs, runs, data_root)
    write_results(obtained, path)
    report = build(obtained, runs, runs / f"{name}-{profile}.html")
    console().print(results_table(obtained))
    for sentence in findings(obtained):
        print(f"- {sentence}")
    print(f"results: {path}\nreport: {report}")
