"""Names of pictures that commands write, and notes about boxes."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from logcosh_vae.base.errors import UsageError
from logcosh_vae.base.text import path_word
from logcosh_vae.cli.command import explain
from logcosh_vae.cli.data import contact_sheet
from logcosh_vae.cli.pictures import check_png_path
from logcosh_vae.cli.restoring_session import NotesCutBoxes
from logcosh_vae.data.image_set import ImageSet


def test_errors_of_the_system_about_writing_say_so() -> None:
    for number in (errno.ENOSPC, errno.EROFS):
        reason = os.strerror(number)
        assert explain(OSError(number, reason, "page.html")) == (f"page.html cannot be written: {reason}", 1)
    assert explain(OSError(errno.EIO, "Input/output error", "x")) == ("x: Input/output error", 1)


def test_a_command_in_the_note_about_an_image_set_can_be_pasted_into_a_shell() -> None:
    images = ImageSet("/my pictures", "train", torch.zeros(1, 1, 4, 4), None, "", left_out=(("a", "x"), ("b", "x")))
    assert "x; logcosh-vae data info '/my pictures' lists the others" in str(images.complaint)


@pytest.mark.parametrize("name", ["x" * 255, "ä" * 127, "/data/holiday.zip"])
def test_a_contact_sheet_has_a_name_that_a_file_can_have(name: str) -> None:
    path = contact_sheet(name)
    assert path.name.endswith("-contact-sheet.png")
    assert len(os.fsencode(path.name)) <= 255
    assert contact_sheet("/data/holiday.zip") == Path("holiday-contact-sheet.png")
    assert contact_sheet("x" * 250 + "1") != contact_sheet("x" * 250 + "2")


@pytest.mark.parametrize("make", [Path.touch, lambda path: path.symlink_to("nowhere")])
def test_an_existing_picture_is_replaced_on_request_only(make: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    make(path)
    with pytest.raises(UsageError, match="add --overwrite"):
        check_png_path(path, overwrite=False)
    check_png_path(path, overwrite=True)


def test_a_folder_is_not_replaced_by_a_picture(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder"):
        check_png_path(tmp_path, overwrite=True)


def test_a_suggested_command_can_be_pasted_into_a_shell() -> None:
    assert [path_word(Path(name)) for name in ("runs/a", "a b'c", "-a")] == ["runs/a", "'a b'\"'\"'c'", "./-a"]


def test_a_box_that_reaches_beyond_the_picture_is_noted() -> None:
    method = NotesCutBoxes(lambda pixels, **_: pixels, [(0, 0, 40, 20), (30, 0, 11, 20), (0, 5, 1, 16)])
    method(np.zeros((20, 40, 3), np.uint8))
    assert method.notes == [
        "--box 30,0,11,20 reaches beyond the picture, which has 40x20 pixels",
        "--box 0,5,1,16 reaches beyond the picture, which has 40x20 pixels",
    ]
    method(np.zeros((50, 50, 3), np.uint8))
    assert method.notes == []
