"""Exported files compute what the model does, at any size, and nothing else is ever kept."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.export.running import command
from tests.restoration.networks import random_network
from torch import Tensor

from logcosh_vae import VAE, WAE
from logcosh_vae.base.errors import MissingPackageError, RunError
from logcosh_vae.export import files
from logcosh_vae.export.files import FORMATS, export_file
from logcosh_vae.export.parts import PARTS, Part, autoencoder_part, restoration_part
from logcosh_vae.losses import make_loss
from logcosh_vae.models.density import fit_gaussian
from logcosh_vae.models.networks import Size

SHAPE = (3, 17, 20)


def model_of(kind: type[Any], network: str) -> Any:
    """A model whose weights, and statistics of batch normalisation, are not the initial ones."""
    torch.manual_seed(0)
    model = kind.from_network(network, image_shape=SHAPE, latent_size=5, size=Size(hidden=(6,), width=0.02))
    for _ in range(3):
        model(torch.rand(8, *SHAPE))
    return model.to(memory_format=torch.channels_last).eval()


def runner(path: Path, part: Part) -> Callable[[Tensor], tuple[Tensor, ...]]:
    """The function in an exported file."""
    if path.suffix == ".pt2":
        loaded = torch.export.load(path).module()
        with torch.no_grad():
            return lambda inputs: torch.utils._pytree.tree_leaves(loaded(inputs))
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == list(part.output_names)
    return lambda inputs: tuple(map(torch.from_numpy, session.run(None, {part.input_name: inputs.numpy()})))


@pytest.fixture(params=FORMATS)
def file_format(request: pytest.FixtureRequest) -> str:
    if request.param == "onnx":
        pytest.importorskip("onnxscript")
    return str(request.param)


@pytest.mark.parametrize("part_name", PARTS)
@pytest.mark.parametrize(("kind", "network"), [(VAE, "mlp"), (VAE, "conv"), (WAE, "conv")])
def test_parts_of_autoencoders(
    kind: type[Any],
    network: str,
    part_name: str,
    file_format: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    model, path = model_of(kind, network), tmp_path / f"model{FORMATS[file_format]}"
    part = autoencoder_part(model, SHAPE, part_name)
    assert 0 <= export_file(part, path, file_format) < 1e-5
    assert list(tmp_path.iterdir()) == [path]
    assert capfd.readouterr() == ("", "")
    run, inputs = runner(path, part), torch.rand(4, *SHAPE)
    if part_name == "decoder":
        inputs = torch.randn(4, 5)
    with torch.no_grad():
        if part_name == "decoder":
            expected: tuple[Tensor, ...] = (model.decode(inputs),)
        elif part_name == "both":
            expected = (model.reconstruct(inputs), model.encode_mean(inputs))
        else:
            encoded = model.encode(inputs)
            expected = (encoded.mean, encoded.log_variance) if kind is VAE else (encoded,)
        found = run(inputs)
    assert len(found) == len(expected) == len(part.output_names)
    for output, wanted in zip(found, expected, strict=True):
        assert torch.allclose(output, wanted, atol=1e-5)


def test_the_codes_of_a_decoder_come_from_the_density_that_fits_them() -> None:
    model = model_of(VAE, "mlp")
    assert autoencoder_part(model, SHAPE, "decoder").notes[0].endswith("from N(0, I) to generate")
    model.likelihood = make_loss("log-cosh", 20.0).likelihood()
    assert "from a density of its codes" in autoencoder_part(model, SHAPE, "decoder").notes[0]
    model.densities = {"gaussian": fit_gaussian(torch.randn(50, 5)), "mixture": fit_gaussian(torch.randn(50, 5))}
    assert "from the mixture that is stored with the model" in autoencoder_part(model, SHAPE, "decoder").notes[0]


def test_restoration_networks_take_images_of_any_size(file_format: str, tmp_path: Path) -> None:
    network, path = random_network((4, 6, 8), 1, unshuffle=2, mask=True), tmp_path / f"model{FORMATS[file_format]}"
    part = restoration_part(network)
    export_file(part, path, file_format)
    run = runner(path, part)
    smallest = network.downsample_factor + 1
    for size in ((1, 3, smallest, smallest), (2, 3, 64, 48), (1, 3, 31, 77)):
        images = torch.rand(size)
        with torch.no_grad():
            assert torch.allclose(run(images)[0], network(images), atol=1e-5)


@pytest.mark.parametrize("failure", ["other values", "not a number", "other shape", "error", "full disk"])
def test_a_file_that_is_not_right_is_not_kept(failure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.pt2"
    path.write_text("former")

    def write(part: Part, target: Path) -> Callable[[Tensor], tuple[Tensor, ...]]:
        target.write_text("new")
        if failure == "error":
            raise RuntimeError("unsupported\noperator")
        if failure == "full disk":
            raise OSError(28, "No space left on device", str(target))
        change: dict[str, Callable[[Tensor], Tensor]] = {
            "other values": lambda t: t + 1e-3,
            "not a number": lambda t: t * torch.nan,
            "other shape": lambda t: t[:1, :1],
        }
        return lambda inputs: tuple(map(change[failure], part(inputs)))

    monkeypatch.setattr(files, "_write_torch", write)
    part = autoencoder_part(model_of(VAE, "mlp"), SHAPE)
    with pytest.raises(
        RunError, match=r"differ|other shapes|unsupported operator|model.pt2 cannot be written: No space"
    ):
        export_file(part, path, "torch")
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"model.pt2": "former"}


def test_without_the_packages_the_message_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logcosh_vae.base.extras._is_installed", lambda name: name != "onnxruntime")
    with pytest.raises(MissingPackageError, match=r"needs onnxruntime: pip install 'logcosh-vae\[onnx\]'"):
        export_file(autoencoder_part(model_of(VAE, "mlp"), SHAPE), tmp_path / "model.onnx", "onnx")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["export", "RUN"], "--out"),
        (["export", "RUN", "-o", "model"], "end the name in .onnx or .pt2"),
        (["export", "RUN", "-o", "model.onnx", "--format", "torch"], "files of --format torch end in .pt2"),
        (["export", "RUN", "-o", "model.onnx", "--format", "onx"], "did you mean 'onnx'"),
        (["export", "RUN", "-o", "model.pt2", "--part", "encodr"], "did you mean 'encoder'"),
        (["export", "captions", "-o", "model.pt2", "--part", "encoder"], "--part belongs to autoencoders"),
        (["export", "RUN", "-o", "there.pt2"], "add --overwrite"),
        (["export", "nowhere", "-o", "model.pt2"], "nowhere is not a run folder"),
    ],
)
def test_an_error_is_one_line(
    arguments: list[str],
    message: str,
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.pt2").write_text("mine")
    assert command(monkeypatch, *[str(run) if word == "RUN" else word for word in arguments]) in (1, 2)
    output, errors = capfd.readouterr()
    assert (output, errors.count("\n")) == ("", 1)
    assert message in errors
    assert [file.name for file in tmp_path.iterdir()] == ["there.pt2"]


def test_the_command_exports_runs_named_models_and_restoration_networks(
    run: Path,
    model_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, inputs in (
        (str(run), "codes (batch, 8)"),
        (model_folder.name, "codes"),
        ("captions", "images (batch, 3"),
    ):
        part = [] if name == "captions" else ["--part", "decoder"]
        assert command(monkeypatch, *["export", name, "-o", "model.pt2", "--overwrite", *part]) == 0
        output, errors = capfd.readouterr()
        assert errors == ""
        assert output.startswith(f"input: {inputs}")
        assert "\nlargest difference from the model: " in output
        assert output.splitlines()[-1].startswith("written: model.pt2 (")


def test_a_full_disk_ends_an_export_with_an_error_and_not_the_process(tmp_path: Path) -> None:
    code = """
import resource, sys
from pathlib import Path
from logcosh_vae import VAE
from logcosh_vae.base.errors import RunError
from logcosh_vae.export.files import export_file
from logcosh_vae.export.parts import autoencoder_part
part = autoencoder_part(VAE.from_network("mlp", image_shape=(1, 28, 28)).eval(), (1, 28, 28))
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))
try:
    export_file(part, Path(sys.argv[1]), "torch")
except RunError as error:
    sys.exit(0 if str(error).endswith("model.pt2 cannot be written: File too large") else str(error))
"""
    command = [sys.executable, "-c", code, str(tmp_path / "model.pt2")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert not list(tmp_path.iterdir())
