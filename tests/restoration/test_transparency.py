"""Transparent pixels do not influence what is seen of a restored picture."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from logcosh_vae.restoration.picture_files import restore_file
from logcosh_vae.restoration.pipeline import load_network, restore_picture


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "RGB"])
@pytest.mark.parametrize("region", [{}, {"boxes": [(0, 0, 48, 40)]}])
def test_hidden_colours_are_kept_and_change_no_visible_pixel(
    tmp_path: Path, mode: str, region: dict[str, object]
) -> None:
    grey = np.random.default_rng(1).integers(90, 160, (40, 48)).astype(np.uint8)
    alpha = np.full(grey.shape, 255, np.uint8)
    alpha[:, 30:], alpha[5:9, 3:9], alpha[20, :10] = 0, 0, 100
    network, task = load_network("captions")
    seen = []
    for hidden in (1, 254):
        values = np.where(alpha > 0, grey, hidden).astype(np.uint8)
        picture, options = Image.merge("LA", [Image.fromarray(each) for each in (values, alpha)]), {}
        if mode == "RGBA":
            picture = picture.convert("RGBA")
        elif mode == "PA":  # a palette with transparent entries
            values[alpha == 0], options = hidden, {"transparency": hidden}
            picture = Image.fromarray(values).convert("P")
        elif mode == "RGB":
            picture, options = Image.fromarray(values).convert("RGB"), {"transparency": (hidden,) * 3}
        source, target = tmp_path / f"{hidden}.png", tmp_path / f"clean-{hidden}.png"
        picture.save(source, **options)
        before = np.asarray(Image.open(source).convert("RGBA"))
        restore_file(source, target, partial(restore_picture, network, task=task, **region))  # type: ignore[arg-type]
        after = np.asarray(Image.open(target).convert("RGBA"))
        is_hidden = before[..., 3] == 0
        assert is_hidden.any()
        assert (after[is_hidden] == before[is_hidden]).all()
        assert not (after == before).all()
        seen.append(after[~is_hidden])
    assert (seen[0] == seen[1]).all()
