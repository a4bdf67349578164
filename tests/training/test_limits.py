"""Settings that cannot fit are refused with the number of bytes, before memory is taken for them."""

from __future__ import annotations

import json
import math
import resource
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from logcosh_vae.base import memory
from logcosh_vae.base.errors import ConfigError, RunError, UserError
from logcosh_vae.base.image_grid import grid
from logcosh_vae.base.settings import override
from logcosh_vae.evaluation.evaluate import evaluate, generate, random_test_images
from logcosh_vae.evaluation.feature_training import FeatureConfig, check_feature_memory, feature_config
from logcosh_vae.models import MODELS
from logcosh_vae.models.footprint import activation_bytes, without_data
from logcosh_vae.models.networks import NETWORKS
from logcosh_vae.restoration.config import RestorationConfig, resolve_restoration
from logcosh_vae.restoration.network import Architecture, RestorationNetwork
from logcosh_vae.restoration.training import check_restoration_memory, load_restoration, train_restoration
from logcosh_vae.training.autoencoder import load, train
from logcosh_vae.training.config import TrainConfig, resolve
from logcosh_vae.training.config_file import read_config
from logcosh_vae.training.limits import check_training_memory, shape_of
from logcosh_vae.training.run_folder import RunFolder

GIB = 1 << 30


def check(*settings: str) -> None:
    config = resolve(override(TrainConfig(), list(settings)))
    check_training_memory(config, shape_of(config))


def check_restoration(*settings: str) -> None:
    check_restoration_memory(resolve_restoration(override(RestorationConfig("pictures"), list(settings))))


HUGE = "1" + "0" * 30
TOO_LARGE: list[tuple[Callable[..., None], tuple[str, ...]]] = [
    *((check, (f"model.network={network}", "data.name=/x", "data.size=[100000,100000]")) for network in NETWORKS),
    (check, ("data.name=/x", f"data.size=[{HUGE},{HUGE}]")),
    (check, ("model.hidden=[100000,1000000]",)),
    (check, (f"model.hidden=[{HUGE}]",)),
    (check, (f"model.hidden=[{','.join(['1'] * 100_000)}]",)),
    (check, ("model.latent_size=1000000000000",)),
    (check, (f"model.latent_size={HUGE}",)),
    (check, ("model.network=conv", "model.width=1e6")),
    (check, ("model.network=conv", "model.width=1e300")),
    (check, ("model.network=conv", "batch_size=1000000")),
    (check, ("model.family=wae", "batch_size=1000000")),
    (check_restoration, ("blocks=1000000000",)),
    (check_restoration, (f"blocks={HUGE}",)),
    (check_restoration, (f"widths=[{HUGE}]",)),
    (check_restoration, ("widths=[1000000,1000000]",)),
    (check_restoration, (f"widths=[{','.join(['1'] * 1000)}]",)),
    (check_restoration, ("batch_size=100000000",)),
    (lambda *_: check_feature_memory(feature_config("celeba", size=(100_000, 100_000))), ()),
    (lambda *_: check_feature_memory(FeatureConfig("celeba", size=(10**30, 10**30))), ()),
]


@pytest.mark.parametrize(("function", "settings"), TOO_LARGE, ids=[" ".join(case[1])[:60] for case in TOO_LARGE])
def test_settings_that_cannot_fit_are_refused_without_taking_memory(
    function: Callable[..., None], settings: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda _=None: 24 * GIB)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    try:
        with pytest.raises(ConfigError, match=r"needs at least [\d,]+ bytes|2\^63|at most") as caught:
            function(*settings)
        assert tracemalloc.get_traced_memory()[1] < 100_000_000
    finally:
        tracemalloc.stop()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB
    assert len(str(caught.value)) < 300


def test_settings_of_the_paper_fit() -> None:
    for data in ("mnist", "celeba"):
        for network in NETWORKS:
            check(f"data.name={data}", f"model.network={network}")
    check_restoration()
    check_feature_memory(feature_config("celeba"))


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 50, 77)])
@pytest.mark.parametrize("network", NETWORKS)
def test_activations_are_those_that_autograd_saves(network: str, shape: tuple[int, int, int]) -> None:
    model = without_data(lambda: MODELS["wae"].from_network(network, image_shape=shape))
    outputs: list[int] = []
    for layer in model.modules():
        if not list(layer.children()):
            layer.register_forward_hook(lambda _, __, output: outputs.append(output.numel()))
    images = torch.empty(1, *shape, device="meta")
    model(images)
    estimate = activation_bytes(model.encoder.children(), shape) + activation_bytes(model.decoder.children(), (8,))
    assert 0.3 * 4 * sum(outputs) < estimate <= 4 * (sum(outputs) + math.prod(shape) + 8)


@pytest.fixture(scope="module")
def small_run(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "run"
    settings = ["data.limit=100", "batch_size=50", "model.hidden=[8]", "log_every=10"]
    train(override(TrainConfig(epochs=1), settings), run, root=data_root)
    return run


def _tamper(run: Path, change: Callable[[dict], None]) -> None:  # type: ignore[type-arg]
    values = json.loads((run / "config.json").read_text())
    change(values)
    (run / "config.json").write_text(json.dumps(values))


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values["train"]["model"].update(hidden=[30_000, 30_000]),  # would fit into memory
        lambda values: values["train"]["model"].update(hidden=[10**9]),
        lambda values: values["train"]["model"].update(hidden=[1] * 100_000),
        lambda values: values["train"]["model"].update(latent_size=10**30),
        lambda values: values.update(image_shape=[3, 10**5, 10**5]),
        lambda values: values.update(image_shape=[3, 10**30, 10**30]),
    ],
)
def test_a_run_with_a_config_of_a_larger_network_takes_no_memory(
    change: Callable[[dict], None],  # type: ignore[type-arg]
    tmp_path: Path,
    small_run: Path,
) -> None:
    shutil.copytree(small_run, tmp_path / "run")
    _tamper(tmp_path / "run", change)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(RunError, match=r"(weights\.safetensors|config\.json) .*(bytes|at most|2\^63)"):
        load(tmp_path / "run")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # KiB


def test_a_run_whose_images_have_another_shape_now_is_not_measured(tmp_path: Path, small_run: Path) -> None:
    shutil.copytree(small_run, tmp_path / "run")
    (tmp_path / "set").mkdir()
    for index in range(4):
        Image.new("RGB", (20, 20), (0, 40 * index, 0)).save(tmp_path / "set" / f"{index}.png")
    _tamper(tmp_path / "run", lambda values: values["train"]["data"].update(name=str(tmp_path / "set"), size=[20, 20]))
    for function in (lambda: evaluate(tmp_path / "run"), lambda: random_test_images(tmp_path / "run", 4, 0)):
        with pytest.raises(RunError, match=r"trained on images of shape \(1, 28, 28\), but .* \(3, 20, 20\)"):
            function()


def test_a_restoration_run_with_a_config_of_a_larger_network_takes_no_memory(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    for index in range(2):
        Image.new("RGB", (64, 64), (0, 40 * index, 0)).save(tmp_path / "set" / f"{index}.png")
    settings = ["steps=1", "epochs=1", "widths=[4]", "val_images=1", "tile_size=64", "crop_size=16", "batch_size=1"]
    train_restoration(override(RestorationConfig(str(tmp_path / "set")), settings), tmp_path / "run")
    load_restoration(tmp_path / "run")
    for key, value in (("widths", [4_000, 4_000]), ("blocks", 10**9), ("widths", [10**30])):
        content = (tmp_path / "run" / "config.json").read_text()
        _tamper(tmp_path / "run", lambda values, k=key, v=value: values["train"].update({k: v}))  # type: ignore[misc]
        with pytest.raises(RunError, match=r"bytes|at most|2\^63"):
            load_restoration(tmp_path / "run")
        (tmp_path / "run" / "config.json").write_text(content)


@pytest.mark.parametrize("unshuffle", [1, 2, 3])
@pytest.mark.parametrize(("mask", "hint"), [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize(("widths", "blocks"), [((4,), 1), ((3, 5), 2), ((16, 32, 64, 128), 1), ((2, 3, 4), 3)])
def test_parameters_of_a_restoration_network_are_counted(
    widths: tuple[int, ...], blocks: int, unshuffle: int, mask: bool, hint: bool
) -> None:
    architecture = Architecture(widths, blocks, unshuffle, mask, hint)
    network = RestorationNetwork.of(architecture)
    assert architecture.parameter_count == sum(weight.numel() for weight in network.parameters())


def test_pictures_that_cannot_fit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda _=None: 1 << 20)
    with pytest.raises(ConfigError, match="a picture of 1,000 images needs at least"):
        grid(torch.zeros(1, 1, 28, 28).expand(1000, -1, -1, -1), 10)
    with pytest.raises(ConfigError, match="computing 10,000 images"):
        generate(MODELS["vae"].from_network(), 10_000, 0)


def test_images_that_are_not_finite_are_never_drawn() -> None:
    for value in (math.nan, math.inf, -math.inf):
        images = torch.zeros(2, 1, 4, 4)
        images[1, 0, 2, 2] = value
        with pytest.raises(UserError, match="not finite"):
            grid(images, 2)


def test_available_memory_is_known_and_follows_the_limit_of_the_process() -> None:
    available = memory.available_bytes()
    assert available is None or 0 < available < 1 << 60
    memory.check_memory(1, "a test", "do nothing")


@pytest.mark.parametrize("name", ["config.json", "config.toml"])
def test_a_config_from_elsewhere_takes_little_memory(name: str, tmp_path: Path) -> None:
    """Small values of JSON, such as empty lists, take twenty times as much memory in Python as in the file."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "weights.safetensors").touch()
    config = run / name
    if name.endswith("json"):
        config.write_text('{"kind": "auto-encoder", "x": [' + "[]," * (8 << 20) + "1]}")
    else:
        config.write_text("epochs = 3\n" + ".".join(["a"] * (32 << 10)) + " = 1\n")
    uses: list[Callable[[], object]] = [lambda: read_config(config)]
    uses += [lambda: load(run), lambda: RunFolder(run).config()] if name.endswith("json") else []
    tracemalloc.start()
    try:
        for use in uses:
            with pytest.raises(UserError, match=r"cannot be (read|loaded): is larger than [0-9,]+ bytes"):
                use()
        assert tracemalloc.get_traced_memory()[1] < GIB // 10
    finally:
        tracemalloc.stop()
