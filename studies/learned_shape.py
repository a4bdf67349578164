"""Why is a learned shape better than L1, although it ends as L1? Trains its final values as a fixed loss.

    python studies/learned_shape.py --runs FOLDER [--seeds 1] [--data-root FOLDER]

Takes about six minutes per seed on one core. Reads `results/likelihood-paper.json` and the runs that it names, and
keeps its own runs in the same folder. Writes `results/learned-shape-paper.json`, which docs/likelihood.md shows: the
learned scale and shape after each epoch of the first seed, and the row of a fixed log-cosh with the `a` and the weight
that were learned in the end, from the first step on.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from logcosh_vae.data import data_root
from logcosh_vae.experiments.autoencoders import AutoencoderExperiment, Row
from logcosh_vae.experiments.experiment import PrepareCallbacks, run_experiment
from logcosh_vae.experiments.results import StudyResults, read_results, write_results
from logcosh_vae.experiments.workers import Workers
from logcosh_vae.paper.likelihood import experiment
from logcosh_vae.paper.likelihood_rows import FID, StudyRows, number
from logcosh_vae.reporting.tables import format_value
from logcosh_vae.training.config import ObjectiveConfig
from logcosh_vae.training.run_folder import RunFolder

ROOT = Path(__file__).resolve().parents[1]

METRICS = (FID, "fid_reconstructed", "kl", "elbo_per_dimension")


def markdown(results: StudyResults) -> str:
    """Return a table of the losses in Markdown, and the learned shape along training."""
    lines = ["| loss | FID, mixture | FID, reconstructions | KL, nats |", "|---|--:|--:|--:|"]
    for row in results.rows:
        fid, reconstructed, kl = (row[name]["mean"] for name in METRICS[:3])
        lines.append(
            f"| {row['name']} | {format_value('fid', fid)} | {format_value('fid', reconstructed)} | {kl:.1f} |"
        )
    shown = [epoch for epoch in results.more["epochs"] if epoch["epoch"] in (1, 3, 10, 20, 40)]
    along = ", ".join(f"{epoch['shape']:.2g} after epoch {epoch['epoch']}" for epoch in shown)
    seeds = len(results.rows[-1][FID]["values"])
    return "\n".join(lines) + (
        f"\n\nThe learned shape is {along}. Profile `paper`, {seeds} seed{'s' if seeds > 1 else ''}; commit "
        f"{results.environment.commit}.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--data-root", type=Path)
    arguments = parser.parse_args()
    rows = StudyRows.of(read_results(ROOT / "results" / "likelihood-paper.json"))
    if rows is None or rows.shape.density is None:
        raise SystemExit("results/likelihood-paper.json lacks the learned setting")
    records = RunFolder(arguments.runs / rows.shape.runs[0]).metrics()
    epochs = [
        {"epoch": record["epoch"], **{key: record["validation"][key] for key in ("scale", "shape")}}
        for record in records
    ]
    scale, shape = epochs[-1]["scale"], epochs[-1]["shape"]
    study = experiment("likelihood", "paper")
    objective = ObjectiveConfig("log-cosh", a=1 / scale, reconstruction_weight=shape / scale)
    fixed = Row(replace(study.rows[0].config, objective=objective))
    root = data_root(arguments.data_root)
    control: AutoencoderExperiment = replace(study, name="learned-shape", title="Learned values, fixed", rows=(fixed,))
    control = control.prepare(arguments.runs, root, PrepareCallbacks())
    workers = Workers.local(1)
    results = run_experiment(control, seeds=arguments.seeds, runs_folder=arguments.runs, workers=workers, root=root)
    workers.stop(wait=True)
    named = {
        "L1, learned scale": rows.scale["l1"],
        "log-cosh, learned scale and shape": rows.shape,
        f"log-cosh, a = {1 / scale:,.0f} and weight {shape / scale:.0f} from the start": results.rows[0],
    }
    table: list[dict[str, Any]] = [
        {"name": name, **{metric: _plain(number(row, metric)) for metric in METRICS}} for name, row in named.items()
    ]
    written = StudyResults(
        experiment="learned-shape",
        rows=tuple(table),
        environment=results.environment,
        seconds=results.seconds,
        profile="paper",
        more={"epochs": epochs},
    )
    write_results(written, ROOT / "results" / "learned-shape-paper.json")
    print(markdown(written))


def _plain(summary: Any) -> dict[str, Any]:
    return {"mean": summary.mean, "values": list(summary.values)}


if __name__ == "__main__":
    main()
