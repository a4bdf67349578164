"""Read back what the libraries of the trackers have stored, without a server: for tests with the libraries."""

import json
import os
import re
import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.training.tracker_stand_ins import Seen

BLOCK = 32768
"""Bytes of a block in wandb's files, which have the format of LevelDB's log."""


def _records(content: bytes) -> Iterator[bytes]:
    """The records of an event file: each has its length, a checksum, its bytes and another checksum."""
    position = 0
    while position < len(content):
        (length,) = struct.unpack_from("<Q", content, position)
        yield content[position + 12 : position + 12 + length]
        position += 16 + length


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a message of protocol buffers: numbers, and values as integers or bytes."""
    position = 0

    def varint() -> int:
        nonlocal position
        value = shift = 0
        while True:
            byte = message[position]
            position += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while position < len(message):
        number, kind = divmod(varint(), 8)
        if kind == 0:
            yield number, varint()
            continue
        length = varint() if kind == 2 else {1: 8, 5: 4}[kind]
        yield number, message[position : position + length]
        position += length


def tensorboard(run: Path) -> list[Seen]:
    """The run in the event files of a run folder."""
    seen = Seen()
    for path in sorted((run / "tensorboard").iterdir()):
        for event in map(dict, map(_fields, _records(path.read_bytes()))):
            for _, value in _fields(event.get(5, b"")):
                fields = dict(_fields(value))
                name, step = fields[1].decode(), event.get(2, 0)
                if 4 in fields:
                    seen.pictures.append(step)
                elif 2 in fields:
                    seen.metrics.append((step, name, struct.unpack("<f", fields[2])[0]))
                elif name.endswith("session_start_info") and b"objective.loss" in value and b"log-cosh" in value:
                    seen.settings["objective.loss"] = "log-cosh"
    return [seen]


def wandb(run: Path) -> list[Seen]:
    """The runs in the folders of offline sessions; one run may have several."""
    from wandb.proto import wandb_internal_pb2  # type: ignore[import-not-found,unused-ignore]

    runs: dict[str, Seen] = {}
    for path in sorted((run / "wandb").glob("offline-run-*/*.wandb"), key=lambda path: path.stat().st_mtime_ns):
        seen = runs.setdefault(path.name, Seen())
        for content in _log_records(path.read_bytes()):
            record = wandb_internal_pb2.Record.FromString(content)
            seen.settings |= {each.key: json.loads(each.value_json) for each in record.run.config.update}
            row = {each.key or "/".join(each.nested_key): json.loads(each.value_json) for each in record.history.item}
            step = record.history.step.num
            seen.pictures += [step for name in row if name == "samples/path"]
            skipped = ("_", "samples/")
            seen.metrics += [(step, name, value) for name, value in row.items() if not name.startswith(skipped)]
            if record.HasField("exit"):
                seen.closed.append(record.exit.exit_code)
    return list(runs.values())


def _log_records(content: bytes) -> Iterator[bytes]:
    position, record = 7, b""  # the header of the file
    while position + 7 <= len(content):
        if BLOCK - position % BLOCK < 7:
            position += BLOCK - position % BLOCK
        _, length, kind = struct.unpack_from("<IHB", content, position)
        record += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # complete, or the last part
            yield record
            record = b""


def mlflow(_: Path) -> list[Seen]:
    """All runs of the experiment."""
    from mlflow import MlflowClient

    client = MlflowClient()
    experiment = client.get_experiment_by_name(os.environ["MLFLOW_EXPERIMENT_NAME"])
    runs = []
    for each in client.search_runs([experiment.experiment_id]):
        seen, run_id = Seen(dict(each.data.params), closed=[each.info.status]), each.info.run_id
        for name in each.data.metrics:
            seen.metrics += [(point.step, name, point.value) for point in client.get_metric_history(run_id, name)]
        files = [file.path for file in client.list_artifacts(run_id, "images") if file.path.endswith(".png")]
        seen.pictures = [int(step) for path in files for step in re.findall(r"step\W(\d+)", path)]
        runs.append(seen)
    return runs


def trackio(_: Path) -> list[Seen]:
    """All runs of the project in the local database."""
    from trackio.utils import TRACKIO_DIR

    runs: dict[str, Seen] = {}
    connection = sqlite3.connect(Path(TRACKIO_DIR) / f"{os.environ['TRACKIO_PROJECT']}.db")
    for name, step, metrics in connection.execute("SELECT run_name, step, metrics FROM metrics ORDER BY id"):
        seen = runs.setdefault(name, Seen())
        for key, value in json.loads(metrics).items():
            if isinstance(value, dict):
                seen.pictures.append(step)
            else:
                seen.metrics.append((step, key, value))
    for name, config in connection.execute("SELECT run_name, config FROM configs"):
        runs[name].settings |= json.loads(config)
    connection.close()
    return list(runs.values())


READ = {each.__name__: each for each in (tensorboard, wandb, mlflow, trackio)}
