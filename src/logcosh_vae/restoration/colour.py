"""Colour spaces of PNG files, as ICC profiles for formats without gAMA and cHRM chunks.

A profile of the ICC specification, version 4, with three primaries and one gamma for all channels describes the same
colours as the two chunks.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SRGB_GAMMA = 45455
"""gAMA of sRGB: 1/2.2, times 100,000."""

SRGB_CHROMATICITIES = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
"""cHRM of sRGB: x and y of white, red, green and blue, times 100,000."""

SRGB_CODE_POINTS = (1, 13)
"""Primaries and transfer function of sRGB by ITU-T H.273, as in cICP chunks and AVIF files."""

_PROFILE_HEADER_BYTES = 128
_D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
"""White point of profiles, and the cone responses by which colours are adapted to it."""


def is_srgb(gamma: int | None, chromaticities: Sequence[int]) -> bool:
    """Return whether the values of gAMA and cHRM chunks mean sRGB, up to the rounding of common programs."""
    near = all(abs(a - b) <= 10 for a, b in zip(chromaticities, SRGB_CHROMATICITIES, strict=True))
    return (gamma is None or abs(gamma - SRGB_GAMMA) <= 100) and near


def is_whole_profile(icc: bytes) -> bool:
    """Return whether a colour profile has a header, its whole length, and all the tags that it lists."""
    if len(icc) < _PROFILE_HEADER_BYTES + 4 or icc[36:40] != b"acsp":
        return False
    size, count = int.from_bytes(icc[:4], "big"), int.from_bytes(icc[128:132], "big")
    if size > len(icc) + 3 or _PROFILE_HEADER_BYTES + 4 + 12 * count > len(icc):  # some are not padded at their end
        return False
    tags = (struct.unpack_from(">II", icc, _PROFILE_HEADER_BYTES + 8 + 12 * index) for index in range(count))
    return all(offset + length <= len(icc) + 3 for offset, length in tags)


def matrix_profile(gamma: int, chromaticities: Sequence[int], grey: bool = False) -> bytes:
    """Return an ICC profile with the colours of gAMA and cHRM chunks.

    Args:
        gamma: of the gAMA chunk, positive.
        chromaticities: the eight values of the cHRM chunk.
        grey: whether the profile is for grey pictures.

    Raises:
        ValueError: the chromaticities do not describe a colour space.
    """
    curve = b"curv" + struct.pack(">IIH2x", 0, 1, min(65535, round(256 * 100_000 / gamma)))
    tags = {b"desc": _text("PNG gamma and chromaticities"), b"cprt": _text("No copyright"), b"wtpt": _xyz(_D50)}
    if grey:
        tags[b"kTRC"] = curve
    else:
        for name, column in zip((b"r", b"g", b"b"), _columns(chromaticities).T, strict=True):
            tags[name + b"XYZ"], tags[name + b"TRC"] = _xyz(column), curve
    return _profile(tags, b"GRAY" if grey else b"RGB ")


def _columns(chromaticities: Sequence[int]) -> NDArray[np.float64]:
    """Return the XYZ coordinates of red, green and blue, as columns, adapted to the white point of profiles."""
    points = np.array(chromaticities, np.float64).reshape(4, 2) / 100_000
    if not (points[:, 1] > 0).all():
        raise ValueError("a chromaticity is 0")
    xyz = np.stack([points[:, 0], points[:, 1], 1 - points.sum(axis=1)]) / points[:, 1]
    white, primaries = xyz[:, 0], xyz[:, 1:]
    try:
        columns = primaries * np.linalg.solve(primaries, white)
        cones = np.diag((_BRADFORD @ _D50) / (_BRADFORD @ white))
        adapted: NDArray[np.float64] = np.linalg.inv(_BRADFORD) @ cones @ _BRADFORD @ columns
    except np.linalg.LinAlgError:
        raise ValueError("the primaries lie on a line") from None
    if not (np.isfinite(adapted).all() and np.abs(adapted).max() < 32768):
        raise ValueError("the primaries are out of range")
    return adapted


def _xyz(values: NDArray[np.float64]) -> bytes:
    return b"XYZ " + struct.pack(">I3i", 0, *(round(65536 * value) for value in values))


def _text(text: str) -> bytes:
    encoded = text.encode("utf-16-be")
    return b"mluc" + struct.pack(">III4sII", 0, 1, 12, b"enUS", len(encoded), 28) + encoded


def _profile(tags: dict[bytes, bytes], space: bytes) -> bytes:
    offset, table, body = 132 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += struct.pack(">4sII", name, offset + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(">I4xI4s4s4s12x4s", offset + len(body), 0x04300000, b"mntr", space, b"XYZ ", b"acsp")
    return (header + bytes(28) + _xyz(_D50)[8:]).ljust(128, b"\0") + table + body
