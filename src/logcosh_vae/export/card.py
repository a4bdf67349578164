"""The model card of a pretrained model: its README, with the metadata that the Hugging Face Hub reads."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..base.settings import from_dict, to_dict
from ..base.text import code_span, markdown, shell_word
from ..losses import LOSSES
from ..metrics.names import METRIC_NAMES
from ..training.config import DataConfig, ModelConfig, ObjectiveConfig, TrainConfig, resolve
from ..training.precision import PRECISIONS
from ..training.pretrained_config import Measured, PretrainedInfo
from ..training.run_identity import flatten

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,99}")


def model_card(
    config: Mapping[str, Any], info: PretrainedInfo, weights: str, source: str | None, densities: Sequence[str]
) -> str:
    """Return a model card in Markdown.

    Args:
        config: content of the model's `config.json`, without the record below.
        info: what else is known of the model.
        weights: digest of the stored weights in single precision.
        source: what the example loads the model from; None for the path of the folder.
        densities: names of the fitted densities that are stored with the model.
    """
    train = resolve(from_dict(TrainConfig, config["train"]))
    is_known = "objective" in config["train"]
    channels, height, width = config["image_shape"]
    family, network = train.model.family.upper(), {"mlp": "MLP", "conv": "convolutional"}[train.model.network]
    sections = [
        _front_matter(info, family, train.objective.loss if is_known else None),
        f"# {markdown(info.name)}",
        *([info.description] if info.description else []),
        f"A {family} ({network}) of the package logcosh-vae for images of {height}x{width} pixels with "
        f"{channels} channel{'s' if channels > 1 else ''}, in [0, 1].",
        _usage(family, source, densities),
        "## Training\n\n" + (_training(config, train, info) if is_known else "There is no record of the training."),
    ]
    if info.measured is not None:
        sections.append(_measurements(info.measured, info.precision, weights))
    return "\n\n".join(sections) + "\n"


def _front_matter(info: PretrainedInfo, family: str, loss: str | None) -> str:
    lines = ["---", "library_name: logcosh-vae", "pipeline_tag: unconditional-image-generation"]
    if info.license and _PLAIN.fullmatch(info.license):
        lines.append(f"license: {info.license}")
    tags = ["variational-autoencoder" if family == "VAE" else "wasserstein-autoencoder"]
    if loss == "log-cosh":
        tags.append(loss)
    return "\n".join([*lines, "tags:", *(f"- {tag}" for tag in tags), "---"])


def _usage(family: str, source: str | None, densities: Sequence[str]) -> str:
    name = "path/of/this/folder" if source is None else source
    comment = "" if source is None else "  # or the path of this folder"
    lines = [
        "```python",
        f"from logcosh_vae import {family}",
        "",
        f"model = {family}.from_pretrained({json.dumps(name)}){comment}",
        "images = model.sample(16)",
    ]
    if densities:
        lines.append(f'images = model.sample(16, prior="{densities[-1]}")  # better samples')
    return "\n".join([*lines, "```"])


def _training(config: Mapping[str, Any], train: TrainConfig, info: PretrainedInfo) -> str:
    """Return a table of what the model was trained on and how, and the command that trains it again."""
    objective, images = train.objective, config.get("images")
    fingerprint = images.get("train", "unknown") if isinstance(images, Mapping) else "unknown"
    loss = f"`{objective.loss}`" if objective.a is None else f"`{objective.loss}`, a = {objective.a:g}"
    if objective.likelihood is not None:
        loss += f", with learned {objective.likelihood.replace('+', ' and ')}"
    elif objective.reconstruction_weight is not None:
        loss += f", weight {objective.reconstruction_weight:g}"
    divergence = "KL divergence" if train.model.family == "vae" else "MMD"
    rows = [
        ("data", f"{code_span(train.data.name)}, fingerprint {code_span(fingerprint)}"),
        ("loss", f"{loss}, and the {divergence} with the prior"),
        ("latent variables", str(train.model.latent_size)),
        ("epochs", str(info.epochs or train.epochs)),
        ("weights", PRECISIONS.get(info.precision, info.precision)),
        ("licence", markdown(info.license or "not stated")),
        ("torch", markdown(config.get("torch", "unknown"))),
    ]
    table = "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])
    changed = "\n\nThe weights were changed after this training." if info.changed else ""
    return f"{table}\n\n```sh\n{train_command(train)}\n```{changed}"


def _measurements(measured: Measured, precision: str, weights: str) -> str:
    lines = ["## Measurements", "", "| metric | value |", "|---|--:|"]
    for name, value in measured.metrics.items():
        lines.append(f"| {markdown(METRIC_NAMES.get(name, name))} | {value:.4g} |")
    if measured.features is not None:
        features = measured.features
        lines += [
            "",
            f"FID with the features of {code_span(features.name)}, fingerprint {code_span(features.fingerprint)}; "
            f"{measured.generated:,} generated images against {measured.test:,} test images. Only FIDs with the same "
            "features can be compared.",
        ]
    if measured.weights != weights:
        to = "" if precision == "float32" else f" to {PRECISIONS.get(precision, precision)}"
        lines += ["", f"The weights were measured in single precision, before they were rounded{to}."]
    return "\n".join(lines)


def train_command(config: TrainConfig, out: str = "RUN") -> str:
    """Return the command that trains a resolved config.

    Example:
        >>> train_command(resolve(TrainConfig(seed=3)))
        'logcosh-vae train --data mnist --model vae-mlp --loss log-cosh --a 100 --epochs 40 --seed 3 --out RUN'
    """
    data, objective = config.data, config.objective
    words = ["logcosh-vae", "train", "--data", data.name, "--model", config.model_name, "--loss", objective.loss]
    if objective.a is not None and LOSSES[objective.loss].takes_a:
        words += ["--a", f"{objective.a:g}"]
    if objective.likelihood is not None:
        words += ["--likelihood", objective.likelihood]
    if data.size is not None:
        words += ["--size", "x".join(map(str, data.size))]
    if data.tiles:
        words.append("--tiles")
    words += ["--epochs", str(config.epochs), "--seed", str(config.seed)]
    described = resolve(
        TrainConfig(
            DataConfig(data.name, size=data.size, tiles=data.tiles),
            ModelConfig(config.model.family, config.model.network),
            ObjectiveConfig(objective.loss, objective.a, likelihood=objective.likelihood),
            epochs=config.epochs,
            seed=config.seed,
        )
    )
    usual = flatten(to_dict(described))
    for key, value in flatten(to_dict(config)).items():
        if value != usual[key]:
            words += ["--set", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
    return " ".join(map(shell_word, [*words, "--out", out]))
