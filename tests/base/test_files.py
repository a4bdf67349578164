"""Files survive crashes, are never written through links, and are read only if they are regular and small enough."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from logcosh_vae.base.files import (
    TEMPORARY_PREFIX,
    atomic_write,
    open_regular,
    read_json,
    read_regular,
    remove_leftovers,
    write_text,
)
from logcosh_vae.base.locks import lock_file, try_lock

LEFTOVER = f"{TEMPORARY_PREFIX}0123456789ab.png"


def test_the_disk_holds_the_content_before_its_name_and_the_name_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    rename, sync = Path.replace, os.fsync

    def synced(descriptor: int) -> None:
        events.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", lambda *paths: (events.append("rename"), rename(*paths))[1])
    write_text(tmp_path / "new" / "a.txt", "a")
    assert events == ["folder", "file", "rename", "folder"], "first the name of the new folder"


def test_a_link_is_replaced_and_its_target_stays(tmp_path: Path) -> None:
    mine, link = tmp_path / "mine", tmp_path / "link"
    mine.write_text("mine")
    link.symlink_to(mine)
    write_text(link, "new")
    assert (mine.read_text(), link.read_text(), link.is_symlink()) == ("mine", "new", False)


def test_leftovers_of_killed_writers_are_deleted_and_nothing_else(tmp_path: Path) -> None:
    kept = [".tmp-holiday.png", f"{TEMPORARY_PREFIX}notes.txt", "a.png"]
    for name in [LEFTOVER, *kept]:
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / f"{TEMPORARY_PREFIX}000000000000.png").symlink_to(tmp_path / "a.png")
    with atomic_write(tmp_path / "b.png") as written:
        written.write_bytes(b"y")
        remove_leftovers(tmp_path)  # as another process does at this moment
        assert written.exists()
    assert not (tmp_path / LEFTOVER).exists()
    assert {*kept, "b.png"} <= {path.name for path in tmp_path.iterdir()}


def test_errors_name_the_file_and_leave_the_former_one(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    target.write_text("former")

    def full(temporary: Path) -> None:
        temporary.write_text("partial")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space left") as error, atomic_write(target) as temporary:
        full(temporary)
    assert error.value.filename == str(target)
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert target.read_text() == "former"


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o664, 0o755])
def test_a_replaced_file_keeps_its_permissions(tmp_path: Path, mode: int) -> None:
    target = tmp_path / "a.txt"
    target.write_text("former")
    target.chmod(mode)
    with atomic_write(target) as temporary:
        assert temporary.stat().st_mode & 0o077 & ~mode == 0, "others can read it before it is complete"
        temporary.write_text("new")
    assert target.read_text() == "new"
    assert target.stat().st_mode & 0o777 == mode


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: os.mkfifo(path), "not a regular file"),
        (lambda path: path.mkdir(), "not a regular file|Is a directory"),
        (lambda path: path.symlink_to(path.parent / "a"), "symbolic link"),
        (lambda path: (path.touch(), os.truncate(path, 1 << 40)), "larger than 100 bytes"),
    ],
    ids=["pipe", "folder", "link", "sparse"],
)
def test_only_small_regular_files_are_read(tmp_path: Path, make: Callable[[Path], object], message: str) -> None:
    (tmp_path / "a").write_text("a")
    make(tmp_path / "b")
    with pytest.raises(OSError, match=message):
        read_regular(tmp_path / "b", 100)


def test_large_limits_take_no_memory(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    assert read_regular(tmp_path / "a", 1 << 62) == b"a"


@pytest.mark.parametrize("text", ["{", "[" * 100_000, '{"a": ' + "9" * 5000 + "}"])
def test_damaged_json_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=r"a\.json is damaged"):
        read_json(tmp_path / "a.json")


def test_a_lock_excludes_others_and_never_changes_the_file(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    lock.write_text("of somebody else")
    with lock_file(lock) as first, lock_file(lock) as second, lock_file(lock, shared=True) as reader:
        assert (first, second, reader) == (True, False, False)
    with lock_file(lock, shared=True) as first, lock_file(lock, shared=True) as second, lock_file(lock) as writer:
        assert (first, second, writer) == (True, True, False)
    assert lock.read_text() == "of somebody else"


@pytest.mark.parametrize("shared", [False, True])
def test_a_lock_is_not_taken_through_a_link(tmp_path: Path, shared: bool) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / ".lock").symlink_to(tmp_path / "mine")
    with pytest.raises(OSError, match="symbolic link"), lock_file(tmp_path / ".lock", shared=shared):
        pass
    (tmp_path / "mine").replace(tmp_path / "moved")
    with pytest.raises(OSError, match="symbolic link"), lock_file(tmp_path / ".lock", shared=shared):
        pass
    assert not (tmp_path / "mine").exists(), "a dangling link must not create its target"
    assert (tmp_path / "moved").read_text() == "mine"


def test_a_lock_ends_with_its_descriptor(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with open_regular(tmp_path / "a", os.O_RDWR) as first, open_regular(tmp_path / "a", os.O_RDWR) as second:
        assert try_lock(first.fileno())
        assert not try_lock(second.fileno())
    with open_regular(tmp_path / "a", os.O_RDWR) as third:
        assert try_lock(third.fileno())


@pytest.mark.parametrize("fails", [1, 2, 3])
def test_an_error_in_synchronising_names_the_file_or_folder(
    fails: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(1, 100))

    def sync(_: int) -> None:
        if next(calls) == fails:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "fsync", sync)
    path = tmp_path / "new" / "file.txt"
    with pytest.raises(OSError, match="Read-only file system") as raised, atomic_write(path) as temporary:
        temporary.write_text("whole")
    assert raised.value.filename in (str(path), str(path.parent), str(tmp_path))
