"""JPEG files with their own quantization tables and chroma sampling.

Pillow's encoder supports three samplings. Others, such as 4:4:0 and 4:1:1, are composed of one greyscale file for each
component: the standard stores the components of an image one after another in the same way.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from .containers import APP0, EOI, SOS, jpeg_segment

DHT, DQT, FRAMES, RESTARTS = 0xC4, 0xDB, (0xC0, 0xC1, 0xC2), range(0xD0, 0xD8)
"""JPEG markers: Huffman tables, quantization tables, frames that Pillow writes, restarts."""

STRIP_ROWS = 256
"""Rows that are converted at once, to bound the memory for intermediate results."""

_TO_YCBCR = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32)
"""Weights of red, green and blue in luma and chroma, by the JFIF specification."""

_PILLOW_SAMPLING = {(1, 1): 0, (2, 1): 1, (2, 2): 2}
"""Pillow's number for the ratio of luma to chroma samples, horizontally and vertically."""


@dataclass(frozen=True)
class JpegEncoding:
    """How the components of a JPEG file are stored.

    Attributes:
        tables: quantization table of each component.
        factors: horizontal and vertical sampling factor of each component.
        progressive: whether the file becomes sharper while it loads.
        rgb: whether the components are red, green and blue, without conversion to luma and chroma.
    """

    tables: tuple[tuple[int, ...], ...]
    factors: tuple[tuple[int, int], ...]
    progressive: bool = False
    rgb: bool = False

    @property
    def ratios(self) -> list[tuple[int, int]]:
        """Pixels for each sample of each component, horizontally and vertically, rounded down."""
        most = [max(factors[axis] for factors in self.factors) for axis in (0, 1)]
        return [(most[0] // across, most[1] // down) for across, down in self.factors]

    @property
    def whole_ratios(self) -> bool:
        """Whether each sample covers a whole number of pixels."""
        return all(
            (across * factors[0], down * factors[1]) == tuple(map(max, zip(*self.factors, strict=True)))
            for (across, down), factors in zip(self.ratios, self.factors, strict=True)
        )

    @property
    def pillow_options(self) -> dict[str, Any] | None:
        """Options of Pillow's `save`; None if its encoder cannot store a file like this."""
        options: dict[str, Any] = {"progressive": True} if self.progressive else {}
        if len(self.tables) == 1:
            return {**options, "qtables": [list(self.tables[0])]}
        luma, *chroma = self.ratios
        sampling = _PILLOW_SAMPLING.get(chroma[0]) if luma == (1, 1) and chroma[0] == chroma[1] else None
        if self.tables[1] != self.tables[2] or sampling is None or (self.rgb and sampling) or not self.whole_ratios:
            return None
        if self.rgb:
            options["keep_rgb"] = True
        return {**options, "qtables": [list(table) for table in self.tables[:2]], "subsampling": sampling}


def jpeg_encoding(picture: JpegImageFile) -> JpegEncoding | None:
    """Return how the components of an open JPEG file are stored; None for CMYK."""
    if picture.mode not in ("L", "RGB") or len(picture.layer) not in (1, 3):
        return None
    layers = picture.layer
    tables = tuple(tuple(picture.quantization[layer[3]]) for layer in layers)
    letters = bytes(layer[0] for layer in layers) == b"RGB"
    rgb = len(layers) == 3 and (picture.info.get("adobe_transform") == 0 or letters)
    factors = tuple((layer[1], layer[2]) for layer in layers)
    return JpegEncoding(tables, factors, bool(picture.info.get("progressive")), rgb)


def save_planes(image: Image.Image, encoding: JpegEncoding, file: IO[bytes]) -> None:
    """Write a JPEG file with the sampling of `encoding`, one component after another.

    Args:
        image: in mode RGB.
        encoding: with three components, of which `whole_ratios` is true.
        file: receives the bytes.
    """
    planes = image.split() if encoding.rgb else _luma_and_chroma(image)
    tables, scans, frame, frame_marker = b"", b"", b"", 0
    for index, (plane, table, ratio) in enumerate(zip(planes, encoding.tables, encoding.ratios, strict=True)):
        content, number = io.BytesIO(), encoding.tables.index(table)
        options = {"qtables": [list(table)], "progressive": encoding.progressive, "optimize": True}
        plane.reduce(ratio).save(content, "jpeg", **options)
        for marker, payload, data in _parts(content.getvalue()):
            if marker == DQT and number == index:  # components share equal tables
                tables += jpeg_segment(DQT, bytes([payload[0] & 0xF0 | number]) + payload[1:])
            elif marker in FRAMES:
                across, down = encoding.factors[index]
                frame_marker = max(frame_marker, marker)
                frame += bytes([index + 1, across << 4 | down, number])
            elif marker == SOS:
                scans += jpeg_segment(SOS, payload[:1] + bytes([index + 1]) + payload[2:]) + data
            elif marker == DHT:
                scans += jpeg_segment(DHT, payload)
    header = jpeg_segment(APP0, b"JFIF\0" + struct.pack(">BBBHHBB", 1, 1, 0, 1, 1, 0, 0))
    if encoding.rgb:
        header = jpeg_segment(0xEE, b"Adobe" + struct.pack(">HHHB", 100, 0, 0, 0))
    frame = struct.pack(">BHHB", 8, image.height, image.width, 3) + frame
    file.write(b"\xff\xd8" + header + tables + jpeg_segment(frame_marker, frame) + scans + bytes([0xFF, EOI]))


def _luma_and_chroma(image: Image.Image) -> list[Image.Image]:
    """Return the components Y, Cb and Cr, rounded to the nearest level; Pillow's conversion rounds down."""
    planes = np.empty((3, image.height, image.width), np.uint8)
    for top in range(0, image.height, STRIP_ROWS):
        bottom = min(top + STRIP_ROWS, image.height)
        rgb = np.asarray(image.crop((0, top, image.width, bottom)), np.float32)
        planes[:, top:bottom] = np.rint((rgb @ _TO_YCBCR.T + [0, 128, 128]).clip(0, 255)).transpose(2, 0, 1)
    return [Image.fromarray(plane) for plane in planes]


def _parts(content: bytes) -> list[tuple[int, bytes, bytes]]:
    """Return marker, payload and entropy-coded data of the parts of a JPEG file that Pillow has written."""
    parts, position = [], 2
    while (marker := content[position + 1]) != EOI:
        start = position + 2 + int.from_bytes(content[position + 2 : position + 4], "big")
        end = start
        if marker == SOS:
            end = content.index(b"\xff", start)
            while content[end + 1] == 0 or content[end + 1] in RESTARTS:
                end = content.index(b"\xff", end + 1)
        parts.append((marker, content[position + 4 : start], content[start:end]))
        position = end
    return parts
