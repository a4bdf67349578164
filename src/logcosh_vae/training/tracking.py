"""Send a training run to experiment trackers while it is trained, or afterwards.

What is sent are the records of `metrics.jsonl` and the pictures in `samples/`, after each epoch. `tracking.json` in the
run folder names the run in the trackers and the last epoch that each of them has got. A resumed run therefore goes on
in the same run of the tracker, and sends no epoch twice and none too few. An error of a tracker ends its tracking with
one message, and not the training.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ..base.errors import RunError
from ..base.files import one_line, read_json, write_json
from .epoch_records import Record
from .run_folder import RunFolder
from .run_identity import flatten
from .session import Callbacks
from .trackers import TRACKERS, TrackedRun, Tracker

STATE_FILE = "tracking.json"


class Tracking:
    """Sends a run folder to trackers; a context manager that closes them.

    Args:
        folder: the run folder; it may not exist yet.
        trackers: names in `TRACKERS`.
        on_message: called with a message about each tracker that fails.

    Attributes:
        trackers: names of the trackers that have not failed.
        hints: how to look at what was sent, by the names of the trackers that got something.

    Example:
        with Tracking(Path("runs/first"), ["tensorboard"]) as tracking:
            train(config, Path("runs/first"), callbacks=tracking.callbacks())
    """

    def __init__(
        self, folder: Path, trackers: Sequence[str], on_message: Callable[[str], None] = lambda _: None
    ) -> None:
        self.hints: dict[str, str] = {}
        self._folder, self._on_message = RunFolder(folder), on_message
        self.trackers, self._open = list(trackers), dict[str, Tracker]()

    def callbacks(self, callbacks: Callbacks | None = None) -> Callbacks:
        """Return callbacks that do the same as others, and send each epoch."""
        inner = callbacks or Callbacks()

        def on_epoch(record: dict[str, Any]) -> None:
            inner.on_epoch(record)
            self.send()

        return replace(inner, on_epoch=on_epoch)

    def send(self) -> None:
        """Send all epochs in the run folder that the trackers have not got; the folder has to be locked."""
        for name in list(self.trackers):
            with self._guarded(name):
                self._send_to(name)

    def _send_to(self, name: str) -> None:
        state = _read_state(self._folder.path / STATE_FILE)
        sent: int = state["epochs"].get(name, 0)
        for record in self._folder.metrics():
            if record["epoch"] <= sent:
                continue
            tracker = self._opened(name, state["run"], resumed=sent > 0)
            # written before it is sent: a kill in between costs one epoch, and does not send it twice
            state["epochs"][name] = sent = record["epoch"]
            write_json(self._folder.path / STATE_FILE, state, durable=False)
            picture = self._folder.picture_path(sent)
            points = metrics_by_step(record)
            for step, metrics in points.items():
                is_last = step == max(points)
                tracker.log(step, metrics, picture if is_last and picture.is_file() else None)
            tracker.flush()

    def _opened(self, name: str, identifier: str, *, resumed: bool) -> Tracker:
        if name not in self._open:
            path = self._folder.path
            settings = _settings(self._folder.config())
            self._open[name] = TRACKERS[name](TrackedRun(identifier, path.resolve().name, path, settings, resumed))
            self.hints[name] = self._open[name].hint
        return self._open[name]

    @contextmanager
    def _guarded(self, name: str) -> Iterator[None]:
        """End the tracking with one tracker, with a message, on any error in the `with` block."""
        try:
            yield
        except (Exception, SystemExit) as error:
            if name in self.trackers:  # else it has failed before, and is only closed
                self.trackers.remove(name)
                reason = one_line(error) if str(error).strip() else type(error).__name__
                self._on_message(f"tracking with {name} has stopped: {reason}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Send what is left, for example of a run that was finished before, and close the trackers."""
        if kind is None and self.trackers:
            try:
                with self._folder.lock():
                    self.send()
            except RunError as failure:
                self._on_message(f"tracking is not complete: {failure}")
        for name, tracker in self._open.items():
            with self._guarded(name):
                tracker.close(finished=kind is None)


def metrics_by_step(record: Record) -> dict[int, dict[str, float]]:
    """Return the metrics of an epoch's record by the step at which they were measured, in order.

    Names are those of the record, such as `validation/loss`. The metrics of the epoch belong to its last step; without
    tracked images the steps are not known, and the number of the epoch takes their place.
    """
    points = {int(each["step"]): _named("tracked", each) for each in record.get("tracked", ())}
    epoch = {"epoch": float(record["epoch"]), "seconds": float(record["seconds"])}
    epoch |= _named("train", record["train"]) | _named("validation", record["validation"])
    step = max(points, default=record["epoch"])
    points[step] = points.get(step, {}) | epoch
    return dict(sorted(points.items()))


def _named(kind: str, losses: Mapping[str, float]) -> dict[str, float]:
    return {f"{kind}/{name}": float(value) for name, value in losses.items() if name != "step"}


def _settings(config: Mapping[str, Any]) -> dict[str, bool | int | float | str]:
    """Return the configuration of a run for a tracker, without what is not set; lists are written as text."""
    flat = flatten(config.get("train", config))
    return {
        key: value if isinstance(value, bool | int | float | str) else str(value)
        for key, value in flat.items()
        if value is not None
    }


def _read_state(path: Path) -> dict[str, Any]:
    """Return the content of `tracking.json`; of a new one if the file is missing or damaged."""
    try:
        state = read_json(path, follow=False)
        if isinstance(state["run"], str) and all(type(each) is int for each in state["epochs"].values()):
            return {"run": state["run"], "epochs": dict(state["epochs"])}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        pass
    return {"run": secrets.token_hex(8), "epochs": {}}
