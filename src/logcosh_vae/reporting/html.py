"""Reports of experiments as a self-contained HTML page and as Markdown.

A report consists of `Part`s, one per experiment. `build` writes the HTML page with tables, findings, pictures, training
curves and configurations; `write_markdown` writes tables, figures and findings as Markdown.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from PIL import Image

from ..base.files import write_text
from ..base.records import read_record, to_json
from ..base.text import markdown, visible
from ..evaluation.records import RunEvaluation
from ..experiments.results import ExperimentResults
from ..training.run_folder import RunFolder
from .latents import LEGEND, latent_markdown, latent_table
from .narrative import NARRATIVE, Narrative
from .plots import COLOURS as COLOURS
from .plots import Figure, data_url, kl_bars, training_curves
from .tables import TableRow, markdown_table, metric_headings, table_rows

PICTURES = {
    "samples": "Samples: the same latent codes z from the prior, decoded by each model",
    "samples-gaussian": "Samples: codes from a Gaussian that is fitted to the codes of the training images",
    "samples-mixture": "Samples: codes from a mixture of Gaussians that is fitted to the codes of the training images",
    "reconstructions": "Reconstructions: pairs of rows, real test images above their reconstructions",
    "interpolation": "Interpolation between two test images in the latent space, one pair per row",
}
"""Caption of each picture of a run, by the name of its file. Samples of fitted densities are there if asked for."""


def png(image: Image.Image) -> bytes:
    """Encode an image as PNG."""
    content = io.BytesIO()
    image.save(content, format="PNG")
    return content.getvalue()


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
        runs = [(rows[i].loss_text, folders[i]) for i in members]
        figures = {
            caption: [
                Figure(data_url(path.read_bytes(), "image/png"), label)
                for label, folder in runs
                if (path := folder / f"{name}.png").is_file()
            ]
            for name, caption in PICTURES.items()
        }
        sections.append(
            {
                "model": model,
                "pictures": {caption: shown for caption, shown in figures.items() if shown},
                "latents": _kl_figures(runs),
                "curves": training_curves(
                    [(label, RunFolder(path)) for label, path in runs], f"{model}: training curves"
                ),
            }
        )
    return sections


def _kl_figures(runs: Sequence[tuple[str, Path]]) -> list[Figure]:
    """Plot the KL divergence of each latent variable, for the runs of VAEs that were evaluated with it."""
    evaluations = [(label, read_record(RunEvaluation, path / "evaluation.json").density) for label, path in runs]
    known = [(label, density, density.kl) for label, density in evaluations if density is not None and density.kl]
    top = max((value for _, _, kl in known for value in kl), default=0.0)
    return [
        kl_bars(kl, f"{label}: {density.active_units} of {density.latent_size} active, {sum(kl):.1f} nats", top)
        for label, density, kl in known
    ]


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
        "latents": latent_table(results) if part.runs_folder is not None else None,
        "latents_legend": LEGEND,
        "configuration": None,
    }
    if rows:
        values["introduction"] = part.narrative.introduction(results)
        values["legend"] = part.narrative.legend(results)
        values["metrics"] = metric_headings(rows)
        values["configuration"] = json.dumps(_merge_configs([row.config for row in results.rows]), indent=2)
    if part.runs_folder is not None and rows:
        values["sections"] = _sections(rows, [row.run_in(part.runs_folder) for row in results.rows])
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
        if part.runs_folder is not None and (latents := latent_table(results)) is not None:
            lines += [latent_markdown(latents)]
        if results.rows:
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
