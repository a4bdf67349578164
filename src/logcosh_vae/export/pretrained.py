"""Pretrained models: a trained autoencoder in a folder that can be shared, with a model card.

    config.json             config of the training, image shape, and the key `pretrained`: name, licence, measurements
                            and a digest of the weights
    model.safetensors       weights, in single or half precision or with 8 bits each
    densities.safetensors   densities that were fitted to the codes, if there are any
    README.md               the model card

`load_pretrained` and `save_pretrained` are behind the methods of `VAE` and `WAE`. Everything is checked as in run
folders, because folders may come from elsewhere: sizes, types, digests and finite numbers; nothing is unpickled.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..base.errors import ConfigError, DamagedJsonError, RunError, UserError
from ..base.files import atomic_write, is_temporary, json_text, make_folder, one_line, read_json
from ..base.locks import try_lock
from ..base.records import SEAL, from_json, seal, to_json
from ..base.settings import from_dict
from ..data import DATASETS, TEXT_REMOVAL
from ..models.autoencoder import Autoencoder
from ..training.autoencoder import described_limit, load_with_weights
from ..training.config import TrainConfig, resolve
from ..training.density_file import densities_content, density_origin, stored_densities
from ..training.limits import check_network
from ..training.model_names import find_model, nearest_name
from ..training.precision import in_single_precision, reduced
from ..training.pretrained_config import (
    FORMATS,
    FORMER,
    KEY,
    STATE,
    Measured,
    PretrainedInfo,
    is_unfinished,
    pretrained_info,
)
from ..training.run_folder import DENSITY_FILE, PRETRAINED_WEIGHTS, RunFolder
from ..training.run_identity import RUN_KEY
from ..training.weights_file import check_fits, digest_of, digest_of_model, weights_content
from . import hub
from .card import model_card

CARD = "README.md"

FILES = ("config.json", PRETRAINED_WEIGHTS, DENSITY_FILE, CARD)
"""The files of a pretrained model."""

OTHER_FILES = (".gitattributes", ".git", ".cache", ".huggingface")
"""What tools of model hubs keep beside them."""


@dataclass(frozen=True)
class SaveOptions:
    """Options of `save_pretrained`.

    Attributes:
        precision: of the stored weights of encoder and decoder: `float32`, `float16` or `int8`; see `PRECISIONS`.
        overwrite: replace a model that the folder holds.
        name: name of the model; by default its former one, or that of the folder if it had none or has changed.
        license: licence of the weights, as the Hub abbreviates it, such as `apache-2.0`.
        description: a paragraph for the card, in Markdown.
        source: what the example on the card loads the model from; by default the path of the folder.
    """

    precision: str = "float32"
    overwrite: bool = False
    name: str | None = None
    license: str | None = None
    description: str | None = None
    source: str | None = None


def load_pretrained(source: Path | str, kind: type[Any] = Autoencoder, **hub_options: Any) -> Any:
    """Load a model from a folder, the package or the Hub; see `Autoencoder.from_pretrained`.

    Args:
        source: path, name of a model, or repository of the Hub.
        kind: class that the model must belong to.
        **hub_options: passed to `hub.download`.
    """
    folder = RunFolder(_folder_of(source, hub_options))
    model, weights = load_with_weights(folder)
    if not isinstance(model, kind):
        name = type(model).__name__
        raise RunError(f"{source} holds a {name}, not a {kind.__name__}; load it with {name}.from_pretrained")
    config = folder.config()
    if folder.is_pretrained:
        info = pretrained_info(folder.path, config)
    else:
        info = PretrainedInfo("", "", epochs=weights.epochs, measured=_measured(folder, weights.digest))
    model.origin = config | {KEY: to_json(info), STATE: digest_of_model(model)}
    model.keep_densities(stored_densities(folder, model, model.latent_size))
    return model


def _folder_of(source: Path | str, hub_options: Mapping[str, Any]) -> Path:
    """Return the folder of a model, downloaded if need be.

    Raises:
        RunError: there is no such model.
    """
    folder = find_model(source)
    if os.path.lexists(folder):
        return folder
    if isinstance(source, str) and hub.is_repository(source):
        return hub.download(source, [*FILES], **hub_options)
    near = nearest_name(source)
    hint = f"; did you mean {near!r}?" if near else ""
    raise RunError(f"there is no folder {source}, and no model of the package has this name{hint}")


def _measured(folder: RunFolder, digest: str) -> Measured | None:
    """Return what a run's `evaluation.json` says of the weights with this digest; None if there is nothing."""
    try:
        values = read_json(folder.path / "evaluation.json")
        sealed = values.pop(SEAL, None)
        if sealed != seal(values) or values.get("weights") != digest:
            return None
        return measured_by(values, digest)
    except (OSError, UserError, ValueError, TypeError, KeyError, AttributeError):
        return None


def measured_by(evaluation: Mapping[str, Any], digest: str) -> Measured:
    """Return what a model records of its evaluation.

    Args:
        evaluation: content of `evaluation.json`.
        digest: of the weights that were measured, in single precision.

    Raises:
        RecordError, KeyError, TypeError: values are missing.
    """
    counts = {"generated": evaluation["evaluation"]["fid_images"], "test": evaluation["real"]["count"]}
    values = {"metrics": evaluation["metrics"], "features": evaluation.get("features"), "weights": digest}
    return from_json(Measured, values | counts)


def save_pretrained(model: Autoencoder, folder: Path | str, **options: Any) -> Path:
    """Write a model to a folder; see `Autoencoder.save_pretrained`.

    Args:
        model: a `VAE` or `WAE` with networks of the paper.
        folder: where to write it.
        **options: fields of `SaveOptions`.

    Returns:
        The folder.
    """
    chosen, folder = SaveOptions(**options), Path(folder)
    config, info = _config_to_save(model)
    densities = model.densities_of(changed=bool(info.changed))
    try:
        tensors = reduced(model.state_dict(), chosen.precision)
    except ValueError as error:
        raise RunError(str(error)) from None
    check_target(folder, overwrite=chosen.overwrite)
    info = replace(
        info,
        name=chosen.name or info.name or folder.resolve().name,
        license=chosen.license or info.license,
        description=chosen.description or info.description,
        precision=chosen.precision,
        weights=digest_of(tensors),
        format=FORMATS[chosen.precision],
    )
    content = {PRETRAINED_WEIGHTS: weights_content(tensors, info.epochs)[0]}
    loaded = digest_of(in_single_precision(tensors, model))
    if densities:
        content[DENSITY_FILE] = densities_content(densities, **density_origin(config, loaded))
    card = model_card(config, info, loaded, source=chosen.source, densities=sorted(densities))
    content[CARD] = card.encode(errors="backslashreplace")
    try:
        with _only_writer(folder):
            check_target(folder, overwrite=chosen.overwrite)  # another process may have saved a model meanwhile
            _replace_model(folder, content, config | {KEY: to_json(info)})
    except OSError as error:
        raise RunError(f"{folder} cannot be written to: {error.strerror or one_line(error)}") from error
    return folder


@contextmanager
def _only_writer(folder: Path) -> Iterator[None]:
    """Create a folder and lock it in a `with` block; the lock leaves no file that would be shared with the model.

    Raises:
        RunError: another process is saving a model there.
    """
    make_folder(folder)
    if not hasattr(os, "O_DIRECTORY"):  # Windows
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if not try_lock(descriptor):
            raise RunError(f"{folder}: another process is saving a model there; wait for it or choose another folder")
        yield
    finally:
        os.close(descriptor)


def _replace_model(folder: Path, content: Mapping[str, bytes], config: Mapping[str, Any]) -> None:
    """Write the files of a model so that the folder holds the former or the new model at every moment.

    All files are complete on the disk before the first is replaced. The config is replaced twice: before the weights
    by one that holds the former config too (see `config_of_weights`), and at the end by the final one.

    Raises:
        OSError: they cannot be written; the former model is still there.
    """
    with ExitStack() as renames:  # they happen in reverse order when the block ends
        for name, value in [("config.json", json_text(config).encode()), *reversed(list(content.items()))]:
            renames.enter_context(atomic_write(folder / name)).write_bytes(value)
        announced = renames.enter_context(atomic_write(folder / "config.json"))
        announced.write_bytes(json_text({**config, FORMER: _former_config(folder)}).encode())
    if DENSITY_FILE not in content:  # former ones are ignored, because they belong to other weights
        (folder / DENSITY_FILE).unlink(missing_ok=True)


def _former_config(folder: Path) -> dict[str, Any] | None:
    """Return the config of the model in a folder; None if it holds none that can be read."""
    with suppress(RunError):
        return RunFolder(folder).config()
    return None


def files_to_replace(folder: Path) -> list[str]:
    """Return the names of the files in a folder that saving a model would replace.

    Those of a first save that was interrupted do not count.
    """
    with suppress(OSError, DamagedJsonError):
        config = read_json(folder / "config.json")
        if is_unfinished(config) and config[FORMER] is None:
            return []
    return [name for name in FILES if os.path.lexists(folder / name)]


def check_target(folder: Path, *, overwrite: bool) -> None:
    """Check that a model can be written to a folder.

    Raises:
        RunError: it is a file, holds files that do not belong to a pretrained model, or holds a model or one of its
            files and `overwrite` is false.
    """
    if not folder.is_dir():
        if os.path.lexists(folder):
            raise RunError(f"{folder} is a file; choose another folder")
        return
    names = {each.name for each in folder.iterdir() if not is_temporary(each.name)}
    if foreign := names - {*FILES, *OTHER_FILES}:
        raise RunError(f"{folder} holds {min(foreign)}, which does not belong to a model; choose another folder")
    if not overwrite and (replaced := files_to_replace(folder)):
        held = "a model" if "config.json" in names else replaced[0]
        raise RunError(f"{folder} already holds {held}; choose another folder, or replace it with overwrite")


def _config_to_save(model: Autoencoder) -> tuple[dict[str, Any], PretrainedInfo]:
    """Return the content of `config.json`, checked against the model, without paths of this machine.

    The record in it is returned by itself. It says nothing of the training if the weights have changed since.

    Raises:
        RunError: the networks are not those that a config describes.
    """
    if model.origin is None:
        raise RunError(
            f"this {type(model).__name__} has networks or a class of your own, which config.json cannot describe; "
            "store its state_dict() and build the model in your code"
        )
    config = {"kind": "auto-encoder", **model.origin}
    config.pop(RUN_KEY, None)  # it belongs to the files of the run folder
    train: dict[str, Any] = dict(config["train"])
    data = train.get("data")
    name = data.get("name") if isinstance(data, Mapping) else "./unknown"
    if name not in (None, *DATASETS, TEXT_REMOVAL):
        train["data"] = {**(data or {}), "name": f"./{Path(str(name)).name}"}
    config["train"] = train
    try:
        if model.family == "vae" and model.max_log_variance != described_limit(train):
            train["model"] = {**train["model"], "max_log_variance": model.max_log_variance}
        channels, height, width = config["image_shape"]
        described = check_network(resolve(from_dict(TrainConfig, train)), (channels, height, width))
        check_fits(model.state_dict(), described)
    except (ConfigError, ValueError) as error:
        raise RunError(f"the model cannot be saved, because it is not what its config describes: {error}") from None
    known, state = config.pop(KEY, None), config.pop(STATE, None)
    info = PretrainedInfo("", "") if known is None else from_json(PretrainedInfo, known)
    if state not in (None, digest_of_model(model)):
        info = replace(info, name="", description=None, epochs=None, measured=None, changed=True)
    return config, info


def push_to_hub(
    model: Autoencoder,
    repository: str,
    *,
    private: bool = False,
    revision: str | None = None,
    token: str | bool | None = None,
    message: str | None = None,
    **options: Any,
) -> str:
    """Upload a model; see `Autoencoder.push_to_hub`."""
    with tempfile.TemporaryDirectory(prefix="logcosh-vae-") as name:
        options = {"name": repository.rpartition("/")[2], "source": repository, **options}
        folder = save_pretrained(model, Path(name) / "model", **options)
        return hub.upload(folder, repository, private=private, revision=revision, token=token, message=message)
