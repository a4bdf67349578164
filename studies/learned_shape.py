"""Why is a learned shape better than L1, although it ends as L1? Looks for pixels that have gone out.

    python studies/learned_shape.py --runs FOLDER [--seeds 1] [--data-root FOLDER]

Takes about six minutes per seed on one core. Reads `results/likelihood-paper.json` and the runs that it names, and
keeps its own runs in the same folder. Writes `results/learned-shape-paper.json`, which docs/likelihood.md shows:

- the learned scale and shape after each epoch of the first seed;
- a control: log-cosh with the `a` and the weight that were learned in the end, fixed from the first step on;
- for L1, log-cosh and the control the mean absolute error, and how many bright pixels of test images are reconstructed
  as black, so black that the derivative of the sigmoid leaves nothing of the gradient.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from logcosh_vae import load
from logcosh_vae.data import data_root, load_images
from logcosh_vae.data.batches import to_unit
from logcosh_vae.evaluation.evaluate import reconstruct
from logcosh_vae.experiments.autoencoders import AutoencoderExperiment, Row
from logcosh_vae.experiments.experiment import PrepareCallbacks, run_experiment
from logcosh_vae.experiments.results import StudyResults, read_results, write_results
from logcosh_vae.experiments.workers import Workers
from logcosh_vae.paper.likelihood import experiment
from logcosh_vae.paper.likelihood_rows import FID, StudyRows, chosen, setting_text
from logcosh_vae.reporting.tables import format_value
from logcosh_vae.training.config import ObjectiveConfig
from logcosh_vae.training.run_folder import RunFolder

ROOT = Path(__file__).resolve().parents[1]

METRICS = (FID, "fid_reconstructed")

BRIGHT, OUT = 0.5, 1e-6
"""A test pixel above the first is bright; if it is reconstructed below the second, it has gone out."""


@torch.inference_mode()
def reconstruction_errors(runs: Sequence[Path], root: Path | None) -> dict[str, float]:
    """Return the mean absolute error of an image and the fraction of its bright pixels that have gone out.

    Args:
        runs: one run per seed.
        root: data root.

    Returns:
        Both, averaged over the test images and the runs.
    """
    images = to_unit(load_images("mnist", "test", root=root).images)
    bright = images > BRIGHT
    absolute, out = [], []
    for run in runs:
        reconstructed = reconstruct(load(run), images)
        absolute.append(float((reconstructed - images).abs().sum(dim=(1, 2, 3)).mean()))
        out.append(float((reconstructed[bright] < OUT).float().mean()))
    return {"absolute_error": statistics.fmean(absolute), "out": statistics.fmean(out)}


def markdown(results: StudyResults) -> str:
    """Return a table of the losses in Markdown, and the learned shape along training."""
    lines = [
        "| loss | FID, mixture | FID, reconstructions | L1 of an image | bright pixels that have gone out |",
        "|---|--:|--:|--:|--:|",
    ]
    for row in results.rows:
        fids = " | ".join(format_value("fid", row[name]) for name in METRICS)
        lines.append(f"| {row['name']} | {fids} | {row['absolute_error']:.1f} | {100 * row['out']:.1f}% |")
    shown = [epoch for epoch in results.more["epochs"] if epoch["epoch"] in (1, 3, 10, 20, 40)]
    along = ", ".join(f"{epoch['shape']:.2g} after epoch {epoch['epoch']}" for epoch in shown)
    seeds = "seed 0" if results.more["seeds"] == 1 else f"{results.more['seeds']} seeds"
    lines += ["", f"The learned shape is {along}. Profile `paper`; {seeds} of the last row; commit"]
    return "\n".join(lines) + f" {results.environment.commit}.\n"


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
    results = run_experiment(
        control, seeds=range(arguments.seeds), runs_folder=arguments.runs, workers=workers, root=root
    )
    workers.stop(wait=True)
    by_hand = chosen(rows.grids["l1"])
    named = {
        "L1, weight 1": next(row for row in rows.grids["l1"] if row.weight == 1.0),
        "" if by_hand is None else f"L1, {setting_text(by_hand)} (chosen)": by_hand,
        "L1, learned scale": rows.scale["l1"],
        "log-cosh, a = 100, weight 1": rows.paper,
        "log-cosh, learned scale and shape": rows.shape,
        f"log-cosh, a = {1 / scale:,.0f}, weight {shape / scale:.0f} from the first step": results.rows[0],
    }
    written = StudyResults(
        experiment="learned-shape",
        rows=tuple(
            {
                "name": name,
                **{metric: row.metrics[metric].mean for metric in METRICS},
                **reconstruction_errors([arguments.runs / run for run in row.runs], root),
            }
            for name, row in named.items()
            if row is not None
        ),
        environment=results.environment,
        seconds=results.seconds,
        profile="paper",
        more={"epochs": epochs, "seeds": arguments.seeds},
    )
    write_results(written, ROOT / "results" / "learned-shape-paper.json")
    print(markdown(written))


if __name__ == "__main__":
    main()
