"""Generated image sets, the commands that train tiny networks on them, and finished runs of each kind."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .process import Run

SIDE = 24
FACES = 120
ATTRIBUTES = 40

TINY = ("--data", "celeba", "--size", "16", "--set", "model.hidden=[8]", "--set", "batch_size=25")
"""Options of an autoencoder that trains an epoch in some milliseconds."""

AUTOENCODER = ("train", *TINY, "--epochs", "2", "--set", "track_images=2", "--set", "log_every=2")
FEATURES = ("train-features", "celeba", "--size", "16", "--epochs", "1")


def restoration_arguments(pictures: Path, epochs: int = 2) -> list[str]:
    """Return the arguments that train a tiny restoration network, without the run folder."""
    settings = (
        f"epochs={epochs}", "widths=[4,4]", "tile_size=16", "crop_size=8", "batch_size=2", "targets=1", "steps=3",
        "val_images=2",
    )  # fmt: skip
    return ["restore", "--train", "--data", str(pictures), *(word for text in settings for word in ("--set", text))]


def smooth_image(seed: int, height: int = SIDE, width: int = SIDE, channels: int = 3) -> NDArray[np.uint8]:
    """Return a random smooth image, `(height, width, channels)`."""
    values = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    image = Image.fromarray(values).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(image if channels == 3 else image.convert("L"))


def make_pictures(folder: Path, count: int = 12) -> Path:
    """Write small PNG and JPEG files to a folder, half of them in a subfolder, unless they are there."""
    for index in range(count):
        suffix = "jpg" if index % 3 == 2 else "png"
        path = folder / ("more" if index % 2 else ".") / f"{index:02}.{suffix}"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(smooth_image(index)).save(path)
    return folder


def make_data_root(root: Path) -> Path:
    """Write a data root that holds a small CelebA with generated images, unless it is there."""
    folder = root / "celeba"
    images = folder / "img_align_celeba"
    names = [f"{index + 1:06}.jpg" for index in range(FACES)]
    if (folder / "list_eval_partition.txt").exists():
        return root
    images.mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(names):
        Image.fromarray(smooth_image(1_000 + index)).save(images / name)
    titles = " ".join(f"Attribute_{index}" for index in range(ATTRIBUTES))
    draw = random.Random(0)
    rows = [f"{name} {' '.join(draw.choice(['1', '-1']) for _ in range(ATTRIBUTES))}" for name in names]
    (folder / "list_attr_celeba.txt").write_text("\n".join([str(FACES), titles, *rows]) + "\n", encoding="utf-8")
    parts = "".join(f"{name} {0 if index < FACES - 20 else 2}\n" for index, name in enumerate(names))
    (folder / "list_eval_partition.txt").write_text(parts, encoding="utf-8")
    return root


def environment(folder: Path, root: Path | None = None) -> dict[str, str]:
    """Return variables that keep the program inside `folder`, away from the user's files and from the network.

    Args:
        folder: for the cache of prepared images and for everything of the user.
        root: data root; a folder in `folder` by default.
    """
    return {
        "HOME": str(folder / "home"),
        "XDG_CACHE_HOME": str(folder / "home" / "cache"),
        "LOGCOSH_VAE_CACHE": str(folder / "prepared"),
        "LOGCOSH_VAE_DATA": str(root if root is not None else folder / "data"),
        **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9"),
    }


def make_runs(folder: Path) -> dict[str, Path]:
    """Train one run of each kind below a folder, unless they are there.

    The images are in `folder / "pictures"` and in the data root `folder / "data"`, which has the classifier, too.

    Returns:
        The run folders of the kinds `autoencoder`, `restoration` and `features`.

    Raises:
        RuntimeError: a run cannot be trained.
    """
    make_data_root(folder / "data")
    commands = {
        "autoencoder": AUTOENCODER,
        "restoration": restoration_arguments(make_pictures(folder / "pictures")),
        "features": FEATURES,
    }
    runs = {name: folder / "runs" / name for name in commands}
    for name, run in runs.items():
        if not (run / "weights.safetensors").is_file():
            succeed([*commands[name], "--out", str(run)], folder, environment(folder))
    return runs


def succeed(arguments: Sequence[str], folder: Path, variables: Mapping[str, str]) -> float:
    """Run a command that has to succeed; return the seconds that it took.

    Raises:
        RuntimeError: it fails.
    """
    outcome = Run(arguments, folder, variables, seconds=200.0).outcome()
    if outcome.code != 0:
        raise RuntimeError(f"{' '.join(arguments)}: exit code {outcome.code}: {outcome.errors}")
    return outcome.seconds


LEFT_OUT = frozenset({"environment.json", "state.pt", "state.former.pt", "progress.json"})

TIMELY = frozenset({"environment", "runs", "date", "started", "finished", "digest"})
"""Keys of JSON files whose values depend on time, such as the digest of a file that has seconds."""


def digests(folder: Path, place: Path) -> dict[str, str]:
    """Return a digest of each file below a folder, by relative path, that depends neither on time nor on `place`.

    JSON files and headers of weights are compared without seconds, `TIMELY` and the path of `place`. `LEFT_OUT`,
    reports and locks are left out.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name not in LEFT_OUT and not path.name.endswith((".html", ".md", ".lock")):
            content = path.read_bytes()
            if path.suffix in (".json", ".jsonl"):
                text = content.decode().replace(str(place), "")
                lines = text.splitlines() if path.suffix == ".jsonl" else [text]
                content = json.dumps([_timeless(json.loads(line)) for line in lines], sort_keys=True).encode()
            elif path.suffix == ".safetensors":
                end = 8 + int.from_bytes(content[:8], "little")
                header = _timeless(json.loads(content[8:end]))
                content = json.dumps(header, sort_keys=True).encode() + content[end:]
            found[path.relative_to(folder).as_posix()] = hashlib.sha256(content).hexdigest()
    return found


def _timeless(value: object) -> object:
    if isinstance(value, str) and value.startswith("{"):
        value = json.loads(value)
    if isinstance(value, Mapping):
        return {key: _timeless(item) for key, item in value.items() if "second" not in str(key) and key not in TIMELY}
    return [_timeless(item) for item in value] if isinstance(value, list) else value
