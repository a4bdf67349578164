"""Pretrained models: saved and loaded without loss, verified like run folders, and usable by name."""

import errno
import json
import os
import random
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from tests.export.conftest import NAME
from tests.export.running import command
from torch import nn

import logcosh_vae
from logcosh_vae import VAE, WAE
from logcosh_vae.base.errors import RunError, UserError
from logcosh_vae.base.locks import try_lock
from logcosh_vae.base.settings import from_dict, to_dict
from logcosh_vae.cli import main
from logcosh_vae.evaluation.evaluate import evaluate
from logcosh_vae.evaluation.records import EvaluationConfig
from logcosh_vae.export.card import model_card, train_command
from logcosh_vae.models.autoencoder import Autoencoder
from logcosh_vae.models.density import fit_gaussian
from logcosh_vae.models.networks import Size
from logcosh_vae.training import model_names
from logcosh_vae.training.autoencoder import train
from logcosh_vae.training.config import DataConfig, ModelConfig, ObjectiveConfig, TrainConfig, resolve
from logcosh_vae.training.loop import make_generator
from logcosh_vae.training.pretrained_config import PretrainedInfo
from logcosh_vae.training.weights_file import digest_of_model, read_weights, weights_content

FILES = {"README.md", "config.json", "densities.safetensors", "model.safetensors"}


def small(kind: type[Any] = VAE) -> Any:
    return kind.from_network("mlp", latent_size=2, size=Size(hidden=(4,))).eval()


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_run_is_a_pretrained_model(run: Path) -> None:
    model = VAE.from_pretrained(run)
    assert digest_of_model(model) == digest_of_model(logcosh_vae.load(run))
    assert set(model.densities) == {"gaussian"}
    assert not model.training


def test_single_precision_loses_nothing_and_saving_again_gives_the_same_files(run: Path, tmp_path: Path) -> None:
    model = VAE.from_pretrained(run)
    model.save_pretrained(tmp_path / "digits")
    again = VAE.from_pretrained(tmp_path / "digits")
    assert digest_of_model(again) == digest_of_model(model)
    assert torch.equal(again.densities["gaussian"].factors, model.densities["gaussian"].factors)
    again.save_pretrained(tmp_path / "twice")
    assert content(tmp_path / "twice") == content(tmp_path / "digits")


def test_half_precision_is_half_the_size_and_gives_nearly_the_same_images(run: Path, saved: Path) -> None:
    assert {file.name for file in saved.iterdir()} == FILES
    model, half = VAE.from_pretrained(run), VAE.from_pretrained(saved)
    sizes = [folder_file.stat().st_size for folder_file in (run / "weights.safetensors", saved / "model.safetensors")]
    assert sizes[1] < 0.55 * sizes[0]
    codes = torch.randn(8, model.latent_size, generator=torch.Generator().manual_seed(0))
    assert half.decode(codes).dtype == torch.float32
    assert torch.allclose(half.decode(codes), model.decode(codes), atol=2e-3)
    assert set(half.densities) == {"gaussian"}


def test_the_card_names_data_loss_licence_metrics_and_the_command(run: Path, saved: Path) -> None:
    card = (saved / "README.md").read_text()
    evaluation = json.loads((run / "evaluation.json").read_text())
    assert card.startswith(
        "---\nlibrary_name: logcosh-vae\npipeline_tag: unconditional-image-generation\nlicense: mit\n"
    )
    for part in (
        f"# {NAME}",
        "`mnist`, fingerprint",
        "`log-cosh`, a = 100, weight 1",
        f"| FID | {evaluation['metrics']['fid']:.4g} |",
        evaluation["features"]["fingerprint"],
        "--loss log-cosh --a 100 --epochs 3 --seed 0 --set data.limit=400 --set 'model.hidden=[16]'",
        'model.sample(16, prior="gaussian")',
        'VAE.from_pretrained("path/of/this/folder")',
        "tags:\n- variational-autoencoder\n- log-cosh\n---",
        "measured in single precision, before they were rounded to half precision",
    ):
        assert part in card


def test_the_card_still_says_that_weights_were_rounded_when_they_are_saved_again(saved: Path, tmp_path: Path) -> None:
    VAE.from_pretrained(saved).save_pretrained(tmp_path / "again")
    card = (tmp_path / "again" / "README.md").read_text()
    assert "| weights | single precision |" in card
    assert card.endswith("measured in single precision, before they were rounded.\n")


def test_the_card_of_a_file_of_an_earlier_version_says_so_too(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved, tmp_path / "old")
    config = json.loads((saved / "config.json").read_text())
    del config["pretrained"]["measured"]["weights"]
    (tmp_path / "old" / "config.json").write_text(json.dumps(config))
    VAE.from_pretrained(tmp_path / "old").save_pretrained(tmp_path / "again")
    assert (tmp_path / "again" / "README.md").read_text().endswith("before they were rounded.\n")


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"epochs": -1}, "epochs must not be negative; got -1"),
        ({"measured": {"metrics": {}}}, r"pretrained\.measured lacks generated, test"),
        ({"measured": {"metrics": {}, "generated": 1, "test": 1, "weights": 3}}, "weights must be str; got 3"),
    ],
)
def test_a_damaged_record_is_named_and_listed(
    record: dict[str, Any],
    message: str,
    saved: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(saved, tmp_path / "models" / "broken")
    path = tmp_path / "models" / "broken" / "config.json"
    config = json.loads(path.read_text())
    config["pretrained"] |= record
    path.write_text(json.dumps(config))
    with pytest.raises(RunError, match=message):
        VAE.from_pretrained(path.parent)
    monkeypatch.setenv(model_names.MODELS_VARIABLE, str(tmp_path / "models"))
    assert command(monkeypatch, "models") == 0
    assert "broken: damaged; reinstall or save it again" in capfd.readouterr().out


def test_the_card_does_not_say_so_of_weights_that_were_not_rounded(run: Path, tmp_path: Path) -> None:
    VAE.from_pretrained(run).save_pretrained(tmp_path / "model")
    card = (tmp_path / "model" / "README.md").read_text()
    assert "| FID |" in card
    assert "rounded" not in card


@pytest.mark.parametrize(
    ("family", "loss", "tags"),
    [("vae", "l2", ["variational-autoencoder"]), ("wae", "log-cosh", ["wasserstein-autoencoder", "log-cosh"])],
)
def test_the_tags_are_those_of_the_model(family: str, loss: str, tags: list[str]) -> None:
    config = {
        "train": to_dict(resolve(TrainConfig(model=ModelConfig(family), objective=ObjectiveConfig(loss)))),
        "image_shape": [1, 28, 28],
    }
    card = model_card(config, PretrainedInfo("digits", ""), "", None, [])
    assert "\ntags:\n" + "".join(f"- {tag}\n" for tag in tags) + "---\n" in card


@pytest.mark.parametrize(
    "config",
    [
        TrainConfig(DataConfig("celeba", size=(32, 48)), ModelConfig("wae", "conv"), batch_size=25),
        TrainConfig(DataConfig("./my photos", size=(16,), tiles=True), objective=ObjectiveConfig("l1")),
        TrainConfig(objective=ObjectiveConfig("log-cosh", likelihood="scale+shape", shape=0.5, free_bits=0.1)),
    ],
)
def test_the_command_on_the_card_means_the_config(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = []
    monkeypatch.setattr("logcosh_vae.training.autoencoder.train", lambda found, *_, **__: trained.append(found))
    monkeypatch.setattr(sys, "argv", shlex.split(train_command(resolve(config))))
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 0
    data = trained[0].data
    assert Path(data.name).name == Path(config.data.name).name
    named = {**trained[0].__dict__, "data": DataConfig(**{**data.__dict__, "name": config.data.name})}
    assert resolve(TrainConfig(**named)) == resolve(config)


def test_paths_of_this_machine_are_not_stored(tmp_path: Path, run: Path) -> None:
    model = VAE.from_pretrained(run)
    assert model.origin is not None
    train_values = model.origin["train"]
    data = {**train_values["data"], "name": "/home/someone/secret/photos.zip", "size": [28, 28], "channels": 1}
    model.origin = {**model.origin, "train": {**train_values, "data": data}}
    model.save_pretrained(tmp_path / "model")
    assert all(b"secret" not in file for file in content(tmp_path / "model").values())
    assert json.loads((tmp_path / "model" / "config.json").read_text())["train"]["data"]["name"] == "./photos.zip"
    VAE.from_pretrained(tmp_path / "model")


@pytest.mark.parametrize("kind", [VAE, WAE])
@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_a_model_without_a_run_is_saved(kind: Any, network: str, tmp_path: Path) -> None:
    shape = (3, 17, 20)
    model = kind.from_network(network, image_shape=shape, latent_size=3, size=Size(hidden=(5, 4), width=0.01)).eval()
    model.densities = {"gaussian": fit_gaussian(torch.randn(9, 3))}
    model.save_pretrained(tmp_path / "model")
    again = kind.from_pretrained(tmp_path / "model")
    images = torch.rand(2, *shape)
    assert torch.allclose(again.reconstruct(images), model.reconstruct(images), atol=1e-5)  # another memory layout
    assert set(again.densities) == {"gaussian"}
    assert "There is no record of the training" in (tmp_path / "model" / "README.md").read_text()


def test_a_learned_likelihood_is_saved(tmp_path: Path, data_root: Path) -> None:
    objective = ObjectiveConfig(likelihood="scale+shape")
    config = TrainConfig(DataConfig(limit=200), ModelConfig(hidden=(4,)), objective, epochs=1)
    folder = train(config, tmp_path / "run", root=data_root).path
    model = VAE.from_pretrained(folder)
    model.save_pretrained(tmp_path / "model", precision="float16")
    learned, expected = VAE.from_pretrained(tmp_path / "model").likelihood, model.likelihood
    assert learned is not None
    assert expected is not None
    assert torch.equal(learned.scale, expected.scale)


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_weights_of_8_bits_are_within_half_a_step(network: str, tmp_path: Path) -> None:
    shape = (3, 17, 20)
    model = VAE.from_network(network, image_shape=shape, latent_size=3, size=Size(hidden=(5, 4), width=0.01)).eval()
    with torch.no_grad():
        next(model.decoder.parameters())[0] = 0.0
    model.save_pretrained(tmp_path / "model", precision="int8")
    expected = model.state_dict()
    for name, tensor in VAE.from_pretrained(tmp_path / "model").state_dict().items():
        if tensor.ndim < 2:
            assert torch.equal(tensor, expected[name])
        else:
            largest = expected[name].flatten(1).abs().amax(1)
            error = (tensor - expected[name]).flatten(1).abs().amax(1)
            assert bool((error <= largest / 254 * (1 + 1e-4)).all()), name
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert (config["pretrained"]["format"], config["pretrained"]["precision"]) == (2, "int8")


def test_weights_of_8_bits_take_a_quarter_of_the_bytes(tmp_path: Path) -> None:
    model = VAE.from_network("mlp")
    model.save_pretrained(tmp_path / "model", precision="int8")
    size = (tmp_path / "model" / "model.safetensors").stat().st_size
    assert size < 0.26 * sum(tensor.nbytes for tensor in model.state_dict().values())


def test_steps_of_another_shape_are_refused(tmp_path: Path) -> None:
    small().save_pretrained(tmp_path / "model", precision="int8")
    path = tmp_path / "model" / "model.safetensors"
    stored = read_weights(path).tensors
    name = next(name for name in stored if name.endswith(".step"))
    path.write_bytes(weights_content({**stored, name: torch.ones(1000, 1)}, None)[0])
    with pytest.raises(RunError, match=r"torch\.int8"):
        VAE.from_pretrained(tmp_path / "model")


def test_an_unknown_precision_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="precision must be float32 or float16 or int8, got 'int4'"):
        small().save_pretrained(tmp_path / "model", precision="int4")
    assert not (tmp_path / "model").exists()


def test_measurements_of_other_weights_are_left_out(run: Path, tmp_path: Path) -> None:
    model = VAE.from_pretrained(run)
    with torch.no_grad():
        next(model.parameters()).add_(0.01)
    model.save_pretrained(tmp_path / "model")
    card = (tmp_path / "model" / "README.md").read_text()
    assert "were changed after this training" in card
    assert "FID" not in card
    assert "\n# model\n" in card  # the name of the folder: it is not the model that had a name


def test_networks_of_the_user_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="networks or a class of your own"):
        VAE(nn.Linear(4, 4), nn.Linear(2, 4), 2).save_pretrained(tmp_path / "model")
    model = small()
    model.decoder = nn.Linear(2, 4)
    with pytest.raises(RunError, match="not what its config describes"):
        model.save_pretrained(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_model_class_of_the_user_is_refused(tmp_path: Path) -> None:
    class Other(Autoencoder):
        encode_mean = WAE.encode_mean  # type: ignore[assignment]
        forward = WAE.forward  # type: ignore[assignment]

    model = Other.from_network("mlp", size=Size(hidden=(4,)))
    with pytest.raises(RunError, match=r"this Other .* of your own"):
        model.save_pretrained(tmp_path / "model")


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, precision: str) -> None:
    model = small()
    with torch.no_grad():
        next(model.parameters())[0, 0] = 1e5 if precision == "float16" else torch.inf
    with pytest.raises(RunError, match="not finite"):
        model.save_pretrained(tmp_path / "model", precision=precision)


def test_what_a_folder_holds_is_replaced_only_on_request(tmp_path: Path, run: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "mine", run, tmp_path / "file"):
        with pytest.raises(RunError):
            small().save_pretrained(folder, overwrite=True)
    first, second = small(), small()
    first.densities = {"gaussian": fit_gaussian(torch.randn(9, 2))}
    first.save_pretrained(tmp_path / "model")
    with pytest.raises(RunError, match="already holds a model"):
        second.save_pretrained(tmp_path / "model")
    second.save_pretrained(tmp_path / "model", overwrite=True)
    assert digest_of_model(VAE.from_pretrained(tmp_path / "model")) == digest_of_model(second)
    assert VAE.from_pretrained(tmp_path / "model").densities == {}
    assert (tmp_path / "mine" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_file_of_the_user_is_replaced_only_on_request(
    name: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Such as README.md in the folder of a repository that the model is saved to."""
    (tmp_path / "repository" / ".git").mkdir(parents=True)
    (tmp_path / "repository" / name).write_text("mine")
    with pytest.raises(RunError, match="already holds"):
        small().save_pretrained(tmp_path / "repository")
    assert command(monkeypatch, "save", str(run), "-o", str(tmp_path / "repository")) == 2
    assert "add --overwrite" in capfd.readouterr().err
    assert (tmp_path / "repository" / name).read_text() == "mine"
    small().save_pretrained(tmp_path / "repository", overwrite=True)
    VAE.from_pretrained(tmp_path / "repository")


def test_a_full_disk_keeps_the_former_model(tmp_path: Path) -> None:
    former, large = small(), VAE.from_network("mlp", latent_size=2, size=Size(hidden=(64,)))
    former.densities = {"gaussian": fit_gaussian(torch.randn(9, 2))}
    former.save_pretrained(tmp_path / "model")
    before = content(tmp_path / "model")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(RunError, match="cannot be written"):
            large.save_pretrained(tmp_path / "model", overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert content(tmp_path / "model") == before


def test_two_processes_do_not_mix_their_models(tmp_path: Path) -> None:
    small().save_pretrained(tmp_path / "model")
    before = content(tmp_path / "model")
    descriptor = os.open(tmp_path / "model", os.O_RDONLY)
    try:
        assert try_lock(descriptor)  # as another process that is saving
        with pytest.raises(RunError, match="another process is saving a model there"):
            small().save_pretrained(tmp_path / "model", overwrite=True)
    finally:
        os.close(descriptor)
    assert content(tmp_path / "model") == before
    small().save_pretrained(tmp_path / "model", overwrite=True)


def test_the_class_has_to_fit(tmp_path: Path) -> None:
    small(WAE).save_pretrained(tmp_path / "model")
    with pytest.raises(RunError, match=r"holds a WAE, not a VAE; load it with WAE\.from_pretrained"):
        VAE.from_pretrained(tmp_path / "model")


def _train_on(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda values: values["train"]["data"].update(name=name)


@pytest.mark.parametrize("name", ["./a\udcff\n`'\\b", "./```\n# no heading", "./\u202e\x1b[31m"])
def test_a_model_of_images_with_any_name_is_saved(name: str, model_folder: Path, tmp_path: Path) -> None:
    """The card shows the name in the command that bash reads."""
    rewrite(model_folder / "config.json", _train_on(name))
    rewrite(model_folder / "config.json", lambda values: values.update(images="damaged", torch={"a": 1}))
    VAE.from_pretrained(model_folder).save_pretrained(tmp_path / "again")
    card = (tmp_path / "again" / "README.md").read_text(encoding="utf-8")
    written = re.search(r"^logcosh-vae train --data (.*) --model vae-mlp", card, re.MULTILINE)
    assert written is not None
    assert "\n# no heading" not in card
    shown = subprocess.run(["bash", "-c", f"printf %s {written[1]}"], capture_output=True, check=True).stdout
    assert shown == os.fsencode(name)
    assert VAE.from_pretrained(tmp_path / "again").origin["train"]["data"]["name"] == name


@pytest.mark.parametrize("name", ["./a\0b", "./a\ud800b"])
def test_a_name_that_no_file_can_have_is_refused(name: str, model_folder: Path) -> None:
    rewrite(model_folder / "config.json", _train_on(name))
    with pytest.raises(RunError, match=r"data\.name must be text that a file name can hold"):
        VAE.from_pretrained(model_folder)


def _without_permission(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let the system refuse access to what is in a folder, also to the administrator."""
    for name in ("stat", "iterdir"):
        allowed = getattr(Path, name)

        def refused(path: Path, allowed: Any = allowed, **options: Any) -> Any:
            if path == folder or folder in path.parents:
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return allowed(path, **options)

        monkeypatch.setattr(Path, name, refused)


def test_models_that_cannot_be_read_are_named_and_hide_no_others(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (model_folder / "dangling").symlink_to("nowhere")
    secret = model_folder.parent / "secret"
    shutil.copytree(model_folder, secret, symlinks=True)
    with monkeypatch.context() as patch:
        _without_permission(patch, secret)
        assert command(patch, "models") == 0
        assert capfd.readouterr().out.splitlines()[-1] == "secret: cannot be read (Permission denied)"
        VAE.from_pretrained(NAME)
    with monkeypatch.context() as patch:
        _without_permission(patch, model_folder.parent)
        assert command(patch, "models") == 1
        assert f"the folder in ${model_names.MODELS_VARIABLE}, cannot be read" in capfd.readouterr().err
        with pytest.raises(RunError, match="cannot be read"):
            VAE.from_pretrained(NAME)


def test_names_that_mean_nothing_are_explained(model_folder: Path) -> None:
    assert model_folder.name == NAME
    with pytest.raises(RunError, match=f"no folder mnist-vae-smal, .*did you mean '{NAME}'"):
        VAE.from_pretrained("mnist-vae-smal")
    with pytest.raises(RunError, match=f"not a run folder.*did you mean the model '{NAME}'"):
        logcosh_vae.load("mnist-vae-smal")


def rewrite(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def other_weights(path: Path, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    tensors = {name: change(tensor) for name, tensor in safetensors.torch.load_file(path).items()}
    safetensors.torch.save_file(tensors, path)


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no config": (lambda f: (f / "config.json").unlink(), "not a run folder"),
    "no record": (lambda f: rewrite(f / "config.json", lambda v: v.pop("pretrained")), "pretrained must be an object"),
    "later": (lambda f: rewrite(f / "config.json", lambda v: v["pretrained"].update(format=9)), "cannot read; update"),
    "name": (
        lambda f: rewrite(f / "config.json", lambda v: v["pretrained"].update(name=[])),
        "pretrained.name must be",
    ),
    "metrics": (
        lambda f: rewrite(f / "config.json", lambda v: v["pretrained"]["measured"].update(metrics={"fid": "x"})),
        "fid must be float",
    ),
    "huge": (lambda f: rewrite(f / "config.json", lambda v: v["train"]["model"].update(hidden=[10**6])), "network of"),
    "cut": (lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-9]), "loaded"),
    "other weights": (lambda f: other_weights(f / "model.safetensors", lambda t: t + 1), "other weights than those"),
    "nan": (lambda f: other_weights(f / "model.safetensors", lambda t: t * torch.nan), "not finite"),
    "double": (lambda f: other_weights(f / "model.safetensors", torch.Tensor.double), "float64"),
    "pipe": (lambda f: ((f / "model.safetensors").unlink(), os.mkfifo(f / "model.safetensors")), "missing or no file"),
    "densities": (lambda f: (f / "densities.safetensors").write_bytes(b"x" * 99), "densities.safetensors is damaged"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_named(model_folder: Path, damage: str) -> None:
    change, message = DAMAGE[damage]
    change(model_folder)
    with pytest.raises(RunError, match=message):
        VAE.from_pretrained(model_folder)


def test_random_damage_is_found_or_harmless(model_folder: Path) -> None:
    draw, whole = random.Random(0), content(model_folder)
    expected = digest_of_model(VAE.from_pretrained(model_folder))
    for _ in range(60):
        name = draw.choice(["config.json", "model.safetensors", "densities.safetensors"])
        data = bytearray(whole[name])
        data[draw.randrange(min(len(data), 3_000))] ^= 1 << draw.randrange(8)
        (model_folder / name).write_bytes(data)
        with suppress(UserError):
            assert digest_of_model(VAE.from_pretrained(model_folder)) == expected
        (model_folder / name).write_bytes(whole[name])


def test_damage_of_a_model_of_the_package_asks_for_a_new_installation(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_names, "WEIGHTS_FOLDER", model_folder.parent)
    monkeypatch.delenv(model_names.MODELS_VARIABLE)
    VAE.from_pretrained(NAME)
    other_weights(model_folder / "model.safetensors", lambda t: t + 1)
    with pytest.raises(RunError, match=r"; reinstall logcosh-vae$"):
        VAE.from_pretrained(NAME)


def test_nothing_is_written_to_the_folder_of_a_pretrained_model(model_folder: Path, data_root: Path) -> None:
    before = content(model_folder)
    measured = evaluate(model_folder, EvaluationConfig(sharpness_images=4, fid_images=200), root=data_root)
    config = json.loads(before["config.json"])
    assert measured.metrics["fid"] == pytest.approx(config["pretrained"]["measured"]["metrics"]["fid"], rel=1e-2)
    for resume in (False, True):
        with pytest.raises(RunError, match="pretrained model, which cannot be trained"):
            train(from_dict(TrainConfig, config["train"]), model_folder, resume=resume, root=data_root)
    assert content(model_folder) == before


@pytest.mark.usefixtures("model_folder")
@pytest.mark.parametrize(
    ("arguments", "picture"),
    [
        (["sample", NAME], f"{NAME}-sample-seed0-100.png"),
        (["sample", NAME, "--prior", "gaussian", "--data-root", "nowhere"], f"{NAME}-sample-gaussian-seed0-100.png"),
        (["sample", NAME, "-o", "digits.png"], "digits.png"),
        (["interpolate", NAME, "--prior", "standard"], f"{NAME}-interpolate-standard-seed0-8x12.png"),
        (["reconstruct", NAME, "--data-root", "DATA"], f"{NAME}-reconstruct-seed0-40.png"),
    ],
)
def test_commands_take_the_name_of_a_model(
    arguments: list[str],
    picture: str,
    tmp_path: Path,
    data_root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [str(data_root) if word == "DATA" else word for word in arguments]
    assert command(monkeypatch, *words) == 0
    assert capfd.readouterr().out == f"written: {picture}\n"
    assert (tmp_path / picture).is_file()


@pytest.mark.usefixtures("model_folder")
def test_the_explorer_takes_the_name_of_a_model(
    tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["explore", NAME, "-o", "page.html", "--images", "2", "--data-root", str(data_root)]
    assert command(monkeypatch, *words) == 0, capfd.readouterr().err
    assert (tmp_path / "page.html").stat().st_size > 10_000


def test_missing_images_are_named_with_what_needs_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    small().save_pretrained(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    for arguments, message in (
        (["reconstruct", "model"], "error: model needs the images that it was trained on: "),
        (["sample", "model", "--prior", "gaussian"], "error: model holds no gaussian density, and the images to fit"),
    ):
        assert command(monkeypatch, *arguments) == 1
        errors = capfd.readouterr().err
        assert errors.startswith(message)
        assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("verb", "name", "options"),
    [
        ("sample", "s.png", ["--count", "2", "--out"]),
        ("explore", "page.html", ["--images", "0", "-o"]),
        ("export", "model.pt2", ["-o"]),
    ],
)
def test_a_result_keeps_the_permissions_and_the_link_of_the_file_that_it_replaces(
    verb: str, name: str, options: list[str], saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, link = tmp_path / "private" / name, tmp_path / name
    private.parent.mkdir()
    private.write_text("former")
    private.chmod(0o600)
    link.symlink_to(private)
    assert command(monkeypatch, verb, str(saved), *options, str(link)) == 2
    assert private.read_text() == "former"
    assert command(monkeypatch, verb, str(saved), *options, str(link), "--overwrite") == 0
    assert link.is_symlink()
    assert private.stat().st_size > 1000
    assert private.stat().st_mode & 0o777 == 0o600


def test_a_link_in_a_run_folder_is_not_written_through(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, mine = tmp_path / "run", tmp_path / "mine.png"
    shutil.copytree(run, folder)
    mine.write_text("mine")
    (folder / "sample-seed0-4.png").symlink_to(mine)
    assert command(monkeypatch, "sample", str(folder), "--count", "4", "--overwrite") == 0
    assert mine.read_text() == "mine"


def test_the_command_saves_a_run(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "evaluation.json").unlink()
    monkeypatch.chdir(tmp_path)
    assert (
        command(monkeypatch, "save", "run", "-o", "models/digits", "--precision", "float16", "--license", "cc0-1.0")
        == 0
    )
    output, errors = capfd.readouterr()
    assert output == "written: models/digits (0.1 MB)\nto use it: logcosh-vae sample models/digits\n"
    assert errors == "note: the card has no measurements; 'logcosh-vae evaluate run' makes them\n"
    assert command(monkeypatch, "save", "run", "-o", "models/digits") == 2
    assert "add --overwrite" in capfd.readouterr().err
    monkeypatch.setenv(model_names.MODELS_VARIABLE, "models")
    assert command(monkeypatch, "models") == 0
    assert "digits: vae-mlp on mnist; log-cosh, a = 100; 0.1 MB\n" in capfd.readouterr().out
    monkeypatch.delenv(model_names.MODELS_VARIABLE)
    monkeypatch.setattr(model_names, "WEIGHTS_FOLDER", tmp_path / "nowhere")
    assert command(monkeypatch, "models") == 0
    assert capfd.readouterr().err.startswith("note: no models come with this package")


@pytest.mark.parametrize("load", [logcosh_vae.load, VAE.from_pretrained])
def test_changed_weights_keep_neither_measurements_nor_densities(load: Callable[[Any], VAE], tmp_path: Path) -> None:
    model = load("mnist-vae-learned")
    assert set(model.densities) == {"mixture"}
    model.save_pretrained(tmp_path / "same")
    assert set(VAE.from_pretrained(tmp_path / "same").densities) == {"mixture"}
    assert model.sample(3, make_generator(0, "codes"), prior="mixture").numpy().shape == (3, 1, 28, 28)
    with torch.no_grad():
        next(model.encoder.parameters()).mul_(1.5)
    model.save_pretrained(tmp_path / "changed")
    info = json.loads((tmp_path / "changed" / "config.json").read_text())["pretrained"]
    assert (info["measured"], info["changed"]) == (None, True)
    changed = VAE.from_pretrained(tmp_path / "changed")
    assert changed.densities == {}
    with pytest.raises(ValueError, match="no density 'mixture'; it can draw from: standard"):
        changed.sample(3, prior="mixture")
    fitted = fit_gaussian(torch.randn(100, 8))
    model.densities = {"gaussian": fitted}  # fitted to the changed weights
    model.save_pretrained(tmp_path / "fitted")
    assert set(VAE.from_pretrained(tmp_path / "fitted").densities) == {"gaussian"}


@pytest.mark.parametrize(("network", "limit"), [("conv", 10.0), ("mlp", 2.0), ("conv", 4.0), ("mlp", 20.0)])
def test_the_limit_of_log_variances_is_saved(network: str, limit: float, tmp_path: Path) -> None:
    model = VAE.from_network(network, latent_size=2, size=Size(hidden=(4,), width=0.01))
    model.max_log_variance = limit
    model.save_pretrained(tmp_path / "model")
    assert VAE.from_pretrained(tmp_path / "model").max_log_variance == limit


def test_damaged_files_of_a_model_say_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_names.named_models()["mnist-vae-learned"], folder)
    densities = (folder / "densities.safetensors").read_bytes()
    (folder / "densities.safetensors").write_bytes(densities[:-1000])
    assert command(monkeypatch, "sample", str(folder), "-o", str(tmp_path / "prior.png")) == 0  # needs none of them
    assert command(monkeypatch, "sample", str(folder), "--prior", "mixture", "-o", str(tmp_path / "mixture.png")) == 1
    assert "densities.safetensors" in capfd.readouterr().err
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-100] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    for message in ("wrong checksum; copy or download the folder again", "is missing or no file; copy or download"):
        with pytest.raises(RunError, match=message):
            VAE.from_pretrained(folder)
        (folder / "model.safetensors").unlink(missing_ok=True)


def test_an_unrelated_folder_does_not_hide_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mnist-vae-l2").mkdir()
    assert VAE.from_pretrained("mnist-vae-l2").latent_size == 8
