"""Image restoration with networks trained on corrupted images only (paper, Appendix D; Lehtinen et al. 2018).

    from logcosh_vae.restoration import restore
    clean = restore(image)

- `automatic`: the function `restore`, which does what the command does; start here.
- `pipeline`: restore a picture in memory with one network.
- `picture_files`: restore picture files and folders, with their metadata.
- `finding`: find the text in a picture (extra `text`).
- `filling`: fill a hole with texture from around it.
- `line_removal`, `strokes`, `letters`: remove the text that was found.
- `pretrained`: the networks that come with the package.
- `corruptions`, `text`: what the networks learn to undo.
- `network`, `config`, `training`, `step`: the network and its training.
- `evaluation`, `experiment`: metrics of whole images, and the experiments of the paper.
- `tiling`, `blending`, `resizing`, `region`, `augmentation`, `photographs`: the parts of the pipeline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..base.extras import require

if TYPE_CHECKING:
    from .automatic import restore

__all__ = ["restore"]

require(__name__, "PIL")


def __getattr__(name: str) -> Any:
    if name != "restore":  # imported on first use, because it needs torch
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .automatic import restore

    globals()[name] = restore
    return restore
