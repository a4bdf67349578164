"""The network over pictures of any size, and learning that can be stopped at any time."""

import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import cbook
from PIL import Image, ImageOps

from logcosh_vae.base.errors import ConfigError, RegionError, RunError
from logcosh_vae.metrics.image_quality import ssim
from logcosh_vae.reporting.paired import outcome_sentence, paired
from logcosh_vae.restoration import photographs
from logcosh_vae.restoration.augmentation import FLIPS, FlipEnsemble
from logcosh_vae.restoration.blending import restore_changed
from logcosh_vae.restoration.config import RestorationConfig
from logcosh_vae.restoration.corruptions import CORRUPTIONS
from logcosh_vae.restoration.evaluation import measure
from logcosh_vae.restoration.network import RestorationNetwork
from logcosh_vae.restoration.pretrained import FOLDER, TASKS, load_shipped
from logcosh_vae.restoration.region import Region, restore_region
from logcosh_vae.restoration.tiling import restore
from logcosh_vae.restoration.training import load_restoration, train_restoration
from logcosh_vae.training.loop import make_generator
from logcosh_vae.training.optimizers import MuonWithAdam, orthogonalised
from logcosh_vae.training.session import Callbacks


def lively(widths: tuple[int, ...], blocks: int) -> RestorationNetwork:
    """A network whose every weight matters."""
    network = RestorationNetwork(widths, blocks).eval()
    generator = make_generator(0, "weights")
    with torch.no_grad():
        for weight in network.parameters():
            fan = max(1, weight[0].numel())
            weight.copy_(torch.randn(weight.shape, generator=generator) * (1.2 / fan) ** 0.5)
    return network


@pytest.mark.parametrize(("widths", "blocks"), [((6, 8, 10, 12), 1), ((8, 8), 2), ((6,), 1)])
def test_no_pixel_further_than_the_reach_matters(widths: tuple[int, ...], blocks: int) -> None:
    network, middle = lively(widths, blocks), 160
    images = torch.rand(1, 3, 2 * middle, 2 * middle, generator=make_generator(0, "x"), requires_grad=True)
    restored = network(images)
    for shift in range(network.downsample_factor):
        (gradient,) = torch.autograd.grad(restored[0, :, middle + shift, middle].sum(), images, retain_graph=True)
        places = gradient[0].abs().sum(dim=0).nonzero() - torch.tensor([middle + shift, middle])
        assert places.abs().max() <= network.receptive_field_radius
        assert places.abs().max() > network.receptive_field_radius / 2, "the reach is much too large"


@pytest.mark.parametrize("size", [(131, 97), (64, 200), (1, 1), (3, 50)])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("careful", [False, True])
def test_tiles_leave_no_seam(size: tuple[int, int], kind: type[np.unsignedinteger], careful: bool) -> None:
    network, largest = lively((6, 8, 10), 1), np.iinfo(kind).max
    network = FlipEnsemble(network) if careful else network
    picture = np.random.default_rng(0).integers(0, largest + 1, (*size, 3)).astype(kind)
    whole, tiled = (restore(network, picture, tile=tile).astype(np.int64) for tile in (1024, 24))
    assert whole.shape == picture.shape
    assert np.abs(whole - tiled).max() <= max(1, largest // 10_000)
    assert np.abs(whole - picture.astype(np.int64)).max() > largest // 20


@pytest.mark.parametrize("size", [(16, 24), (15, 22)])
def test_what_is_asked_of_mirror_images_is_one_answer(size: tuple[int, int]) -> None:
    network = lively((6, 8, 10), 1)
    careful, images = FlipEnsemble(network), torch.rand(2, 3, *size, generator=make_generator(0, "x"))
    told = careful(images)
    assert told.shape == images.shape
    assert not torch.allclose(told, network(images), atol=1e-2)
    if not any(side % network.downsample_factor for side in size):
        for axes in FLIPS:
            torch.testing.assert_close(careful(images.flip(axes)).flip(axes), told, rtol=1e-5, atol=1e-5)


class Painter(torch.nn.Module):
    """In the place of a network: paints everything that is red blue, and adds a little noise, as networks do."""

    downsample_factor, receptive_field_radius = 1, 0

    def __init__(self) -> None:
        super().__init__()
        self.anchor = torch.nn.Parameter(torch.zeros(()))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        red = (images[:, :1] > 0.9) & (images[:, 1:2] < 0.2)
        blue = torch.tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1)
        return torch.where(red, blue, images + 0.01)


@pytest.mark.parametrize("scale", [1.0, 0.5, 0.21])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_only_what_covers_is_replaced(kind: type[np.unsignedinteger], scale: float) -> None:
    largest = np.iinfo(kind).max
    picture = np.full((120, 160, 3), largest // 2, kind)
    picture += np.random.default_rng(0).integers(0, largest // 50, picture.shape).astype(kind)
    picture[40:80, 60:100] = [largest, 0, 0]
    restored = restore_changed(Painter(), picture, scale)  # type: ignore[arg-type]
    assert (restored.shape, restored.dtype) == (picture.shape, picture.dtype)
    assert np.abs(restored[45:75, 65:95].astype(int) - [0, 0, largest]).max() <= largest // 100
    near = int(np.ceil(6 / scale))  # what is spread and enlarged
    untouched = np.ones(picture.shape[:2], bool)
    untouched[40 - near : 80 + near, 60 - near : 100 + near] = False
    np.testing.assert_array_equal(restored[untouched], picture[untouched])
    reds = (restored[..., 0] > 0.9 * largest) & (restored[..., 1] < 0.1 * largest)
    assert not reds.any(), "an edge of what was covered is left"


def test_a_scale_that_is_none() -> None:
    for scale in (0.0, 1.5, float("nan")):
        with pytest.raises(ValueError, match="scale must be above 0 and at most 1"):
            restore_changed(Painter(), np.zeros((4, 4, 3), np.uint8), scale)  # type: ignore[arg-type]


KINDS = ["RGB", "L", "RGBA", "LA", "P", "1", "I;16"]


def a_picture(kind: str) -> Image.Image:
    rng = np.random.default_rng(1)
    if kind == "I;16":
        return Image.fromarray(rng.integers(0, 65536, (23, 31)).astype(np.uint16))
    colours = Image.fromarray(rng.integers(0, 256, (23, 31, 4), dtype=np.uint8))
    if kind == "P":
        return colours.convert("RGB").quantize(8)
    return colours if kind == "RGBA" else colours.convert("RGB" if kind == "1" else "RGBA").convert(kind)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", KINDS)
def test_all_of_a_file_but_its_pixels_is_kept(tmp_path: Path, kind: str, orientation: int) -> None:
    picture, exif = a_picture(kind), Image.Exif()
    exif[0x0112], exif[0x010E] = orientation, "a picture"
    picture.save(tmp_path / "a.png", exif=exif, icc_profile=b"a profile")
    photograph = photographs.read(tmp_path / "a.png")
    lying = orientation >= 5
    assert photograph.pixels.shape[:2] == ((31, 23) if lying else (23, 31))
    photographs.write(photograph, photograph.pixels, tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as written:
        assert written.getexif()[0x0112] == orientation
        assert written.getexif()[0x010E] == "a picture"
        assert written.info["icc_profile"] == b"a profile"
        expected = picture.convert("RGB") if kind == "P" else picture
        same = "L" if kind == "1" else expected.mode
        assert written.mode == ("RGBA" if kind == "LA" and written.mode == "RGBA" else same)
        np.testing.assert_array_equal(np.asarray(written.convert(same)), np.asarray(expected.convert(same)))


@pytest.mark.parametrize(("quality", "subsampling"), [(60, 2), (85, 1), (98, 0)])
def test_what_stays_of_a_jpeg_loses_next_to_nothing(tmp_path: Path, quality: int, subsampling: int) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 12, 3)).astype(np.uint8))
    picture = noise.resize((160, 128), Image.Resampling.BICUBIC)
    options = {"quality": quality, "subsampling": subsampling, "progressive": True, "comment": b"of mine"}
    picture.save(tmp_path / "a.jpg", **options)
    photograph = photographs.read(tmp_path / "a.jpg")
    photographs.write(photograph, photograph.pixels, tmp_path / "b.jpeg")
    with Image.open(tmp_path / "a.jpg") as before, Image.open(tmp_path / "b.jpeg") as after:
        assert after.quantization == before.quantization  # type: ignore[attr-defined]
        assert (after.info["progressive"], after.info["comment"]) == (1, b"of mine")
        lost = np.abs(np.asarray(before).astype(int) - np.asarray(picture)).mean()
        assert np.abs(np.asarray(before).astype(int) - np.asarray(after)).mean() < 0.5 * lost
    assert (tmp_path / "b.jpeg").stat().st_size == pytest.approx((tmp_path / "a.jpg").stat().st_size, rel=0.05)


def test_a_webp_without_loss_stays_without(tmp_path: Path) -> None:
    for lossless in (True, False):
        a_picture("RGBA").save(tmp_path / "a.webp", lossless=lossless, exact=True, icc_profile=b"a profile")
        photograph = photographs.read(tmp_path / "a.webp")
        photographs.write(photograph, photograph.pixels, tmp_path / "b.webp")
        again = photographs.read(tmp_path / "b.webp")
        assert np.array_equal(again.pixels, photograph.pixels) == lossless
        np.testing.assert_array_equal(again.alpha, photograph.alpha)  # type: ignore[arg-type]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("source", "target"), [("tif", "tif"), ("jpg", "bmp"), ("jpg", "tif"), ("tif", "jpg")])
def test_no_format_turns_a_picture(tmp_path: Path, source: str, target: str, orientation: int) -> None:
    half = Image.new("RGB", (32, 24), "blue")
    half.paste("red", (0, 0, 32, 12))
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = orientation, "a picture"
    half.save(tmp_path / f"a.{source}", exif=exif)
    seen = ImageOps.exif_transpose(Image.open(tmp_path / f"a.{source}")).convert("RGB")
    photograph = photographs.read(tmp_path / f"a.{source}")
    photographs.write(photograph, photograph.pixels, tmp_path / f"b.{target}")
    with Image.open(tmp_path / f"b.{target}") as written:
        if target != "bmp":
            assert written.getexif()[0x010E] == "a picture"
        again = ImageOps.exif_transpose(written).convert("RGB")
    assert np.abs(np.asarray(again).astype(int) - np.asarray(seen)).mean() < 12


def test_what_a_file_loses_is_told(tmp_path: Path) -> None:
    frames = [a_picture("RGB"), a_picture("RGB").rotate(180)]
    frames[0].save(tmp_path / "many.tif", save_all=True, append_images=frames[1:])
    a_picture("RGB").convert("CMYK").save(tmp_path / "inks.jpg")
    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)  # one pixel, 16 bits, three colours
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(7))), (b"IEND", b"")]
    body = [struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks]
    (tmp_path / "deep.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(body))
    a_picture("I;16").save(tmp_path / "grey.png")
    for name, words in [
        ("many.tif", "2 frames or pages"),
        ("inks.jpg", "inks"),
        ("deep.png", "16 bits"),
        ("grey.png", ""),
    ]:
        lost = photographs.read(tmp_path / name).lost
        assert (len(lost), words in "".join(lost)) == (bool(words), True)


@pytest.mark.parametrize("region", [((20, 30, 40, 10),), ((0, 0, 5, 5), (100, 60, 999, 999)), ((63, 40, 1, 1),), None])
def test_only_a_region_changes_and_it_is_that_of_the_whole(region: tuple[tuple[int, ...], ...] | None) -> None:
    network = lively((6, 8, 10), 1)
    picture = np.random.default_rng(0).integers(0, 256, (97, 131, 3)).astype(np.uint8)
    mask = np.zeros((97, 131), bool)
    if region is None:
        mask[40:50, 20:25] = mask[90, 3] = True
    chosen = Region(region or (), mask if region is None else None)  # type: ignore[arg-type]
    whole = restore(network, picture)
    part = restore_region(
        picture,
        chosen,
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
            wrong.of(97, 131)


def pictures(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    for number in range(6):
        coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
        folder.mkdir(exist_ok=True)
        coarse.resize((90, 70), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    return folder


def small(data: Path, task: str, loss: str = "log-cosh") -> RestorationConfig:
    config = RestorationConfig(
        str(data), task=task, loss=loss, widths=(8, 12), tile_size=48, crop_size=32, batch_size=4
    )
    return replace(config, targets=2, epochs=2, steps=4, val_images=3)


@pytest.mark.parametrize(("task", "loss"), [("denoise", "log-cosh"), ("impulse", "l1"), ("deblur", "l2")])
def test_stopped_learning_goes_on_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str, loss: str
) -> None:
    monkeypatch.setenv("LOGCOSH_VAE_CACHE", str(tmp_path / "cache"))
    config = small(pictures(tmp_path / "set"), task, loss)

    def stop(_: dict[str, object]) -> None:
        raise KeyboardInterrupt

    train_restoration(config, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train_restoration(config, tmp_path / "stopped", callbacks=Callbacks(on_epoch=stop))
    train_restoration(config, tmp_path / "stopped", resume=True)
    whole, stopped = ((tmp_path / name / "weights.safetensors").read_bytes() for name in ("whole", "stopped"))
    assert whole == stopped
    network, found = load_restoration(tmp_path / "whole")
    assert found.task == task
    assert not network.training
    assert (tmp_path / "whole" / "samples" / "epoch-0002.png").is_file()


def test_damage_to_what_is_stored_is_noticed(tmp_path: Path) -> None:
    config = replace(small(pictures(tmp_path / "data"), "denoise"), epochs=1)
    folder = train_restoration(config, tmp_path / "run")
    values = load_restoration(folder.path)[0].first.bias.detach().numpy().tobytes()

    def damage(path: Path) -> bytes:
        whole = path.read_bytes()
        place = whole.index(values)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        return whole

    whole = damage(folder.weights_path)
    with pytest.raises(RunError, match="checksum is wrong"):
        load_restoration(folder.path)
    folder.weights_path.write_bytes(whole)
    load_restoration(folder.path)
    folder.weights_path.unlink()
    damage(folder.state_path)
    with pytest.raises(RunError, match=r"state.pt is damaged"):
        train_restoration(config, folder.path, resume=True)


def test_learning_goes_on_from_the_weights_of_another_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGCOSH_VAE_CACHE", str(tmp_path / "cache"))
    config = replace(small(pictures(tmp_path / "set"), "denoise"), epochs=1, learning_rate=1e-9, adam_rate=1e-9)
    start = lively((8, 12), 1)
    train_restoration(config, tmp_path / "on", start=start)
    network, _ = load_restoration(tmp_path / "on")
    for weight, before in zip(network.parameters(), start.parameters(), strict=True):
        torch.testing.assert_close(weight, before, rtol=0, atol=1e-6)
    with pytest.raises(RunError, match="holds a run with another start"):
        train_restoration(config, tmp_path / "on", resume=True)
    with pytest.raises(RunError, match=r"another train.epochs \(1, now 2\); choose another --out, and --from "):
        train_restoration(replace(config, epochs=2), tmp_path / "on", start=start, resume=True)
    for other in (lively((8, 8), 1), lively((8, 12), 2)):
        with pytest.raises(ConfigError, match=r"start from has widths .+, this one \[8, 12\] and 1"):
            train_restoration(config, tmp_path / "other", start=other)
    # with more blocks it begins with what the other does
    train_restoration(replace(config, blocks=3), tmp_path / "deeper", start=start)
    deeper, _ = load_restoration(tmp_path / "deeper")
    images = torch.rand(2, 3, 20, 12, generator=make_generator(0, "images"))
    torch.testing.assert_close(deeper(images), start(images), rtol=0, atol=1e-5)
    assert deeper.receptive_field_radius > start.receptive_field_radius


@pytest.mark.parametrize("shape", [(6, 40), (32, 8), (16, 16)])
def test_orthogonalised_matrices_keep_their_directions(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=make_generator(0, "m"))
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    along = left.T @ orthogonalised(matrix) @ right.T
    assert torch.allclose(along, along.diagonal().diag(), atol=1e-4)
    assert along.diagonal().min() > 0.6
    assert along.diagonal().max() < 1.3


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_kernels_are_moved_as_torch_moves_matrices(layout: torch.memory_format) -> None:
    kernel = torch.nn.Parameter(torch.randn(6, 4, 3, 2, generator=make_generator(0, "w")).to(memory_format=layout))
    bias = torch.nn.Parameter(torch.zeros(6))
    matrix = torch.nn.Parameter(kernel.detach().clone().reshape(6, 24))
    ours, theirs = MuonWithAdam([kernel], [bias], 0.1, 0.01), torch.optim.Muon([matrix], lr=0.1, weight_decay=0.0)
    for index in range(3):
        gradient = torch.randn(6, 4, 3, 2, generator=make_generator(index, "g"))
        kernel.grad, bias.grad, matrix.grad = gradient, torch.ones(6), gradient.reshape(6, 24)
        ours.step()
        theirs.step()
    assert kernel.stride() == torch.zeros(6, 4, 3, 2).to(memory_format=layout).stride()
    # torch's are orthogonalised in bfloat16
    assert torch.allclose(kernel.reshape(6, 24), matrix, atol=5e-3)
    assert torch.allclose(bias, torch.full((6,), -0.03), atol=1e-4)


def test_pairs_are_compared_as_by_hand() -> None:
    # seven of eight differences are positive; by the exact null distribution of the rank sum, W = 1 has p = 4 / 256
    second = np.linspace(0.5, 0.9, 8)
    first = second + np.array([0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, -0.01])
    result = paired(list(first), list(second))
    assert (result.count, result.wins, result.losses) == (8, 7, 1)
    assert result.difference == pytest.approx(0.0425)
    assert result.p_value == pytest.approx(4 / 256)
    assert 0.01 < result.low < result.difference < result.high < 0.07
    assert outcome_sentence("a", "b", "SSIM", result).startswith("a is better than b: larger SSIM on 7 of 8 images")
    assert paired([0.5, 0.6], [0.5, 0.6]).p_value == 1.0
    assert "a and b are not significantly different:" in outcome_sentence(
        "a", "b", "SSIM", paired([0.5, 0.7] * 4, [0.6] * 8)
    )
    assert outcome_sentence("a", "b", "SSIM", paired([0.7] * 5, [0.6] * 5)).startswith(
        "too few images to compare a with b:"
    )
    # more wins, but each by next to nothing
    small, large = [1e-4 * index for index in range(1, 53)], [-0.1 - 1e-3 * index for index in range(48)]
    assert "a is worse than b:" in outcome_sentence("a", "b", "SSIM", paired(small + large, [0.0] * 100))
    with pytest.raises(ValueError, match="not finite"):
        paired([float("nan")], [0.0])
    # one picture far off: it decides the mean, the others the ranks
    outlier = paired([0.5 + 0.001 * index for index in range(1, 20)] + [0.2], [0.5] * 20)
    assert "a compared with b is not significantly different in the mean but better by ranks:" in outcome_sentence(
        "a", "b", "SSIM", outlier
    )


def test_a_network_is_measured_on_whole_pictures(tmp_path: Path) -> None:
    folder, corruption = pictures(tmp_path / "set"), CORRUPTIONS["denoise"]
    nothing = RestorationNetwork((4,)).eval()
    torch.nn.init.zeros_(nothing.last.weight)
    torch.nn.init.zeros_(nothing.last.bias)
    result = measure(nothing, folder, corruption)
    assert result.images == tuple(f"{number}.png" for number in range(6))
    assert result.ssim == result.corrupted_ssim
    # clipping takes a little of the noise away
    assert all(-20 * np.log10(25 / 255) - 0.1 < value < -20 * np.log10(25 / 255) + 1.5 for value in result.psnr)


@pytest.mark.parametrize("name", TASKS)
def test_a_network_that_comes_with_the_package_removes_text_from_a_photograph(name: str) -> None:
    network, card = load_shipped(name)
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 6e6
    assert card["train"]["loss"] == "log-cosh"
    assert card["train"].get("captions", False) == (name == "captions")
    with Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)) as photograph:
        clean = torch.from_numpy(np.array(photograph.convert("RGB"))).permute(2, 0, 1)[:, 150:400, 100:400] / 255.0
    spoilt = CORRUPTIONS["text"].evaluation(clean, 0)
    pixels = spoilt.mul(255.0).round().to(torch.uint8).permute(1, 2, 0).numpy()
    restored = torch.from_numpy(restore_changed(network, pixels, 1.0)).permute(2, 0, 1) / 255.0
    assert ssim(restored, clean) > ssim(spoilt, clean) + 0.15


def test_a_network_that_is_none_of_the_package_s_is_named() -> None:
    with pytest.raises(RunError, match="no network for 'deblur' comes with the package; train one with"):
        load_shipped("deblur")
