"""Files for other programs: ONNX, and the format of `torch.export`. A file is kept only if it computes the same.

Both formats hold the function and its weights in one file. The exported function is run on inputs of several sizes, by
onnxruntime or by torch, and compared with the model before the file gets its name.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..base.errors import RunError
from ..base.extras import require
from ..base.files import atomic_write, one_line
from .parts import Part

FORMATS = {"onnx": ".onnx", "torch": ".pt2"}
"""File name suffix of each format."""

TOLERANCE = 1e-4
"""Largest difference that a file is kept with, relative to the largest output if that exceeds 1."""

Run = Callable[[Tensor], tuple[Tensor, ...]]


def export_file(part: Part, path: Path, file_format: str) -> float:
    """Write a part of a model to a file, after comparing what the file computes with the model.

    Args:
        part: what to export.
        path: the file; it is replaced.
        file_format: a key of `FORMATS`.

    Returns:
        The largest absolute difference between the outputs of the file and of the model.

    Raises:
        RunError: the part cannot be exported, differs too much, or the file cannot be written.
        MissingPackageError: the packages of the extra `onnx` are not installed.
    """
    if file_format == "onnx":
        require("exporting to ONNX", "onnx", "onnxscript", "onnxruntime", extra="onnx")
    write = _write_onnx if file_format == "onnx" else _write_torch
    try:
        with atomic_write(path) as temporary, _quiet():
            run = write(part, temporary)
            return _checked_difference(part, run)
    except RunError:
        raise
    except OSError as error:
        if error.strerror is None:
            raise RunError(f"{path} cannot be exported: {one_line(error)}") from error
        raise RunError(f"{path} cannot be written: {error.strerror}") from error
    except Exception as error:  # torch, ONNX and onnxruntime raise many types
        raise RunError(f"{path} cannot be exported: {one_line(error)}") from error


def _checked_difference(part: Part, run: Run) -> float:
    """Return the largest difference over all trials.

    Raises:
        RunError: it is too large, or the shapes differ.
    """
    largest = 0.0
    for trial in range(len(part.trials)):
        inputs = part.example(trial)
        expected, found = part(inputs), run(inputs)
        if [output.shape for output in found] != [output.shape for output in expected]:
            raise RunError(
                f"the exported {part.input_name} of shape {tuple(inputs.shape)} give outputs of other shapes"
            )
        for output, wanted in zip(found, expected, strict=True):
            difference, scale = float((output - wanted).abs().max()), float(wanted.abs().max())
            if not difference <= TOLERANCE * max(1.0, scale):  # also if it is not a number
                raise RunError(f"the file would differ from the model by {difference:.2g}, so it is not kept")
            largest = max(largest, difference)
    return largest


def _dynamic_shapes(part: Part) -> tuple[dict[int, Any]]:
    """Return the dimensions that may vary, as torch declares them."""
    names = {axis: size for axis, size in enumerate(part.shape) if isinstance(size, str)}
    return ({axis: torch.export.Dim(name, min=1 if axis == 0 else part.smallest) for axis, name in names.items()},)


def _write_onnx(part: Part, path: Path) -> Run:
    import onnxruntime

    program = torch.onnx.export(
        part.module,
        (part.example(1),),
        input_names=[part.input_name],
        output_names=list(part.output_names),
        dynamic_shapes=_dynamic_shapes(part),
        dynamo=True,
        verbose=False,
    )
    if program is None:
        raise RunError("torch did not return an ONNX program; update torch")
    program.model.producer_name = "logcosh-vae"
    program.model.producer_version = metadata.version("logcosh-vae")
    program.model.doc_string = "\n".join(part.notes)
    program.save(path, external_data=False)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(map(torch.from_numpy, session.run(None, {part.input_name: inputs.numpy()})))

    return run


def _write_torch(part: Part, path: Path) -> Run:
    program = torch.export.export(part.module, (part.example(1),), dynamic_shapes=_dynamic_shapes(part))
    archive = io.BytesIO()  # torch's writer ends the process if it cannot close a file, as on a full disk
    torch.export.save(program, archive)
    path.write_bytes(archive.getvalue())
    loaded = torch.export.load(path).module()

    def run(inputs: Tensor) -> tuple[Tensor, ...]:
        outputs = loaded(inputs)
        return outputs if isinstance(outputs, tuple) else (outputs,)

    return run


@contextmanager
def _quiet() -> Iterator[None]:
    """Discard what the libraries print, log and warn of in a `with` block."""
    levels = {name: logging.getLogger(name).level for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")}
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            for name in levels:
                logging.getLogger(name).setLevel(logging.CRITICAL)
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
