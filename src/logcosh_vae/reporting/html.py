"""One self-contained HTML page of an experiment: table, findings, pictures, curves, configuration."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from PIL import Image

from ..base.extras import require
from ..base.files import write_text
from ..base.records import to_json
from ..experiments.results import ExperimentResults
from ..training.run_folder import RunFolder
from .narrative import NARRATIVE, Narrative
from .tables import METRIC_NAMES, TableRow, markdown_table, table_rows

PICTURES = {
    "samples": "Samples: the same codes z from the prior, decoded by each model",
    "reconstructions": "Reconstructions: rows in pairs, real test images over what the model makes of them",
    "interpolation": "Interpolation between two test images in the latent space, one pair a row",
}
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito: told apart with any colour vision, on white and on black."""


@dataclass(frozen=True)
class Figure:
    """A picture as a data address, with its caption and description."""

    address: str
    caption: str


def data_address(content: bytes, kind: str) -> str:
    """Bytes as an address that stands inside the page."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def png(image: Image.Image) -> bytes:
    """A picture as PNG bytes."""
    content = io.BytesIO()
    image.save(content, format="PNG")
    return content.getvalue()


def _style(axes: Any) -> None:
    """Mid-grey lines and text on a clear ground, legible on a light and on a dark page."""
    for spine in axes.spines.values():
        spine.set_color("#888888")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors="#888888", labelsize=9)
    axes.grid(visible=True, color="#888888", alpha=0.25, linewidth=0.6)
    for text in (axes.xaxis.label, axes.yaxis.label, axes.title):
        text.set_color("#888888")


def curves(runs: Sequence[tuple[str, RunFolder]], title: str) -> Figure:
    """Squared L2 test error and divergence along training, a line a run."""
    require("plotting", "matplotlib")
    import matplotlib.figure

    records = [(label, folder.metrics()) for label, folder in runs]
    divergence = "kl" if "kl" in records[0][1][0]["validation"] else "mmd"
    figure = matplotlib.figure.Figure(figsize=(8.6, 3.0), layout="constrained")
    figure.patch.set_alpha(0.0)
    for axes, term, name in zip(
        figure.subplots(1, 2),
        ("squared_l2", divergence),
        ("squared L2 test error", f"{divergence.upper()} on the test split"),
        strict=True,
    ):
        axes.patch.set_alpha(0.0)
        for index, (label, epochs) in enumerate(records):
            values = [record["validation"][term] for record in epochs]
            colour = COLOURS[index % len(COLOURS)]
            axes.plot(range(1, len(values) + 1), values, label=label, color=colour, linewidth=1.8)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_title(name, fontsize=10)
        _style(axes)
        axes.legend(frameon=False, labelcolor="#888888", fontsize=9)
    content = io.BytesIO()
    figure.savefig(content, format="svg", metadata={"Date": None})
    return Figure(data_address(content.getvalue(), "image/svg+xml"), title)


def _groups(rows: Sequence[TableRow]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault(row.model_text, []).append(index)
    return groups


def _shared(values: Sequence[Any]) -> Any:
    """What all nested dicts have in common; where they differ, the values in a list."""
    if all(isinstance(value, Mapping) for value in values):
        return {key: _shared([value[key] for value in values]) for key in values[0]}
    return values[0] if all(value == values[0] for value in values) else list(values)


@dataclass(frozen=True)
class Part:
    """An experiment in a report.

    Attributes:
        results: of `run_experiment`.
        narrative: sentences about them.
        picture: of a figure, as PNG bytes.
        store: folder of the runs, whose own pictures and curves are then shown.
        table: whether the numbers are shown as a table.
        file: name of the picture's file beside the report; by default as `reproduce` names it.
    """

    results: ExperimentResults
    narrative: Narrative = NARRATIVE
    picture: bytes | None = None
    store: Path | None = None
    table: bool = True
    file: str | None = None


def _sections(rows: Sequence[TableRow], folders: Sequence[Path]) -> list[dict[str, Any]]:
    """For each model the pictures and curves of its runs."""
    sections = []
    for model, members in _groups(rows).items():
        figures = {
            caption: [
                Figure(data_address((folders[i] / f"{name}.png").read_bytes(), "image/png"), rows[i].loss_text)
                for i in members
            ]
            for name, caption in PICTURES.items()
        }
        lines = [(rows[i].loss_text, RunFolder(folders[i])) for i in members]
        sections.append({"model": model, "pictures": figures, "curves": curves(lines, f"{model}: along training")})
    return sections


def _part(part: Part) -> dict[str, Any]:
    """What the template is given of a part."""
    results = part.results
    rows = table_rows(results)
    shown: dict[str, Any] = {
        "results": results,
        "rows": rows,
        "table": part.table,
        "picture": data_address(part.picture, "image/png") if part.picture else None,
        "findings": part.narrative.findings(results) if rows else [],
        "sections": [],
        "configuration": None,
    }
    if rows:
        shown["introduction"] = part.narrative.introduction(results)
        shown["legend"] = part.narrative.legend(results)
        shown["metrics"] = {k: v for k, v in METRIC_NAMES.items() if k in rows[0].cells}
        shown["configuration"] = json.dumps(_shared([row.config for row in results.rows]), indent=2)
    if part.store is not None and rows:
        shown["sections"] = _sections(rows, [part.store / row.runs[0] for row in results.rows])
    return shown


def write_markdown(parts: Sequence[Part], target: Path, title: str | None = None) -> Path:
    """Write the tables, figures and findings of the parts as Markdown; figures are files beside `target`."""
    lines = [f"# {title or parts[0].results.title}", ""]
    for part in parts:
        results = part.results
        if len(parts) > 1:
            lines += [f"## {results.title}", ""]
        if part.picture is not None:
            file = part.file or f"{results.experiment}-{results.profile}.png"
            lines += [f"![{results.title}]({file})", ""]
        if part.table and results.rows:
            lines += [markdown_table(results)]
        if results.rows:
            lines += [part.narrative.provenance(results)]
            lines += [*(f"- {sentence}" for sentence in part.narrative.findings(results)), ""]
    write_text(target, "\n".join(lines))
    return target


def build(parts: Sequence[Part], target: Path, title: str | None = None) -> Path:
    """Write one page of the parts to `target`; titled by the first unless `title` is given."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html.jinja").render(
        title=title or parts[0].results.title,
        parts=[_part(part) for part in parts],
        environment=json.dumps(to_json(parts[0].results.environment), indent=2),
    )
    write_text(target, page)
    return target
