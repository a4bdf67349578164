"""The verb reproduce: tables and figures of the paper, obtained beside reported."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..base.errors import UsageError
from .many import run_all
from .options import DataRoot, Device, Jobs, Overwrite, Profile, app

if TYPE_CHECKING:
    from ..experiments.experiment import Experiment


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
    from ..base import image_grid as pictures
    from ..base.errors import RunError
    from ..base.settings import validate_choice
    from ..experiments.results import write_results
    from ..paper.registry import ALL, EXPERIMENTS
    from ..reporting.html import Part, build, png, write_markdown
    from .terminal import console, results_table

    validate_choice("experiment", name, (*EXPERIMENTS, "all"))
    names = ALL if name == "all" else [name]
    wanted = [_wanted(EXPERIMENTS[each].experiment(profile), model, device) for each in names]
    for folder in (runs, results):  # so that what cannot be written to is known before anything is trained
        folder.mkdir(parents=True, exist_ok=True)
        try:
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise RunError(f"{folder} cannot be written to: {error.strerror}") from None
    for each in wanted:
        _check_smaller(results / f"{each.name}-{profile}.json", each, seeds, overwrite)
    parts = []
    for obtained in run_all(wanted, seeds, runs, data_root, jobs, scheduler):
        declared = EXPERIMENTS[obtained.experiment]
        path = results / f"{obtained.experiment}-{profile}.json"
        write_results(obtained, path)
        drawn = declared.draw(obtained, runs, data_root) if declared.draw else None
        if drawn is not None:
            pictures.save(drawn, runs / f"{obtained.experiment}-{profile}.png")
        shown = runs if drawn is None and name != "all" else None
        parts.append(Part(obtained, declared.narrative, png(drawn) if drawn else None, shown, declared.table))
        if declared.table:
            console().print(results_table(obtained))
        for sentence in declared.narrative.findings(obtained) if obtained.rows else []:
            print(f"- {sentence}")
        print(f"results: {path}" + (f"\npicture: {runs / path.stem}.png" if drawn else ""), flush=True)
    title = f"Every table and figure of the paper, profile “{profile}”" if name == "all" else None
    report = build(parts, runs / f"{name}-{profile}.html", title)
    print(f"report: {report}\nthe same as Markdown: {write_markdown(parts, report.with_suffix('.md'), title)}")


def _wanted(experiment: Experiment[Any], models: list[str] | None, device: str | None) -> Experiment[Any]:
    """The experiment with the rows of some models only, on a device."""
    from ..base.settings import validate_choice

    known = experiment.models()
    for wanted in models or []:
        validate_choice(f"--model for {experiment.name}", wanted, known or ["none, it needs no training"])
    if models:
        experiment = experiment.only(models)
    return experiment.on_device(device) if device else experiment


def _check_smaller(path: Path, experiment: Experiment[Any], seeds: int, overwrite: bool) -> None:
    """Refuse to replace results by fewer rows or seeds."""
    from ..base.errors import DamagedJsonError, RecordError
    from ..experiments.results import read_results

    if overwrite or not path.exists():
        return
    try:
        there = read_results(path).rows
        many = len(there) > len(experiment.rows) or (there and len(there[0].seeds) > seeds)
    except (DamagedJsonError, RecordError):
        raise UsageError(f"{path} is damaged; add --overwrite or use --results") from None
    if many:
        raise UsageError(f"{path} holds more rows or more seeds than this gives; add --overwrite or use --results")
