"""Downloading files over HTTP: resumed downloads, time limits, progress, and locks between processes.

The caller verifies the content of a download before it renames the file.
"""

from __future__ import annotations

import os
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from filelock import BaseFileLock, FileLock

from ..base.errors import DataError

Progress = Callable[[str, int, int | None, str], None]
"""Callback `(name, done, total, unit)`: `unit` is `bytes` or `images`, and `total` is None if it is unknown."""

RESPONSE_SECONDS = 8.0
"""Time limit from the name look-up to the response's headers."""

READ_SECONDS = 15.0
"""Time limit of each read."""

ATTEMPTS = 3
BLOCK_BYTES = 1 << 16
MAX_DOWNLOAD_BYTES = 1 << 28

# This module is used instead of pooch (1.9), which was tried and lost. With pooch.HTTPDownloader, 6 of the 15 offline
# tests in tests/data/test_fetch.py fail: it does not resume partial files (not even after a broken connection), it has
# no limit on the time until a response that covers the name look-up and all addresses of a host (15 s instead of 0.3 s
# in the test), and no limit on the size. Its errors have 250 characters instead of 55. Only the hash of the compressed
# file can be given, so the content must still be verified here, and it has no lock between processes. It halves the
# speed (about 200 instead of 400 MB/s from localhost), takes 260 ms to import instead of 120, and requires 5 more
# packages (3.7 MB). It would save 43 lines.


class UnreachableError(DataError):
    """A host does not respond or keeps breaking the connection; other files need not be requested from it."""


class _BrokenOffError(Exception):
    """The connection ended before the whole file was received."""


def check_folder(folder: Path, purpose: str, remedy: str) -> Path:
    """Return a folder that may not exist yet.

    Args:
        folder: its path.
        purpose: what it is for, such as `the data root`.
        remedy: what the user can do if it cannot be a folder.

    Raises:
        DataError: the folder, or one in which it would lie, is something else, such as a file.
    """
    for place in (folder, *folder.parents):
        if os.path.lexists(place):
            if not place.is_dir():
                raise DataError(f"{folder} cannot be {purpose}, because {place} is not a folder; {remedy}")
            break
    return folder


def locked(path: Path) -> BaseFileLock:
    """Return a lock between processes for use in a `with` statement, which waits until no other process holds it.

    Args:
        path: the lock file; its folder is created if it is missing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path)


def download(url: str, part: Path, progress: Progress | None = None) -> None:
    """Download `url` to `part`, continuing a partial download.

    Args:
        url: an http or https URL.
        part: the file to write. If the connection breaks it keeps what was received, and the next call continues it.
        progress: called after every block.

    Raises:
        UnreachableError: the host cannot be reached, or the connection broke `ATTEMPTS` times.
        DataError: the host responded with an HTTP error, or sent more than `MAX_DOWNLOAD_BYTES`.
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
            part.unlink(missing_ok=True)  # range not satisfiable: the partial file is longer than the file
            reason = "HTTP 416"
        except _BrokenOffError as error:
            reason = str(error)
    raise UnreachableError(f"{url}: the connection broke {ATTEMPTS} times ({reason})")


def _continue(url: str, part: Path, progress: Progress | None) -> None:
    """Make one request for the bytes that `part` lacks, and append them."""
    start = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "logcosh-vae", "Accept-Encoding": "identity"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    with _send(request) as response:
        resumed = response.status == 206 and (response.headers["Content-Range"] or "").startswith(f"bytes {start}-")
        done = start if resumed else 0
        total = None if response.length is None else done + response.length
        with part.open("ab" if resumed else "wb") as file:
            for block in _blocks(response):
                file.write(block)
                done += len(block)
                if progress is not None:
                    progress(url.rpartition("/")[2], done, total, "bytes")
                if done > MAX_DOWNLOAD_BYTES:
                    part.unlink()
                    raise DataError(f"{url}: sent more than {MAX_DOWNLOAD_BYTES} bytes, the limit for a file")
    if total is not None and done != total:
        raise _BrokenOffError(f"{done} of {total} bytes")


def _send(request: urllib.request.Request) -> HTTPResponse:
    """Return the response to a request when its headers have arrived.

    The time-out of a socket applies to each address of a host separately, and none applies to the name look-up.
    Therefore the request is made in a thread, which is abandoned after `RESPONSE_SECONDS`.
    """
    response: Future[HTTPResponse] = Future()

    def ask() -> None:
        try:
            response.set_result(urllib.request.urlopen(request, timeout=READ_SECONDS))
        except Exception as error:
            response.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        return response.result(timeout=RESPONSE_SECONDS)
    except TimeoutError:
        response.add_done_callback(_close)
        raise UnreachableError(f"{request.full_url}: no response within {RESPONSE_SECONDS:g} seconds") from None
    except urllib.error.HTTPError:
        raise
    except (OSError, HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise UnreachableError(f"{request.full_url}: {reason}") from None


def _close(response: Future[HTTPResponse]) -> None:
    """Close a response that arrived after its request was abandoned."""
    late = response.exception() or response.result()
    if isinstance(late, HTTPResponse | urllib.error.HTTPError):
        late.close()


def _blocks(response: HTTPResponse) -> Iterator[bytes]:
    try:
        while block := response.read(BLOCK_BYTES):
            yield block
    except (OSError, HTTPException) as error:
        raise _BrokenOffError(str(error) or type(error).__name__) from None
