"""What every image set is once it is loaded."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor


class DataError(Exception):
    """Images cannot be had or used; the message names the file and says what to do."""


@dataclass(frozen=True)
class ImageSet:
    """One split of an image set, held as bytes.

    Attributes:
        name: of the set, as in `--data`.
        split: `train` or `test`.
        images: `(N, C, H, W)`, uint8.
        labels: `(N,)`, int64, or None.
        fingerprint: digest of the content; two splits with the same one hold the same images.
    """

    name: str
    split: str
    images: Tensor
    labels: Tensor | None
    fingerprint: str

    def first(self, count: int) -> ImageSet:
        """The first `count` images, under a fingerprint of their own."""
        if count >= len(self.images):
            return self
        labels = None if self.labels is None else self.labels[:count]
        return replace(self, images=self.images[:count], labels=labels, fingerprint=f"{self.fingerprint}-first{count}")
