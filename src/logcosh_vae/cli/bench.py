"""`bench`: how fast this is here, beside others and beside what the machine can do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import app


@app.command()
def bench(
    name: Annotated[
        str, typer.Argument(help="step | loss | data | evaluation | side-by-side | start-up | all")
    ] = "all",
    threads: Annotated[int, typer.Option("--threads", min=1, max=1024)] = 1,
    rounds: Annotated[int, typer.Option("--rounds", min=2, help="Turns of each; more for a noisy machine.")] = 9,
    other: Annotated[
        str | None,
        typer.Option(
            "--peer",
            metavar="COMMAND",
            help="With step: another program in the same turns, e.g. 'peer/bin/python benchmarks/pythae_step.py'.",
            show_default=False,
        ),
    ] = None,
    results: Annotated[Path, typer.Option("--results", help="Where bench-NAME.json goes.")] = Path("results"),
) -> None:
    """Time steps, losses, batches, measuring and start-up in turns against other implementations and the limit."""
    from ..base.records import write_record
    from ..base.settings import validate_choice
    from ..bench.suite import SUITE, run
    from .terminal import BenchmarkDisplay, bench_table, console

    validate_choice("benchmark", name, (*SUITE, "all"))
    results.mkdir(parents=True, exist_ok=True)
    for each in SUITE if name == "all" else [name]:
        display = BenchmarkDisplay()
        try:
            obtained = run(each, threads=threads, rounds=rounds, other=other, progress=display)
        finally:
            display.line.close()
        path = results / f"{obtained.experiment}.json"
        write_record(obtained, path)
        console().print(bench_table(obtained))
        print(f"results: {path}", flush=True)
