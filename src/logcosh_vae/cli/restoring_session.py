"""What the verb `restore` prints and writes while it restores pictures: names, notes, a summary, mask and sheet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..base.errors import for_shell
from ..base.text import counted
from .streams import complain, fail, result, say, tell

if TYPE_CHECKING:
    from ..restoration.picture_files import FileResult, RestorePixels
    from ..restoration.pipeline import Pixels
    from ..restoration.region import Box
    from ..restoration.remover import Report
    from ..restoration.tiling import Progress

NO_TEXT = "no text was found, so nothing was changed"


class NotesCutBoxes:
    """Restores pixels, and notes which boxes reach beyond the picture.

    Attributes:
        notes: sentences about the boxes and the last picture.
        size: height and width of the last picture.
    """

    def __init__(self, method: RestorePixels, boxes: Sequence[Box], keep_boxes: Sequence[Box] = ()) -> None:
        self.method = method
        self._boxes = [("--box", box) for box in boxes] + [("--keep-box", box) for box in keep_boxes]
        self.notes: list[str] = []
        self.size = (0, 0)

    def __call__(self, pixels: Pixels, /, *, progress: Progress | None = None) -> Pixels:
        height, width = self.size = pixels.shape[:2]
        self.notes = [
            f"{option} {left},{top},{across},{down} reaches beyond the picture, which has {width}x{height} pixels"
            for option, (left, top, across, down) in self._boxes
            if left + across > width or top + down > height
        ]
        return self.method(pixels, progress=progress)

    @property
    def report(self) -> Report | None:
        """What was done to the text of the last picture; None for other tasks."""
        from ..restoration.remover import TextRemover

        return self.method.report if isinstance(self.method, TextRemover) else None


class RestoringSession:
    """Restores pictures; prints the name of each result, and to standard error notes, failures and a summary.

    Args:
        pairs, left_out: from `planning.plan_outputs`.
        method: restores pixels.
        overwrite: whether results may exist already.
        mask_file: file for the mask of the last picture.
        sheet_file: file for the contact sheet.
    """

    def __init__(
        self,
        pairs: list[tuple[Path, Path]],
        left_out: list[tuple[Path, str]],
        method: NotesCutBoxes,
        *,
        overwrite: bool = False,
        mask_file: Path | None = None,
        sheet_file: Path | None = None,
    ) -> None:
        self._pairs, self._left_out, self._method = pairs, left_out, method
        self._overwrite, self._mask_file, self._sheet_file = overwrite, mask_file, sheet_file
        self._restored: list[dict[str, Any]] = []
        self._failed = [{"source": str(path), "reason": reason} for path, reason in left_out]

    def run(self, digest: str) -> None:
        """Restore all pictures.

        Raises:
            DataError: the only picture cannot be restored.
            typer.Exit: some pictures cannot be restored.
        """
        from ..restoration.picture_files import restore_files
        from .terminal import PicturesDisplay

        for path, reason in self._left_out:
            complain(f"left out: {path}: {reason}")
        with PicturesDisplay(len(self._pairs)) as display:
            results = restore_files(
                self._pairs,
                self._method,
                overwrite=self._overwrite,
                progress=lambda source: display.of(source.name),
                method=digest,
                copy_unchanged=self._method.report is not None,
            )
            for each in results:
                display.close()
                self._tell(each)
        self._finish()

    def _tell(self, each: FileResult) -> None:
        """Print what has happened to one picture."""
        if each.error is not None:
            if len(self._pairs) == 1 and not self._left_out:
                raise each.error
            complain(f"left out: {for_shell(each.error)}")
            self._failed.append({"source": str(each.source), "reason": for_shell(each.error)})
            return
        report = None if each.kept else self._method.report
        notes = [] if each.kept else [*each.notes, *self._method.notes]
        if report is not None and report.network is None:
            notes.append(NO_TEXT)
        if report is not None and report.lines and len(self._pairs) == 1:
            found = f"{counted(len(report.lines), 'line')} of text found, {each.changed:,} pixels changed"
            notes.append(f"{found}; --show-mask FILE shows where, --keep-box keeps what should stay")
        for note in notes:
            tell(f"note: {each.source}: {note}")
        say(each.target)
        row = {"source": str(each.source), "target": str(each.target), "kept": each.kept, "notes": notes}
        if not each.kept:
            row |= {"changed": each.changed, "seconds": round(each.seconds, 2)}
        if report is not None:
            lines = (
                None if report.lines is None else [line.corners.round().astype(int).tolist() for line in report.lines]
            )
            row |= {"network": report.network, "lines": lines}
        self._restored.append(row)

    def _finish(self) -> None:
        """Write the mask and the contact sheet, and print the summary."""
        kept = sum(row["kept"] for row in self._restored)
        if kept:
            tell(f"note: {counted(kept, 'picture')} restored in the same way before, so the results are kept")
        written = {**self._write_mask(), **self._write_sheet()}
        if len(self._pairs) > 1 and self._restored:
            from .tables import print_message_table, restored_table

            print_message_table(restored_table(self._restored))
        result({"restored": self._restored, "left_out": self._failed, **written})
        if self._failed:
            total = len(self._pairs) + len(self._left_out)
            text = f"{len(self._failed)} of {counted(total, 'picture')} could not be restored"
            raise typer.Exit(fail(text, 1))

    def _write_mask(self) -> dict[str, str]:
        from ..restoration.masks import write_mask
        from ..restoration.remover import TextRemover

        path, remover = self._mask_file, self._method.method
        if path is None or not isinstance(remover, TextRemover):
            return {}
        size = remover.settings.size or self._method.size
        if not any(size):
            tell(f"note: {path} was not written, because the results were kept")
            return {}
        mask = remover.mask(*size)
        write_mask(mask, path)
        if not mask.any():
            tell(f"note: {path} is black, because {NO_TEXT}")
        say(path)
        return {"mask": str(path)}

    def _write_sheet(self) -> dict[str, str]:
        from ..restoration.sheet import MAX_PICTURES, SheetEntry, write_sheet

        path = self._sheet_file
        if path is None or not self._restored:
            return {}
        entries = [
            SheetEntry(Path(row["source"]), Path(row["target"]), f"{row['source']}: {_summary(row)}")
            for row in self._restored
        ]
        write_sheet(entries, path)
        if len(entries) > MAX_PICTURES:
            tell(f"note: {path} shows the first {MAX_PICTURES} of {counted(len(entries), 'picture')}")
        say(path)
        return {"sheet": str(path)}


def _summary(row: dict[str, Any]) -> str:
    if row["kept"]:
        return "kept"
    return f"{row['changed']:,} pixels changed" if row["changed"] else "unchanged"
