"""Numbers stay what they were; see `measure.py` for what to do when they are meant to move."""

import json

import PIL
import pytest
from tests.golden.measure import SECTIONS, VALUES, differences, measured

from logcosh_vae.base.versions import numerics

KNOWN = json.loads(VALUES.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", SECTIONS)
def test_numbers_stay_what_they_were(name: str) -> None:
    if name == "text" and KNOWN[name]["pillow"] != PIL.__version__:
        pytest.skip(f"text is drawn by Pillow {PIL.__version__}, the values are of {KNOWN[name]['pillow']}")
    found = measured(name)
    moved = differences(KNOWN[name], found, SECTIONS[name], name)
    assert not moved, "\n".join([f"raise {SECTIONS[name].version.upper()} if this is meant:", *moved])
    assert found.keys() == KNOWN[name].keys(), "other names: python tests/golden/measure.py --write"


def test_the_values_are_of_the_present_versions() -> None:
    assert KNOWN["versions"] == numerics(), "python tests/golden/measure.py --write"
