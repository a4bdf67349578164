"""Names that are derived from a user's names."""

import os
from pathlib import Path

import pytest

from logcosh_vae.base.file_names import fitting_name, longest_name


@pytest.mark.parametrize("letter", ["x", "é", "字", "\udcff", "😀"])
def test_long_names_are_shortened_by_whole_characters_and_stay_different(letter: str) -> None:
    stems = [letter * 250 + str(number) for number in range(20)]
    names = {fitting_name(stem, "-restored.png") for stem in stems}
    assert len(names) == len(stems)
    for name in names:
        assert 250 <= len(os.fsencode(name)) <= 255
        assert name.endswith("-restored.png")
        assert set(name.partition("~")[0]) == {letter}


def test_names_that_fit_do_not_change() -> None:
    assert fitting_name("é" * 125, ".jpeg") == "é" * 125 + ".jpeg"
    assert len(os.fsencode(fitting_name("x" * 100, ".png", limit=64))) == 64


def test_the_limit_is_that_of_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert longest_name(tmp_path / "not" / "yet") == longest_name(tmp_path) <= 255
    monkeypatch.setattr(os, "pathconf", lambda *_: 143, raising=False)
    assert longest_name(tmp_path) == 143
