"""Image restoration with networks trained on corrupted images only (paper, Appendix D; Lehtinen et al. 2018).

- `pipeline`: restore a picture in memory; start here.
- `picture_files`: restore picture files and folders, with their metadata.
- `pretrained`: the networks that come with the package.
- `corruptions`, `text`: what the networks learn to undo.
- `network`, `config`, `training`, `step`: the network and its training.
- `evaluation`, `experiment`: metrics of whole images, and the experiments of the paper.
- `tiling`, `blending`, `region`, `augmentation`, `photographs`: the parts of the pipeline.
"""

from __future__ import annotations

from ..base.extras import require

require(__name__, "PIL")
