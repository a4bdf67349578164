"""The verb `bench`: benchmarks of speed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import app
from .streams import say


@app.command()
def bench(
    name: Annotated[
        str, typer.Argument(help="step | loss | data | evaluation | side-by-side | start-up | all")
    ] = "all",
    threads: Annotated[int, typer.Option("--threads", min=1, max=1024, help="Threads for torch.")] = 1,
    rounds: Annotated[
        int, typer.Option("--rounds", min=2, help="Measurements of each contender; more for a busy machine.")
    ] = 9,
    other: Annotated[
        str | None,
        typer.Option(
            "--peer",
            metavar="COMMAND",
            help="For step: also time another program, e.g. 'peer/bin/python benchmarks/pythae_step.py'; by default "
            "none.",
            show_default=False,
        ),
    ] = None,
    results: Annotated[Path, typer.Option("--results", help="Folder for bench-NAME.json.")] = Path("results"),
) -> None:
    """Measure the speed of training and evaluation.

    Times training steps, losses, batches, evaluation and start-up, alternating with other implementations and with
    the limit of this machine.
    """
    from ..base.records import write_record
    from ..base.settings import validate_choice
    from ..bench.suite import SUITE, run
    from .tables import bench_table, print_table
    from .terminal import BenchmarkDisplay

    validate_choice("benchmark", name, (*SUITE, "all"))
    results.mkdir(parents=True, exist_ok=True)
    for benchmark in SUITE if name == "all" else [name]:
        with BenchmarkDisplay() as display:
            measured = run(benchmark, threads=threads, rounds=rounds, other=other, progress=display)
        path = results / f"{measured.experiment}.json"
        write_record(measured, path)
        print_table(bench_table(measured))
        say(f"results: {path}")
