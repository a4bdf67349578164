"""Kill a command before each of its changes to a folder, and run it again: `python kill_points.py SCENARIO FOLDER`.

Each attempt runs in a child process that ends without warning before the n-th file operation inside the folder, for
n = 1, 2, 3 and so on until an attempt survives. After each kill, the scenario's `check` has to accept what is left,
and the same command has to finish with the same result as an undisturbed one. Prints the number of kills.
"""

import os
import shutil
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from logcosh_vae.base.files import read_json
from logcosh_vae.base.settings import override
from logcosh_vae.data import ImageSet, load_images
from logcosh_vae.evaluation import feature_training
from logcosh_vae.evaluation.feature_installation import install_classifier
from logcosh_vae.evaluation.feature_training import FeatureConfig, train_features
from logcosh_vae.evaluation.features import load_classifier
from logcosh_vae.export.pretrained import FILES as PRETRAINED_FILES
from logcosh_vae.export.pretrained import save_pretrained
from logcosh_vae.models.autoencoder import VAE
from logcosh_vae.models.density import fit_gaussian
from logcosh_vae.models.networks import Size
from logcosh_vae.training import autoencoder, run_folder
from logcosh_vae.training.autoencoder import load, train
from logcosh_vae.training.config import TrainConfig
from logcosh_vae.training.pretrained_config import is_unfinished
from logcosh_vae.training.run_folder import RunFolder
from logcosh_vae.training.weights_file import digest_of_model, read_weights

CONFIG = override(TrainConfig(epochs=2), ["data.limit=200", "model.hidden=[4]", "picture_every=1", "track_images=0"])
FEATURES = FeatureConfig(limit=100, epochs=1, widths=(2, 2))
CHANGES = {"os.rename", "os.link", "os.remove", "os.mkdir", "os.truncate"}
KILLED = 9


@dataclass(frozen=True)
class Scenario:
    """A command that is killed.

    Attributes:
        prepare: brings a new folder into the state before the command.
        command: changes the folder.
        check: raises an error if a killed command has left something that cannot be used.
        results: names of the files that must be equal to those of an undisturbed command.
    """

    prepare: Callable[[Path], Any]
    command: Callable[[Path], Any]
    check: Callable[[Path], Any]
    results: tuple[str, ...]


def _check_grown(folder: Path) -> None:
    """The weights are those of the first epoch until those of the second are complete, and they can be loaded."""
    weights = read_weights(RunFolder(folder).weights_path)
    load(folder)
    names = {path.name for path in folder.iterdir()}
    assert weights.epochs == 2 or "evaluation.json" in names, "the evaluation of the weights is gone"


def _install(folder: Path) -> None:
    run = RunFolder(folder.parent / "classifier")
    install_classifier(run if run.config_path.exists() else train_features(FEATURES, run.path), folder)


def _check_installed(folder: Path) -> None:
    if (folder / "mnist.safetensors").exists():
        load_classifier("mnist", (1, 28, 28), None, folder)


def _model(seed: int) -> VAE:
    torch.manual_seed(seed)
    model = VAE.from_network("mlp", latent_size=2, size=Size(hidden=(4,)))
    model.densities = {"gaussian": fit_gaussian(torch.randn(9, 2))}
    return model


def _check_saved(folder: Path) -> None:
    """The folder holds the former or the new model, whole."""
    assert digest_of_model(VAE.from_pretrained(folder)) in map(digest_of_model, (_model(1), _model(2)))


def _is_saved(folder: Path) -> bool:
    """Whether a killed first save had finished, so that the same command needs `overwrite`."""
    config = folder / "config.json"
    return config.exists() and not is_unfinished(read_json(config))


SCENARIOS = {
    "new": Scenario(
        prepare=lambda folder: None,  # noqa: ARG005
        command=lambda folder: train(CONFIG, folder, resume=(folder / "metrics.jsonl").exists()),
        check=lambda folder: None,  # noqa: ARG005
        results=("weights.safetensors", "config.json", "samples/epoch-0002.png"),
    ),
    "grow": Scenario(
        prepare=lambda folder: (
            train(replace(CONFIG, epochs=1), folder),
            (folder / "evaluation.json").write_text('{"weights": "of the first epoch"}'),
        ),
        command=lambda folder: train(CONFIG, folder, resume=True),
        check=_check_grown,
        results=("weights.safetensors", "config.json"),
    ),
    "install": Scenario(
        prepare=lambda folder: _install(folder.parent / "other"), command=_install, check=_check_installed,
        results=("mnist.safetensors", "mnist.json"),
    ),
    "save": Scenario(
        prepare=lambda folder: None,  # noqa: ARG005
        command=lambda folder: save_pretrained(_model(1), folder, name="model", overwrite=_is_saved(folder)),
        check=lambda folder: None,  # noqa: ARG005
        results=PRETRAINED_FILES,
    ),
    "save over": Scenario(
        prepare=lambda folder: save_pretrained(_model(1), folder, name="model"),
        command=lambda folder: save_pretrained(_model(2), folder, name="model", overwrite=True),
        check=_check_saved,
        results=PRETRAINED_FILES,
    ),
}  # fmt: skip


@cache
def _load_few(name: str, split: str, **_: Any) -> ImageSet:
    """Load 200 images once for all attempts."""
    return load_images(name, split).first(200)


def in_child(function: Callable[[], Any]) -> int:
    """Run a function in a child process; returns its exit code."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            function()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed_before(number: int, folder: Path, function: Callable[[Path], Any]) -> None:
    """Call a function, and end the process before its `number`-th change inside the folder."""
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        is_write = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if event in CHANGES or is_write:
            paths = [os.fspath(each) for each in arguments[:2] if isinstance(each, str | os.PathLike)]
            if any(path.startswith(str(folder)) for path in paths if isinstance(path, str)):
                count += 1
                if count == number:
                    os._exit(KILLED)

    sys.addaudithook(hook)
    function(folder)


def main(name: str, base: Path) -> None:
    """Kill the scenario's command at every point; an error tells which kill could not be recovered from."""
    for module in ("torch._dynamo", "PIL.PngImagePlugin"):
        import_module(module)  # once, and not in every process
    run_folder.STATE_SECONDS = 0.0  # a state after every epoch
    scenario = SCENARIOS[name]
    for module in (autoencoder, feature_training):
        module.load_images = _load_few  # type: ignore[attr-defined]
    for split in ("train", "test"):
        _load_few("mnist", split)  # before the processes fork
    whole, before, attempt = base / "whole", base / "before", base / "attempt"
    assert in_child(lambda: (scenario.prepare(whole), scenario.command(whole))) == 0
    assert in_child(lambda: scenario.prepare(before)) == 0
    for number in range(1, 1000):
        shutil.rmtree(attempt, ignore_errors=True)
        if before.exists():
            shutil.copytree(before, attempt)
        print(f"kill {number}", file=sys.stderr, flush=True)
        code = in_child(lambda number=number: killed_before(number, attempt, scenario.command))  # type: ignore[misc]
        if code == 0:
            print(number - 1)
            return
        assert code == KILLED, f"attempt {number} ended with {code}"
        assert in_child(lambda: scenario.check(attempt)) == 0, f"unusable after kill {number}"
        assert in_child(lambda: scenario.command(attempt)) == 0, f"not accepted after kill {number}"
        for file in scenario.results:
            assert (attempt / file).read_bytes() == (whole / file).read_bytes(), f"{file} differs after kill {number}"
        left = list(attempt.rglob(".tmp-*"))
        assert not left, f"{left} left after kill {number}"


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
