"""Which pictures are restored, where the results are stored, and what happens to files that exist already."""

import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.restoration.networks import random_network

from logcosh_vae.base.errors import ConfigError, DataError
from logcosh_vae.base.own_outputs import mark_picture, own_output_in
from logcosh_vae.restoration.decoding import Pixels
from logcosh_vae.restoration.finished import method_digest
from logcosh_vae.restoration.picture_files import find_pictures, plan_outputs, restore_file, restore_files
from logcosh_vae.restoration.targets import check_folders
from logcosh_vae.restoration.tiling import Progress

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 31, 3)).astype(np.uint8))


def inverted(pixels: Pixels, /, *, progress: Progress | None = None) -> Pixels:  # noqa: ARG001
    """Stand in for a network."""
    return np.iinfo(pixels.dtype).max - pixels


def save(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        PICTURE.save(path)


@pytest.mark.parametrize(
    ("names", "results"),
    [
        (["a.gif", "a.png"], ["a.gif.png", "a.png"]),
        (["a.gif", "a.jp2"], ["a.png", "a.jp2.png"]),
        (["a.gif", "a.gif.png", "a.png"], ["a-2.png", "a.gif.png", "a.png"]),
        (["A.PNG", "a.png"], ["A.PNG", "a-2.png"]),
        (["x/a.png", "y/a.png"], ["x/a.png", "y/a.png"]),
    ],
)
def test_pictures_with_similar_names_get_results_of_their_own(
    tmp_path: Path, names: list[str], results: list[str]
) -> None:
    save(*(tmp_path / "in" / name for name in names))
    planned = dict(plan_outputs([tmp_path / "in"], tmp_path / "out"))
    assert [planned[tmp_path / "in" / name].relative_to(tmp_path / "out").as_posix() for name in names] == results
    beside = [target for _, target in plan_outputs([tmp_path / "in"])]
    assert len(set(beside)) == len(names)


def test_pictures_of_several_folders_get_results_of_their_own(tmp_path: Path) -> None:
    save(tmp_path / "x" / "a.png", tmp_path / "y" / "a.png")
    planned = plan_outputs([tmp_path / "x", tmp_path / "y"], tmp_path / "out")
    assert [target.name for _, target in planned] == ["a.png", "a-2.png"]
    with pytest.raises(ConfigError, match="name each picture once"):
        plan_outputs([tmp_path / "x", tmp_path / "x" / "a.png"], tmp_path / "out")


@pytest.mark.parametrize("name", ["é" * 125 + ".png", "x" * 251 + ".gif"])
def test_long_names_are_shortened(tmp_path: Path, name: str) -> None:
    try:
        save(tmp_path / name)
    except OSError:
        pytest.skip("this file system does not accept the name")
    ((_, target),) = plan_outputs([tmp_path])
    assert len(os.fsencode(target.name)) <= 255
    restore_file(tmp_path / name, target, inverted)
    (tmp_path / "y.gif").write_bytes((tmp_path / name).read_bytes())
    assert len({target for _, target in plan_outputs([tmp_path], tmp_path / "out")}) == 2


def test_shortened_names_differ_also_if_each_picture_is_named_alone(tmp_path: Path) -> None:
    names = ["x" * 249 + f"{number}.png" for number in range(3)]
    targets = {plan_outputs([tmp_path / name])[0][1].name for name in names if not save(tmp_path / name)}
    assert len(targets) == len(names)


def test_what_follows_the_last_dot_of_a_long_name_is_no_suffix(tmp_path: Path) -> None:
    source = tmp_path / ("a." + "b" * 250)
    save(tmp_path / "a.png")
    shutil.copy(tmp_path / "a.png", source)
    for out in (None, tmp_path / "out"):
        (tmp_path / "out").mkdir(exist_ok=True)
        ((_, target),) = plan_outputs([source], out)
        assert target.name.startswith("a.bbb")
        assert target.suffix == ".png"
        assert len(os.fsencode(target.name)) <= 255


@pytest.mark.parametrize("pattern", ["a**b.png", "**.png", "[.png", "missing/*.png"])
def test_patterns_without_a_match_are_named(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(DataError, match="does not exist"):
        plan_outputs([tmp_path / pattern])


def test_outputs_of_the_program_are_no_inputs_whatever_their_names_are(tmp_path: Path) -> None:
    save(tmp_path / "a.png", tmp_path / "mine-restored.png", tmp_path / "sheet.png")
    mark_picture(tmp_path / "sheet.png", "contact-sheet")
    restore_file(tmp_path / "a.png", tmp_path / "other.jpg", inverted)
    save(tmp_path / "run" / "samples" / "old.png")
    (tmp_path / "run" / "config.json").write_text('{"kind": "auto-encoder", "train": {}}', encoding="utf-8")
    assert own_output_in(tmp_path / "other.jpg") == "restored"
    assert [file.name for file, _ in find_pictures([tmp_path])] == ["a.png", "mine-restored.png"]
    assert [file.name for file, _ in find_pictures([tmp_path / "other.jpg"])] == ["other.jpg"]
    (tmp_path / "results").mkdir()
    shutil.copy(tmp_path / "other.jpg", tmp_path / "results" / "renamed.jpeg")
    with pytest.raises(ConfigError, match="all pictures there are results of this program"):
        plan_outputs([tmp_path / "results"], tmp_path / "out")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes need POSIX")
def test_everything_that_may_be_a_picture_is_restored_or_named(tmp_path: Path) -> None:
    save(tmp_path / "a.png", tmp_path / "sub" / "b.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "x.heic").touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "lost.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "sub")
    left_out: list[tuple[Path, str]] = []
    pairs = plan_outputs([tmp_path], tmp_path / "out", left_out=left_out)
    assert [source.name for source, _ in pairs] == ["a.png", "b.png"]
    reasons = {path.name: reason for path, reason in left_out}
    assert reasons.keys() == {"pipe.png", "x.heic", "lost.jpg", "link"}
    assert "named pipe" in reasons["pipe.png"]
    assert "convert it to PNG or JPEG" in reasons["x.heic"]
    for special in (tmp_path / "pipe.png", Path("/dev/zero")):
        with pytest.raises(DataError, match="not a regular file"):
            restore_file(special, tmp_path / "new.png", inverted)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the administrator can read every folder")
def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    save(tmp_path / "a.png", tmp_path / "closed" / "b.png")
    (tmp_path / "closed").chmod(0)
    left_out: list[tuple[Path, str]] = []
    try:
        plan_outputs([tmp_path], tmp_path / "out", left_out=left_out)
    finally:
        (tmp_path / "closed").chmod(0o755)
    assert [path.name for path, _ in left_out] == ["closed"]


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX permissions")
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
def test_overwriting_keeps_permissions_and_links(tmp_path: Path, suffix: str) -> None:
    save(tmp_path / "a.png", tmp_path / "folder" / f"real.{suffix}")
    real, link = tmp_path / "folder" / f"real.{suffix}", tmp_path / f"link.{suffix}"
    real.chmod(0o600)
    link.symlink_to(real)
    restore_file(tmp_path / "a.png", link, inverted, overwrite=True)
    assert (link.is_symlink(), real.stat().st_mode & 0o777, own_output_in(real)) == (True, 0o600, "restored")
    (tmp_path / "a.png").chmod(0o600)
    restore_file(tmp_path / "a.png", tmp_path / f"new.{suffix}", inverted)
    assert (tmp_path / f"new.{suffix}").stat().st_mode & 0o777 == 0o600
    (tmp_path / "lost.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(DataError, match=r"it is a link to .*nowhere\.png, which does not exist"):
        restore_file(tmp_path / "a.png", tmp_path / "lost.png", inverted, overwrite=True)


def test_an_existing_result_stays_when_its_replacement_cannot_be_made(tmp_path: Path) -> None:
    save(tmp_path / "a.png", tmp_path / "b.png")
    before = (tmp_path / "b.png").read_bytes()

    def fails(pixels: Pixels, /, *, progress: Progress | None = None) -> Pixels:  # noqa: ARG001
        raise OSError(28, "No space left on device")

    with pytest.raises(DataError, match=r"a\.png cannot be restored: .*No space left"):
        restore_file(tmp_path / "a.png", tmp_path / "b.png", fails, overwrite=True)
    assert (tmp_path / "b.png").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


class Counting:
    """Counts the pictures that are restored."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, pixels: Pixels, /, *, progress: Progress | None = None) -> Pixels:
        self.count += 1
        return inverted(pixels, progress=progress)


def _append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"!")


def _edit(path: Path) -> None:
    with Image.open(path) as picture:
        picture.rotate(180).save(path, **({"comment": "x"} if path.suffix == ".jpg" else {}))


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp", "bmp", "ppm", "gif"])
def test_finished_results_are_kept_when_a_folder_is_restored_again(tmp_path: Path, suffix: str) -> None:
    save(*(tmp_path / "in" / f"{name}.{suffix}" for name in "abc"))
    network, restore = random_network((4,), 1), Counting()
    method = method_digest(network, task="text")

    def again(method: str) -> list[bool]:
        pairs = plan_outputs([tmp_path / "in"], tmp_path / "out", overwrite=True)
        return [result.kept for result in restore_files(pairs, restore, overwrite=True, method=method)]

    pairs = plan_outputs([tmp_path / "in"], tmp_path / "out")
    next(iter(restore_files(pairs, restore, method=method)))  # stopped after the first picture
    with pytest.raises(ConfigError, match=r"pass --overwrite .* to go on, which keeps the results of the same command"):
        plan_outputs([tmp_path / "in"], tmp_path / "out")
    assert again(method) == [True, False, False]
    assert restore.count == 3
    with pytest.raises(ConfigError, match=r"a\.\w+ already exists; pass --overwrite .* to replace it"):
        plan_outputs([tmp_path / "in" / f"a.{suffix}"], pairs[0][1])
    changes: list[Callable[[], None]] = [
        lambda: save(tmp_path / "in" / f"a.{suffix}"),  # the same picture: nothing to do
        lambda: _append(tmp_path / "in" / f"a.{suffix}"),
        lambda: _append(pairs[0][1]),
        lambda: _edit(pairs[0][1]),
    ]
    for change, expected in zip(changes, (0, 1, 1, 1), strict=True):
        restore.count = 0
        change()
        again(method)
        assert restore.count == expected
    restore.count = 0
    again(method_digest(network, task="text", boxes=[(0, 0, 5, 5)]))
    assert restore.count == 3


def test_a_method_is_identified_by_everything_that_changes_the_result() -> None:
    mask = np.zeros((5, 6), bool)
    options: list[dict[str, object]] = [
        {"task": "text"},
        {"task": "denoise"},
        {"task": "text", "scale": 0.5},
        {"task": "text", "careful": True},
        {"task": "text", "boxes": [(1, 2, 3, 4)]},
        {"task": "text", "mask": mask},
        {"task": "text", "mask": ~mask},
        {"task": "text", "mask": mask.T},
    ]
    digests = [method_digest(random_network((4,), blocks), **each) for blocks in (1, 2) for each in options]  # type: ignore[arg-type]
    assert len(set(digests)) == len(digests)
    assert method_digest(random_network((4,), 1), task="text") == digests[0]


@pytest.mark.parametrize("limit", [0, 9_000])
@pytest.mark.parametrize("suffix", ["tif", "png", "jpg", "webp", "avif", "bmp", "ppm"])
def test_a_full_disk_is_named_whatever_the_encoder_says(tmp_path: Path, suffix: str, limit: int) -> None:
    source, target = tmp_path / "a.png", tmp_path / f"clean.{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (160, 200, 3)).astype(np.uint8)).save(source)
    target.write_text("former")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(DataError, match=rf"clean\.{suffix} cannot be written: File too large$"):
            restore_file(source, target, inverted, overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", target.name]
    assert target.read_text() == "former"


def test_folders_that_cannot_be_written_are_named_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    targets = [tmp_path / "file" / name for name in ("x/a.png", "x/b.png", "y/c.png")]
    with pytest.raises(DataError, match=r"file/x cannot be written to: Not a directory; choose another output"):
        check_folders(targets)
    check_folders([*targets, tmp_path / "new" / "a.png"])
    assert not list((tmp_path / "new").iterdir())
