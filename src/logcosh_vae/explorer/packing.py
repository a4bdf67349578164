"""Numbers as text in the page: rounded to multiples of a step, compressed, and written in printable ASCII.

The format, which `web/codec.js` reads:

1. A number `v` of an array with step `s`, or of a row with step `s`, becomes the integer `q = round(v / s)`,
   `|q| < 2^23`, and this the unsigned integer `u = 2 |q|` if `q >= 0` and `2 |q| - 1` otherwise.
2. There are three planes: the lowest bytes of all `u` of all arrays, their middle bytes, and their highest bytes, which
   are mostly zero.
3. Each plane is compressed with zlib. The strategy that gives the smaller stream is taken: the bytes of weights repeat
   no sequences, and deflate's search for them only costs bits.
4. The number of bytes (four bytes, big-endian) and the bytes, filled up with zeros to a multiple of four, are written
   in base 85: each four bytes as a big-endian number of five digits, most significant first. The digits are `ALPHABET`,
   which has no character with a meaning in HTML. Text has 5 characters for 4 bytes, where base64 has 5.33.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

ALPHABET = "".join(chr(code) for code in range(33, 127) if chr(code) not in "\"&'<>\\`$/")
"""Digits of base 85, in the order of their codes."""

LARGEST = 2**23 - 1
"""Largest magnitude of a rounded number."""

Bytes = npt.NDArray[np.uint8]


def smallest_step(values: Tensor) -> float:
    """Return the finest step with which an array can be packed; 1 for an array of zeros."""
    largest = float(values.abs().max()) if values.numel() else 0.0
    return largest / LARGEST if largest > 0 else 1.0


def rounded(values: Tensor, step: float) -> Tensor:
    """Return what the page reads for an array that is packed with this step, float32."""
    return (values.double() / step).round().mul(step).float()


def pack(arrays: Sequence[tuple[Tensor, float | Tensor]]) -> list[str]:
    """Return the three planes of arrays as text, see the module's docstring.

    Args:
        arrays: arrays of any shape with their steps, or a tensor `(R, 1, ...)` with those of their rows; they are
            flattened and follow each other.

    Raises:
        ValueError: a number is not finite, or too large for its step.
    """
    integers = torch.cat([(values.detach().double() / step).round().flatten() for values, step in arrays]).numpy()
    if integers.size and not np.abs(integers).max() <= LARGEST:  # also if it is NaN
        raise ValueError("a number is not finite or too large for its step")
    q = integers.astype(np.int64)
    unsigned = np.where(q >= 0, 2 * q, -2 * q - 1).astype(np.uint32)
    planes = [(unsigned >> shift & 255).astype(np.uint8).tobytes() for shift in (0, 8, 16)]
    return [to_text(min(_compressed(plane), key=len)) for plane in planes]


def _compressed(content: bytes) -> Iterator[bytes]:
    """Yield the zlib streams of the strategies."""
    for strategy in (zlib.Z_DEFAULT_STRATEGY, zlib.Z_HUFFMAN_ONLY):
        compressor = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS, 9, strategy)
        yield compressor.compress(content) + compressor.flush()


def to_text(content: bytes) -> str:
    """Return bytes in base 85, preceded by their number."""
    content = len(content).to_bytes(4, "big") + content
    padded = np.frombuffer(content + bytes(-len(content) % 4), ">u4").astype(np.uint32)
    digits = np.empty((len(padded), 5), np.uint8)
    for place in (4, 3, 2, 1, 0):
        padded, digits[:, place] = np.divmod(padded, np.uint32(85))
    table: Bytes = np.frombuffer(ALPHABET.encode("ascii"), np.uint8)
    return table[digits].tobytes().decode("ascii")
