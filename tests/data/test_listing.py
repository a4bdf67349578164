"""Every entry of a folder or zip file is used or named with the reason, and what the program writes is never used."""

import os
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from tests.data.image_files import encoded, load_both, noise, write_set, write_zip

from logcosh_vae.base import image_grid
from logcosh_vae.base.errors import DataError
from logcosh_vae.base.own_outputs import mark_picture
from logcosh_vae.cli.data import data_info
from logcosh_vae.data import archive, collection, listing, load_images
from logcosh_vae.data.archive import Zip
from logcosh_vae.data.celeba import ATTRIBUTES, PARTITION
from logcosh_vae.data.collection import Folder, Member
from logcosh_vae.data.listing import list_images

pytestmark = pytest.mark.usefixtures("cache")

HEIC = b"\0\0\0\x18ftypheic" + bytes(99)
NOT_USED = {
    "photo.heic": (HEIC, "it is a HEIC image, which is not read; convert it"),
    "phone.jpg": (HEIC, "it is a HEIC image, which is not read; convert it"),
    "camera.NEF": (b"MM\0*" + bytes(99), "it is a raw image, which is not read"),
    "scan.psd": (b"8BPS", "it is a Photoshop image, which is not read"),
    "without-suffix": (encoded(noise()), "it is a PNG image, but its name ends in no image format"),
    "copy.png.bak": (encoded(noise()), "it is a PNG image, but its name ends in no image format"),
    "bitmap": (encoded(noise(), "BMP"), "it is a BMP image, but its name ends in no image format"),
    "map.raw2": (encoded(noise(), "PPM"), "it is a PPM image, but its name ends in no image format"),
    "more.zip": (b"PK\x03\x04", "it is an archive, which is not opened"),
    "export.heic": (encoded(noise(), "JPEG"), "it is a JPEG image, but its name ends in .heic; rename it"),
    "empty.png": (b"", "the file is empty"),
    "page.jpg": (b"<!DOCTYPE html><html>", "it is an HTML page"),
    "program.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n{} loop\n", "PostScript, which is a program"),
    "program.gif": (b"\xc5\xd0\xd3\xc6" + bytes(28) + b"%!PS", "PostScript, which is a program"),
    "damaged.png": (encoded(noise())[:200], "truncated"),
}
SET_ASIDE = {
    "notes.txt": ".txt files",
    "movie.mov": ".mov files",
    ".hidden.png": "hidden",
    ".DS_Store": "hidden",
    "Thumbs.db": "hidden",
    "run/config.json": "in run folders of logcosh-vae",
    "run/samples/a.png": "in run folders of logcosh-vae",
}


@pytest.mark.parametrize("packed", [False, True])
def test_every_entry_is_used_or_named_with_the_reason(
    tmp_path: Path, packed: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_set(tmp_path / "set")
    contents = {name: content for name, (content, _) in NOT_USED.items()} | dict.fromkeys(SET_ASIDE, encoded(noise()))
    contents |= {"run/config.json": b'{"kind": "auto-encoder", "train": {}}', "movie.mov": b"\0\0\0\x14ftypqt  "}
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    path = Path(shutil.make_archive(str(folder), "zip", folder)) if packed else folder
    train, test = load_both(path)
    assert len(train.images) + len(test.images) == 12
    assert sorted(name for name, _ in train.left_out) == sorted(NOT_USED)
    for name, reason in train.left_out:
        assert NOT_USED[name][1] in reason
    assert {name: rule for rule, names in train.ignored.items() for name in names} == SET_ASIDE
    # faults that only decoding shows are named at the same time as those of the listing
    with pytest.raises(
        DataError, match=r": 15 image files .* bitmap: .*; camera\.NEF: it is a raw .*; damaged\.png: .*truncated"
    ):
        load_both(path, strict=True)
    data_info(str(path), size="8", out=tmp_path / "sheet.png")
    *_, last = capsys.readouterr().out.splitlines()
    assert last.startswith(
        "entries: 34 = 12 used + 15 skipped + 1 .mov files + 1 .txt files + 3 hidden + 2 in run fold"
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_only_regular_files_are_read(tmp_path: Path) -> None:
    """Reading a named pipe or a device may never end, and a link to a folder may lead back to it."""
    folder = write_set(tmp_path / "set")
    (tmp_path / "elsewhere.png").write_bytes(encoded(noise(99)))
    os.mkfifo(folder / "pipe.png")
    os.mkfifo(folder / "pipe")
    (folder / "device.png").symlink_to("/dev/zero")
    (folder / "lost.jpg").symlink_to(tmp_path / "nowhere")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "again").symlink_to(folder)
    (folder / "followed.png").symlink_to(tmp_path / "elsewhere.png")
    with (folder / "sparse.png").open("wb") as file:
        file.truncate(1 << 40)
    train, test = load_both(folder)
    assert len(train.images) + len(test.images) == 13
    reasons = dict(train.left_out)
    assert reasons.keys() == {"pipe.png", "device.png", "lost.jpg", "loop.png", "again", "sparse.png"}
    assert reasons["pipe.png"] == "a named pipe, not a regular file"
    assert reasons["device.png"] == "a device, not a regular file"
    assert reasons["again"] == "a link to a folder, which is not followed"
    assert "leads nowhere" in reasons["lost.jpg"]
    assert "1,099,511,627,776 bytes" in reasons["sparse.png"]
    assert train.ignored == {"a named pipe, not a regular file": ("pipe",)}
    os.mkfifo(tmp_path / "set.zip")
    with pytest.raises(DataError, match=r"set\.zip .*it is not a regular file"):
        load_both(tmp_path / "set.zip")


def test_unreadable_subfolder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_set(tmp_path / "set")
    write_set(folder / "inside")
    scandir = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "inside":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(collection.os, "scandir", refuse)  # root may read everything
    train, test = load_both(folder)
    assert len(train.images) + len(test.images) == 12
    assert train.left_out == (("inside", "the folder cannot be read (Permission denied)"),)
    with pytest.raises(DataError, match="inside: the folder cannot be read"):
        load_both(folder, strict=True)
    monkeypatch.undo()
    monkeypatch.setenv("LOGCOSH_VAE_CACHE", str(tmp_path / "cache"))
    assert not load_both(folder, strict=True)[0].left_out


def test_names_in_archives_are_relative_paths_with_slashes(tmp_path: Path) -> None:
    names = {
        "train\\a.png": "train/a.png",
        "/abs/b.png": "abs/b.png",
        "C:\\dir\\c.png": "dir/c.png",
        "../../up/d.png": "up/d.png",
        "x/./y//e.png": "x/y/e.png",
        "x/../f.png": "f.png",
        "g.png/": "g.png",
        "h.png\0/": "h.png",
        "\0.png": "(no name)",
        "\N{LATIN SMALL LETTER E WITH ACUTE}.png": "\N{LATIN SMALL LETTER E WITH ACUTE}.png",
    }
    path = write_zip(tmp_path / "set.zip", [(name, encoded(noise(i))) for i, name in enumerate(names)])
    raw = path.read_bytes()  # the name in UTF-8 without the flag that says so
    path.write_bytes(raw.replace(b"\x00\x08\x00\x00\x00\x00\x21\x00", b"\x00\x00\x00\x00\x00\x00\x21\x00"))
    assert sorted(member.name for member in Zip(path).entries()) == sorted(names.values())
    split = write_zip(
        tmp_path / "split.zip",
        [(f"{'train' if i < 9 else 'TEST'}\\{i}.png", encoded(noise(i))) for i in range(12)],
    )
    train, test = load_both(split)
    assert (len(train.images), len(test.images)) == (9, 3)


def test_members_whose_names_collide_are_all_used_or_named(tmp_path: Path) -> None:
    """Members are read by their entry; `zipfile` reads the last one of a name each time."""
    clashing = ["a.png", "a.png", "x/../a.png", "A.PNG", "/a.png", "\\a.png", "a~2.png"]
    members = [(name, encoded(noise(i))) for i, name in enumerate(clashing)]
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = write_zip(tmp_path / "set.zip", [*members, members[0]])
    train, test = load_both(path)
    images = torch.cat([train.images, test.images])
    assert len(images) == len(images.flatten(1).unique(dim=0)) == len(clashing)
    ((name, reason),) = train.left_out
    assert name.startswith("a~")
    assert reason == "repeats a member of the same name and content"


def test_a_hundred_thousand_members_of_one_name_are_listed_in_seconds() -> None:
    members = (Member("a.png", str(index % 99_990)) for index in range(100_000))
    listed = list(archive._unique(members))
    assert len({member.name for member in listed}) == 100_000
    assert sum(bool(member.problem) for member in listed) == 10


def test_zip_and_folder_give_the_same_split_for_names_of_any_encoding(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for index, name in enumerate(
        [b"\xe9.png", "é.png".encode(), "日本.png".encode(), b"a.png", *map(b"%d.png".__mod__, range(9))]
    ):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(encoded(noise(index)))
    names = [member.name for member in list_images(Folder(folder)).members]
    assert "\udce9.png" in names
    assert "日本.png" in names
    assert sum(len(images.images) for images in load_both(folder)) == 13


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "tif", "gif", "avif"])
def test_pictures_written_by_the_program_are_never_used(tmp_path: Path, suffix: str, packed: bool) -> None:
    folder = write_set(tmp_path / "set")
    own = folder / f"renamed.{suffix}"
    noise(77).save(own)
    mark_picture(own, "restored")
    path = Path(shutil.make_archive(str(folder), "zip", folder)) if packed else folder
    train, test = load_both(path, strict=True)
    assert len(train.images) + len(test.images) == 12
    assert train.ignored == {listing.OWN_PICTURE: (own.name,)}


def test_contact_sheet_inside_the_set_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_set(tmp_path / "set")
    monkeypatch.chdir(folder)
    before = load_images(".", "train").fingerprint
    for _ in range(2):
        data_info(".", overwrite=True, strict=True)
    (sheet,) = folder.glob("*sheet.png")
    sheet.rename(folder / "holiday.png")
    assert load_images(".", "train").fingerprint == before


def test_failed_contact_sheet_is_named_by_its_own_name_and_the_account_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"file/sheet\.png cannot be written"):
        data_info(str(write_set(tmp_path / "set")), out=tmp_path / "file" / "sheet.png")
    assert capsys.readouterr().out.splitlines()[-1] == "entries: 12 = 12 used + 0 skipped"
    with pytest.raises(DataError, match=r"nowhere\.png cannot be written"):
        image_grid.save(noise(), tmp_path / "file" / "nowhere.png")


def test_what_opening_files_has_shown_is_remembered_for_large_sets_only_if_complete(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "REMEMBERED_FROM", 3)
    folder = write_set(tmp_path / "set")
    shutil.copy(folder / "00.png", folder / "odd")
    ends = Folder.ends

    def fail(*_: object) -> object:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Folder, "ends", fail)
    assert not list_images(Folder(folder), cache).left_out
    monkeypatch.setattr(Folder, "ends", ends)
    expected = [("odd", "it is a PNG image, but its name ends in no image format; rename it")]
    assert list_images(Folder(folder), cache).left_out == expected
    monkeypatch.setattr(Folder, "ends", fail)
    assert list_images(Folder(folder), cache).left_out == expected
    (remembered,) = cache.glob("*.listing.json")
    remembered.write_bytes(remembered.read_bytes().replace(b"PNG", b"GIF"))
    monkeypatch.setattr(Folder, "ends", ends)
    assert list_images(Folder(folder), cache).left_out == expected


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_celeba_files_may_start_with_a_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    folder = tmp_path / "celeba"
    write_set(folder / "img_align_celeba", 0)
    for number in range(1, 6):
        noise(number).save(folder / "img_align_celeba" / f"{number:06}.jpg")
    rows = [f"{number:06}.jpg {2 if number > 3 else 0}" for number in range(1, 6)]
    (folder / PARTITION).write_bytes("\r\n".join(rows).encode(encoding))
    attributes = ["5", "Smiling", *(f"{number:06}.jpg -1" for number in range(1, 6))]
    (folder / ATTRIBUTES).write_bytes("\r\n".join(attributes).encode(encoding))
    train, test = (load_images("celeba", split, root=tmp_path) for split in ("train", "test"))
    assert (len(train.images), len(test.images), train.label_names) == (3, 2, ("Smiling",))


def test_zip_with_links_and_folders(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "set.zip", [(f"{i}.png", encoded(noise(i))) for i in range(3)])
    with zipfile.ZipFile(path, "a") as file:
        for name in ("link.png", "link"):  # the second may lead to a folder of images
            link = zipfile.ZipInfo(name)
            link.create_system, link.external_attr = 3, 0o120777 << 16
            file.writestr(link, "../elsewhere")
        file.mkdir("folder.png")
    reason = "a link, which is not followed"
    assert load_both(path)[0].left_out == (("link", reason), ("link.png", reason))


def test_celeba_account_names_the_validation_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    rows = []
    for number in range(1, 7):
        noise(number).save(folder / "img_align_celeba" / f"{number:06}.jpg")
        rows.append(f"{number:06}.jpg {0 if number < 4 else 1 if number < 6 else 2}")
    (folder / PARTITION).write_text("\n".join(rows))
    data_info("celeba", out=tmp_path / "sheet.png", data_root=tmp_path)
    *_, ignored, entries = capsys.readouterr().out.splitlines()
    assert ignored == "ignored: in the validation split, which is not used: 000004.jpg, 000005.jpg"
    assert entries == "entries: 6 = 4 used + 0 skipped + 2 in the validation split, which is not used"


@pytest.mark.parametrize(
    ("kind", "suffixes"),
    [
        ("JPEG", "jpg jpeg jpe jfif jfi jif pjpeg pjp mpo"),
        ("PNG", "png apng"),
        ("TIFF", "tif tiff"),
        ("PPM", "ppm pgm pbm pnm"),
        ("JPEG2000", "jp2 j2k j2c jpc jpf jpx"),
        ("GIF", "gif"),
        ("BMP", "bmp"),
        ("WEBP", "webp"),
        ("AVIF", "avif avifs"),
    ],
)
def test_all_usual_suffixes_of_the_formats_that_are_read_are_used(tmp_path: Path, kind: str, suffixes: str) -> None:
    content = encoded(noise(), kind)
    for suffix in suffixes.split():
        (tmp_path / f"a.{suffix}").write_bytes(content)
        (tmp_path / f"b.{suffix.upper()}").write_bytes(content)
    train, test = load_both(tmp_path, strict=True)
    assert len(train.images) + len(test.images) == 2 * len(suffixes.split())
    assert torch.cat([train.images, test.images]).unique(dim=0).shape[0] == 1


@pytest.mark.parametrize(
    "head", [b"P1\n2 2\n0 1 1 0\n", b"P2 2 2 255 0 9 9 9\n", b"P3\n# a\n1 1\n255\n9 9 9\n", b"P4 8 1\n\0"]
)
def test_misnamed_images_of_every_kind_of_pnm_are_recognised(tmp_path: Path, head: bytes) -> None:
    write_set(tmp_path / "set")
    (tmp_path / "set" / "a.pnm").write_bytes(head)
    (tmp_path / "set" / "a").write_bytes(head)
    (tmp_path / "set" / "b").write_bytes(b"P1 is the first of the players\n")
    train, test = load_both(tmp_path / "set")
    assert len(train.images) + len(test.images) == 13
    assert train.left_out == (("a", "it is a PPM image, but its name ends in no image format; rename it"),)
    assert train.ignored == {"files without suffix": ("b",)}


def test_files_of_one_reason_are_named_together_in_an_error() -> None:
    left_out = [(str(index), "empty") for index in range(5)] + [(f"x{index}", f"fault {index}") for index in range(21)]
    shown = listing.first_reasons(left_out)
    assert shown.startswith("0, 1, 2 and 2 more: empty; x0: fault 0; x1: fault 1; ")
    assert shown.endswith("; x18: fault 18; and 2 more")


@pytest.mark.parametrize("suffix", [".txt", ".csv"])
@pytest.mark.parametrize("separator", [",", ";"])
def test_celeba_files_may_be_separated_by_commas(tmp_path: Path, suffix: str, separator: str) -> None:
    folder = tmp_path / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    names = [f"{number:06}.jpg" for number in range(1, 6)]
    for number, name in enumerate(names):
        noise(number).save(folder / "img_align_celeba" / name)
    rows = [["image_id", "partition"], *([name, "2" if name > "000003.jpg" else "0"] for name in names)]
    (folder / PARTITION).with_suffix(suffix).write_text("\n".join(map(separator.join, rows)))
    rows = [['"image_id"', "Smiling", '"Young"'], *([f'"{name}"', "-1", "1"] for name in names)]
    (folder / ATTRIBUTES).with_suffix(suffix).write_text("\n".join(map(separator.join, rows)))
    train, test = (load_images("celeba", split, root=tmp_path) for split in ("train", "test"))
    assert (len(train.images), len(test.images), train.label_names) == (3, 2, ("Smiling", "Young"))
    assert train.labels is not None
    assert train.labels.tolist() == [[0, 1]] * 3


def test_celeba_files_in_another_form_are_errors_that_say_what_is_expected(tmp_path: Path) -> None:
    folder = tmp_path / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    noise().save(folder / "img_align_celeba" / "000001.jpg")
    (folder / PARTITION).write_text("1 000001.jpg 0\n")
    with pytest.raises(
        DataError, match=r"has no row for 1 image, e\.g\. 000001\.jpg; a row has a file name and the number"
    ):
        load_images("celeba", "train", root=tmp_path)
