"""Run folders: what a training run leaves, and how it is resumed and loaded.

config.json           the resolved config, fingerprints of the images, versions; written before the first step
environment.json      machine, versions, commit
metrics.jsonl         one line an epoch: every term of the objective, training and validation, seconds; and at the
                      logged steps, for a few test images
samples/              a picture every few epochs
state.pt              what `--resume` needs: a finished epoch, weights, optimizer
weights.safetensors   the final weights; a run is finished when it is there
progress.json         how far the run is, for whoever watches
"""

from __future__ import annotations

import hashlib
import json
import time
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import safetensors.torch
import torch
from filelock import FileLock, Timeout
from torch import Tensor, nn

from ..base.environment import describe
from ..base.errors import DamagedJsonError, RunError
from ..base.files import TEMPORARY_PREFIX, atomic_write, one_line, parse_json, read_json, write_json, write_text
from ..base.records import write_record
from .loop import Position

MADE_OF_WEIGHTS = (
    "weights.safetensors",
    "evaluation.json",
    "samples.png",
    "reconstructions.png",
    "interpolation.png",
)
"""Files of a finished run."""


STATE_SECONDS = 5.0
"""At most so much training is lost when a run is killed, beside the epoch that it was in."""


class RunFolder:
    """A run folder on disk. Open one with `create` (to train) or directly (to read)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._shown = 0.0
        self._saved = -STATE_SECONDS  # the first epoch's state is written

    @classmethod
    def create(
        cls,
        path: Path,
        config: Mapping[str, Any],
        *,
        resume: bool,
        may_grow: str | None = None,
        renamed: Mapping[str, str] = MappingProxyType({}),
        advice: str = "",
    ) -> RunFolder:
        """Start a run, or go on with it.

        Args:
            path: a folder that is missing or empty, unless `resume`.
            config: plain JSON values that decide the run.
            resume: go on if a run of the same config stands there.
            may_grow: the dotted key of a number that may be larger than it was.
            renamed: former dotted keys with their present names, for folders that were made before.
            advice: for one whose config differs, beside choosing another folder.

        Raises:
            RunError: a run stands there and `resume` is false, or its config differs.
        """
        folder = cls(path)
        if path.exists() and not path.is_dir():
            raise RunError(f"{path} is a file; choose another --out")
        if folder.config_path.exists():
            if not resume:
                raise RunError(f"{path} already holds a run; add --resume to go on, or choose another --out")
            folder._check_same(config, may_grow, renamed, advice)
        elif path.exists() and any(path.iterdir()):
            raise RunError(f"{path} is not empty and holds no run; choose another --out")
        write_json(folder.config_path, config)
        write_record(describe(), path / "environment.json")
        return folder

    @property
    def config_path(self) -> Path:
        return self.path / "config.json"

    @property
    def weights_path(self) -> Path:
        return self.path / "weights.safetensors"

    @property
    def state_path(self) -> Path:
        return self.path / "state.pt"

    def config(self) -> dict[str, Any]:
        """The run's config; a `RunError` where there is none."""
        if not self.config_path.is_file():
            raise RunError(f"{self.path} is no run folder: it has no config.json")
        try:
            config = read_json(self.config_path)
        except ValueError as error:
            raise RunError(str(error)) from None
        if not isinstance(config, dict):
            raise RunError(f"{self.config_path} must hold an object")
        return config

    def _check_same(
        self, config: Mapping[str, Any], may_grow: str | None, renamed: Mapping[str, str], advice: str
    ) -> None:
        there = {renamed.get(key, key): value for key, value in _flat(self.config()).items()}
        here = _flat(config)
        changed = sorted(key for key in there.keys() | here.keys() if there.get(key) != here.get(key))
        if may_grow in changed and here[may_grow] > there[may_grow]:
            changed.remove(may_grow)
        if changed:
            key = changed[0]
            raise RunError(
                f"{self.path} holds a run with another {key} ({there.get(key)}, now {here.get(key)}); "
                f"choose another --out{advice}"
            )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep the folder to this process; a `RunError` when another one is training in it."""
        try:
            lock = FileLock(self.path / ".lock", timeout=0).acquire()
        except Timeout:
            raise RunError(f"{self.path}: another process is training this run") from None
        with lock:
            for left_over in self.path.rglob(f"{TEMPORARY_PREFIX}*"):
                left_over.unlink()
            yield

    def is_finished(self, epochs: int) -> bool:
        """Whether the final weights are there, of at least `epochs` epochs."""
        return self.weights_path.is_file() and len(self.metrics()) >= epochs

    def metrics(self) -> list[dict[str, Any]]:
        """One record an epoch, in order."""
        path = self.path / "metrics.jsonl"
        if not path.is_file():
            return []
        try:
            records = [parse_json(line, path) for line in path.read_text(encoding="utf-8").splitlines() if line]
            return [_with_present_names(record) for record in records]
        except DamagedJsonError as error:
            raise RunError(f"{error}; delete {self.path} to train it again") from None

    def add_epoch(
        self, record: Mapping[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer, *, last: bool = True
    ) -> None:
        """Write an epoch's record and the state after it; a resumed run goes on from the state.

        Epochs of less than `STATE_SECONDS` share a state, save the last one: on a GPU a large model's takes as long to
        write as an epoch to train.
        """
        records = [r for r in self.metrics() if r["epoch"] < record["epoch"]]
        write_text(self.path / "metrics.jsonl", "".join(json.dumps(r) + "\n" for r in [*records, dict(record)]))
        if not last and time.monotonic() - self._saved < STATE_SECONDS:
            return
        state = {
            "epoch": record["epoch"],
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
        }
        with self._writing(self.state_path) as aside:
            torch.save(state, aside)
        self._saved = time.monotonic()

    @contextmanager
    def _writing(self, path: Path) -> Iterator[Path]:
        """`atomic_write`, with one line where that fails: libraries say little of a full disk."""
        try:
            with atomic_write(path) as aside:
                yield aside
        except (OSError, RuntimeError, safetensors.SafetensorError) as error:
            raise RunError(f"{path} cannot be written ({one_line(error)}); is there space?") from error

    def restore(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
        """Load the state after the last finished epoch; the number of that epoch, 0 when there is none."""
        if not self.state_path.is_file():
            return 0
        try:
            with zipfile.ZipFile(self.state_path) as archive:
                if archive.testzip() is not None:  # torch does not compare the checksums
                    raise ValueError("a checksum is wrong")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of formats that are then refused
                state = torch.load(self.state_path, weights_only=True)
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
            return int(state["epoch"])
        except Exception as error:
            raise RunError(
                f"{self.state_path} is damaged, or no state of this run; delete it to start the run again"
            ) from error

    def reopen(self) -> None:
        """Take away what was made of the weights that training goes on from: it would stand beside other weights."""
        for name in MADE_OF_WEIGHTS:
            (self.path / name).unlink(missing_ok=True)

    def finish(self, model: nn.Module) -> None:
        """Write the final weights."""
        tensors = {name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}
        with self._writing(self.weights_path) as aside:
            safetensors.torch.save_file(tensors, aside, {"digest": digest_of(tensors)})

    def load_weights(self, model: nn.Module) -> None:
        """Load the final weights into `model`; a `RunError` if they are missing or do not fit."""
        if not self.weights_path.is_file():
            raise RunError(f"{self.path} has no final weights: training has not finished; go on with --resume")
        try:
            with safetensors.safe_open(self.weights_path, "pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
                noted = (file.metadata() or {}).get("digest")
            if noted not in (None, digest_of(tensors)):  # older runs noted none
                raise ValueError("its checksum is wrong; delete it and train on with --resume")
            model.load_state_dict(tensors)
        except Exception as error:
            raise RunError(f"{self.weights_path} cannot be loaded: {one_line(error)}") from error

    def show_progress(self, position: Position) -> None:
        """Leave a note of how far the run is, at most one a second."""
        now = time.monotonic()
        if now - self._shown >= 1.0 or position.fraction >= 1.0:
            self._shown = now
            write_json(self.path / "progress.json", position._asdict())

    def progress(self) -> Position | None:
        """The last note of `show_progress`."""
        with suppress(OSError, ValueError, TypeError):
            return Position(**read_json(self.path / "progress.json"))
        return None


def _with_present_names(record: dict[str, Any]) -> dict[str, Any]:
    """A record of an epoch; older runs called the loss `objective`."""
    for losses in (record.get("train"), record.get("validation"), *record.get("tracked", ())):
        if isinstance(losses, dict) and "objective" in losses:
            losses["loss"] = losses.pop("objective")
    return record


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of named tensors on the CPU: names, types, shapes and values."""
    content = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        content.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        content.update(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return content.hexdigest()


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
