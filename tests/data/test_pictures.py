"""Image files: decoding, folders and zip files, CelebA, tiles, and the cache of prepared images."""

import io
import multiprocessing
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from logcosh_vae.base.errors import ConfigError, DataError
from logcosh_vae.data import ImageSet, load_images, load_tiles
from logcosh_vae.data.build import HEADER_BYTES, npy_header
from logcosh_vae.data.celeba import ATTRIBUTES, PARTITION
from logcosh_vae.data.collection import Folder, Member
from logcosh_vae.data.decode import Preparation, Tiling, decode, decode_tiles
from logcosh_vae.data.describe import summarise
from logcosh_vae.data.listing import list_images
from logcosh_vae.data.prepare import cache_key

RAMP = np.linspace(0, 255, 40 * 60, dtype=np.uint8).reshape(40, 60)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOGCOSH_VAE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, format=kind, **options)
    return content.getvalue()


def save(path: Path, value: int = 100, size: tuple[int, int] = (20, 16), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, (value,) * 3 if mode == "RGB" else value).save(path)


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (Image.new("L", (9, 9), 200), 200),
        (Image.new("1", (9, 9), 1), 255),
        (Image.new("RGBA", (9, 9), (10, 20, 30, 0)), 255),
        (Image.new("LA", (9, 9), (60, 255)), 60),
        (Image.new("P", (9, 9), 0).convert("P"), 0),
        (Image.fromarray(np.full((9, 9), 51400, np.uint16)), 200),
    ],
)
def test_every_pixel_format_is_decoded_to_its_visible_colour(picture: Image.Image, expected: int) -> None:
    image, size, mode = decode(encoded(picture), Preparation(4, 4))
    assert (image.shape, size, mode) == ((3, 4, 4), (9, 9), Image.open(io.BytesIO(encoded(picture))).mode)
    assert (image == expected).all()


def test_images_are_turned_upright_and_cropped_at_the_centre() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rows and columns are exchanged
    lying = encoded(Image.fromarray(RAMP), exif=exif)
    image, size, _ = decode(lying, Preparation(60, 40, channels=1))
    assert size == (40, 60)
    assert np.array_equal(image[0], np.rot90(RAMP, -1))
    # the largest central crop with the result's aspect ratio is 40x40; crop=0.5 keeps half of it
    square, _, _ = decode(encoded(Image.fromarray(RAMP)), Preparation(40, 40, channels=1))
    assert np.array_equal(square[0], RAMP[:, 10:50])
    half, _, _ = decode(encoded(Image.fromarray(RAMP)), Preparation(20, 20, channels=1, crop=0.5))
    assert np.array_equal(half[0], RAMP[10:30, 20:40])


def test_jpeg_decoded_at_a_reduced_size_is_close_to_a_full_resize() -> None:
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 255, (12, 12, 3), dtype=np.uint8)).resize(
        (1200, 1200), Image.Resampling.BICUBIC
    )
    expected = np.asarray(smooth.resize((32, 32), Image.Resampling.BICUBIC)).transpose(2, 0, 1).astype(int)
    image, _, _ = decode(encoded(smooth, "JPEG", quality=98, subsampling=0), Preparation(32, 32))
    assert np.abs(image - expected).max() <= 4


def make(folder: Path) -> None:
    for index in range(20):
        save(folder / f"{index % 3}" / f"{index:02}.png", value=10 * index)
    (folder / "broken.jpg").write_bytes(b"not an image")
    (folder / "notes.txt").write_text("some text")
    save(folder / ".hidden.png")


def both(path: Path, **options: object) -> tuple[ImageSet, ImageSet]:
    train, test = (load_images(str(path), split, **options) for split in ("train", "test"))
    return train, test


def test_folder_and_zip_of_it_are_the_same_set(tmp_path: Path) -> None:
    make(tmp_path / "set")
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as file:
        for path in sorted((tmp_path / "set").rglob("*")):
            file.write(path, path.relative_to(tmp_path / "set"))
    folder, packed = both(tmp_path / "set", size=(8, 12)), both(tmp_path / "set.zip", size=(8, 12))
    for ours, theirs in zip(folder, packed, strict=True):
        assert torch.equal(ours.images, theirs.images)
        assert ours.fingerprint == theirs.fingerprint
    train, test = folder
    assert (len(train.images) + len(test.images), train.images.shape[1:]) == (20, (3, 8, 12))
    assert [name for name, _ in train.left_out] == ["broken.jpg"]
    values = {int(image.float().mean()) for image in torch.cat([train.images, test.images])}
    assert values == {10 * index for index in range(20)}
    with pytest.raises(DataError, match=r"set: 1 image file cannot be used: broken\.jpg"):
        both(tmp_path / "set", size=(8, 12), strict=True)


def test_cache_is_used_until_a_file_or_the_cache_itself_changes(tmp_path: Path, cache: Path) -> None:
    make(tmp_path / "set")
    calls: list[int] = []

    def progress(name: str, done: int, total: int | None, unit: str) -> None:  # noqa: ARG001
        calls.append(done)

    first = load_images(str(tmp_path / "set"), "train", progress=progress)
    assert calls
    calls.clear()
    assert load_images(str(tmp_path / "set"), "train", progress=progress).fingerprint == first.fingerprint
    assert not calls
    save(tmp_path / "set" / "0" / "00.png", value=255)
    again = load_images(str(tmp_path / "set"), "train", progress=progress)
    assert calls
    assert again.fingerprint != first.fingerprint
    damages: list[tuple[str, Callable[[bytes], bytes]]] = [
        ("images.npy", lambda _: b"\x93NUMPY"),
        ("images.npy", lambda whole: whole[:128] + bytes(max(0, len(whole) - 128))),
        ("images.npy", lambda whole: bytes(128) + whole[128:]),
        ("index.json", lambda _: b"{"),
        ("index.json", lambda _: b"5"),
        ("index.json", lambda whole: whole.replace(b'"fingerprint"', b'"footprint"')),
    ]
    for damaged, change in damages:
        for folder in cache.iterdir():
            if folder.is_dir():
                (folder / damaged).write_bytes(change((folder / damaged).read_bytes()))
        assert load_images(str(tmp_path / "set"), "train").fingerprint == again.fingerprint
    assert not list(cache.glob(".tmp-*"))


def _fingerprint(path: str) -> str:
    return load_images(path, "train").fingerprint


def test_two_processes_can_prepare_the_same_set(tmp_path: Path) -> None:
    make(tmp_path / "set")
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert len(set(pool.map(_fingerprint, [str(tmp_path / "set")] * 2))) == 1


def test_folders_train_and_test_define_the_split(tmp_path: Path) -> None:
    for split, value in (("Train", 10), ("test", 200)):
        save(tmp_path / "set" / split / "a.png", value=value)
    train, test = both(tmp_path / "set")
    assert (int(train.images.max()), int(test.images.min())) == (10, 200)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing/", "does not exist"),
        ("empty", "holds 0 image files"),
        ("file.bin", "neither a folder nor a zip file"),
        ("bad.zip", "cannot be read as a zip file"),
        ("broken", "2 image files cannot be used"),
    ],
)
def test_path_without_usable_images_is_an_error(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    for path in ("file.bin", "bad.zip", "broken/a.png", "broken/b.png"):
        (tmp_path / path).write_bytes(b"123")
    with pytest.raises(DataError, match=message):
        both(tmp_path / name)


def test_unwritable_cache_is_an_error_that_names_its_variable(tmp_path: Path, cache: Path) -> None:
    make(tmp_path / "set")
    cache.write_text("a file where the folder should be")
    with pytest.raises(DataError, match="LOGCOSH_VAE_CACHE"):
        both(tmp_path / "set")


def faces(root: Path, numbers: range, attributes: bool = True) -> None:
    for number in numbers:
        save(root / "celeba" / "img_align_celeba" / f"{number:06}.jpg", value=number % 256, size=(178, 218))
    if attributes:
        rows = [f"{number:06}.jpg {1 if number % 2 else -1}  -1" for number in numbers]
        (root / "celeba" / ATTRIBUTES).write_text("\n".join([str(len(rows)), "Smiling Young ", *rows]) + "\n")


def test_celeba_is_split_by_its_partition_else_by_number(tmp_path: Path) -> None:
    faces(tmp_path, range(1, 11))
    train, test = (load_images("celeba", split, root=tmp_path) for split in ("train", "test"))
    assert (len(train.images), len(test.images)) == (8, 2)
    assert train.label_names == ("Smiling", "Young")
    assert train.labels is not None
    assert train.labels.tolist() == [[number % 2, 0] for number in range(1, 9)]
    partition = tmp_path / "celeba" / PARTITION
    partition.write_text("".join(f"{number:06}.jpg {0 if number > 3 else 2}\n" for number in range(1, 11)))
    train, test = (load_images("celeba", split, root=tmp_path) for split in ("train", "test"))
    assert (len(train.images), len(test.images)) == (7, 3)
    assert int(test.images.float().mean()) == 2
    partition.write_text("000001.jpg 0\n")
    with pytest.raises(DataError, match=r"has no row for 9 images, e\.g\. .*000002.jpg"):
        load_images("celeba", "train", root=tmp_path)


def test_missing_or_wrong_celeba_files_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"not fetched.*Put img_align_celeba\.zip"):
        load_images("celeba", "train", root=tmp_path)
    faces(tmp_path, range(1, 6))
    (tmp_path / "celeba" / ATTRIBUTES).write_text("5\nSmiling\n000001.jpg 7\n")
    with pytest.raises(DataError, match="not in the official format"):
        load_images("celeba", "train", root=tmp_path)
    save(tmp_path / "celeba" / "img_align_celeba" / "holiday.jpg")
    with pytest.raises(DataError, match=r"holiday\.jpg is not named by a number"):
        load_images("celeba", "train", root=tmp_path)


def test_real_faces_are_cropped_at_the_centre(celeba_root: Path) -> None:
    train = load_images("celeba", "train", root=celeba_root)
    first = train.images[0]
    with zipfile.ZipFile(celeba_root / "celeba" / "img_align_celeba.zip") as file:
        picture = Image.open(io.BytesIO(file.read("img_align_celeba/000001.jpg")))
    width, height = picture.size
    side = width * 140 / 178
    box = ((width - side) / 2, (height - side) / 2, (width + side) / 2, (height + side) / 2)
    expected = np.asarray(picture.resize((64, 64), Image.Resampling.BICUBIC, box=box)).transpose(2, 0, 1)
    assert np.abs(first.numpy().astype(int) - expected).max() <= 1


def test_advised_loss_follows_the_pixels(data_root: Path, celeba_root: Path) -> None:
    digits = summarise(load_images("mnist", "test", root=data_root))
    faces = summarise(load_images("celeba", "test", root=celeba_root))
    assert (digits.advised_loss, faces.advised_loss) == ("l1", "log-cosh")
    images = load_images("celeba", "test", root=celeba_root).images.double() / 255
    assert faces.mean == pytest.approx(images.mean(dim=(0, 2, 3)).tolist(), rel=1e-9)
    assert faces.std == pytest.approx(images.std(dim=(0, 2, 3), correction=0).tolist(), rel=1e-9)


@pytest.mark.parametrize("size", [(481, 321), (128, 128), (129, 300), (78, 140), (3, 5)])
def test_tiles_cover_the_image(size: tuple[int, int]) -> None:
    width, height = size
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    tiles, found, _ = decode_tiles(encoded(Image.fromarray(noise)), Tiling(128))
    assert found == size
    down, across = -(-height // 128), -(-width // 128)
    assert tiles.shape == (down * across, 3, 128, 128)
    seen = {tuple(pixel) for tile in tiles for pixel in tile.reshape(3, -1).T.tolist()}
    assert seen == {tuple(pixel) for pixel in noise.reshape(-1, 3).tolist()}


def test_large_images_are_shrunk_before_they_are_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGCOSH_VAE_CACHE", str(tmp_path / "cache"))
    for number in range(4):
        Image.new("RGB", (2048, 1024), (number, 2, 3)).save(tmp_path / f"{number}.png")
    train, test = (load_tiles(tmp_path, split, tile_size=256) for split in ("train", "test"))
    assert train.images.shape == (3 * 6 * 3, 3, 256, 256)
    assert test.images.shape == (6 * 3, 3, 256, 256)
    assert len({int(image[0, 0, 0]) for image in train.images} & {int(image[0, 0, 0]) for image in test.images}) == 0


def test_images_of_a_set_can_be_tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGCOSH_VAE_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "photographs"
    folder.mkdir()
    for number in range(4):
        noise = np.random.default_rng(number).integers(0, 256, (20, 33, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{number}.png")
    tiles = load_images(str(folder), "train", size=(16,), channels=1, tiles=True)
    assert tiles.images.shape == (3 * 2 * 3, 1, 16, 16)
    assert tiles.fingerprint == load_tiles(folder, "train", tile_size=16, channels=1).fingerprint
    assert tiles.fingerprint != load_images(str(folder), "train", size=(16,), channels=1).fingerprint


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("mnist", {"tiles": True}, "mnist has a fixed image size"),
        ("celeba", {"tiles": True}, "celeba cannot be cut into tiles"),
        ("text-removal", {}, "add --tiles"),
        ("text-removal", {"tiles": True, "size": (32, 16)}, "tiles are square; got the size 32x16"),
    ],
)
def test_sets_that_cannot_be_tiles_or_have_to_be(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises((DataError, ConfigError), match=message):
        load_images(name, "train", **options)


def test_cache_keys_are_those_of_earlier_versions() -> None:
    """Renaming a field in the code must not make users prepare their images again."""
    members = [Member("a/b.png", "12-34"), Member("c.jpg", "5-6")]
    assert cache_key(members, Tiling(128)) == "4c56636e84fa9b9f"
    assert cache_key(members, Preparation(64, 48, channels=1, crop=0.5)) == "746aed0403c0c872"


@pytest.mark.parametrize("count", [0, 1, 10**12])
def test_npy_header_has_a_fixed_size_and_is_read_by_numpy(count: int) -> None:
    header = npy_header((count, 3, 512, 512))
    assert len(header) == HEADER_BYTES
    file = io.BytesIO(header)
    assert np.lib.format.read_magic(file) == (1, 0)
    assert np.lib.format.read_array_header_1_0(file) == ((count, 3, 512, 512), False, np.dtype(np.uint8))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_named_pipes_in_a_folder_are_ignored(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    os.mkfifo(tmp_path / "b.png")  # reading it would never end
    listing = list_images(Folder(tmp_path))
    assert [member.name for member in listing.members] == ["a.png"]
    assert listing.left_out == [("b.png", "a named pipe, not a regular file")]
