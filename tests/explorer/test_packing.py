"""Numbers as text: what is read is what was rounded, and the text is safe in HTML."""

import struct
import zlib

import numpy as np
import pytest
import torch
from torch import Tensor

from logcosh_vae.explorer.packing import ALPHABET, pack, rounded, smallest_step, to_text


def bytes_of(text: str) -> bytes:
    """The bytes of a text in base 85, by Python's integers."""
    numbers = []
    for start in range(0, len(text), 5):
        value = 0
        for character in text[start : start + 5]:
            value = value * 85 + ALPHABET.index(character)
        numbers.append(value)
    content = struct.pack(f">{len(numbers)}I", *numbers)
    return content[4 : 4 + int.from_bytes(content[:4], "big")]


def unpacked(texts: list[str]) -> list[int]:
    planes = [zlib.decompress(bytes_of(text)) for text in texts]
    unsigned = [low | middle << 8 | high << 16 for low, middle, high in zip(*planes, strict=True)]
    return [value // 2 if value % 2 == 0 else -(value + 1) // 2 for value in unsigned]


def test_the_alphabet_has_no_character_with_a_meaning_in_html() -> None:
    assert len(set(ALPHABET)) == len(ALPHABET) == 85
    assert not set(ALPHABET) & set("<>&\"'`\\/ ")


@pytest.mark.parametrize("length", [0, 1, 4, 7, 1000])
def test_text_holds_bytes(length: int) -> None:
    content = np.random.default_rng(length).bytes(length)
    assert bytes_of(to_text(content)) == content


def test_packed_numbers_are_multiples_of_the_step() -> None:
    values = torch.tensor([[0.0, 0.5, -0.5], [1.26, -300.0, 2.0]])
    texts = pack([(values, 0.25), (torch.tensor([-1.0]), 0.5)])
    assert unpacked(texts) == [0, 2, -2, 5, -1200, 8, -2]
    assert rounded(values, 0.25).flatten().tolist() == [0.0, 0.5, -0.5, 1.25, -300.0, 2.0]


@pytest.mark.parametrize("values", [torch.randn(100), torch.zeros(3), torch.full((2,), -1e30), torch.tensor([1e-38])])
def test_the_smallest_step_keeps_six_digits(values: Tensor) -> None:
    step = smallest_step(values)
    assert torch.allclose(rounded(values, step), values, rtol=0, atol=float(values.abs().max()) * 2e-7)
    pack([(values, step)])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e9])
def test_numbers_that_cannot_be_packed_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="not finite or too large"):
        pack([(torch.tensor([value]), 1.0)])
