"""The network on pictures of any size: tiles, test-time augmentation, blending and regions."""

import numpy as np
import pytest
import torch
from tests.restoration.networks import random_network

from logcosh_vae.base.errors import ImageValuesError, RegionError
from logcosh_vae.restoration.augmentation import FLIPS, FlipEnsemble
from logcosh_vae.restoration.blending import restore_changed
from logcosh_vae.restoration.network import RestorationNetwork
from logcosh_vae.restoration.region import Region, restore_region
from logcosh_vae.restoration.tiling import restore
from logcosh_vae.training.loop import make_generator


@pytest.mark.parametrize(
    ("widths", "blocks", "unshuffle", "mask"),
    [
        ((6, 8, 10, 12), 1, 1, False),
        ((8, 8), 2, 1, True),
        ((6,), 1, 1, False),
        ((8, 8), 1, 2, True),
        ((6,), 1, 3, False),
    ],
)
def test_output_depends_on_no_pixel_beyond_the_receptive_field_radius(
    widths: tuple[int, ...], blocks: int, unshuffle: int, mask: bool
) -> None:
    network, middle = random_network(widths, blocks, unshuffle=unshuffle, mask=mask), 160
    images = torch.rand(1, 3, 2 * middle, 2 * middle, generator=make_generator(0, "x"), requires_grad=True)
    restored = network(images)
    for shift in range(network.downsample_factor):
        (gradient,) = torch.autograd.grad(restored[0, :, middle + shift, middle].sum(), images, retain_graph=True)
        distances = gradient[0].abs().sum(dim=0).nonzero() - torch.tensor([middle + shift, middle])
        assert distances.abs().max() <= network.receptive_field_radius
        assert distances.abs().max() > network.receptive_field_radius / 2, "the bound is much too large"


@pytest.mark.parametrize("size", [(131, 97), (64, 200), (1, 1), (3, 50)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("careful", [False, True])
@pytest.mark.parametrize("unshuffle", [1, 2])
def test_tiled_result_equals_untiled_result(
    size: tuple[int, int], dtype: type[np.unsignedinteger], careful: bool, unshuffle: int
) -> None:
    widths, max_level = (6, 8, 10)[: 4 - unshuffle], np.iinfo(dtype).max
    network: RestorationNetwork | FlipEnsemble = random_network(widths, 1, unshuffle=unshuffle, mask=unshuffle > 1)
    network = FlipEnsemble(network) if careful else network
    picture = np.random.default_rng(0).integers(0, max_level + 1, (*size, 3)).astype(dtype)
    whole, tiled = (
        restore(network, picture, tile_size=tile_size, bfloat16=False).astype(np.int64) for tile_size in (1024, 24)
    )
    assert whole.shape == picture.shape
    assert np.abs(whole - tiled).max() <= max(1, max_level // 10_000)
    assert np.abs(whole - picture.astype(np.int64)).max() > max_level // 20


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e38])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("careful", [False, True])
def test_numbers_that_are_not_finite_never_become_pixels(
    value: float, dtype: type[np.unsignedinteger], careful: bool
) -> None:
    network = random_network((6, 8), 1)
    with torch.no_grad():
        network.first.weight.fill_(value)
        if value == 1e38:  # finite weights whose sums are not
            network.last.weight.fill_(-value)
    model = FlipEnsemble(network) if careful else network
    picture = np.full((40, 50, 3), np.iinfo(dtype).max // 2, dtype)
    for bfloat16 in (False, True):
        with pytest.raises(ImageValuesError, match=r"not finite \([\d,]+ of 6,000\)"):
            restore(model, picture, bfloat16=bfloat16)
    with pytest.raises(ImageValuesError, match="not finite"):
        restore_changed(model, picture, 0.5)


def test_one_infinite_pixel_in_a_tile_is_refused() -> None:
    class Spot(Painter):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            changed = images.clone()
            changed[0, 1, 3, 4] = float("inf")
            return changed

    with pytest.raises(ImageValuesError, match=r"\(1 of 6,000\)"):
        restore(Spot(), np.zeros((40, 50, 3), np.uint8))


@pytest.mark.parametrize("size", [(16, 24), (15, 22)])
def test_flip_ensemble_commutes_with_flips(size: tuple[int, int]) -> None:
    network = random_network((6, 8, 10), 1)
    ensemble, images = FlipEnsemble(network), torch.rand(2, 3, *size, generator=make_generator(0, "x"))
    restored = ensemble(images)
    assert restored.shape == images.shape
    assert not torch.allclose(restored, network(images), atol=1e-2)
    if not any(extent % network.downsample_factor for extent in size):
        for axes in FLIPS:
            torch.testing.assert_close(ensemble(images.flip(axes)).flip(axes), restored, rtol=1e-5, atol=1e-5)


class Painter(torch.nn.Module):
    """A network that paints red pixels blue and changes all others slightly, as a trained network does."""

    downsample_factor, receptive_field_radius = 1, 0

    def __init__(self) -> None:
        super().__init__()
        self.anchor = torch.nn.Parameter(torch.zeros(()))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        red = (images[:, :1] > 0.9) & (images[:, 1:2] < 0.2)
        blue = torch.tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1)
        return torch.where(red, blue, images + 0.01)


@pytest.mark.parametrize("scale", [1.0, 0.5, 0.21])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_only_clearly_changed_pixels_are_replaced(dtype: type[np.unsignedinteger], scale: float) -> None:
    max_level = np.iinfo(dtype).max
    picture = np.full((120, 160, 3), max_level // 2, dtype)
    picture += np.random.default_rng(0).integers(0, max_level // 50, picture.shape).astype(dtype)
    picture[40:80, 60:100] = [max_level, 0, 0]
    restored = restore_changed(Painter(), picture, scale)  # type: ignore[arg-type]
    assert (restored.shape, restored.dtype) == (picture.shape, picture.dtype)
    assert np.abs(restored[45:75, 65:95].astype(int) - [0, 0, max_level]).max() <= max_level // 100
    near = int(np.ceil(6 / scale))  # dilation, enlarged
    untouched = np.ones(picture.shape[:2], bool)
    untouched[40 - near : 80 + near, 60 - near : 100 + near] = False
    np.testing.assert_array_equal(restored[untouched], picture[untouched])
    reds = (restored[..., 0] > 0.9 * max_level) & (restored[..., 1] < 0.1 * max_level)
    assert not reds.any(), "an edge of the covered area is left"


def test_scale_outside_0_1_is_rejected() -> None:
    for scale in (0.0, 1.5, float("nan")):
        with pytest.raises(ValueError, match="scale must be above 0 and at most 1"):
            restore_changed(Painter(), np.zeros((4, 4, 3), np.uint8), scale)  # type: ignore[arg-type]


@pytest.mark.parametrize("region", [((20, 30, 40, 10),), ((0, 0, 5, 5), (100, 60, 999, 999)), ((63, 40, 1, 1),), None])
def test_region_equals_the_restored_picture_and_the_rest_is_unchanged(
    region: tuple[tuple[int, ...], ...] | None,
) -> None:
    network = random_network((6, 8, 10), 1)
    picture = np.random.default_rng(0).integers(0, 256, (97, 131, 3)).astype(np.uint8)
    mask = np.zeros((97, 131), bool)
    if region is None:
        mask[40:50, 20:25] = mask[90, 3] = True
    selected = Region(region or (), mask if region is None else None)  # type: ignore[arg-type]
    whole = restore(network, picture)
    part = restore_region(
        picture,
        selected,
        lambda pixels: restore(network, pixels),
        network.receptive_field_radius,
        network.downsample_factor,
    )
    for left, top, width, height in region or ():
        mask[top : top + height, left : left + width] = True
    np.testing.assert_array_equal(part[~mask], picture[~mask])
    assert np.abs(part[mask].astype(int) - whole[mask]).max() <= 1
    assert (part[mask] != picture[mask]).any()
    for wrong in (
        Region(((200, 0, 5, 5),)),
        Region(mask=np.ones((5, 5), bool)),
        Region(mask=np.zeros((97, 131), bool)),
    ):
        with pytest.raises(RegionError, match="131x97"):
            wrong.pixel_mask(97, 131)
