"""The code of README and docs: blocks of Python run, and command lines have commands and options that exist.

Blocks with prompts are doctests, which `test_docs.py` runs.
"""

import importlib.util
import re
import shlex
import textwrap
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image

import logcosh_vae
from logcosh_vae.base.settings import override
from logcosh_vae.cli.command import app
from logcosh_vae.cli.entry import GLOBAL_OPTIONS
from logcosh_vae.evaluation.priors import density_of_run
from logcosh_vae.export.files import export_file
from logcosh_vae.export.parts import autoencoder_part
from logcosh_vae.export.pretrained import load_pretrained, save_pretrained
from logcosh_vae.training.autoencoder import train
from logcosh_vae.training.config import TrainConfig

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^( *)```python\n(.*?)^\1```", re.M | re.S)

READERS_OWN = {
    "README.md": "import torch; prediction, target = torch.rand(4, requires_grad=True), torch.rand(4)",
    "docs/architecture.md": "from torch import Tensor; from logcosh_vae.losses.elementwise import *",
    "docs/losses.md": """
import torch
from logcosh_vae.losses import log_cosh_grad
model, x = torch.nn.Linear(8, 8), torch.rand(4, 8)
""",
    "docs/training.md": """
import torch
from torch import nn
x = torch.rand(4, 1, 28, 28)
my_encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, 64))
my_decoder = nn.Sequential(nn.Linear(32, 784), nn.Sigmoid(), nn.Unflatten(1, (1, 28, 28)))
from logcosh_vae.base.settings import override
from logcosh_vae.training.config import TrainConfig
config = override(TrainConfig(epochs=1), ["data.limit=400", "model.hidden=[8]", "track_images=0"])
""",
}
"""What a page leaves to its reader: definitions of names that its blocks use. Other pages define all they use."""


PACKAGES = {"onnxruntime": ("onnx", "onnxscript", "onnxruntime"), '["tensorboard"]': ("tensorboard",)}
"""Packages that a block needs which has a certain word."""


COMPLETION = {"--install-completion", "--show-completion"}


def blocks(page: Path) -> list[str]:
    """The blocks of Python of a page that are not doctests."""
    found = [textwrap.dedent(body) for _, body in BLOCK.findall(page.read_text(encoding="utf-8"))]
    return [block for block in found if ">>>" not in block]


def runs_here(block: str) -> bool:
    """Whether a block needs neither the Hugging Face Hub nor a package that is missing."""
    needed = [package for word, packages in PACKAGES.items() if word in block for package in packages]
    return "OWNER/NAME" not in block.replace("or OWNER/NAME", "") and all(map(importlib.util.find_spec, needed))


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory, data_root: Path) -> Path:
    """A folder with the files that the pages name: a run, a pretrained model, a photograph and a folder of them."""
    place = tmp_path_factory.mktemp("workplace")
    config = override(TrainConfig(epochs=1), ["data.limit=400", "model.hidden=[8]", "track_images=0"])
    run = train(config, place / "runs" / "first", root=data_root).path
    density_of_run(run, logcosh_vae.load(run), "mixture", data_root)
    save_pretrained(load_pretrained(run), place / "models" / "digits")
    (place / "holiday").mkdir()
    for name, shape in (("photo.png", (1000, 700, 3)), ("holiday/beach.png", (48, 64, 3))):
        Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, np.uint8)).save(place / name)
    return place


@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page)], ids=lambda page: page.relative_to(ROOT).as_posix()
)
@pytest.mark.filterwarnings("ignore")
def test_blocks_of_python_run(page: Path, workplace: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    monkeypatch.setenv("LOGCOSH_VAE_DATA", str(data_root))
    name = page.relative_to(ROOT).as_posix()
    values: dict[str, object] = {}
    exec(READERS_OWN.get(name, ""), values)
    for block in blocks(page):
        code = compile(block, name, "exec")
        if "onnxruntime" in block and runs_here(block):
            part = autoencoder_part(logcosh_vae.load("runs/first"), (1, 28, 28), "decoder")
            export_file(part, Path("decoder.onnx"), "onnx")
        if runs_here(block):
            exec(code, values)


def command_lines(page: Path) -> list[list[str]]:
    """The arguments of all commands `logcosh-vae` that stand on a line of their own or in backticks."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = re.findall(r"^\s*(?:[$] )?((?:torchrun .*)?logcosh[-_]vae [^|>\n]*)", text, re.M)
    lines += re.findall(r"`(logcosh-vae [^`|]*)`", " ".join(text.split()))
    words = [shlex.split(line, comments=True) for line in lines]
    return [line[1:] if line[0] == "logcosh-vae" else line[line.index("logcosh_vae") + 1 :] for line in words]


@pytest.mark.parametrize(
    "page", [page for page in PAGES if command_lines(page)], ids=lambda page: page.relative_to(ROOT).as_posix()
)
def test_command_lines_can_be_parsed(page: Path) -> None:
    for line in command_lines(page):
        words = [word for word in line if word not in GLOBAL_OPTIONS]
        if words and words[0] in COMPLETION:  # parsing these would change the shell's configuration
            continue
        command = typer.main.get_command(app)
        while words and not words[0].startswith("-") and hasattr(command, "commands"):
            assert words[0] in command.commands, f"logcosh-vae {' '.join(line)}"
            command = command.commands[words.pop(0)]
        if words:
            command.make_context("logcosh-vae", words)
