"""Configs: defaults, validation, overrides, former keys and digests."""

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from logcosh_vae.base.devices import find_device, float64_device
from logcosh_vae.base.errors import ConfigError, RenamedWarning
from logcosh_vae.base.settings import digest, from_dict, override, renamed_keys, to_dict
from logcosh_vae.restoration.config import RestorationConfig, resolve_restoration
from logcosh_vae.training.builders import build_model, build_optimizer, build_schedule
from logcosh_vae.training.config import ObjectiveConfig, TrainConfig, resolve
from logcosh_vae.training.loop import Position


@pytest.mark.parametrize(("cuda", "mps", "device"), [(0, 0, "cpu"), (0, 1, "mps"), (1, 0, "cuda"), (1, 1, "cuda")])
def test_auto_is_resolved_to_the_device_of_this_machine(
    cuda: int, mps: int, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(cuda))
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: bool(mps))
    config = resolve(TrainConfig(device="auto"))
    assert config == resolve(TrainConfig(device=device))
    assert config.device == device
    assert digest(config) == digest(resolve(TrainConfig(device=device)))
    restoration = RestorationConfig("set", bfloat16=False)
    assert resolve_restoration(replace(restoration, device="auto")).device == device


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("epochs=" + "9" * 5_000, "5,000 characters"),
        ("epochs=Infinity", "must be a whole number"),
        ("optimizer.eps=Infinity", "positive and finite"),
        ("optimizer.lr_milestones=[[NaN, 1]]", "both finite"),
        ("optimizer.lr_milestones=[[1, 1e999]]", "both finite"),
        ("objective.mmd_scales=[1, Infinity]", "positive and finite"),
        ("optimizer.learning_rate=1" + "0" * 400, "must be a number"),
        ("epochs=1" + "0" * 400, r"epochs must be a number below 2\^63"),
        ("data.size=" + "[" * 100_000, "100,000 characters"),
        ("data.size=" + "[" * 900 + "]" * 900, r"must be a whole number; got \[+\.\.\.\]+$"),
        (f"epochs=[{'1, ' * 9_000}1]", r"got \[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, \.\.\.\]$"),
    ],
)
def test_a_setting_that_is_no_usable_number_is_refused(setting: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        resolve(override(TrainConfig(), [setting]))


def test_a_missing_key_and_numbers_that_count_as_zero_are_named() -> None:
    with pytest.raises(ConfigError, match=r"^data is missing$"):
        from_dict(RestorationConfig, {})
    for setting in ("objective.a=1e-310", "optimizer.learning_rate=5e-324"):
        with pytest.raises(ConfigError, match="must be a number; got"):
            override(TrainConfig(), [setting])


@pytest.mark.parametrize("size", ["[]", "[64, 64, 64]", "[2]", "[64, 0]"])
def test_a_size_has_one_or_two_numbers(size: str) -> None:
    with pytest.raises(ConfigError, match=r"data\.size must be one or two numbers of at least 3"):
        resolve(override(TrainConfig(), ["data.name=celeba", f"data.size={size}"]))


@pytest.mark.parametrize("name", ["meta", "xla", "privateuseone", "cuda:" + "9" * 30, "cpu:-1", "", "\x1b"])
def test_a_device_that_cannot_compute_is_refused_in_a_few_words(name: str) -> None:
    with pytest.raises(ConfigError, match="use auto, cpu, cuda, cuda:N or mps") as refused:
        find_device(name)
    assert len(str(refused.value)) < 400


def test_mps_trains_without_what_it_does_not_support() -> None:
    config = resolve(override(TrainConfig(device="mps"), ["model.network=conv", "model.width=0.03125"]))
    assert (config.bfloat16, config.cuda_graph) == (False, None)
    model = build_model(config, (1, 28, 28))
    assert all(weight.is_contiguous() for weight in model.parameters())
    assert build_optimizer(config, model).defaults["fused"] is None
    assert float64_device(torch.device("mps")) == torch.device("cpu")
    if not torch.backends.mps.is_available():
        with pytest.raises(ConfigError, match=r"device 'mps' cannot be used \(this machine has no MPS\)"):
            find_device("mps")


@given(st.builds(TrainConfig, epochs=st.integers(1, 99), seed=st.integers(0, 2**62), threads=st.integers(1, 8)))
def test_config_round_trips_through_json(config: TrainConfig) -> None:
    assert from_dict(TrainConfig, json.loads(json.dumps(to_dict(config)))) == config


def test_defaults_depend_on_family_network_and_data() -> None:
    vae, wae = resolve(TrainConfig()), resolve(override(TrainConfig(), ["model.family=wae"]))
    assert (vae.objective.a, vae.objective.reconstruction_weight) == (100.0, 1.0)
    assert wae.objective.reconstruction_weight == 0.005
    assert resolve(replace(vae, objective=ObjectiveConfig(loss="l1"))).objective.a is None
    faces = resolve(override(TrainConfig(), ["data.name=celeba", "model.family=wae", "model.network=conv"]))
    assert (faces.objective.a, faces.objective.reconstruction_weight, faces.epochs, faces.model.latent_size) == (
        2.5,
        0.002,
        55,
        64,
    )
    assert faces.optimizer.lr_milestones == ((30.0, 0.5), (50.0, 0.2))
    assert resolve(override(faces, ["optimizer.lr_milestones=[]", "epochs=3"])).optimizer.lr_milestones == ()
    # convolutions as in the code published with Tolstikhin et al. (2018), the MLP with torch's defaults
    assert (vae.optimizer.betas, faces.optimizer.betas) == ((0.9, 0.999), (0.5, 0.999))
    assert resolve(override(faces, ["optimizer.betas=[0.9, 0.99]"])).optimizer.betas == (0.9, 0.99)
    digits = resolve(override(vae, ["model.network=conv", "model.hidden=null"]))
    assert [each.model.max_log_variance for each in (vae, wae, faces, digits)] == [None, None, None, 4.0]


def test_no_hidden_layers_are_a_choice_and_not_the_default() -> None:
    model = build_model(resolve(override(TrainConfig(), ["model.hidden=[]"])), (1, 28, 28))
    shapes = [tuple(parameter.shape) for parameter in model.parameters() if parameter.ndim == 2]
    assert shapes == [(16, 784), (784, 8)]


def test_cuda_graph_is_the_default_on_a_gpu_unless_compiled() -> None:
    cpu, gpu = resolve(TrainConfig()), resolve(TrainConfig(device="cuda"))
    assert (cpu.cuda_graph, gpu.cuda_graph) == (None, True)
    assert resolve(TrainConfig(device="cuda", compiled=True)).cuda_graph is False
    with pytest.raises(ConfigError, match="cuda_graph must be false where compiled is true"):
        resolve(TrainConfig(device="cuda", compiled=True, cuda_graph=True))
    with pytest.raises(ConfigError, match="cuda_graph must be false or null unless the device is cuda"):
        resolve(TrainConfig(cuda_graph=True))


def test_learning_rate_changes_after_each_milestone() -> None:
    schedule = build_schedule(resolve(override(TrainConfig(), ["data.name=celeba"])), steps=7)
    last = [schedule.learning_rate(Position(epoch, 68, 7, 7).fraction) for epoch in (1, 30, 50, 68)]
    first = [schedule.learning_rate(Position(epoch, 68, 1, 7).fraction) for epoch in (1, 31, 51)]
    assert last == pytest.approx([1.0, 1.0, 0.5, 0.1])
    assert first == pytest.approx([1.0, 0.5, 0.1])


def test_former_names_of_settings_still_work() -> None:
    with pytest.warns(RenamedWarning, match="optimizer.epsilon is now called optimizer.eps"):
        config = override(TrainConfig(), ["optimizer.epsilon=1e-7"])
    assert config.optimizer.eps == 1e-7
    older = {"objective": {"loss": "l2", "weight": 0.5}, "optimizer": {"epsilon": 1e-6, "drops": [[1, 0.5]]}}
    config = from_dict(TrainConfig, older)
    assert config.objective.reconstruction_weight == 0.5
    assert config.optimizer.eps == 1e-6
    assert config.optimizer.lr_milestones == ((1.0, 0.5),)
    assert renamed_keys(TrainConfig)["optimizer.drops"] == "optimizer.lr_milestones"


def test_renamed_setting_does_not_change_the_digest() -> None:
    """The digests are those of version 0.1, whose keys were `weight`, `epsilon` and `drops`."""
    assert digest(resolve(TrainConfig())) == "8fff04d679df"
    assert digest(resolve_restoration(RestorationConfig("set", bfloat16=False))) == "81253af26fb1"


def test_every_value_changes_the_digest() -> None:
    base = resolve(TrainConfig())
    settings = ["seed=1", "epochs=2", "objective.a=99", "optimizer.learning_rate=0.01", "model.hidden=[500]"]
    digests = {digest(override(base, [setting])) for setting in settings} | {digest(base), digest(base, "code")}
    assert len(digests) == len(settings) + 2


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("optimiser.learning_rate=1", "did you mean 'optimizer'"),
        ("optimizer.lerning_rate=1", "did you mean 'learning_rate'"),
        ("epochs=many", "epochs must be a whole number; got 'many'"),
        ("epochs=true", "epochs must be a whole number"),
        ("epochs=1.5", "epochs must be a whole number"),
        ("epochs=0", "epochs must be at least 1"),
        ("epochs.more=1", "'epochs' has no parts"),
        ("epochs", "write it as key=value"),
        ("model.hidden=[500, 0]", "positive numbers"),
        ("model.hidden=500", "model.hidden must be a list, e.g. [1, 2]"),
        ("model.family=vea", "did you mean 'vae'"),
        ("optimizer.betas=[0.9]", "optimizer.betas must be a list of 2"),
        ("optimizer.learning_rate=NaN", "positive and finite"),
        ("objective.loss=huber", "unknown loss 'huber'"),
        ("objective.a=-1", "positive finite number"),
        ("model.width=0.5", "applies to model.network='conv' only"),
        ("model.max_log_variance=0", "model.max_log_variance must be positive and at most 20"),
        ("model.max_log_variance=21", "model.max_log_variance must be positive and at most 20"),
        ("optimizer.lr_milestones=[[30]]", "optimizer.lr_milestones must be a list of 2"),
        ("optimizer.lr_milestones=[[30, 0]]", "an epoch and a positive factor"),
        ("objective.reconstruction_weight=0", "objective.reconstruction_weight must be positive"),
        ("batch_size=1", "at least 2"),
        ("bfloat16=maybe", "bfloat16 must be true or false"),
        ("data.name=3", "data.name must be text"),
        ("optimizer=3", "optimizer must be a group of settings"),
    ],
)
def test_error_names_the_invalid_setting(setting: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("[", r"\[")):
        resolve(override(TrainConfig(), [setting]))


@pytest.mark.parametrize("name", ["meta", "hpu", "vulkan", "xla", "cuda:99", "cuda:-1", "", "cpu:x", "gpu"])
def test_devices_that_cannot_compute_are_refused_with_one_line(name: str) -> None:
    with pytest.raises(ConfigError, match=r"cannot be used .*use auto, cpu, cuda, cuda:N or mps") as caught:
        find_device(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("network", ["mlp", "conv"])
@pytest.mark.parametrize("family", ["vae", "wae"])
@pytest.mark.parametrize("data", ["mnist", "celeba", "pictures"])
def test_a_config_that_is_read_from_its_file_is_written_and_identified_as_before(
    data: str, family: str, network: str
) -> None:
    config = resolve(
        override(TrainConfig(), [f"data.name={data}", f"model.family={family}", f"model.network={network}"])
    )
    text = json.dumps(to_dict(config))
    again = resolve(from_dict(TrainConfig, json.loads(text)))
    assert json.dumps(to_dict(again)) == text
    assert digest(again) == digest(config)
