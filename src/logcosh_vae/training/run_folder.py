"""Run folders: the files of a training run, and how to resume and load it.

    config.json           resolved config, fingerprints of the images, versions: of the final weights, if there are any
    environment.json      machine, versions, commit
    metrics.jsonl         one record per epoch: losses in training and validation, seconds, and the losses of a few test
                          images at the logged steps
    samples/              pictures of samples, every few epochs
    state.pt              number of a finished epoch, weights, optimizer state and records, for `--resume`; the state
                          before it is `state.former.pt`
    weights.safetensors   final weights; the run is finished when this file exists
    progress.json         current epoch and step
    tracking.json         what `--track` has sent; `tensorboard/` and `wandb/` hold what these trackers write

A folder of a pretrained model (`export.pretrained`) is read like a finished run. It holds `model.safetensors` in place
of the weights and of all files that only training needs, and is never written to.

Every write happens under the lock, and nothing is replaced before its successor is complete: continued training leaves
the former weights and their evaluation in place until the new weights are written.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..base.environment import describe
from ..base.errors import DamagedJsonError, RunError
from ..base.files import is_temporary, make_folder, one_line, read_json, remove_leftovers, write_json, write_text
from ..base.locks import lock_file
from ..base.records import write_record
from ..base.text import counted
from . import state_file
from .epoch_records import Record, merge, read_records, same_losses, to_text
from .loop import Position
from .model_names import nearest_name
from .precision import in_single_precision
from .pretrained_config import KEY, config_of_weights
from .run_identity import RUN_KEY, RunIdentity, shown
from .weights_file import (
    EXTRA_BYTES,
    LARGEST_BYTES,
    DamagedWeightsError,
    SavedWeights,
    check_fits,
    digest_of,
    read_weights,
    tensor_bytes,
    write_weights,
)

__all__ = ["DERIVED_FILES", "PRETRAINED_WEIGHTS", "STATE_SECONDS", "RunFolder", "RunIdentity", "digest_of"]

MEASURED_FILES = ("evaluation.json", "measures.json")
"""Measurements of the final weights, with the digest of the weights."""

DENSITY_FILE = "densities.safetensors"
"""Densities that were fitted to the codes of the final model."""

DERIVED_FILES = (
    *(*MEASURED_FILES, DENSITY_FILE),
    *("samples.png", "samples-gaussian.png", "samples-mixture.png", "reconstructions.png", "interpolation.png"),
)
"""Files that were computed from the final weights."""

PRETRAINED_WEIGHTS = "model.safetensors"
"""Weights of a pretrained model, under the name that model hubs use."""

_STARTED = ("metrics.jsonl", "weights.safetensors")
"""Files that show that an epoch of a run has been reported as done. A state is written before."""

_FILES = (
    *("config.json", "environment.json", "progress.json", "tracking.json", ".lock"),
    *(*_STARTED, *state_file.STATE_NAMES, *DERIVED_FILES),
)
_FOLDERS = ("samples", "tensorboard", "wandb")

STATE_SECONDS = 5.0
"""Minimum interval between states in seconds: the most that a killed run loses besides its current epoch."""


class ForeignWeightsError(RunError):
    """The weights in a run folder were written by another run."""


class RunFolder:
    """A run folder on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._progress_time = 0.0
        self._state_time = -STATE_SECONDS  # so that the state of the first epoch is written

    @property
    def config_path(self) -> Path:
        return self.path / "config.json"

    @property
    def metrics_path(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def weights_path(self) -> Path:
        return self.path / (PRETRAINED_WEIGHTS if self.is_pretrained else "weights.safetensors")

    @property
    def is_pretrained(self) -> bool:
        """Whether the folder holds a pretrained model, which is only read, and no run."""
        return not os.path.lexists(self.path / "weights.safetensors") and (self.path / PRETRAINED_WEIGHTS).is_file()

    @property
    def state_path(self) -> Path:
        return self.path / state_file.STATE_NAMES[0]

    def picture_path(self, epoch: int) -> Path:
        """Return the file of the picture that was drawn after an epoch; not all epochs have one."""
        return self.path / "samples" / f"epoch-{epoch:04d}.png"

    def check(self, identity: RunIdentity, *, resume: bool) -> None:
        """Check that a run can be trained in the folder; changes nothing.

        The folder may be missing, empty, or hold the same run, without `resume` only one that has not trained yet.

        Raises:
            RunError: it holds a run and `resume` is false, a run with another config, or other files.
        """
        if not self.path.is_dir():
            if os.path.lexists(self.path):
                raise RunError(f"{self.path} is a file; choose another --out")
            return
        self.check_files()
        if self.is_pretrained:
            raise RunError(f"{self.path} holds a pretrained model, which cannot be trained; choose another --out")
        if self.config_path.exists():
            if not resume and any((self.path / name).exists() for name in _STARTED):
                raise RunError(f"{self.path} already holds a run; add --resume to continue it, or choose another --out")
            if (difference := identity.difference(self.config())) is not None:
                repeat = "to continue it, repeat the options that it was started with, or " if resume else ""
                raise RunError(
                    f"{self.path} holds a run with another {difference}; {repeat}choose another --out{identity.advice}"
                )
            return
        if any(each.name != ".lock" and not is_temporary(each.name) for each in self.path.iterdir()):
            raise RunError(f"{self.path} is not empty and does not hold a run; choose another --out")

    def check_files(self) -> None:
        """Check that the files of a run are regular files, because somebody else may have made the folder.

        To read a run, links are followed: tools that share trained models store their files as links.

        Raises:
            RunError: one is a link, a folder or a special file; the message names it.
        """
        for names, is_right, kind in ((_FILES, stat.S_ISREG, "regular file"), (_FOLDERS, stat.S_ISDIR, "folder")):
            for name in names:
                with suppress(FileNotFoundError):
                    if not is_right((self.path / name).lstat().st_mode):
                        raise RunError(f"{self.path / name} is not a {kind}; remove it, or choose another --out")

    def config(self) -> dict[str, Any]:
        """Read the content of `config.json`.

        Raises:
            RunError: the file is missing or damaged.
        """
        try:
            config = read_json(self.config_path)
        except FileNotFoundError:
            near = None if self.path.exists() else nearest_name(self.path)
            hint = f"; did you mean the model {near!r}?" if near else ""
            raise RunError(f"{self.path} is not a run folder: it has no config.json{hint}") from None
        except NotADirectoryError:
            raise RunError(f"{self.path} is not a run folder: it is a file") from None
        except OSError as error:
            raise RunError(f"{self.config_path} cannot be read: {_reason(error)}") from None
        except ValueError as error:
            raise RunError(str(error)) from None
        if not isinstance(config, dict):
            raise RunError(f"{self.config_path} is damaged: it must contain a JSON object")
        return config_of_weights(self.config_path, config, self.path / PRETRAINED_WEIGHTS)

    def run_id(self) -> str | None:
        """Return the run's identifier, which its files share; None in folders of earlier versions."""
        with suppress(RunError):
            identifier = self.config().get(RUN_KEY)
            return identifier if isinstance(identifier, str) else None
        return None

    def write_config(self, config: Mapping[str, Any], run: str | None = None) -> None:
        """Write `config.json` and `environment.json`, if the config has changed or one of them is missing.

        The config is written first, because a folder without it is not recognised as a run after a kill.

        Args:
            config: the config.
            run: identifier of the run, which is added to the config; a folder keeps the one that it has.
        """
        environment = self.path / "environment.json"
        if (identifier := self.run_id() or run) is not None:
            config = {**config, RUN_KEY: identifier}
        has_changed = not self.config_path.exists() or self.config() != config
        with self.writing(self.config_path):
            if has_changed:
                write_json(self.config_path, config)
            if has_changed or not environment.exists():
                write_record(describe(), environment)

    @contextmanager
    def lock(self, *, shared: bool = False) -> Iterator[None]:
        """Lock the folder against other processes, and delete temporary files that a killed process left.

        Args:
            shared: lock it only against processes that write, to read it. A folder that cannot be written to is read
                without a lock.

        Raises:
            RunError: another process uses the folder, or the lock file is a link or a special file.
        """
        try:
            if not shared:
                make_folder(self.path)
            with lock_file(self.path / ".lock", shared=shared) as taken:
                if not taken:
                    raise RunError(
                        f"{self.path}: another process is training or evaluating this run; wait for it or choose "
                        "another --out"
                    )
                if not shared:
                    for folder in (self.path, *(self.path / name for name in _FOLDERS)):
                        if folder == self.path or not folder.is_symlink():
                            remove_leftovers(folder)
                yield
        except OSError as error:
            if error.filename not in (os.fspath(self.path), os.fspath(self.path / ".lock")):
                raise
            raise RunError(f"{error.filename} cannot be used: {_reason(error)}") from error

    def final_weights(self) -> SavedWeights | None:
        """Read the final weights; None if there are none. Their number of epochs is always known.

        Raises:
            ForeignWeightsError: the weights were written by another run.
            RunError: the weights, or the records of the epochs, are damaged.
        """
        if not os.path.lexists(self.weights_path):
            return None
        return self._with_epochs(self.read_weights())

    def read_weights(self, limit: int = LARGEST_BYTES) -> SavedWeights:
        """Read the final weights, of at most `limit` bytes, and check that they belong to this run.

        Raises:
            ForeignWeightsError: the weights were written by another run.
            RunError: they are missing or damaged.
        """
        try:
            weights, run = read_weights(self.weights_path, limit), self.run_id()
        except DamagedWeightsError as error:
            if self.is_pretrained:
                raise
            raise RunError(f"{error}; train again with --resume, which restores it from state.pt") from None
        if None not in (run, weights.run) and weights.run != run:
            raise ForeignWeightsError(
                f"{self.weights_path} was written by another run ({shown(weights.run)}, but config.json has "
                f"{shown(run)}); put back the weights of this run, or remove them and add --resume, which "
                "restores them from state.pt"
            )
        return weights

    def _with_epochs(self, weights: SavedWeights) -> SavedWeights:
        if weights.epochs is not None:
            return weights
        epochs = self.config().get("train", {}).get("epochs")  # earlier versions removed the weights to continue
        trained = len(self.metrics())
        return replace(weights, epochs=min(epochs, trained) if isinstance(epochs, int) else trained)

    def is_finished(self, epochs: int) -> bool:
        """Whether the folder has intact final weights that were trained for at least `epochs` epochs."""
        try:
            weights = self.final_weights()
        except RunError:
            return False
        return weights is not None and (weights.epochs or 0) >= epochs

    def metrics(self) -> list[Record]:
        """Read the records of `metrics.jsonl`, one per epoch, in order. Continued training has more than the weights.

        Raises:
            RunError: the file is damaged.
        """
        try:
            return read_records(self.metrics_path, self.run_id())
        except DamagedJsonError as error:
            raise RunError(f"{error}; delete it and add --resume, which restores it from state.pt") from None
        except OSError as error:
            raise RunError(f"{self.metrics_path} cannot be read: {_reason(error)}") from None

    def add_epoch(
        self,
        record: Mapping[str, Any],
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        run: str = "",
        last: bool = True,
    ) -> None:
        """Write the state from which the run can be resumed, and add the record of an epoch.

        The state is not written if the previous one is less than `STATE_SECONDS` old, unless `last`. On a GPU, writing
        the state of a large model can take as long as training an epoch. The disk holds both when this returns.

        Args:
            record: JSON values with the key `epoch`; replaces the record of the same epoch.
            model: model after the epoch.
            optimizer: optimizer after the epoch.
            runs: digests that the state may have, see `RunIdentity.state_digests`.
            last: whether this is the last epoch of the run.

        Raises:
            RunError: the state or the records cannot be written.
        """
        records = merge(self.metrics(), [dict(record)])
        if last or time.monotonic() - self._state_time >= STATE_SECONDS:
            done = [each for each in records if each["epoch"] <= record["epoch"]]
            with self.writing(self.state_path):
                state_file.write_state(self.path, run, done, model, optimizer)
            self._state_time = time.monotonic()
        self._write_records(records)

    def _write_records(self, records: list[Record]) -> None:
        with self.writing(self.metrics_path):
            write_text(self.metrics_path, to_text(records, self.run_id()))

    @contextmanager
    def writing(self, path: Path) -> Iterator[None]:
        """Turn errors of the system in the `with` block into a `RunError` about `path`."""
        try:
            yield
        except OSError as error:
            raise RunError(f"{path} cannot be written ({_reason(error)}); check the free disk space") from error

    def load_state(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        runs: Collection[str],
        on_message: Callable[[str], None] = lambda _: None,
        repair: bool = True,
    ) -> int:
        """Load the last saved state into `model` and `optimizer`.

        Args:
            model: on its device.
            optimizer: over the model's parameters.
            runs: digests that the state may have, see `RunIdentity.state_digests`.
            on_message: called if the former state has to be used, or the records differ from the state's.
            repair: write the records of the state where `metrics.jsonl` lacks them or has others.

        Returns:
            The number of the epoch after which the state was saved; 0 if the folder has no state.

        Raises:
            RunError: no state is intact, or it is missing although epochs have been trained.
        """
        records = self.metrics()
        loaded = state_file.load_state(self.path, runs, model, optimizer, on_message)
        if loaded is None:
            if records or self.weights_path.exists():
                raise RunError(
                    f"{self.path} holds {counted(len(records), 'trained epoch')} but no state.pt to continue from; put "
                    "state.pt back, or choose another --out"
                )
            return 0
        if not same_losses(loaded.records, records):
            on_message(
                f"{self.metrics_path} has other losses than the state of epoch {loaded.epoch}; the state's are restored"
            )
            records_after: list[Record] = []
        else:
            records_after = [each for each in records if each["epoch"] > len(loaded.records)]
        restored = merge(loaded.records, records_after)
        if [record["epoch"] for record in restored[: loaded.epoch]] != list(range(1, loaded.epoch + 1)):
            raise RunError(
                f"{self.metrics_path} does not hold the {loaded.epoch} epochs of state.pt; put it back, or choose "
                "another --out"
            )
        if repair and restored != records:
            self._write_records(restored)
        return loaded.epoch

    def save_weights(self, model: nn.Module, epochs: int | None = None, run: str | None = None) -> str:
        """Write the final weights, which marks the run as finished; returns their digest.

        What was computed from other weights is deleted.

        Args:
            model: the trained model.
            epochs: number of epochs that it was trained for.
            run: identifier of the run, if `config.json` has none.
        """
        before = None
        with suppress(RunError):
            before = read_weights(self.weights_path).digest
        with self.writing(self.weights_path):
            digest = write_weights(self.weights_path, model, epochs, self.run_id() or run)
            if digest != before:
                self._delete_derived()
        return digest

    def complete(self, identity: RunIdentity, digest: str) -> None:
        """Make the other files agree with the final weights, if a kill has interrupted the end of the training.

        Args:
            identity: of the run that the weights belong to.
            digest: of the final weights.
        """
        if identity.has_grown(self.config()):
            self.write_config(identity.config, identity.identifier())
        measured = (_digest_in(self.path / name) for name in MEASURED_FILES)
        if any(each not in (None, digest) for each in measured):
            self._delete_derived()

    def _delete_derived(self) -> None:
        for name in DERIVED_FILES:
            (self.path / name).unlink(missing_ok=True)

    def load_weights(self, model: nn.Module) -> SavedWeights:
        """Load the final weights into `model`; returns them with the number of their epochs.

        Raises:
            RunError: the weights are missing, damaged, not finite, of another run, or do not fit the model. Those of a
                pretrained model may have a lower precision.
        """
        if not os.path.lexists(self.weights_path):
            if KEY in self.config():
                raise DamagedWeightsError(f"{self.path / PRETRAINED_WEIGHTS} is missing or no file")
            raise RunError(f"{self.path} has no final weights: training has not finished; continue it with --resume")
        weights = self.read_weights(EXTRA_BYTES + 2 * tensor_bytes(model))
        if self.is_pretrained:
            weights = replace(weights, tensors=in_single_precision(weights.tensors, model))
        try:
            check_fits(weights.tensors, model)
        except ValueError as error:
            raise RunError(f"{self.weights_path} cannot be loaded: {one_line(error)}") from None
        model.load_state_dict(dict(weights.tensors))
        return self._with_epochs(weights)

    def write_progress(self, position: Position) -> None:
        """Write the position to `progress.json`, at most once per second and at the end, if it can be written."""
        now = time.monotonic()
        if now - self._progress_time >= 1.0 or position.fraction >= 1.0:
            self._progress_time = now
            with suppress(OSError):
                write_json(self.path / "progress.json", position._asdict(), durable=False)

    def progress(self) -> Position | None:
        """Read the last position that `write_progress` wrote; None if there is none."""
        with suppress(OSError, ValueError, TypeError):
            position = Position(**read_json(self.path / "progress.json", follow=False))
            if all(type(value) is int and value > 0 for value in position):
                return position
        return None


def _digest_in(path: Path) -> str | None:
    """Return the digest of the weights that were measured, as the file holds it; None if it holds none."""
    with suppress(OSError, ValueError, AttributeError):
        digest = read_json(path).get("weights")
        return digest if isinstance(digest, str) else None
    return None


def _reason(error: BaseException) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else one_line(error)
