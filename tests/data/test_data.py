"""Image sets in idx files and batches: exact reading, errors for damaged files, no image lost or repeated."""

import gc
import gzip
import hashlib
import os
import pickle
import shutil
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from logcosh_vae.base.errors import DataError
from logcosh_vae.data import DATASETS, data_root, load_images, memmap, mnist
from logcosh_vae.data.batches import check_unit_range, evaluation_batches, to_unit, training_batches
from logcosh_vae.data.idx import idx_bytes, idx_md5, read_idx
from logcosh_vae.data.mnist import FILES, MNIST, find_file, load_idx_set
from logcosh_vae.data.package_source import idx_contents, unpickle_arrays
from logcosh_vae.training.loop import make_generator

SHAPES = arrays.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=6)


@pytest.mark.parametrize("zipped", [False, True])
@given(array=arrays.arrays(np.uint8, SHAPES))
def test_idx_round_trip(tmp_path_factory: pytest.TempPathFactory, zipped: bool, array: np.ndarray) -> None:
    path = tmp_path_factory.mktemp("idx") / "a"
    content = idx_bytes(array)
    path.write_bytes(gzip.compress(content) if zipped else content)
    obtained = read_idx(path)
    assert idx_bytes(obtained) == content
    assert idx_md5(obtained) == hashlib.md5(content, usedforsecurity=False).hexdigest()
    np.testing.assert_array_equal(obtained, array)


@given(cut=st.integers(0, 39))
def test_truncated_idx_file_is_rejected(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("idx") / "short"
    content = idx_bytes(np.zeros((2, 3, 4), np.uint8))
    assert len(content) == 40
    path.write_bytes(content[:cut])
    with pytest.raises(DataError, match=r"short: (not an idx file|truncated)"):
        read_idx(path)
    zipped = gzip.compress(content)
    path.write_bytes(zipped[: min(cut + 2, len(zipped) - 1)])
    with pytest.raises(DataError, match="short: "):
        read_idx(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (idx_bytes(np.zeros(4, np.uint8)) + b"x", "too long"),
        (b"\x00\x00\x0d\x01\x00\x00\x00\x00", r"not an idx file of unsigned bytes \(its data type is 0x0d"),
        (b"\x00\x00\x08\x00", "not an idx file"),
        (b"\x00\x00\x08\x03" + b"\xff" * 12, "damaged: its header announces 79228162458924105385300197375 bytes"),
        (b"\x1f\x8b\x08" + b"x" * 40, "truncated or damaged gzip"),
        (gzip.compress(idx_bytes(np.zeros(4, np.uint8)), mtime=0) + b"x", "truncated or damaged gzip"),
        (b"\x89PNG\r\n\x1a\n" * 4, "not an idx file"),
        (b"", "not an idx file"),
    ],
)
def test_damaged_idx_file_is_rejected(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "damaged"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"damaged: {message}"):
        read_idx(path)


@pytest.mark.parametrize("announced", [4, 900_000_000])
def test_memory_is_used_only_for_data_that_is_present(tmp_path: Path, announced: int) -> None:
    """One file unpacks to far more than its header announces, the other announces far more than it has."""
    path = tmp_path / "damaged"
    held = 100_000_000 if announced == 4 else 4
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b"\0\0\x08\x01" + announced.to_bytes(4, "big"))
        file.write(bytes(held))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"damaged: (too long|truncated)"):
            read_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


IMAGES = np.random.default_rng(0).integers(0, 256, (12, 5, 5), np.uint8)
SMALL = {name: idx_bytes(IMAGES if "images" in name else np.arange(12, dtype=np.uint8)) for name in FILES.values()}
SMALL_SET = replace(MNIST, digests={n: hashlib.md5(c, usedforsecurity=False).hexdigest() for n, c in SMALL.items()})


def small_root(root: Path, folder: str = "mnist", zipped: bool = True, dotted: bool = False) -> Path:
    (root / folder).mkdir(parents=True)
    for name, content in SMALL.items():
        named = (name.replace("-idx", ".idx") if dotted else name) + (".gz" if zipped else "")
        (root / folder / named).write_bytes(gzip.compress(content, mtime=0) if zipped else content)
    return root


@pytest.mark.parametrize("folder", ["mnist", "MNIST/raw", "MNIST"])
@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("dotted", [False, True])
def test_all_folder_layouts_are_read_without_writing(tmp_path: Path, folder: str, zipped: bool, dotted: bool) -> None:
    root = small_root(tmp_path, folder, zipped, dotted)
    before = sorted((path, path.stat().st_mtime_ns) for path in root.rglob("*"))
    images = load_idx_set(SMALL_SET, "train", root, True, None)
    assert images.images.shape == (12, 1, 5, 5)
    assert images.labels.tolist() == list(range(12))
    assert sorted((path, path.stat().st_mtime_ns) for path in root.rglob("*")) == before


@given(zipped=st.booleans(), position=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_flipped_byte_never_changes_an_image(
    tmp_path_factory: pytest.TempPathFactory, zipped: bool, position: float, flip: int
) -> None:
    root = small_root(tmp_path_factory.mktemp("data"), zipped=zipped)
    path = root / "mnist" / f"t10k-images-idx3-ubyte{'.gz' if zipped else ''}"
    content = bytearray(path.read_bytes())
    content[int(position * len(content))] ^= flip
    path.write_bytes(content)
    try:
        obtained = load_idx_set(SMALL_SET, "test", root, False, None).images
    except DataError as error:
        assert str(path) in str(error)  # noqa: PT017
        assert "remove the file" in str(error)  # noqa: PT017
    else:  # some bytes of a gzip header have no meaning
        assert zipped
        np.testing.assert_array_equal(obtained.squeeze(1), IMAGES)


def test_label_count_that_differs_from_image_count_is_rejected(tmp_path: Path) -> None:
    root = small_root(tmp_path)
    content = idx_bytes(np.zeros(11, np.uint8))
    (root / "mnist" / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(content))
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    files = replace(SMALL_SET, digests={**SMALL_SET.digests, "train-labels-idx1-ubyte": md5})
    with pytest.raises(DataError, match="12 images but 11 labels in the train split"):
        load_idx_set(files, "train", root, False, None)


def test_unwritable_data_root_gives_an_error_that_names_it(tmp_path: Path) -> None:
    root = tmp_path / "a-file"
    root.touch()
    with pytest.raises(
        DataError, match=r"t10k-labels-idx1-ubyte\.gz: missing in .*a-file.*cannot be written.*data root"
    ):
        load_idx_set(SMALL_SET, "train", root, True, None)


def test_real_mnist_has_the_known_shapes_and_class_counts(data_root: Path) -> None:
    train, test = (load_images("mnist", split, root=data_root) for split in ("train", "test"))
    assert train.images.shape == (60_000, 1, 28, 28)
    assert test.images.shape == (10_000, 1, 28, 28)
    assert train.images.dtype == torch.uint8
    assert torch.bincount(test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert train.fingerprint != test.fingerprint
    assert train.first(10).fingerprint != train.fingerprint


@pytest.fixture(params=["mnist", "MNIST/raw"])
def own_root(request: pytest.FixtureRequest, tmp_path: Path, data_root: Path) -> Path:
    """A writable data root with MNIST: compressed in this project's layout, or unpacked in torchvision's."""
    folder = tmp_path / request.param
    folder.mkdir(parents=True)
    for path in (data_root / "mnist").glob("*.gz"):
        if request.param == "mnist":
            shutil.copy(path, folder)
        else:
            (folder / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    return tmp_path


def test_altered_file_is_rejected_and_not_changed(own_root: Path, data_root: Path) -> None:
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


def test_other_content_in_the_fashion_mnist_folder_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "fashion-mnist").mkdir()
    path = tmp_path / "fashion-mnist" / "t10k-images-idx3-ubyte"
    path.write_bytes(idx_bytes(np.zeros((1, 28, 28), np.uint8)))
    (tmp_path / "fashion-mnist" / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(np.zeros(1, np.uint8)))
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte: its content is not that of fashion-mnist"):
        load_images("fashion-mnist", "test", root=tmp_path)


def test_a_set_of_the_system_is_used_after_the_data_root_and_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mnist, "SYSTEM_FOLDER", tmp_path / "system")
    name, own, system = FILES["test", "images"], tmp_path / "own", tmp_path / "system" / "fashion-mnist"
    for folder in (own, system):
        folder.mkdir(parents=True)
    (system / name).write_bytes(idx_bytes(np.zeros((1, 28, 28), np.uint8)))
    assert find_file(mnist.FASHION_MNIST, name, own) == system / name
    (system / FILES["test", "labels"]).write_bytes(idx_bytes(np.zeros(1, np.uint8)))
    with pytest.raises(DataError, match=rf"{system / name}: its content is not that of fashion-mnist"):
        load_images("fashion-mnist", "test", root=own)
    (own / "fashion-mnist").mkdir()
    (own / "fashion-mnist" / name).touch()
    assert find_file(mnist.FASHION_MNIST, name, own) == own / "fashion-mnist" / name


def test_unknown_set_or_split_and_missing_set_are_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnist, "SYSTEM_FOLDER", tmp_path / "system")
    with pytest.raises(DataError, match="did you mean 'mnist'"):
        load_images("mnits", "train", root=tmp_path)
    with pytest.raises(DataError, match="train and test"):
        load_images("mnist", "valid", root=tmp_path)
    for name in DATASETS:
        with pytest.raises(DataError, match="not in the data root"):
            load_images(name, "test", root=tmp_path, fetch=False)
    assert not any(tmp_path.iterdir())


def test_data_root_is_the_argument_else_the_environment_else_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
def test_unpickler_accepts_arrays_only(payload: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="which is not an array"):
        unpickle_arrays(pickle.dumps(payload))
    assert not any(tmp_path.iterdir())
    np.testing.assert_array_equal(unpickle_arrays(pickle.dumps((np.arange(3),)))[0], np.arange(3))


@pytest.mark.parametrize(
    "value",
    [1, (1, 2, 3), ((np.zeros((1, 784), np.float32),),) * 3, ((np.full((1, 784), 0.1, np.float32), np.zeros(1)),) * 3],
)
def test_pickle_with_other_content_is_rejected(value: object) -> None:
    with pytest.raises(DataError, match="has unexpected content"):
        idx_contents(pickle.dumps(value))


@given(count=st.integers(1, 60), size=st.integers(1, 20))
def test_evaluation_batches_contain_each_image_once_in_order(count: int, size: int) -> None:
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
    batches = list(training_batches(images, size, make_generator(seed, "order"), labels))
    assert [len(batch.images) for batch in batches] == [min(size, count)] * max(1, count // size)
    seen = torch.cat([batch.labels for batch in batches])
    assert len(seen.unique()) == len(seen)
    for batch in batches:
        assert torch.equal((batch.images.flatten() * 255).round().long(), batch.labels)
    again = list(training_batches(images, size, make_generator(seed, "order"), labels))
    assert all(torch.equal(a.labels, b.labels) for a, b in zip(batches, again, strict=True))


def test_pixels_outside_0_1_are_rejected() -> None:
    assert check_unit_range(torch.tensor([0.0, 1.0]), "x").sum() == 1.0
    for values in ([1.1], [-0.1], [float("nan")]):
        with pytest.raises(ValueError, match=r"samples must be in \[0, 1\]"):
            check_unit_range(torch.tensor(values), "samples")
    with pytest.raises(ValueError, match="floating-point"):
        check_unit_range(torch.tensor([1]), "samples")
    with pytest.raises(TypeError, match="uint8"):
        to_unit(torch.tensor([1.0]))


@settings(max_examples=25)
@given(count=st.integers(1, 60), size=st.integers(1, 20), start=st.integers(0, 5), seed=st.integers(0, 99))
def test_large_file_gives_the_same_batches_as_memory(
    tmp_path_factory: pytest.TempPathFactory, count: int, size: int, start: int, seed: int
) -> None:
    path = tmp_path_factory.mktemp("large") / "images.npy"
    content = np.random.default_rng(seed).integers(0, 256, (start + count, 3, 5, 4), dtype=np.uint8)
    np.save(path, content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memmap, "LARGE_FILE_BYTES", 1)
        images = memmap.map_images(path)[start:]
    in_memory = torch.from_numpy(content[start:])
    for rows in (slice(None), slice(0, 1), slice(size, None)):
        pairs = (training_batches(x, size, make_generator(seed, "x"), rows=rows) for x in (images, in_memory))
        for ours, expected in zip(*pairs, strict=True):
            assert torch.equal(ours.images, expected.images)
    for ours, expected in zip(*(evaluation_batches(x, size) for x in (images, in_memory)), strict=True):
        assert torch.equal(ours.images, expected.images)


@pytest.fixture
def large_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(memmap, "LARGE_FILE_BYTES", 1)
    path = tmp_path / "images.npy"
    np.save(path, np.arange(8 * 12, dtype=np.uint8).reshape(8, 3, 2, 2))
    return path


def test_reader_is_found_for_views_of_a_large_file_only(large_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = memmap.map_images(large_file)
    for view in (images, images[2:], images[1:5].detach()):
        reader = memmap.reader_for(view)
        assert reader is not None
        rows = torch.tensor([2, 0])
        assert torch.equal(reader.read(rows), view[rows])
    assert memmap.reader_for(images.clone()) is None
    assert memmap.reader_for(images[::2]) is None
    monkeypatch.setattr(memmap, "LARGE_FILE_BYTES", 1 << 30)
    assert memmap.reader_for(memmap.map_images(large_file)) is None


def test_large_file_is_read_without_posix_fadvise(large_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "posix_fadvise", raising=False)  # as on macOS and Windows
    images = memmap.map_images(large_file)
    batches = [batch.images for batch in evaluation_batches(images, 3)]
    assert torch.equal(torch.cat(batches), to_unit(images))


def test_large_file_stays_open_until_its_images_are_gone(large_file: Path) -> None:
    images = memmap.map_images(large_file)[1:]
    last = images[-1:].clone()
    large_file.rename(large_file.with_suffix(".old"))  # as when the cache is cleared during training
    gc.collect()
    reader = memmap.reader_for(images)
    assert reader is not None
    assert torch.equal(reader.read(torch.tensor([6])), last)
    file = reader._file._file
    del images, reader
    gc.collect()
    assert file.closed


def test_large_file_that_is_truncated_while_it_is_read_is_an_error(large_file: Path) -> None:
    reader = memmap.reader_for(memmap.map_images(large_file))
    assert reader is not None
    os.truncate(large_file, large_file.stat().st_size - 1)
    with pytest.raises(OSError, match=r"images\.npy was truncated"):
        reader.read(torch.tensor([7]))
