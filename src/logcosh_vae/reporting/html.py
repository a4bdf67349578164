"""Reports of experiments as a self-contained HTML page and as Markdown.

A report consists of `Part`s, one per experiment. `build` writes the HTML page with tables, findings, pictures, training
curves and configurations; `write_markdown` writes tables, figures and findings as Markdown.
"""

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
from ..base.text import markdown, visible
from ..experiments.results import ExperimentResults
from ..training.run_folder import RunFolder
from .narrative import NARRATIVE, Narrative
from .tables import METRIC_NAMES, TableRow, markdown_table, table_rows

PICTURES = {
    "samples": "Samples: the same latent codes z from the prior, decoded by each model",
    "reconstructions": "Reconstructions: pairs of rows, real test images above their reconstructions",
    "interpolation": "Interpolation between two test images in the latent space, one pair per row",
}
"""Caption of each picture of a run, by the name of its file."""
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Colours of plots: the palette of Okabe and Ito, which is safe for colour blindness, on white and on black."""


@dataclass(frozen=True)
class Figure:
    """A picture in a report.

    Attributes:
        url: the picture as a data URL.
        caption: caption, also the alternative text.
    """

    url: str
    caption: str


def data_url(content: bytes, kind: str) -> str:
    """Encode `content` of MIME type `kind` as a data URL."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def png(image: Image.Image) -> bytes:
    """Encode an image as PNG."""
    content = io.BytesIO()
    image.save(content, format="PNG")
    return content.getvalue()


def _apply_style(axes: Any) -> None:
    """Make lines and text of a plot grey, so that they are legible on a light and on a dark page."""
    for spine in axes.spines.values():
        spine.set_color("#888888")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors="#888888", labelsize=9)
    axes.grid(visible=True, color="#888888", alpha=0.25, linewidth=0.6)
    for text in (axes.xaxis.label, axes.yaxis.label, axes.title):
        text.set_color("#888888")


def training_curves(runs: Sequence[tuple[str, RunFolder]], title: str) -> Figure:
    """Plot the squared L2 error and the latent divergence on the test split against the epoch, one line per run.

    Args:
        runs: label and folder of each run; all of the same model.
        title: caption of the figure.
    """
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
        _apply_style(axes)
        axes.legend(frameon=False, labelcolor="#888888", fontsize=9)
    content = io.BytesIO()
    figure.savefig(content, format="svg", metadata={"Date": None})
    return Figure(data_url(content.getvalue(), "image/svg+xml"), title)


def _rows_by_model(rows: Sequence[TableRow]) -> dict[str, list[int]]:
    """Return the indices of the rows of each model."""
    groups: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault(row.model_text, []).append(index)
    return groups


def _merge_configs(values: Sequence[Any]) -> Any:
    """Merge nested dicts with equal keys: an equal value is kept once, different ones are listed by row."""
    if all(isinstance(value, Mapping) for value in values):
        return {key: _merge_configs([value[key] for value in values]) for key in values[0]}
    if all(value == values[0] for value in values):
        return values[0]
    return {f"row {number}": value for number, value in enumerate(values, 1)}


@dataclass(frozen=True)
class Part:
    """An experiment in a report.

    Attributes:
        results: as returned by `run_experiment`.
        narrative: functions that generate the sentences about the results.
        picture: picture of a figure, as PNG; None for a table.
        runs_folder: folder of the runs, to show their pictures and training curves; None to leave these out.
        table: whether to show the table.
        file: file name of the picture, for the Markdown report; by default the one that `reproduce` uses.
    """

    results: ExperimentResults
    narrative: Narrative = NARRATIVE
    picture: bytes | None = None
    runs_folder: Path | None = None
    table: bool = True
    file: str | None = None


def _sections(rows: Sequence[TableRow], folders: Sequence[Path]) -> list[dict[str, Any]]:
    """Return the pictures and training curves of the runs of each model, for the template."""
    sections = []
    for model, members in _rows_by_model(rows).items():
        figures = {
            caption: [
                Figure(data_url((folders[i] / f"{name}.png").read_bytes(), "image/png"), rows[i].loss_text)
                for i in members
            ]
            for name, caption in PICTURES.items()
        }
        lines = [(rows[i].loss_text, RunFolder(folders[i])) for i in members]
        sections.append(
            {"model": model, "pictures": figures, "curves": training_curves(lines, f"{model}: training curves")}
        )
    return sections


def _template_values(part: Part) -> dict[str, Any]:
    """Return the values of a part that the template needs."""
    results = part.results
    rows = table_rows(results)
    values: dict[str, Any] = {
        "results": results,
        "rows": rows,
        "table": part.table,
        "picture": data_url(part.picture, "image/png") if part.picture else None,
        "findings": part.narrative.findings(results) if rows else [],
        "sections": [],
        "configuration": None,
    }
    if rows:
        values["introduction"] = part.narrative.introduction(results)
        values["legend"] = part.narrative.legend(results)
        values["metrics"] = {k: v for k, v in METRIC_NAMES.items() if k in rows[0].cells}
        values["configuration"] = json.dumps(_merge_configs([row.config for row in results.rows]), indent=2)
    if part.runs_folder is not None and rows:
        values["sections"] = _sections(rows, [part.runs_folder / row.runs[0] for row in results.rows])
    return values


def write_markdown(parts: Sequence[Part], target: Path, title: str | None = None) -> Path:
    """Write a report as Markdown: tables, figures and findings.

    Args:
        parts: the experiments.
        target: file to write. The pictures of figures must be in the same folder.
        title: title of the report; by default the title of the first part.

    Returns:
        `target`.
    """
    lines = [f"# {markdown(title or parts[0].results.title)}", ""]
    for part in parts:
        results = part.results
        if len(parts) > 1:
            lines += [f"## {markdown(results.title)}", ""]
        if part.picture is not None:
            file = part.file or f"{results.experiment}-{results.profile}.png"
            lines += [f"![{markdown(results.title)}]({file})", ""]
        if part.table and results.rows:
            lines += [markdown_table(results)]
        if results.rows:
            lines += [part.narrative.provenance(results)]
            lines += [*(f"- {markdown(sentence)}" for sentence in part.narrative.findings(results)), ""]
    write_text(target, "\n".join(lines))
    return target


def _show(value: Any) -> Any:
    """Make control characters in names visible, and bytes that are not UTF-8, which could not be written."""
    if type(value) is not str:
        return value
    return "\n".join(visible(line) for line in value.split("\n"))


def build(parts: Sequence[Part], target: Path, title: str | None = None) -> Path:
    """Write a report as an HTML page that contains all its pictures.

    Args:
        parts: the experiments.
        target: file to write.
        title: title of the page; by default the title of the first part.

    Returns:
        `target`.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        finalize=_show,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html.jinja").render(
        title=title or parts[0].results.title,
        parts=[_template_values(part) for part in parts],
        environment=json.dumps(to_json(parts[0].results.environment), indent=2),
    )
    write_text(target, page)
    return target
