"""The verb `reproduce`: the tables and figures of the paper, obtained beside reported values."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..base.errors import UsageError
from .experiments import run_all
from .json_option import with_json
from .options import DataRoot, Device, Jobs, Overwrite, Profile, Scheduler, Seeds, app
from .report import Report

if TYPE_CHECKING:
    from ..experiments.experiment import Experiment
    from ..experiments.results import ExperimentResults


@app.command()
@with_json
def reproduce(
    name: Annotated[
        str,
        typer.Argument(
            help="table1 ... table4 | figure1 ... figure11 | all | restoration | restoration-a | restoration-steps | "
            "likelihood",
            show_default=False,
        ),
    ],
    profile: Annotated[
        Profile,
        typer.Option(
            "--profile",
            help="paper: the paper's settings. laptop: smaller networks, about two hours for everything on 2 cores. "
            "smoke: a test of seconds.",
        ),
    ] = Profile.laptop,
    seeds: Seeds = 1,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="MODEL",
            help="Run only the rows of this model; repeatable. By default all rows.",
            show_default=False,
        ),
    ] = None,
    jobs: Jobs = None,
    scheduler: Scheduler = None,
    device: Device = None,
    runs: Annotated[
        Path, typer.Option("--runs", help="Folder for the runs and the report; runs in it are reused.")
    ] = Path("runs"),
    results: Annotated[Path, typer.Option("--results", help="Folder for NAME-PROFILE.json.")] = Path("results"),
    extend: Annotated[
        bool,
        typer.Option(
            "--extend",
            help="Keep the seeds that NAME-PROFILE.json holds, and train only the missing ones of --seeds; by default "
            "all are trained, or reused from --runs.",
        ),
    ] = False,
    overwrite: Overwrite = False,
    data_root: DataRoot = None,
) -> None:
    """Reproduce a table or figure of the paper, or all of them.

    Trains the runs, prints the obtained beside the reported values, and writes results/NAME-PROFILE.json and a report.
    """
    from ..base.settings import validate_choice
    from ..experiments.extension import extended, missing_seeds
    from ..paper.registry import ALL, EXPERIMENTS

    validate_choice("experiment", name, (*EXPERIMENTS, "all"))
    names = ALL if name == "all" else [name]
    wanted = [_selected(EXPERIMENTS[each].experiment(profile), model, device) for each in names]
    for folder in (runs, results):
        _check_writable(folder)
    known = _read_to_extend(results, name, profile, overwrite) if extend else None
    added: Sequence[int] = range(seeds)
    if known is not None:
        added = missing_seeds(known, wanted[0], seeds, _file(results, name, profile))
    else:
        for experiment in wanted:
            _check_not_smaller(_file(results, experiment.name, profile), experiment, seeds, overwrite)
    all_title = f"Every table and figure of the paper, profile “{profile}”"
    report = Report(all_title) if name == "all" else Report(runs=runs)
    for obtained in run_all(wanted, added, runs, data_root, jobs, scheduler):
        whole = obtained if known is None else extended(known, obtained)
        _add(report, whole, _file(results, whole.experiment, profile), runs, data_root)
    report.write(runs / f"{name}-{profile}.html")


def _add(report: Report, obtained: ExperimentResults, path: Path, runs: Path, data_root: Path | None) -> None:
    """Write results to `path`, and add them to a report in the folder of the runs, with the experiment's figure."""
    from ..paper.registry import EXPERIMENTS

    declared = EXPERIMENTS[obtained.experiment]
    picture = runs / path.with_suffix(".png").name
    draw = partial(declared.draw, obtained, runs, data_root) if declared.draw else None
    report.add(obtained, declared.narrative, path, picture, draw, table=declared.table)


def _selected(experiment: Experiment[Any], models: list[str] | None, device: str | None) -> Experiment[Any]:
    """The experiment on a device, with only the rows of some models if any are named."""
    from ..base.settings import validate_choice

    known = experiment.models()
    for model in models or []:
        validate_choice(f"--model for {experiment.name}", model, known or ["none, since it trains nothing"])
    if models:
        experiment = experiment.only(models)
    return experiment.on_device(device) if device else experiment


def _file(results: Path, name: str, profile: str) -> Path:
    """The file of an experiment's results."""
    return results / f"{name}-{profile}.json"


def _read_to_extend(results: Path, name: str, profile: str, overwrite: bool) -> ExperimentResults | None:
    """The results that `--extend` continues; None if there are none yet.

    Raises:
        UsageError: other options contradict it, or the file cannot be read.
    """
    from ..base.errors import DamagedJsonError, RecordError
    from ..experiments.results import read_results

    if name == "all":
        raise UsageError("--extend takes one experiment at a time; name it in place of all")
    if overwrite:
        raise UsageError("--extend keeps the seeds so far and --overwrite replaces them; give one of both")
    path = _file(results, name, profile)
    if not path.exists():
        return None
    try:
        return read_results(path)
    except (DamagedJsonError, RecordError) as error:
        raise UsageError(f"{path} cannot be extended: {error}") from None


def _check_writable(folder: Path) -> None:
    """Create the folder, and check that files can be written to it before anything is trained.

    Raises:
        RunError: they cannot.
    """
    from ..base.errors import RunError

    folder.mkdir(parents=True, exist_ok=True)
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise RunError(f"cannot write to {folder}: {error.strerror}; choose other --runs and --results") from None


def _check_not_smaller(path: Path, experiment: Experiment[Any], seeds: int, overwrite: bool) -> None:
    """Check that results with more rows or more seeds are not replaced.

    Raises:
        UsageError: `path` holds such results, or cannot be read.
    """
    from ..base.errors import DamagedJsonError, RecordError
    from ..experiments.results import read_results

    if overwrite or not path.exists():
        return
    try:
        rows = read_results(path).rows
        larger = len(rows) > len(experiment.rows) or (rows and len(rows[0].seeds) > seeds)
    except (DamagedJsonError, RecordError):
        raise UsageError(f"{path} is damaged; add --overwrite or choose another --results") from None
    if larger:
        raise UsageError(
            f"{path} holds more rows or more seeds than this command writes; add --overwrite or choose another "
            "--results"
        )
