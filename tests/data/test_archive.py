"""Zip files: members are unpacked up to their stated size, and give the same set as the folder that was packed."""

import lzma
import random
import shutil
import struct
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import pytest
from tests.data.image_files import encoded, load_both, noise, write_set

from logcosh_vae.base.own_outputs import WINDOW, mark_picture
from logcosh_vae.data.archive import Zip
from logcosh_vae.data.collection import Folder, Member

METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]


def member(path: Path, name: str) -> tuple[Zip, Member]:
    archive = Zip(path)
    return archive, next(entry for entry in archive.entries() if entry.name == name)


def with_stated_size(path: Path, name: str, size: int) -> Path:
    """Change the size that a zip file states for a member, in its directory."""
    content = bytearray(path.read_bytes())
    position = content.rindex(name.encode()) - 46
    assert content[position : position + 4] == b"PK\1\2"
    struct.pack_into("<I", content, position + 24, size)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("method", METHODS)
def test_members_are_read_whole_and_by_their_ends(tmp_path: Path, method: int) -> None:
    rng = random.Random(0)
    contents = [rng.randbytes(1 << 19) + bytes(1 << 20), rng.randbytes(1000), b"", b"RIFF" + rng.randbytes(700_000)]
    contents += [bytes(count) for count in (1 << 18, 3 << 18, (1 << 18) - 1)]
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as file:
        for number, content in enumerate(contents):
            file.writestr(str(number), content)
    for number, content in enumerate(contents):
        archive, entry = member(tmp_path / "a.zip", str(number))
        assert archive.read(entry) == content
        tail = content[-WINDOW:] if content.startswith(b"RIFF") else b""
        assert archive.ends(entry, WINDOW) == (content[:WINDOW], tail)


@pytest.mark.parametrize("method", METHODS[1:])
def test_member_with_a_wrong_size_is_refused_without_unpacking_it(tmp_path: Path, method: int) -> None:
    size = 1 << 26
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as file:
        file.writestr("a.png", bytes(size))
    assert (tmp_path / "a.zip").stat().st_size < 100_000
    archive, entry = member(with_stated_size(tmp_path / "a.zip", "a.png", 1000), "a.png")
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="more than the 1,000 bytes that the zip file states"):
            archive.read(entry)
        with pytest.raises(ValueError, match="more than the 1,000 bytes that the zip file states"):
            archive.ends(entry, WINDOW)
        assert tracemalloc.get_traced_memory()[1] < size // 16
    finally:
        tracemalloc.stop()
    archive, entry = member(with_stated_size(tmp_path / "a.zip", "a.png", size + 7), "a.png")
    with pytest.raises(ValueError, match="its content is cut off: 7 of 67,108,871 bytes are missing"):
        archive.read(entry)


def test_image_in_a_member_with_a_wrong_size_is_left_out(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_BZIP2) as file:
        for index in range(12):
            file.writestr(f"{index:02}.png", encoded(noise(index)))
    with_stated_size(tmp_path / "a.zip", "11.png", 100)
    assert load_both(tmp_path / "a.zip")[0].left_out == (
        ("11.png", "its content has more than the 100 bytes that the zip file states"),
    )


@pytest.mark.parametrize("method", METHODS)
def test_flipped_bits_of_a_member_are_found(tmp_path: Path, method: int) -> None:
    content, rng = noise(size=(64, 64)).tobytes() + bytes(5000), random.Random(0)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as file:
        file.writestr("a.bin", content)
    whole = (tmp_path / "a.zip").read_bytes()
    for _ in range(40):
        damaged = bytearray(whole)
        damaged[rng.randrange(60, whole.index(b"PK\1\2"))] ^= 1 << rng.randrange(8)
        (tmp_path / "a.zip").write_bytes(damaged)
        archive, entry = member(tmp_path / "a.zip", "a.bin")
        try:
            assert archive.read(entry) == content  # an unused bit
        except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, lzma.LZMAError):
            continue


@pytest.mark.parametrize("method", METHODS[:2])
@pytest.mark.parametrize("suffix", ["webp", "bmp", "tif", "gif", "avif", "png", "jpg"])
def test_own_pictures_do_not_take_part_in_the_split_of_a_zip_file(tmp_path: Path, suffix: str, method: int) -> None:
    folder = write_set(tmp_path / "set", 20)
    for index in range(12):
        own = folder / f"own{index}.{suffix}"
        noise(index, (128, 128)).save(own)
        assert own.stat().st_size > WINDOW
        mark_picture(own, "restored", "0a1b")
    with zipfile.ZipFile(tmp_path / "set.zip", "w", method) as file:
        for path in folder.iterdir():
            file.write(path, path.name)
    of_folder, of_zip = load_both(folder), load_both(tmp_path / "set.zip")
    assert [len(images.images) for images in of_zip] == [18, 2]
    assert [images.fingerprint for images in of_folder] == [images.fingerprint for images in of_zip]


def test_the_ends_of_a_file_are_the_same_in_a_folder_and_in_a_zip_file(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set", 1)
    noise(1, (99, 99)).save(folder / "a.webp")
    shutil.make_archive(str(folder), "zip", folder)
    for name in ("00.png", "a.webp"):
        found = next(entry for entry in Folder(folder).entries() if entry.name == name)
        archive, entry = member(tmp_path / "set.zip", name)
        assert Folder(folder).ends(found, 100) == archive.ends(entry, 100)
