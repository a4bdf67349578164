"""What the documentation shows of a GPU's results, and of the start of the convolutional networks.

Each function takes the results of a file in `results/` and returns Markdown. Rows of several cards or commits may stand
in one file; tables are then made card by card, and the line below them names every origin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from logcosh_vae.base.records import read_record, to_json
from logcosh_vae.bench import gpu, loss, step
from logcosh_vae.bench.gpu_results import with_origin
from logcosh_vae.experiments.results import ExperimentResults, StudyResults, read_results
from logcosh_vae.reporting.tables import (
    LOSS_NAMES,
    METRIC_NAMES,
    format_value,
    markdown_table,
    model_text,
    time_text,
)

RESULTS = Path(__file__).resolve().parents[1] / "results"

BEYOND = 2.0
"""Standard deviations of the CPU's seeds, beyond which a value of the GPU is named."""


def _rows(results: ExperimentResults | StudyResults) -> list[dict[str, Any]]:
    """The rows as JSON values, each with its origin."""
    rows: list[dict[str, Any]] = with_origin(to_json(results))["rows"]
    return rows


def by_card(results: StudyResults, table: Callable[[list[dict[str, Any]]], str]) -> str:
    """A table for each card that was measured, empty ones left out."""
    rows = _rows(results)
    tables = {name: table([row for row in rows if row["accelerator"] == name]) for name in _cards(rows)}
    return "\n".join(f"{name}. {text}" for name, text in tables.items() if text)


def origins(rows: Iterable[Mapping[str, Any]]) -> str:
    """Cards, machines, versions and commits of rows, each combination once, with the count where there are several."""
    texts = [
        f"{row['accelerator'] or 'CPU'}; {row['machine']}; torch {row['torch']}; commit {row['commit']}" for row in rows
    ]
    counts = {text: texts.count(text) for text in texts}
    if len(counts) == 1:
        return f"{texts[0]}.\n"
    return "".join(f"\n- {count} rows: {text}" for text, count in counts.items()) + "\n"


def card(results: ExperimentResults | StudyResults) -> str:
    """Where GPU results come from."""
    return origins(_rows(results))


def trained(results: ExperimentResults) -> str:
    """The origins of a table's rows, where its own paragraph cannot name them because there are several."""
    text = card(results)
    return f"\nOrigins of the rows:\n{text}" if text.startswith("\n") else ""


def convolutional(results: ExperimentResults) -> str:
    """The rows of a table that only a GPU has, as a table, and where they come from."""
    rows = tuple(row for row in results.rows if row.model.endswith("-conv"))
    part = replace(results, rows=rows)
    seeds = " and ".join(sorted({str(seed) for row in rows for seed in row.seeds}))
    return f"{markdown_table(part)}\nProfile `{results.profile}`, seed {seeds}. {card(part)}"


def agreement(results: ExperimentResults) -> str:
    """How a GPU's rows, of one seed, differ from the CPU's rows of several seeds."""
    on_cpu = read_results(RESULTS / "table1-paper.json")
    cpu = {(row.model, row.loss): row.metrics for row in on_cpu.rows}
    compared, far = 0, []
    for row in results.rows:
        for name, there in cpu.get((row.model, row.loss), {}).items():
            here = row.metrics[name].mean
            compared += 1
            if there.std is not None and abs(here - there.mean) > BEYOND * there.std:
                values = (format_value(name, value) for value in (there.mean, there.std, here))
                far.append((row, "{} {} ± {} on the CPU, {} on the GPU".format(METRIC_NAMES[name], *values)))
    seeds = len(on_cpu.rows[0].seeds)
    text = (
        f"Of {compared} values that both a GPU (one seed) and the CPU ({seeds} seeds) have, {compared - len(far)} lie "
        f"within {BEYOND:g} standard deviations of the CPU's seeds"
    )
    if not far:
        return f"{text}.\n"
    named = "; ".join(f"{model_text(row.model)} {LOSS_NAMES[row.loss]}: {values}" for row, values in far)
    return f"{text}. The others differ by more than the noise of those seeds: {named}.\n"


def measured_rate(results: StudyResults) -> str:
    """What a card reached of its own rate in the step that the estimates assume a share for."""
    assumed = read_record(StudyResults, RESULTS / "scaling.json")
    share = assumed.more["assumed"]["share of them that a convolutional step reaches"]
    estimate = assumed.rows[0]["estimates"][0]["step_seconds"]["computing"]
    what = "VAE (Conv), 64x64, batch 100"
    texts = []
    for row in (row for row in _rows(results) if row["what"] == what):
        seconds, rate = row["seconds"][step.BFLOAT16]["median"], row["rate"][step.BFLOAT16]
        texts.append(
            f"Measured on one {row['accelerator']}: the step of the paper's VAE on CelebA at batch 100 takes "
            f"{time_text(seconds)} ({rate / 1e12:.0f} TFLOP/s, {100 * row['share'][step.BFLOAT16]:.0f}% of the rate of "
            f"a large bfloat16 product on that card); the table's estimate is {time_text(estimate)}, from "
            f"{100 * share:.0f}% of the data sheet's rate and the seconds in which no device computes."
        )
    return "\n".join(texts) + "\n"


def ceilings(rows: list[dict[str, Any]]) -> str:
    """The card's own rates, as a sentence."""
    row = next(row for row in rows if row["what"] == "ceilings")
    rates = row["rates"]
    products = ", ".join(
        f"{rates[name] / 1e12:.0f} TFLOP/s for a {name}" for name in (gpu.BFLOAT16, gpu.TF32, gpu.FLOAT32)
    )
    return f"Ceilings: {rates[gpu.COPY] / 1e12:.1f} TB/s for a copy (bytes read and written), {products}.\n"


def steps(results: StudyResults) -> str:
    """Training steps beside the plain loop and their products alone, and their share of the ceiling."""
    text = "In brackets: multiples of the products' time. The plain loop is float32 with TF32 convolutions.\n"
    return by_card(results, _steps) + f"\n{text}{results.more['rounds']} rounds. " + card(results)


def _steps(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| | batch | logcosh-vae | plain loop | products alone | share of the ceiling |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        if "flops" not in row:
            continue
        what, _, batch = row["what"].rpartition(", batch ")
        ours = step.BFLOAT16 if step.BFLOAT16 in row["seconds"] else step.OURS
        times = [row["seconds"][name]["median"] for name in (ours, step.PLAIN, step.LIMIT)]
        ratios = [row["ratio"][name]["median"] for name in (ours, step.PLAIN)]
        cells = [f"{time_text(seconds)} (**{ratio:.2f}**)" for seconds, ratio in zip(times, ratios, strict=False)]
        kind = "bfloat16" if row["ceiling"] == gpu.BFLOAT16 else "float32"
        share = f"{100 * row['share'][ours]:.0f}% of the {kind} product's rate"
        lines.append(f"| {what} | {batch} | {' | '.join(cells)} | {time_text(times[2])} | {share} |")
    return ceilings(rows) + "\n" + "\n".join(lines) + "\n" if len(lines) > 2 else ""


def losses(results: StudyResults) -> str:
    """Losses over sizes, beside `mse_loss`."""
    return (
        by_card(results, _losses)
        + "\nEach value is a multiple of the time of `mse_loss`, forward and backward. "
        + card(results)
    )


def _losses(rows: list[dict[str, Any]]) -> str:
    rows = [row for row in rows if "elements" in row]
    if not rows:
        return ""
    times = {name: None for row in rows for name in row["seconds"]}
    names = [name for name in times if name not in (loss.MSE, loss.LIMIT)]
    lines = ["| elements | mse_loss | " + " | ".join(names) + " |", "|--:|--:|" + "--:|" * len(names)]
    for row in rows:
        cells = [f"{row['ratio'][name]['median']:.2f}" if name in row["ratio"] else "" for name in names]
        lines.append(f"| {row['elements']:,} | {time_text(row['seconds'][loss.MSE]['median'])} | {' | '.join(cells)} |")
    return "\n\n" + "\n".join(lines) + "\n"


def tests(results: StudyResults) -> str:
    """How many of the tests that need a GPU passed, card by card."""
    rows = _rows(results)
    return (
        "\n\n".join(_tests([row for row in rows if row["accelerator"] == name]).rstrip() for name in _cards(rows))
        + "\n"
    )


def _cards(rows: Iterable[Mapping[str, Any]]) -> list[str | None]:
    return list(dict.fromkeys(row["accelerator"] for row in rows))


def _tests(rows: list[dict[str, Any]]) -> str:
    outcomes = [row["outcome"] for row in rows]
    failed = [f"`{row['what']}`" for row in rows if row["outcome"] != "passed"]
    text = f"{outcomes.count('passed')} of {len(outcomes)} tests passed"
    return text + (f"; not {', '.join(failed)}" if failed else "") + ". " + origins(rows)


def collapsed(results: ExperimentResults) -> str:
    """Rows of runs that ended with black images, and of the one that did not."""
    lines = [
        "| model | loss | sharpness, generated | FID | squared L2 of test images | KL |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for row in results.rows:
        test = row.test or {}
        values = [
            format_value("sharpness_generated", row.metrics["sharpness_generated"].mean),
            format_value("fid", row.metrics["fid"].mean),
            f"{test['squared_l2'].mean:.1f}",
            f"{test['kl'].mean:.1f}",
        ]
        lines.append(f"| {model_text(row.model)} | {LOSS_NAMES[row.loss]} | {' | '.join(values)} |")
    return "\n".join(lines) + "\n\nProfile `paper`, 40 epochs, seed 0. " + card(results)


def conv_start(results: StudyResults) -> str:
    """The last layer's logits along the first steps, by how the network starts."""
    last = results.rows[0]["steps"][-1]["step"]
    lines = [
        f"| loss | start | logits after 3 steps | after {last} | sigmoid's derivative, on average | squared L2 | KL |",
        "|---|---|---|---|--:|--:|--:|",
    ]
    for row in results.rows:
        early, end = next(point for point in row["steps"] if point["step"] == 3), row["steps"][-1]
        logits = [f"{p['logits']['mean']:.1f} ± {p['logits']['std']:.1f}" for p in (early, end)]
        values = [f"{end['derivative']:.1g}", f"{end['squared_l2']:.0f}", f"{end['kl']:.1f}"]
        lines.append(f"| {LOSS_NAMES[row['loss']]} | {row['start']} | {' | '.join([*logits, *values])} |")
    return "\n".join(lines) + (
        f"\n\nVAE (Conv) at full width, MNIST, batches of 50, {results.environment.machine}, 1 thread; "
        f"commit {results.environment.commit}.\n"
    )
