"""Image sets: read right, refused by name when damaged, batched without losing or repeating an image."""

import gzip
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from logcosh_vae.data import DATASETS, DataError, data_root, load_images
from logcosh_vae.data.batches import check_unit_range, evaluation_batches, to_unit, training_batches
from logcosh_vae.data.idx import read_idx
from logcosh_vae.data.sources import idx_bytes, unpickle_arrays
from logcosh_vae.training import stream

SHAPES = arrays.array_shapes(min_dims=1, max_dims=4, max_side=6)


@pytest.mark.parametrize("zipped", [False, True])
@given(array=arrays.arrays(np.uint8, SHAPES))
def test_idx_round_trip(tmp_path_factory: pytest.TempPathFactory, zipped: bool, array: np.ndarray) -> None:
    path = tmp_path_factory.mktemp("idx") / "a"
    content = idx_bytes(array)
    path.write_bytes(gzip.compress(content) if zipped else content)
    obtained, raw = read_idx(path)
    assert raw == content
    np.testing.assert_array_equal(obtained, array)


@given(cut=st.integers(0, 39))
def test_every_truncation_is_named(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("idx") / "short"
    content = idx_bytes(np.zeros((2, 3, 4), np.uint8))
    assert len(content) == 40
    path.write_bytes(content[:cut])
    with pytest.raises(DataError, match=r"short: (no idx file|truncated)"):
        read_idx(path)
    zipped = gzip.compress(content)
    path.write_bytes(zipped[: min(cut + 2, len(zipped) - 1)])
    with pytest.raises(DataError, match="short: "):
        read_idx(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (idx_bytes(np.zeros(4, np.uint8)) + b"x", "too long"),
        (b"\x00\x00\x0d\x01\x00\x00\x00\x00", "no idx file of unsigned bytes"),
        (b"\x00\x00\x08\x03" + b"\xff" * 12, "truncated"),
        (b"\x89PNG\r\n\x1a\n" * 4, "no idx file"),
        (b"", "no idx file"),
    ],
)
def test_other_damage_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "damaged"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"damaged: {message}"):
        read_idx(path)


def test_real_mnist(data_root: Path) -> None:
    train, test = (load_images("mnist", split, root=data_root) for split in ("train", "test"))
    assert train.images.shape == (60_000, 1, 28, 28)
    assert test.images.shape == (10_000, 1, 28, 28)
    assert train.images.dtype == torch.uint8
    assert torch.bincount(test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert train.fingerprint != test.fingerprint
    assert train.first(10).fingerprint != train.fingerprint


@pytest.fixture(params=["mnist", "MNIST/raw"])
def own_root(request: pytest.FixtureRequest, tmp_path: Path, data_root: Path) -> Path:
    """A data root of its own with MNIST, in this project's layout and in another's, unpacked there."""
    folder = tmp_path / request.param
    folder.mkdir(parents=True)
    for path in (data_root / "mnist").glob("*.gz"):
        if request.param == "mnist":
            shutil.copy(path, folder)
        else:
            (folder / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    return tmp_path


def test_altered_content_is_named_and_left_alone(own_root: Path, data_root: Path) -> None:
    same = load_images("mnist", "test", root=own_root, fetch=False)
    assert same.fingerprint == load_images("mnist", "test", root=data_root).fingerprint
    path = next(own_root.rglob("t10k-images*"))
    content = path.read_bytes()
    raw = bytearray(gzip.decompress(content) if path.suffix == ".gz" else content)
    raw[100] ^= 1
    altered = gzip.compress(bytes(raw)) if path.suffix == ".gz" else bytes(raw)
    for damaged, message in ((altered, "content is not that of mnist"), (content[:-9], "truncated")):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=f"{path.name}: .*{message}"):
            load_images("mnist", "test", root=own_root)
        assert path.read_bytes() == damaged


def test_a_fashion_file_that_cannot_be_verified_is_refused(tmp_path: Path) -> None:
    (tmp_path / "fashion-mnist").mkdir()
    path = tmp_path / "fashion-mnist" / "t10k-images-idx3-ubyte"
    path.write_bytes(idx_bytes(np.zeros((1, 28, 28), np.uint8)))
    (tmp_path / "fashion-mnist" / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(np.zeros(1, np.uint8)))
    with pytest.raises(DataError, match=r"cannot be verified.*put t10k-images-idx3-ubyte\.gz beside it"):
        load_images("fashion-mnist", "test", root=tmp_path)


def test_what_is_asked_wrongly_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="did you mean 'mnist'"):
        load_images("mnits", "train", root=tmp_path)
    with pytest.raises(DataError, match="train and test"):
        load_images("mnist", "valid", root=tmp_path)
    for name in DATASETS:
        with pytest.raises(DataError, match="not in the data root"):
            load_images(name, "test", root=tmp_path, fetch=False)
    assert not any(tmp_path.iterdir())


def test_the_data_root_is_the_one_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGCOSH_VAE_DATA", str(tmp_path / "env"))
    assert data_root(tmp_path / "given") == tmp_path / "given"
    assert data_root() == tmp_path / "env"
    monkeypatch.delenv("LOGCOSH_VAE_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert data_root() == tmp_path / "cache" / "logcosh-vae" / "data"


class _Attack:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, ("touch attacked",)


@pytest.mark.parametrize("payload", [_Attack(), [np.zeros(2), _Attack()], print, np.load])
def test_the_unpickler_takes_arrays_only(payload: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="which is no array"):
        unpickle_arrays(pickle.dumps(payload))
    assert not any(tmp_path.iterdir())
    np.testing.assert_array_equal(unpickle_arrays(pickle.dumps((np.arange(3),)))[0], np.arange(3))


@given(count=st.integers(1, 60), size=st.integers(1, 20))
def test_evaluation_batches_have_each_image_once_in_order(count: int, size: int) -> None:
    images = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1)
    batches = [batch.images for batch in evaluation_batches(images, size)]
    assert torch.equal(torch.cat(batches), to_unit(images))
    lengths = {len(batch) for batch in batches}
    assert max(lengths) <= size
    assert max(lengths) - min(lengths) <= 1


@given(count=st.integers(1, 60), size=st.integers(1, 20), seed=st.integers(0, 99))
def test_training_batches_repeat_no_image_and_keep_labels(count: int, size: int, seed: int) -> None:
    images = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1)
    labels = torch.arange(count)
    batches = list(training_batches(images, size, stream(seed, "order"), labels))
    assert [len(batch.images) for batch in batches] == [min(size, count)] * max(1, count // size)
    seen = torch.cat([batch.labels for batch in batches])
    assert len(seen.unique()) == len(seen)
    for batch in batches:
        assert torch.equal((batch.images.flatten() * 255).round().long(), batch.labels)
    again = list(training_batches(images, size, stream(seed, "order"), labels))
    assert all(torch.equal(a.labels, b.labels) for a, b in zip(batches, again, strict=True))


def test_pixels_outside_the_range_are_named() -> None:
    assert check_unit_range(torch.tensor([0.0, 1.0]), "x").sum() == 1.0
    for values in ([1.1], [-0.1], [float("nan")]):
        with pytest.raises(ValueError, match=r"samples must be in \[0, 1\]"):
            check_unit_range(torch.tensor(values), "samples")
    with pytest.raises(ValueError, match="floating-point"):
        check_unit_range(torch.tensor([1]), "samples")
    with pytest.raises(TypeError, match="uint8"):
        to_unit(torch.tensor([1.0]))
