"""Numbers pinned in `values.json` have not changed; `measure.py` says what to do after an intended change."""

import json

import PIL
import pytest
from tests.golden.measure import SECTIONS, VALUES, differences, measured

from logcosh_vae.base.versions import numerics

KNOWN = json.loads(VALUES.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", SECTIONS)
def test_numbers_are_unchanged(name: str) -> None:
    if name == "text" and KNOWN[name]["pillow"] != PIL.__version__:
        pytest.skip(f"Pillow is {PIL.__version__}; the values were measured with {KNOWN[name]['pillow']}")
    found = measured(name)
    changed = differences(KNOWN[name], found, SECTIONS[name], name)
    assert not changed, "\n".join([f"bump {SECTIONS[name].version.upper()} if this is intended:", *changed])
    assert found.keys() == KNOWN[name].keys(), "names differ; run: PYTHONPATH=. python tests/golden/measure.py --write"


def test_values_belong_to_the_present_versions() -> None:
    assert KNOWN["versions"] == numerics(), "run: PYTHONPATH=. python tests/golden/measure.py --write"
