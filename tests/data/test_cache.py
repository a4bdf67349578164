"""The cache of prepared images: no failure is remembered that may pass, and no damage is used."""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import pytest
from PIL import Image
from tests.data.image_files import encoded, load_both, noise, write_set, write_zip

from logcosh_vae.base.errors import DataError
from logcosh_vae.data import ImageSet, build, decode, load_images, prepare
from logcosh_vae.data.collection import Folder, Member
from logcosh_vae.data.decode import Preparation


def facts(images: ImageSet) -> tuple[object, ...]:
    """Return everything that is loaded of a set, but for what is said of the cache."""
    notes = [note for note in images.notes if "cache entry" not in note]
    return images.fingerprint, images.images.tolist(), images.left_out, images.sizes, images.modes, notes


def encrypted(content: bytes) -> bytes:
    """Set the flag of encryption of every member of a zip file."""
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        parts = content.split(signature)
        content = parts[0] + b"".join(signature + p[: offset - 4] + b"\1" + p[offset - 3 :] for p in parts[1:])
    return content


def with_bad_pixels(content: bytes) -> bytes:
    position = content.index(b"IDAT") + 9
    return content[:position] + bytes([content[position] ^ 255]) + content[position + 1 :]


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(
    ("damage", "reason"), [(encrypted, "it is encrypted; pack it without a password"), (with_bad_pixels, "Bad CRC-32")]
)
def test_zip_with_the_same_names_and_checksums_is_tried_again(
    tmp_path: Path, damage: Callable[[bytes], bytes], reason: str
) -> None:
    whole = write_zip(tmp_path / "set.zip", [(f"{i}.png", encoded(noise(i))) for i in range(12)]).read_bytes()
    expected = [facts(images) for images in load_both(tmp_path / "set.zip")]
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "set.zip").write_bytes(damage(whole))
    with pytest.raises(DataError, match=reason):
        load_both(tmp_path / "set.zip", strict=True)
    (tmp_path / "set.zip").write_bytes(whole)
    assert [facts(images) for images in load_both(tmp_path / "set.zip", strict=True)] == expected


PASSING = {
    "permission": PermissionError(13, "Permission denied"),
    "input and output": OSError(5, "Input/output error"),
    "file handles": OSError(24, "Too many open files"),
    "memory": MemoryError(),
    "memory of a decoder": OSError("out of memory error when reading image file"),
    "memory of libtiff": OSError("decoder error -9"),
    "memory of libavif": RuntimeError("Failed to decode frame 0: Out of memory"),
    "package": ImportError("no module named PIL"),
}


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("error", PASSING.values(), ids=PASSING)
@pytest.mark.parametrize("where", ["read", "decode"])
def test_failure_of_the_machine_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, where: str
) -> None:
    folder = write_set(tmp_path / "set")
    read, decoded, failing = Folder.read, build.decode, (folder / "03.png").read_bytes()

    def read_or_fail(self: Folder, member: Member) -> bytes:
        if member.name == "03.png" and where == "read":
            raise error
        return read(self, member)

    def decode_or_fail(content: bytes, *rest: object) -> object:
        if content == failing and where == "decode":
            raise error
        return decoded(content, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "read", read_or_fail)
        patch.setattr(build, "decode", decode_or_fail)
        assert [name for name, _ in load_both(folder)[0].left_out] == ["03.png"]
    train, test = load_both(folder, strict=True)
    assert len(train.images) + len(test.images) == 12


SILENT = [OSError("could not create decoder object"), RuntimeError("Failed to decode frame 0: Decoding failed")]
"""What decoders of WebP and AVIF files raise for lack of memory."""


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("error", SILENT)
def test_failure_that_reads_like_damage_is_remembered_only_if_it_lasts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    folder, decoded, attempts = write_set(tmp_path / "set"), build.decode, 0
    failing = (folder / "03.png").read_bytes()

    def decode_or_fail(content: bytes, *rest: object) -> object:
        nonlocal attempts
        attempts += content == failing
        if content == failing and attempts <= failures:
            raise error
        return decoded(content, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(build, "decode", decode_or_fail)
    failures = 1
    ((name, reason),) = load_both(folder)[0].left_out
    assert (name, reason) == ("03.png", f"{error} (perhaps for lack of memory; it is tried again next time)")
    load_both(folder, strict=True)
    shutil.rmtree(tmp_path / "cache")
    attempts, failures = 0, 1000
    with monkeypatch.context() as patch:
        patch.setattr(build, "_has_memory", lambda _: False)
        for _ in range(3):
            assert [name for name, _ in load_both(folder)[0].left_out] == ["03.png"]
    assert attempts > 2
    assert load_both(folder)[0].left_out == (("03.png", str(error)),)
    attempts = 0
    load_both(folder)
    assert attempts == 0


SHORT_OF_MEMORY = """
import resource, sys
from pathlib import Path
import PIL.AvifImagePlugin, PIL.Jpeg2KImagePlugin, PIL.TiffImagePlugin, PIL.WebPImagePlugin
from logcosh_vae.data.folder import load_folder
from logcosh_vae.data.decode import Preparation

used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
for limit in (used + (60 << 20), -1):
    resource.setrlimit(resource.RLIMIT_AS, (limit, -1))
    images = load_folder(Path(sys.argv[1]), "train", Preparation(8, 8), Path(sys.argv[2]))
    print(len(images.left_out))
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is limited as Linux does it")
def test_files_that_failed_for_lack_of_memory_are_used_later(tmp_path: Path) -> None:
    folder, count = write_set(tmp_path / "set"), 0
    options = {"webp": {"lossless": True, "method": 0}, "avif": {"speed": 10}, "jpg": {"progressive": True}}
    for suffix in ("webp", "avif", "jp2", "jpg", "png", "tif"):
        with suppress(KeyError, OSError):  # Pillow was built without this format
            Image.new("RGB", (5000, 4000), (1, 2, 3)).save(folder / f"large.{suffix}", **options.get(suffix, {}))
            count += 1
    command = [sys.executable, "-c", SHORT_OF_MEMORY, str(folder), str(tmp_path / "cache")]
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    assert found.split() == [str(count), "0"]


@pytest.mark.usefixtures("cache")
def test_failure_of_a_file_is_remembered_for_the_same_decoders_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_set(tmp_path / "set")
    noise(50).save(folder / "later.webp")
    (folder / "broken.png").write_bytes((folder / "00.png").read_bytes()[:300])
    with monkeypatch.context() as patch:
        patch.setattr(prepare, "_decoders", lambda: "a Pillow without WebP")
        patch.setitem(Image.OPEN, "WEBP", (None, lambda prefix: "no WebP" if prefix.startswith(b"RIFF") else False))
        reasons = dict(load_both(folder)[0].left_out)
        assert reasons["later.webp"].endswith("this installation of Pillow has no WEBP decoder")
        assert reasons.keys() == {"broken.png", "later.webp"}
    assert [name for name, _ in load_both(folder)[0].left_out] == ["broken.png"]
    monkeypatch.setattr(decode, "open_image", None)
    load_both(folder)  # decodes nothing


def flip(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


@pytest.mark.parametrize("verified_bytes", [0, prepare.VERIFIED_BYTES])
def test_flipped_bits_are_never_used(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, verified_bytes: int
) -> None:
    monkeypatch.setattr(prepare, "VERIFIED_BYTES", verified_bytes)
    folder = write_set(tmp_path / "set")
    (folder / "broken.png").write_bytes(b"no image")
    expected = [facts(images) for images in load_both(folder)]
    (entry,) = (path for path in cache.iterdir() if path.is_dir())
    rng = random.Random(0)
    for _ in range(60):
        flip(rng.choice(sorted(entry.iterdir())), rng)
        assert [facts(images) for images in load_both(folder)] == expected


def test_entries_of_other_sets_and_of_earlier_versions_are_prepared_anew(tmp_path: Path, cache: Path) -> None:
    first = write_set(tmp_path / "first")
    expected = [facts(images) for images in load_both(first)]
    (entry,) = (path for path in cache.iterdir() if path.is_dir())
    second = write_set(tmp_path / "second")
    noise(99).save(second / "03.png")
    load_both(second)
    (other,) = (path for path in cache.iterdir() if path.is_dir() and path != entry)
    shutil.rmtree(entry)
    shutil.copytree(other, entry)
    train, test = load_both(first)
    assert [facts(train), facts(test)] == expected
    assert train.notes == (f"the cache entry {entry} was damaged; the images were prepared anew",)
    (entry / "index.json").write_text('{"names": [], "broken": [], "sizes": {}, "modes": {}, "fingerprint": ""}')
    train, test = load_both(first)
    assert [facts(train), facts(test)] == expected
    assert train.notes == ()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes need POSIX")
@pytest.mark.parametrize("name", ["images.npy", "index.json"])
def test_pipe_in_the_cache_is_not_waited_for(tmp_path: Path, cache: Path, name: str) -> None:
    folder = write_set(tmp_path / "set")
    expected = [facts(images) for images in load_both(folder)]
    (entry,) = (path for path in cache.iterdir() if path.is_dir())
    (entry / name).unlink()
    os.mkfifo(entry / name)
    assert [facts(images) for images in load_both(folder)] == expected
    assert (entry / name).is_file()


def _read_only(path: Path, *_: object) -> NoReturn:
    raise OSError(30, "Read-only file system", str(path))


def test_complete_cache_on_a_read_only_disk_is_used(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_set(tmp_path / "set")
    (folder / "broken.png").write_bytes(b"no image")
    expected = [facts(images) for images in load_both(folder)]
    monkeypatch.setattr(prepare, "locked", _read_only)
    monkeypatch.setattr(prepare, "write_text", _read_only)
    for verified_bytes in (prepare.VERIFIED_BYTES, 0):
        monkeypatch.setattr(prepare, "VERIFIED_BYTES", verified_bytes)
        assert [facts(images) for images in load_both(folder)] == expected
    monkeypatch.setattr(prepare, "_decoders", lambda: "a newer Pillow")  # would try broken.png again
    assert [facts(images) for images in load_both(folder)] == expected
    (entry,) = (path for path in cache.iterdir() if path.is_dir())
    flip(entry / "images.npy", random.Random(0))
    with pytest.raises(DataError, match=rf"{entry} is damaged, and new images cannot be stored there \(Read-only"):
        load_both(folder)


def test_leftovers_of_killed_processes_are_removed_unless_their_set_is_being_prepared(
    tmp_path: Path, cache: Path
) -> None:
    names = [f"{prepare.TEMPORARY_PREFIX}{key * 16}-{number}" for key, number in (("a", 1), ("a", 2), ("b", 3))]
    for name in names:
        (cache / name).mkdir(parents=True)
    for key in "ab":
        (cache / f".{key * 16}.lock").touch()
    with prepare.locked(cache / f".{'b' * 16}.lock"):
        load_both(write_set(tmp_path / "set"))
        assert [name for name in names if (cache / name).exists()] == names[2:]
    (tmp_path / "set" / "00.png").unlink()
    load_both(tmp_path / "set")
    assert not list(cache.glob(f"{prepare.TEMPORARY_PREFIX}*"))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_prepared_images_are_as_private_as_the_umask_says(tmp_path: Path, cache: Path) -> None:
    before = os.umask(0o077)
    try:
        load_both(write_set(tmp_path / "set"))
    finally:
        os.umask(before)
    assert not [path for path in cache.rglob("*") if path.stat().st_mode & 0o077]


def test_images_that_do_not_fit_the_disk_are_refused_before_they_are_decoded(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_set(tmp_path / "set")
    monkeypatch.setattr(prepare.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9000, 8000, 1000))
    with pytest.raises(DataError, match=r"12 prepared images take 2,432 bytes, and 1,000 are free"):
        load_both(folder)
    assert not list(cache.glob("*/images.npy"))


def test_file_that_changes_while_it_is_read_is_not_used(tmp_path: Path, cache: Path) -> None:
    folder = Folder(write_set(tmp_path / "set"))
    members = sorted(folder.entries(), key=lambda member: member.name)
    noise(99).save(folder.path / "03.png")
    prepared = prepare.prepare(folder, members, Preparation(8, 8), cache)
    assert prepared.broken == [("03.png", "it changed while the set was being read")]


@pytest.mark.parametrize("inside", ["", "prepared"])
@pytest.mark.parametrize("variable", ["LOGCOSH_VAE_CACHE", "LOGCOSH_VAE_DATA"])
def test_file_in_the_place_of_a_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, inside: str
) -> None:
    file = tmp_path / "file"
    file.write_text("no folder")
    monkeypatch.setenv(variable, str(file / inside))
    purpose = "the data root" if variable.endswith("DATA") else "the cache of prepared images"
    with pytest.raises(
        DataError, match=f"{file / inside} cannot be {purpose}, because {file} is not a folder; .*{variable}"
    ):
        load_both(write_set(tmp_path / "set")) if variable.endswith("CACHE") else load_images("mnist", "train")
    with pytest.raises(DataError, match=r"is not a folder; choose another \(--data-root"):
        load_images("mnist", "train", root=file / inside)
