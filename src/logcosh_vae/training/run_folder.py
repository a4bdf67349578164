"""Run folders: the files of a training run, and how to resume and load it.

config.json           resolved config, fingerprints of the images, versions; written before the first step
environment.json      machine, versions, commit
metrics.jsonl         one record per epoch: losses in training and validation, seconds, and the losses of a few test
                      images at the logged steps
samples/              pictures of samples, every few epochs
state.pt              number of a finished epoch, weights and optimizer state, for `--resume`
weights.safetensors   final weights; the run is finished when this file exists
progress.json         current epoch and step
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

DERIVED_FILES = (
    "weights.safetensors",
    "evaluation.json",
    "samples.png",
    "reconstructions.png",
    "interpolation.png",
)
"""Files that hold the final weights or were computed from them."""

STATE_SECONDS = 5.0
"""Minimum interval between states in seconds: the most that a killed run loses besides its current epoch."""


class RunFolder:
    """A run folder on disk. Use `create` to train in it, and the constructor to read it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._progress_time = 0.0
        self._state_time = -STATE_SECONDS  # so that the state of the first epoch is written

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
        """Create the folder of a new run, or check that an existing one holds the same run; writes the config.

        Args:
            path: the folder; it must not exist or be empty, unless `resume`.
            config: everything that determines the run, as JSON values.
            resume: accept a folder that holds a run with the same config.
            may_grow: dotted key of a number that may be larger than in the existing config.
            renamed: maps former dotted keys to present ones, for folders written by earlier versions.
            advice: appended to the error about a different config.

        Raises:
            RunError: the folder holds a run and `resume` is false, a run with another config, or other files.
        """
        folder = cls(path)
        if path.exists() and not path.is_dir():
            raise RunError(f"{path} is a file; choose another --out")
        if folder.config_path.exists():
            if not resume:
                raise RunError(f"{path} already holds a run; add --resume to continue it, or choose another --out")
            folder._check_same(config, may_grow, renamed, advice)
        elif path.exists() and any(path.iterdir()):
            raise RunError(f"{path} is not empty and does not hold a run; choose another --out")
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
        """Read the content of `config.json`.

        Raises:
            RunError: the file is missing or damaged.
        """
        if not self.config_path.is_file():
            raise RunError(f"{self.path} is not a run folder: it has no config.json")
        try:
            config = read_json(self.config_path)
        except ValueError as error:
            raise RunError(str(error)) from None
        if not isinstance(config, dict):
            raise RunError(f"{self.config_path} is damaged: it must contain a JSON object")
        return config

    def _check_same(
        self, config: Mapping[str, Any], may_grow: str | None, renamed: Mapping[str, str], advice: str
    ) -> None:
        saved = {renamed.get(key, key): value for key, value in _flatten(self.config()).items()}
        current = _flatten(config)
        changed = sorted(key for key in saved.keys() | current.keys() if saved.get(key) != current.get(key))
        if may_grow in changed and isinstance(saved.get(may_grow), int) and current[may_grow] > saved[may_grow]:
            changed.remove(may_grow)
        if changed:
            key = changed[0]
            raise RunError(
                f"{self.path} holds a run with another {key} ({saved.get(key)}, now {current.get(key)}); "
                f"choose another --out{advice}"
            )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the folder against other processes and delete temporary files that a killed run left.

        Raises:
            RunError: another process is training in the folder.
        """
        try:
            lock = FileLock(self.path / ".lock", timeout=0).acquire()
        except Timeout:
            raise RunError(
                f"{self.path}: another process is training this run; wait for it or choose another --out"
            ) from None
        with lock:
            for temporary in self.path.rglob(f"{TEMPORARY_PREFIX}*"):
                temporary.unlink()
            yield

    def is_finished(self, epochs: int) -> bool:
        """Whether the folder has final weights that were trained for at least `epochs` epochs."""
        return self.weights_path.is_file() and len(self.metrics()) >= epochs

    def metrics(self) -> list[dict[str, Any]]:
        """Read the records of `metrics.jsonl`, one per epoch, in order.

        Raises:
            RunError: the file is damaged.
        """
        path = self.path / "metrics.jsonl"
        if not path.is_file():
            return []
        try:
            records = [parse_json(line, path) for line in path.read_text(encoding="utf-8").splitlines() if line]
            if not all(isinstance(record, dict) and isinstance(record.get("epoch"), int) for record in records):
                raise DamagedJsonError(f"{path} is damaged: a line is not the record of an epoch")
            return [_rename_former_keys(record) for record in records]
        except DamagedJsonError as error:
            raise RunError(f"{error}; delete {self.path} to train it again") from None

    def add_epoch(
        self, record: Mapping[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer, *, last: bool = True
    ) -> None:
        """Append the record of an epoch, and write the state from which the run can be resumed.

        The state is not written if the previous one is less than `STATE_SECONDS` old, unless `last`. On a GPU, writing
        the state of a large model can take as long as training an epoch.

        Args:
            record: JSON values with the key `epoch`; replaces records of the same and later epochs.
            model: model after the epoch.
            optimizer: optimizer after the epoch.
            last: whether this is the last epoch of the run.

        Raises:
            RunError: the state cannot be written.
        """
        records = [r for r in self.metrics() if r["epoch"] < record["epoch"]]
        write_text(self.path / "metrics.jsonl", "".join(json.dumps(r) + "\n" for r in [*records, dict(record)]))
        if not last and time.monotonic() - self._state_time < STATE_SECONDS:
            return
        state = {
            "epoch": record["epoch"],
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
        }
        with self._writing(self.state_path) as temporary:
            torch.save(state, temporary)
        self._state_time = time.monotonic()

    @contextmanager
    def _writing(self, path: Path) -> Iterator[Path]:
        """`atomic_write` with a one-line `RunError`, because libraries report a full disk in unclear ways."""
        try:
            with atomic_write(path) as temporary:
                yield temporary
        except (OSError, RuntimeError, safetensors.SafetensorError) as error:
            raise RunError(f"{path} cannot be written ({one_line(error)}); check the free disk space") from error

    def load_state(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
        """Load the last saved state into `model` and `optimizer`.

        Returns:
            The number of the epoch after which the state was saved; 0 if the folder has no state.

        Raises:
            RunError: the state is damaged or belongs to another network.
        """
        if not self.state_path.is_file():
            return 0
        try:
            with zipfile.ZipFile(self.state_path) as archive:
                if archive.testzip() is not None:  # torch.load does not verify checksums
                    raise ValueError("a checksum is wrong")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about legacy formats, which weights_only rejects anyway
                state = torch.load(self.state_path, weights_only=True)
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
            return int(state["epoch"])
        except Exception as error:
            raise RunError(
                f"{self.state_path} is damaged or does not belong to this run; delete it to train from the first epoch"
            ) from error

    def remove_outdated(self) -> None:
        """Delete the final weights and everything computed from them, because continued training outdates them."""
        for name in DERIVED_FILES:
            (self.path / name).unlink(missing_ok=True)

    def save_weights(self, model: nn.Module) -> None:
        """Write the final weights, with their digest in the metadata; this marks the run as finished."""
        tensors = {name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}
        with self._writing(self.weights_path) as temporary:
            safetensors.torch.save_file(tensors, temporary, {"digest": digest_of(tensors)})

    def load_weights(self, model: nn.Module) -> None:
        """Load the final weights into `model`.

        Raises:
            RunError: the weights are missing, damaged, not finite, or do not fit the model.
        """
        if not self.weights_path.is_file():
            raise RunError(f"{self.path} has no final weights: training has not finished; continue it with --resume")
        try:
            with safetensors.safe_open(self.weights_path, "pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
                expected = (file.metadata() or {}).get("digest")
            if expected not in (None, digest_of(tensors)):  # runs of early versions have no digest
                raise ValueError("wrong checksum; delete the file and continue training with --resume")
            broken = next((name for name, tensor in tensors.items() if not tensor.isfinite().all()), None)
            if broken is not None:
                raise ValueError(f"{broken} holds numbers that are not finite; train again with a lower learning rate")
            model.load_state_dict(tensors)
        except Exception as error:
            raise RunError(f"{self.weights_path} cannot be loaded: {one_line(error)}") from error

    def write_progress(self, position: Position) -> None:
        """Write the position to `progress.json`, at most once per second and at the end."""
        now = time.monotonic()
        if now - self._progress_time >= 1.0 or position.fraction >= 1.0:
            self._progress_time = now
            write_json(self.path / "progress.json", position._asdict())

    def progress(self) -> Position | None:
        """Read the last position that `write_progress` wrote; None if there is none."""
        with suppress(OSError, ValueError, TypeError):
            return Position(**read_json(self.path / "progress.json"))
        return None


def _rename_former_keys(record: dict[str, Any]) -> dict[str, Any]:
    """Rename `objective` to `loss` in an epoch's record; version 0.1 used the former name."""
    for losses in (record.get("train"), record.get("validation"), *record.get("tracked", ())):
        if isinstance(losses, dict) and "objective" in losses:
            losses["loss"] = losses.pop("objective")
    return record


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 (hexadecimal) of named CPU tensors: their names, types, shapes and values."""
    content = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        content.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        content.update(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return content.hexdigest()


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings into one dict with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
