"""How far pixels that restoration leaves alone move when the picture is stored again, by format.

    python studies/unchanged_pixels.py [FOLDER]

Each photograph of the folder (by default the first 40 of text-removal/train in the data root) is stored in a format, read and
written by the package without a change of its pixels, and compared. docs/restoration.md has the numbers.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from logcosh_vae.data.sources import data_root
from logcosh_vae.restoration import photographs
from logcosh_vae.restoration.picture_files import find_pictures

FORMATS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "JPEG, grey, quality 75": ("L", "jpg", {"quality": 75}),
    "JPEG, grey, quality 95": ("L", "jpg", {"quality": 95}),
    "JPEG, 4:4:4, quality 75": ("RGB", "jpg", {"quality": 75, "subsampling": 0}),
    "JPEG, 4:4:4, quality 95": ("RGB", "jpg", {"quality": 95, "subsampling": 0}),
    "JPEG, 4:2:0, quality 75": ("RGB", "jpg", {"quality": 75, "subsampling": 2}),
    "JPEG, 4:2:0, quality 95": ("RGB", "jpg", {"quality": 95, "subsampling": 2}),
    "lossy WebP, quality 80": ("RGB", "webp", {"quality": 80}),
    "AVIF, quality 75": ("RGB", "avif", {"quality": 75}),
    "lossless WebP": ("RGB", "webp", {"lossless": True}),
    "PNG": ("RGB", "png", {}),
    "TIFF": ("RGB", "tif", {}),
}
PICTURES = 40


def main() -> None:
    """Print the largest and the mean difference for each format."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else data_root() / "text-removal" / "train"
    files = [path for path, _ in find_pictures([folder])][:PICTURES]
    with tempfile.TemporaryDirectory() as temporary:
        for name, (mode, suffix, options) in FORMATS.items():
            before, after = (Path(temporary) / f"{part}.{suffix}" for part in ("before", "after"))
            largest, mean = [], []
            for path in files:
                with Image.open(path) as picture:
                    picture.convert(mode).save(before, **options)
                photograph = photographs.read(before)
                photographs.write(photograph, photograph.pixels, after)
                difference = np.abs(photographs.read(after).pixels.astype(int) - photograph.pixels)
                largest.append(difference.max())
                mean.append(difference.mean())
            print(f"{name:24s} largest {max(largest):3d} (median {np.median(largest):.0f})  mean {np.mean(mean):.2f}")


if __name__ == "__main__":
    main()
