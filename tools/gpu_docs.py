"""What the documentation shows of a GPU's results, and of the start of the convolutional networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from logcosh_vae.bench import gpu, loss, step
from logcosh_vae.reporting.tables import LOSS_NAMES, format_value, model_text, time_text


def by_card(results: Mapping[str, Any], table: Callable[[list[dict[str, Any]]], str]) -> str:
    """A table for each card that was measured."""
    cards = dict.fromkeys(row["accelerator"] for row in results["rows"])
    return "\n".join(
        f"{name}. {table([row for row in results['rows'] if row['accelerator'] == name])}" for name in cards
    )


def card(results: Mapping[str, Any]) -> str:
    """Where GPU results come from."""
    environment = results["environment"]
    versions = environment["versions"]
    return (
        f"{environment['accelerator']}; {environment['machine']}, {environment['cores']} cores; "
        f"torch {versions['torch']}; commit {environment['commit']}.\n"
    )


def ceilings(rows: list[dict[str, Any]]) -> str:
    """The card's own rates, as a sentence."""
    (row,) = (row for row in rows if row["what"] == "ceilings")
    rates = row["rates"]
    products = ", ".join(
        f"{rates[name] / 1e12:.0f} TFLOP/s for a {name}" for name in (gpu.BFLOAT16, gpu.TF32, gpu.FLOAT32)
    )
    return f"Ceilings: {rates[gpu.COPY] / 1e12:.1f} TB/s for a copy (bytes read and written), {products}.\n"


def steps(results: Mapping[str, Any]) -> str:
    """Training steps beside the plain loop and their products alone, and their share of the ceiling."""
    text = "In brackets: times as long as the products alone. The plain loop is float32 with TF32 convolutions.\n"
    return by_card(results, _steps) + f"\n{text}{results['rounds']} rounds. " + card(results)


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
    return ceilings(rows) + "\n" + "\n".join(lines) + "\n"


def losses(results: Mapping[str, Any]) -> str:
    """Losses over sizes, beside `mse_loss`."""
    return by_card(results, _losses) + "\nTimes as long as `mse_loss`, forward and backward. " + card(results)


def _losses(rows: list[dict[str, Any]]) -> str:
    rows = [row for row in rows if "elements" in row]
    names = [name for name in rows[0]["seconds"] if name not in (loss.MSE, loss.LIMIT)]
    lines = ["| elements | mse_loss | " + " | ".join(names) + " |", "|--:|--:|" + "--:|" * len(names)]
    for row in rows:
        cells = [f"{row['ratio'][name]['median']:.2f}" if name in row["ratio"] else "" for name in names]
        lines.append(f"| {row['elements']:,} | {time_text(row['seconds'][loss.MSE]['median'])} | {' | '.join(cells)} |")
    return "\n\n" + "\n".join(lines) + "\n"


def tests(results: Mapping[str, Any]) -> str:
    """How many of the tests that need a GPU passed."""
    outcomes = [row["outcome"] for row in results["rows"]]
    failed = [f"`{row['what']}`" for row in results["rows"] if row["outcome"] != "passed"]
    text = f"{outcomes.count('passed')} of {len(outcomes)} tests passed"
    return text + (f"; not {', '.join(failed)}" if failed else "") + ". " + card(results)


def collapsed(results: Mapping[str, Any]) -> str:
    """Rows of runs that ended with black images, and of the one that did not."""
    lines = [
        "| model | loss | sharpness, generated | FID | squared L2 of test images | KL |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for row in results["rows"]:
        metrics, test = row["metrics"], row["test"]
        values = [
            format_value("sharpness_generated", metrics["sharpness_generated"]["mean"]),
            format_value("fid", metrics["fid"]["mean"]),
            f"{test['squared_l2']['mean']:.1f}",
            f"{test['kl']['mean']:.1f}",
        ]
        lines.append(f"| {model_text(row['model'])} | {LOSS_NAMES[row['loss']]} | {' | '.join(values)} |")
    return "\n".join(lines) + "\n\nProfile `paper`, 40 epochs, seed 0. " + card(results)


def conv_start(results: Mapping[str, Any]) -> str:
    """The last layer's logits along the first steps, by how the network starts."""
    last = results["rows"][0]["steps"][-1]["step"]
    lines = [
        f"| loss | start | logits after 3 steps | after {last} | sigmoid's derivative, on average | squared L2 | KL |",
        "|---|---|---|---|--:|--:|--:|",
    ]
    for row in results["rows"]:
        early, end = next(point for point in row["steps"] if point["step"] == 3), row["steps"][-1]
        logits = [f"{p['logits']['mean']:.1f} ± {p['logits']['std']:.1f}" for p in (early, end)]
        values = [f"{end['derivative']:.1g}", f"{end['squared_l2']:.0f}", f"{end['kl']:.1f}"]
        lines.append(f"| {LOSS_NAMES[row['loss']]} | {row['start']} | {' | '.join([*logits, *values])} |")
    environment = results["environment"]
    return "\n".join(lines) + (
        f"\n\nVAE (Conv) at full width, MNIST, batches of 50, {environment['machine']}, 1 thread; "
        f"commit {environment['commit']}.\n"
    )
