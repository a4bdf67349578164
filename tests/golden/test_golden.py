"""Numbers stay what they were; see `measure.py` for what to do when they are meant to move."""

import json
from typing import Any

import PIL
import pytest
from tests.golden.measure import SECTIONS, VALUES, measured


def _differences(known: Any, found: Any, relative: float, absolute: float, path: str = "") -> list[str]:
    if isinstance(known, dict):
        assert known.keys() == found.keys(), f"{path}: other names; write the values again"
        pairs = [(f"{path}/{key}", known[key], found[key]) for key in known]
        return [line for name, a, b in pairs for line in _differences(a, b, relative, absolute, name)]
    if found == (known if isinstance(known, str | int) else pytest.approx(known, rel=relative, abs=absolute)):
        return []
    return [f"{path}: was {known}, is {found}"]


@pytest.mark.parametrize("name", SECTIONS)
def test_numbers_stay_what_they_were(name: str) -> None:
    section, known = SECTIONS[name], json.loads(VALUES.read_text(encoding="utf-8"))[name]
    if name == "text" and known["pillow"] != PIL.__version__:
        pytest.skip(f"text is drawn by Pillow {PIL.__version__}, the values are of {known['pillow']}")
    differences = _differences(known, measured(name), section.relative, section.absolute, name)
    assert not differences, "\n".join(differences)
