"""Remove text from many pictures: find it, choose the network for each picture, and restore only there.

    remover = TextRemover(load_networks())
    clean = remover(pixels)
    print(remover.report)

`automatic.restore` does this for one picture.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..base.errors import RegionError
from . import scratch
from .augmentation import FlipEnsemble
from .choice import MIN_COVERED, is_full_of_text
from .finding.detector import SHA256, is_installed
from .finding.lines import TextLine
from .finding.search import find_text, find_text_in, text_mask
from .finished import method_digest
from .line_removal import remove_lines
from .network import RestorationNetwork
from .pipeline import Box, Pixels, check_options, load_network, restore_picture
from .region import Region, allowed_pixels
from .tiling import Progress

PHOTOGRAPHS, LINES, FULL = "captions", "lines", "text"
"""Names of the networks for photographs, for lines that are found in them, and for pictures full of text."""

Networks = Mapping[str, RestorationNetwork]
"""The networks to choose from, by name: one, or those of the package."""


@dataclass(frozen=True)
class TextSettings:
    """Where and how text is removed.

    Attributes:
        find: whether to search for text; None to search if the extra `text` is installed. Without boxes and mask only
            the text that is found is restored; with them the whole region is, and the text in it as without a region.
        boxes, mask: the region that may change; see `restore_picture`. With `only_found`, only the text in it.
        keep_boxes: parts that never change.
        scale: see `restore_picture`; None to follow from the height of each line that is found.
        careful: use test-time augmentation everywhere. Lines that are found have it in any case, unless they cover a
            large part of the picture.
        only_found: restore only the text that is found, even if a region is given.
        lines: the text, if it is known already; nothing is searched for then.
        size: height and width that pictures must have, for text that is known from another picture.
    """

    find: bool | None = None
    boxes: Sequence[Box] = ()
    mask: NDArray[np.bool_] | None = None
    keep_boxes: Sequence[Box] = ()
    scale: float | None = None
    careful: bool = False
    only_found: bool = False
    lines: Sequence[TextLine] | None = None
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Report:
    """What was done to a picture.

    Attributes:
        network: the name of the network that restored it; None if nothing was to be restored.
        lines: the lines of text that were restored; None if nothing was searched for.
        full: whether the picture is full of text, so that all of it was restored.
        changed: number of pixels that have changed.
    """

    network: str | None = None
    lines: tuple[TextLine, ...] | None = None
    full: bool = False
    changed: int = 0


def load_networks(model: Path | str | None = None, *, device: str = "cpu") -> Networks:
    """Load the networks of the package for text, to choose from for each picture; or one network for all pictures.

    Args:
        model: a run folder or a network of the package, for the task `text`.
        device: see `load_network`.

    Raises:
        ConfigError, RunError: see `load_network`.
    """
    names = (PHOTOGRAPHS, LINES, FULL) if model is None else (str(model),)
    return {name: load_network(name, task="text", device=device)[0] for name in names}


class TextRemover:
    """Removes text from pictures. It can be passed to `picture_files.restore_files`.

    Args:
        networks: see `load_networks`.
        settings: where and how.

    Attributes:
        report: about the last picture.
    """

    def __init__(self, networks: Networks, settings: TextSettings | None = None) -> None:
        settings = settings or TextSettings()
        self.networks = networks
        self.settings = replace(settings, find=is_installed()) if settings.find is None else settings
        check_options(
            "text", scale=1.0 if self.settings.scale is None else self.settings.scale, careful=self.settings.careful
        )
        self.report = Report()

    @cached_property
    def digest(self) -> str:
        """Hexadecimal digits that identify how pictures are restored; see `finished.method_digest`."""
        given = self.settings
        digest = hashlib.sha256()
        for network in self.networks.values():
            each = method_digest(
                network,
                task="text",
                boxes=given.boxes,
                mask=given.mask,
                scale=given.scale or 0.0,
                careful=given.careful,
            )
            digest.update(each.encode())
        found = SHA256 if given.find else None
        known = None if given.lines is None else [line.corners.tolist() for line in given.lines]
        digest.update(repr((found, list(given.keep_boxes), given.only_found, known, given.size)).encode())
        return digest.hexdigest()[:16]

    def __call__(self, pixels: Pixels, /, *, progress: Progress | None = None) -> Pixels:
        """Return the restored pixels, in the same shape and type; the same array if nothing has changed."""
        given = self.settings
        if given.size not in (None, pixels.shape[:2]):
            sizes = [f"{width}x{height}" for height, width in (pixels.shape[:2], given.size or (0, 0))]
            raise RegionError(f"it has {sizes[0]} pixels, but the first picture, whose text is known, has {sizes[1]}")
        only_lines = given.only_found or not (given.boxes or given.mask is not None)
        if only_lines and given.lines is not None:
            return self._restore_found(pixels, given.lines, progress)
        if only_lines and given.find:
            return self._restore_found(pixels, find_text(pixels), progress)
        name, _ = self._choose(pixels, None)
        searched = given.find and not only_lines
        lines = find_text_in(pixels, Region(given.boxes, given.mask)) if searched else []
        restored = self._restore_region(pixels, name, lines, progress)
        self.report = Report(name, changed=scratch.changed_pixels(pixels, restored))
        return restored

    def mask(self, height: int, width: int) -> NDArray[np.bool_]:
        """Return `(height, width)`: where the last picture, of that size, was restored; or where all of them are."""
        found, known = self.report, self.settings.lines
        if known is not None or (found.lines is not None and not found.full):
            mask = text_mask(known if known is not None else found.lines or (), height, width)
        else:
            mask = scratch.empty((height, width), bool)
            mask[:] = True
        allowed = self._allowed(height, width)
        return mask if allowed is None else np.logical_and(mask, allowed, out=mask)

    def _choose(self, pixels: Pixels, lines: Sequence[TextLine] | None) -> tuple[str, bool]:
        """Return the name of the network for a picture, and whether the picture is full of text."""
        whole = {name: network for name, network in self.networks.items() if name != LINES} or self.networks
        if lines is not None and not _cover_much(pixels, lines):
            full = False
        else:
            full = (lines is not None or len(whole) > 1) and is_full_of_text(whole.values(), pixels)
        return next(iter(whole)) if len(whole) == 1 else FULL if full else PHOTOGRAPHS, full

    def _restore_found(self, pixels: Pixels, lines: Sequence[TextLine], progress: Progress | None) -> Pixels:
        """Restore the lines; all of the picture if it is full of text."""
        if not lines:
            self.report = Report(lines=())
            return pixels
        name, full = self._choose(pixels, lines)
        if full:
            restored = self._restore_region(pixels, name, (), progress)
            self.report = Report(name, tuple(lines), True, scratch.changed_pixels(pixels, restored))
            return restored
        name = self._for_lines(name)
        removed = remove_lines(
            self._model(name, pixels, lines),
            pixels,
            lines,
            allowed=self._allowed(*pixels.shape[:2]),
            scale=self.settings.scale,
            progress=progress,
        )
        changed = scratch.changed_pixels(pixels, removed.pixels)
        self.report = Report(name if changed else None, removed.lines if changed else (), False, changed)
        return removed.pixels if changed else pixels

    def _restore_region(
        self, pixels: Pixels, name: str, lines: Sequence[TextLine], progress: Progress | None
    ) -> Pixels:
        """Restore the region of the settings, or the whole picture; the lines in it as without a region."""
        given, network = self.settings, self.networks[name]
        allowed = self._allowed(*pixels.shape[:2])
        boxes, mask = (given.boxes, given.mask) if not given.keep_boxes else ((), allowed)
        restored = restore_picture(
            network, pixels, boxes=boxes, mask=mask, scale=given.scale or 1.0, careful=given.careful, progress=progress
        )
        if not lines:
            return restored
        onto = scratch.copy(restored) if restored is pixels else restored
        removed = remove_lines(
            self._model(self._for_lines(name), pixels, lines),
            pixels,
            lines,
            allowed=allowed,
            scale=given.scale,
            onto=onto,
            progress=progress,
        )
        return removed.pixels

    def _for_lines(self, name: str) -> str:
        """Return the name of the network for lines in a picture for which the other one was chosen."""
        return LINES if name == PHOTOGRAPHS and LINES in self.networks else name

    def _model(self, name: str, pixels: Pixels, lines: Sequence[TextLine]) -> RestorationNetwork | FlipEnsemble:
        """Return the model for lines: with test-time augmentation if it is wanted, or the lines are a small part."""
        network = self.networks[name]
        return FlipEnsemble(network) if self.settings.careful or not _cover_much(pixels, lines) else network

    def _allowed(self, height: int, width: int) -> NDArray[np.bool_] | None:
        """Return `(height, width)`, true where pixels may change; None for everywhere."""
        given = self.settings
        return allowed_pixels(Region(given.boxes, given.mask), given.keep_boxes, height, width)


def _cover_much(pixels: Pixels, lines: Sequence[TextLine]) -> bool:
    """Return whether lines cover so much of a picture that it may be full of text."""
    covered = sum(line.area for line in lines)
    return bool(covered >= MIN_COVERED * pixels.shape[0] * pixels.shape[1])
