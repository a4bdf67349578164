"""Folders `train`, `test` and `val` define the split, or a note or reason says what became of their images."""

import os
import shutil
import time
from pathlib import Path

import pytest
from tests.data.image_files import encoded, load_both, noise, write_set, write_zip

from logcosh_vae.base.errors import DataError
from logcosh_vae.cli.data import data_info
from logcosh_vae.data import ImageSet, collection
from logcosh_vae.data.collection import Member
from logcosh_vae.data.listing import Listing
from logcosh_vae.data.splits import split_listing

pytestmark = pytest.mark.usefixtures("cache")

HEIC = b"\0\0\0\x18ftypheic" + bytes(99)
BESIDE = "beside the folders {} and {}, which define the split"


def numbered(prefix: str, count: int) -> list[str]:
    """Return names of image files in a zip file."""
    return [f"{prefix}{index}.png" for index in range(count)]


def load_names(
    tmp_path: Path, names: list[str], packed: bool = True, strict: bool = False
) -> tuple[ImageSet, ImageSet]:
    """Return the training and the test split of a set of image files with these names."""
    contents = {name: HEIC if name.endswith(".heic") else encoded(noise(index)) for index, name in enumerate(names)}
    if packed:
        return load_both(write_zip(tmp_path / "set.zip", contents.items()), strict=strict)
    for name, content in contents.items():
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(content)
    return load_both(tmp_path / "set", strict=strict)


def names_of(images: ImageSet) -> tuple[int, int]:
    return len(images.images), len(images.left_out)


@pytest.mark.parametrize("packed", [False, True])
def test_images_beside_train_and_test_are_named_and_refused_with_strict(
    tmp_path: Path, packed: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [*numbered("train/", 9), *numbered("test/", 2), *numbered("", 10), *numbered("more/", 2)]
    train, test = load_names(tmp_path, names, packed)
    assert (len(train.images), len(test.images)) == (9, 2)
    assert dict(train.left_out) == dict.fromkeys(names[11:], BESIDE.format("train", "test"))
    with pytest.raises(DataError, match=r"12 image files cannot be used: 0\.png, .* and 9 more: beside the folders"):
        load_names(tmp_path, names, packed, strict=True)
    data_info(str(tmp_path / ("set.zip" if packed else "set")), size="8", out=tmp_path / "sheet.png")
    assert capsys.readouterr().out.splitlines()[-1] == "entries: 23 = 11 used + 12 skipped"
    assert train.complaint is not None
    assert train.complaint.startswith("12 of 23 files of ")


@pytest.mark.parametrize(
    ("train_folder", "test_folder"),
    [
        ("train/", "test/"),
        ("TRAIN/cats/", "Testing/cats/"),
        ("./Set/Train/", "./Set/Test/"),
        ("C:\\Users\\me\\train\\", "C:\\Users\\me\\test\\"),
        ("a/b/c/Training/", "a/b/c/TEST/"),
        ("train/train/", "train/test/"),
    ],
)
def test_folders_define_the_split_in_any_case_and_within_folders_that_hold_all(
    tmp_path: Path, train_folder: str, test_folder: str
) -> None:
    aside = ["__MACOSX/Set/._a.png", "photo.heic"]
    train, test = load_names(tmp_path, [*numbered(train_folder, 30), *numbered(test_folder, 10), *aside])
    assert (len(train.images), len(test.images)) == (30, 10)
    assert [name for name, _ in train.left_out] == ["photo.heic"]
    assert not train.notes


def test_val_is_the_test_split_only_without_test(tmp_path: Path) -> None:
    names = [*numbered("Set/train/", 12), *numbered("Set/Val/", 2)]
    train, test = load_names(tmp_path, names)
    assert (names_of(train), names_of(test)) == ((12, 0), (2, 0))
    assert train.notes == ("the test images are those in Set/Val, because no folder test has any",)
    train, test = load_names(tmp_path, [*names, "Set/test/a.png", "Set/validation/a.png"])
    assert (names_of(train), names_of(test)) == ((12, 3), (1, 3))
    assert {reason for _, reason in train.left_out} == {
        "a validation image, not used beside the folders Set/train and Set/test"
    }
    assert not train.notes


@pytest.mark.parametrize(
    ("names", "note"),
    [
        (["train/"], "the folder train does not define the split, because no folder test beside it has images"),
        (["Set/test/", "Set/val/"], "the folder Set/test does not define the split, because no folder train"),
        (["a/train/", "a/test/", ""], "the folders a/train and a/test do not define the split, because they are not"),
        (["a/train/", "b/val/"], "the folders a/train and b/val do not"),
        (["train2017/", "val2017/"], "the folders train2017 and val2017 do not"),
        (["trainA/", "testB/"], "the folders trainA and testB do not"),
        (["cats/", "dogs/", "training day/", "attests/"], None),
        ([""], None),
    ],
)
def test_a_note_says_when_such_folders_do_not_define_the_split(
    tmp_path: Path, names: list[str], note: str | None
) -> None:
    train, test = load_names(tmp_path, [name for folder in names for name in numbered(folder, 12)])
    assert (len(train.images), len(test.images)) == (12 * len(names) - len(test.images), -(-12 * len(names) // 10))
    assert not train.left_out
    if note is None:
        assert not train.notes
    else:
        assert train.notes[0].startswith(note)
        assert train.notes[0].endswith("; one image file in ten is for testing")
        assert train.complaint == train.notes[0]


def test_names_with_very_many_folders_are_split_in_seconds(tmp_path: Path) -> None:
    members = [Member("a/" * 30_000 + f"{index}/train/0.png", "") for index in range(300)]
    started = time.perf_counter()
    split = split_listing(tmp_path, Listing(members))
    assert (len(split.train), len(split.test), split.notes) == (270, 30, ())
    assert time.perf_counter() - started < 20


def test_a_note_tells_of_an_empty_test_folder(tmp_path: Path) -> None:
    write_set(tmp_path / "set" / "train")
    (tmp_path / "set" / "test").mkdir()
    train, _ = load_both(tmp_path / "set")
    assert train.notes[0].startswith("the folder train does not define the split, because no folder test")


@pytest.mark.parametrize("inside", ["", "Set"])
def test_a_test_folder_without_usable_images_is_an_error(
    tmp_path: Path, inside: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The split must not depend on who may read a folder."""
    folder = tmp_path / "set" / inside
    write_set(folder / "train")
    (folder / "test").mkdir()
    (folder / "test" / "photo.heic").write_bytes(HEIC)
    place = f"{inside}/test" if inside else "test"
    error = f"none of the files in {place} can be used, so there is no test split: {place}"
    with pytest.raises(DataError, match=rf"{error}/photo\.heic: it is a HEIC image, which is not read"):
        load_both(tmp_path / "set")
    (folder / "test" / "photo.heic").rename(folder / "photo.heic")
    write_set(folder / "test" / "cats")
    scandir = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == refused:
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(collection.os, "scandir", refuse)  # root may read everything
    for refused, named in (("test", ""), ("cats", "/cats")):  # noqa: B007 - `refuse` reads it
        with pytest.raises(DataError, match=f"{error}{named}: the folder cannot be read"):
            load_both(tmp_path / "set")
    monkeypatch.undo()
    monkeypatch.setenv("LOGCOSH_VAE_CACHE", str(tmp_path / "cache"))
    shutil.rmtree(folder / "test")
    (folder / "test").symlink_to(folder / "train")
    with pytest.raises(DataError, match=f"{error}: a link to a folder"):
        load_both(tmp_path / "set")
