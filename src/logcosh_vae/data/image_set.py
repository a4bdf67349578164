"""What every image set is once it is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor


@dataclass(frozen=True)
class ImageSet:
    """One split of an image set, held as bytes.

    Attributes:
        name: of the set, as in `--data`.
        split: `train` or `test`.
        images: `(N, C, H, W)`, uint8.
        labels: `(N,)`, int64, the class of each image; or `(N, A)`, uint8, which of `A` attributes it has; or None.
        fingerprint: digest of the content; two splits with the same one hold the same images.
        label_names: of the attributes.
        left_out: files of the set that could not be used, and why.
        sizes: how many of the set's pictures have which `WIDTHxHEIGHT`; modes: which pixel format.
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

    @property
    def complaint(self) -> str | None:
        """One line on the files that could not be used; None where all could."""
        if not self.left_out:
            return None
        file, why = self.left_out[0]
        many, all_of_them = len(self.left_out), len(self.left_out) + sum(self.sizes.values())
        more = f"; 'logcosh-vae data info {self.name}' names the others" if many > 1 else ""
        return f"{many:,} of {all_of_them:,} files of {self.name} left out: {file}: {why}{more}"

    def first(self, count: int) -> ImageSet:
        """The first `count` images, under a fingerprint of their own."""
        if count >= len(self.images):
            return self
        labels = None if self.labels is None else self.labels[:count]
        return replace(self, images=self.images[:count], labels=labels, fingerprint=f"{self.fingerprint}-first{count}")
