"""Training that can be interrupted and started from other weights; evaluation; the networks of the package."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import cbook
from PIL import Image
from tests.restoration.networks import random_network

from logcosh_vae.base.errors import ConfigError, RunError
from logcosh_vae.data import load_tiles
from logcosh_vae.data.batches import to_unit
from logcosh_vae.metrics.image_quality import ssim
from logcosh_vae.restoration import pretrained
from logcosh_vae.restoration.augmentation import FlipEnsemble
from logcosh_vae.restoration.config import RestorationConfig
from logcosh_vae.restoration.corruptions import CORRUPTIONS
from logcosh_vae.restoration.evaluation import measure
from logcosh_vae.restoration.network import RestorationNetwork
from logcosh_vae.restoration.pipeline import restore_picture
from logcosh_vae.restoration.pretrained import PRETRAINED_TASKS, WEIGHTS_FOLDER, load_pretrained
from logcosh_vae.restoration.training import load_restoration, train_restoration
from logcosh_vae.training.loop import make_generator
from logcosh_vae.training.session import Callbacks


def write_pictures(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    for number in range(6):
        coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
        folder.mkdir(exist_ok=True)
        coarse.resize((90, 70), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    return folder


def small_config(data: Path, task: str, loss: str = "log-cosh") -> RestorationConfig:
    config = RestorationConfig(
        str(data), task=task, loss=loss, widths=(8, 12), tile_size=48, crop_size=32, batch_size=4
    )
    return replace(config, targets=2, epochs=2, steps=4, val_images=3)


@pytest.mark.parametrize(("task", "loss"), [("denoise", "log-cosh"), ("impulse", "l1"), ("deblur", "l2")])
def test_interrupted_training_resumes_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str, loss: str
) -> None:
    monkeypatch.setenv("LOGCOSH_VAE_CACHE", str(tmp_path / "cache"))
    config = small_config(write_pictures(tmp_path / "set"), task, loss)

    def stop(_: dict[str, object]) -> None:
        raise KeyboardInterrupt

    train_restoration(config, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train_restoration(config, tmp_path / "stopped", callbacks=Callbacks(on_epoch=stop))
    train_restoration(config, tmp_path / "stopped", resume=True)
    whole, stopped = ((tmp_path / name / "weights.safetensors").read_bytes() for name in ("whole", "stopped"))
    assert whole == stopped
    network, loaded = load_restoration(tmp_path / "whole")
    assert loaded.task == task
    assert not network.training
    assert (tmp_path / "whole" / "samples" / "epoch-0002.png").is_file()


def test_damaged_weights_and_state_are_detected(tmp_path: Path) -> None:
    config = replace(small_config(write_pictures(tmp_path / "data"), "denoise"), epochs=1)
    folder = train_restoration(config, tmp_path / "run")
    values = load_restoration(folder.path)[0].first.bias.detach().numpy().tobytes()

    def damage(path: Path) -> bytes:
        whole = path.read_bytes()
        offset = whole.index(values)
        path.write_bytes(whole[:offset] + bytes([whole[offset] ^ 1]) + whole[offset + 1 :])
        return whole

    whole = damage(folder.weights_path)
    with pytest.raises(RunError, match="wrong checksum"):
        load_restoration(folder.path)
    folder.weights_path.write_bytes(whole)
    load_restoration(folder.path)
    folder.weights_path.unlink()
    damage(folder.state_path)
    with pytest.raises(RunError, match=r"state.pt is damaged"):
        train_restoration(config, folder.path, resume=True)


def test_training_starts_from_the_weights_of_another_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGCOSH_VAE_CACHE", str(tmp_path / "cache"))
    config = replace(
        small_config(write_pictures(tmp_path / "set"), "denoise"), epochs=1, learning_rate=1e-9, adam_rate=1e-9
    )
    start = random_network((8, 12), 1)
    train_restoration(config, tmp_path / "on", start=start)
    network, _ = load_restoration(tmp_path / "on")
    for weight, before in zip(network.parameters(), start.parameters(), strict=True):
        torch.testing.assert_close(weight, before, rtol=0, atol=1e-6)
    with pytest.raises(RunError, match="holds a run with another start"):
        train_restoration(config, tmp_path / "on", resume=True)
    with pytest.raises(RunError, match=r"another train.epochs \(1, now 2\); .* choose another --out, and --from "):
        train_restoration(replace(config, epochs=2), tmp_path / "on", start=start, resume=True)
    others = (random_network((8, 8), 1), random_network((8, 12), 2), random_network((8, 12), 1, unshuffle=2))
    for other in others:
        with pytest.raises(ConfigError, match=r"start from has .+, but the config has widths \[8, 12\], blocks 1"):
            train_restoration(config, tmp_path / "other", start=other)
    # a deeper network computes the same function at first
    train_restoration(replace(config, blocks=3), tmp_path / "deeper", start=start)
    deeper, _ = load_restoration(tmp_path / "deeper")
    images = torch.rand(2, 3, 20, 12, generator=make_generator(0, "images"))
    torch.testing.assert_close(deeper(images), start(images), rtol=0, atol=1e-5)
    assert deeper.receptive_field_radius > start.receptive_field_radius


@pytest.mark.parametrize("unshuffle", [1, 2])
def test_a_network_that_learns_to_take_a_hint_computes_the_same_function_at_first(unshuffle: int) -> None:
    start = random_network((8, 12), 1, unshuffle=unshuffle)
    hinted = start.extended(1, hint=True)
    images = torch.rand(2, 3, 21, 13, generator=make_generator(0, "images"))
    marked = (images[:, :1] > 0.5).float()
    for hint in (None, marked):
        torch.testing.assert_close(hinted(images, hint), start(images), rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="hint must be true"):
        hinted.extended(1, hint=False)
    assert hinted.extended(2).architecture.hint


def test_a_hint_is_placed_like_the_image_and_none_means_that_nothing_is_known() -> None:
    network = random_network((8, 12), 1, hint=True)
    images = torch.rand(1, 3, 21, 13, generator=make_generator(0, "images"))
    hint = torch.zeros(1, 1, 21, 13)
    torch.testing.assert_close(network(images, hint), network(images))
    hint[..., 10, 6] = 1.0
    changed = (network(images, hint) - network(images)).abs().amax(dim=(0, 1))
    assert changed[10, 6] > 0
    rows, columns = torch.nonzero(changed > 1e-6, as_tuple=True)
    reach = network.receptive_field_radius
    assert (rows - 10).abs().max() <= reach
    assert (columns - 6).abs().max() <= reach
    # the average of mirror images is mirrored with its input, if the hint is mirrored, too
    ensemble = FlipEnsemble(network)
    images, hint = images[..., :20, :12], hint[..., :20, :12]
    torch.testing.assert_close(ensemble(images.flip(3), hint.flip(3)).flip(3), ensemble(images, hint))
    assert not torch.allclose(ensemble(images, hint), ensemble(images))


@pytest.mark.slow
def test_networks_with_a_hint_are_trained_from_others_and_reloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGCOSH_VAE_CACHE", str(tmp_path / "cache"))
    config = replace(small_config(write_pictures(tmp_path / "set"), "text"), captions=True, epochs=1)
    with pytest.raises(ConfigError, match="hint can only be true with captions=true and clean_targets=true"):
        train_restoration(replace(config, hint=True), tmp_path / "none")
    config = replace(config, hint=True, clean_targets=True)
    train_restoration(config, tmp_path / "hinted", start=random_network((8, 12), 1))
    network, loaded = load_restoration(tmp_path / "hinted")
    assert loaded.hint
    assert network.architecture.hint
    assert network.first.weight[:, 3].abs().max() > 0, "it has begun to use the hint"


def test_a_learned_scale_becomes_the_error_of_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGCOSH_VAE_CACHE", str(tmp_path / "cache"))
    config = replace(small_config(write_pictures(tmp_path / "set"), "deblur", "l2"), likelihood="scale")
    with pytest.raises(ConfigError, match=r"likelihood: unknown 'scale.shape'; .* Known: scale"):
        train_restoration(replace(config, likelihood="scale+shape"), tmp_path / "run")
    with pytest.raises(ConfigError, match="a cannot be set if the likelihood is learned"):
        train_restoration(replace(config, loss="log-cosh", a=50.0), tmp_path / "run")
    config = replace(config, epochs=1, steps=600)
    folder = train_restoration(config, tmp_path / "run")
    network, _ = load_restoration(folder.path)
    assert network.likelihood is not None
    scale = float(network.likelihood.scale.detach())
    assert folder.metrics()[-1]["validation"]["scale"] == pytest.approx(scale)
    tiles = load_tiles(config.data, "train", tile_size=config.tile_size).images
    clean = to_unit(tiles).repeat(20, 1, 1, 1)[..., :32, :32]
    with torch.inference_mode():
        error = network(CORRUPTIONS["deblur"].training(clean, make_generator(0, "blur"))) - clean
    assert scale == pytest.approx(float(error.square().mean().sqrt()), rel=0.5)


def test_a_network_with_a_mask_learns_which_pixels_are_corrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGCOSH_VAE_CACHE", str(tmp_path / "cache"))
    config = replace(small_config(write_pictures(tmp_path / "set"), "impulse"), batch_size=8, epochs=1, steps=400)
    with pytest.raises(ConfigError, match="mask can only be true with clean_targets=true, for the tasks text and imp"):
        train_restoration(replace(config, mask=True), tmp_path / "run")
    train_restoration(replace(config, mask=True, clean_targets=True), tmp_path / "run")
    network, loaded = load_restoration(tmp_path / "run")
    assert loaded.architecture == network.architecture
    with Image.open(tmp_path / "set" / "0.png") as picture:
        clean = torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 255.0
    source = CORRUPTIONS["impulse"].evaluation(clean, 0)
    logits = network.with_mask(source[None])[1]
    assert logits is not None
    corrupted = ((source - clean).abs().amax(dim=0) > 0.01).numpy()
    found = logits.detach().numpy()[0, 0]
    assert found[corrupted].mean() > found[~corrupted].mean() + 0.3


def test_metrics_of_a_network_that_changes_nothing_are_those_of_the_corrupted_images(tmp_path: Path) -> None:
    folder, corruption = write_pictures(tmp_path / "set"), CORRUPTIONS["denoise"]
    identity = RestorationNetwork((4,)).eval()
    torch.nn.init.zeros_(identity.last.weight)
    torch.nn.init.zeros_(identity.last.bias)
    result = measure(identity, folder, corruption)
    assert result.images == tuple(f"{number}.png" for number in range(6))
    assert result.ssim == result.corrupted_ssim
    # clipping to [0, 1] removes a little of the noise
    assert all(-20 * np.log10(25 / 255) - 0.1 < value < -20 * np.log10(25 / 255) + 1.5 for value in result.psnr)


@pytest.mark.parametrize("name", list(PRETRAINED_TASKS))
def test_pretrained_network_removes_text_from_a_photograph(name: str) -> None:
    network, card = load_pretrained(name)
    assert sum(file.stat().st_size for file in WEIGHTS_FOLDER.iterdir()) < 6e6
    assert card["train"]["loss"] == "log-cosh"
    assert card["train"].get("captions", False) == (name != "text")
    with Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)) as photograph:
        clean = torch.from_numpy(np.array(photograph.convert("RGB"))).permute(2, 0, 1)[:, 150:400, 100:400] / 255.0
    corrupted = CORRUPTIONS["text"].evaluation(clean, 0)
    pixels = corrupted.mul(255.0).round().to(torch.uint8).permute(1, 2, 0).numpy()
    restored = torch.from_numpy(restore_picture(network, pixels)).permute(2, 0, 1) / 255.0
    assert ssim(restored, clean) > ssim(corrupted, clean) + 0.15


def test_unknown_pretrained_network_is_an_error() -> None:
    with pytest.raises(RunError, match="no network for 'deblur' comes with the package; train one with"):
        load_pretrained("deblur")


def test_former_name_of_load_pretrained_works_with_a_warning() -> None:
    with pytest.warns(DeprecationWarning, match="load_shipped is now called load_pretrained"):
        assert pretrained.load_shipped is load_pretrained
