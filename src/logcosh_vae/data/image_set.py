"""`ImageSet`, the type of every loaded image set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor

from ..base.text import counted, shell_word, visible


@dataclass(frozen=True)
class ImageSet:
    """One split of an image set.

    Attributes:
        name: name of the set, as given to `--data`.
        split: `train` or `test`.
        images: `(N, C, H, W)`, uint8. They may be mapped from a file (see `memmap`).
        labels: class of each image, `(N,)`, int64; or `A` binary attributes of each, `(N, A)`, uint8; or None.
        fingerprint: digest of the content; two splits with the same fingerprint hold the same images.
        label_names: names of the `A` attributes.
        left_out: entries of the set (both splits) that may be images and could not be used, each with the reason.
        sizes: number of image files of the set by size, written `WIDTHxHEIGHT`.
        modes: number of image files of the set by pixel format (Pillow's mode).
        ignored: names of the entries (both splits) that a rule sets aside, by the rule; see `listing`. Those in
            CelebA's validation split are counted in `sizes` and `modes` too.
        notes: sentences about what the images do not show of their files.
    """

    name: str
    split: str
    images: Tensor
    labels: Tensor | None
    fingerprint: str
    label_names: tuple[str, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    sizes: Mapping[str, int] = field(default_factory=dict)
    modes: Mapping[str, int] = field(default_factory=dict)
    ignored: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def complaint(self) -> str | None:
        """One line for the user about files that could not be used, or not as they are; None if there are none."""
        sentences = list(self.notes)
        if self.left_out:
            file, reason = self.left_out[0]
            count, total = len(self.left_out), len(self.left_out) + sum(self.sizes.values())
            more = f"; logcosh-vae data info {shell_word(self.name)} lists the others" if count > 1 else ""
            sentences.insert(
                0, f"{count:,} of {counted(total, 'file')} of {self.name} left out: {visible(file)}: {reason}{more}"
            )
        return ". ".join(sentences) or None

    def first(self, count: int) -> ImageSet:
        """Return the first `count` images with a fingerprint of their own, or the set itself if it has no more."""
        if count >= len(self.images):
            return self
        labels = None if self.labels is None else self.labels[:count]
        return replace(self, images=self.images[:count], labels=labels, fingerprint=f"{self.fingerprint}-first{count}")
