"""Training states for `--resume`, in two generations: `state.pt` and, before it, `state.former.pt`.

A state holds the number of a finished epoch, the weights, the optimizer's state, the records of all epochs up to it,
and a digest of the run that it belongs to.
"""

from __future__ import annotations

import errno
import os
import secrets
import warnings
import zipfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..base.errors import RunError
from ..base.files import TEMPORARY_PREFIX, atomic_write, one_line, open_regular
from .epoch_records import Record, parse_records, to_text
from .weights_file import EXTRA_BYTES, check_fits, tensor_bytes

STATE_NAMES = ("state.pt", "state.former.pt")
"""The newest state, and the one before it."""

SIZE_FACTOR = 16
"""Largest size of a state, as a multiple of the model's; Adam's is 3."""


@dataclass(frozen=True)
class LoadedState:
    """A state that has been loaded: its epoch, and the records up to it (none in states of earlier versions)."""

    epoch: int
    records: list[Record]


def write_state(
    folder: Path, run: str, records: list[Record], model: nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    """Write the state after the last epoch of `records`; the state so far becomes the former one.

    Raises:
        OSError: it cannot be written; both generations stand then.
    """
    newest, former = (folder / name for name in STATE_NAMES)
    state = {
        "epoch": records[-1]["epoch"],
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "metrics": to_text(records),
        "run": run,
    }
    with atomic_write(newest) as temporary:
        with temporary.open("wb") as file:
            try:
                torch.save(state, file)
            except RuntimeError as error:  # torch hides the error of a full disk in one about its archive
                hidden = error.__context__
                raise (hidden if isinstance(hidden, OSError) else OSError(errno.EIO, one_line(error))) from None
            file.flush()
            os.fsync(file.fileno())  # before the former state is given up
        if newest.exists():
            _keep_as(newest, former)


def _keep_as(newest: Path, former: Path) -> None:
    """Give the newest state the former one's name as well, so that one of them exists at every moment."""
    link = former.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(6)}.pt")
    try:
        os.link(newest, link)
    except OSError:  # the file system has no hard links
        newest.replace(former)
        return
    try:
        link.replace(former)
    finally:
        link.unlink(missing_ok=True)


def load_state(
    folder: Path,
    runs: Collection[str],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    on_message: Callable[[str], None],
) -> LoadedState | None:
    """Load the newest state that is intact into `model` and `optimizer`.

    Args:
        folder: the run folder.
        runs: digests of the run; a state with another digest is refused.
        model: on its device.
        optimizer: over the model's parameters.
        on_message: called if the former state has to be used.

    Returns:
        None if there is no state.

    Raises:
        RunError: no state is intact; the message names the newest.
    """
    failures: list[RunError] = []
    for name in STATE_NAMES:
        path = folder / name
        if not os.path.lexists(path):
            continue
        try:
            loaded = _load(path, runs, model, optimizer)
        except RunError as error:
            failures.append(error)
            continue
        if name != STATE_NAMES[0]:
            reason = str(failures[0]) if failures else f"{folder / STATE_NAMES[0]} is missing"
            on_message(f"{reason}; continuing from the former state, of epoch {loaded.epoch}")
        return loaded
    if failures:
        raise RunError(f"{failures[0]}; put an intact copy back, or choose another --out") from failures[0].__cause__
    return None


def _load(path: Path, runs: Collection[str], model: nn.Module, optimizer: torch.optim.Optimizer) -> LoadedState:
    try:
        with open_regular(path) as file:
            if os.fstat(file.fileno()).st_size > EXTRA_BYTES + SIZE_FACTOR * tensor_bytes(model):
                raise ValueError("it is far larger than a state of this network")
            _verify_checksums(file)
            file.seek(0)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about legacy formats, which weights_only rejects anyway
                state: dict[str, Any] = torch.load(file, weights_only=True)
        if "run" in state and state["run"] not in runs:
            raise ValueError("it was written by another run")
        check_fits(state["model"], model)
        if not all(tensor.isfinite().all() for tensor in _tensors([state["model"], state["optimizer"]])):
            raise ValueError("it holds numbers that are not finite")
        epoch = state["epoch"]
        records = parse_records(state.get("metrics", ""), path)
        if type(epoch) is not int or epoch < 1 or (records and len(records) != epoch):
            raise ValueError("its number of epochs is wrong")
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        _check_shapes(optimizer)
        return LoadedState(epoch, records)
    except Exception as error:  # damaged files raise many types
        reason = error.strerror if isinstance(error, OSError) and error.strerror else one_line(error)
        raise RunError(f"{path} is damaged or does not belong to this run ({reason})") from error


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors in nested dicts and lists."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict | list | tuple):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _tensors(each)


def _check_shapes(optimizer: torch.optim.Optimizer) -> None:
    """Check the shapes of an optimizer's averages, because `load_state_dict` accepts any.

    Raises:
        ValueError: one differs from the shape of its parameter.
    """
    for parameter, averages in optimizer.state.items():
        for name, value in averages.items():
            if isinstance(value, torch.Tensor) and value.ndim > 0 and value.shape != parameter.shape:
                raise ValueError(f"the optimizer's {name} has the shape {tuple(value.shape)}")


def _verify_checksums(file: Any) -> None:
    """Check the archive that `torch.save` wrote, because `torch.load` does not verify checksums.

    Raises:
        ValueError, zipfile.BadZipFile: it is damaged, or compressed, which `torch.save` never does.
    """
    with zipfile.ZipFile(file) as archive:
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise ValueError("its archive is compressed")
        if archive.testzip() is not None:
            raise ValueError("a checksum is wrong")
