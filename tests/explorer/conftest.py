"""Pages made of models with random weights."""

from pathlib import Path

import pytest
import torch
from tests.explorer.models import explorer_run

from logcosh_vae.data import load_images
from logcosh_vae.explorer.page import build
from logcosh_vae.explorer.runs import ExplorerRun, ShownImages, choose_shown


@pytest.fixture(scope="session")
def runs() -> list[ExplorerRun]:
    """Two runs of different networks and latent sizes."""
    return [explorer_run("mlp", label="squared L2", seed=1), explorer_run("conv", latent_size=10, seed=2)]


@pytest.fixture(scope="session")
def shown(data_root: Path) -> ShownImages:
    """Twelve test images of MNIST."""
    return choose_shown(load_images("mnist", "test", root=data_root), 12, 0)


@pytest.fixture(scope="session")
def page(runs: list[ExplorerRun], shown: ShownImages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with both runs."""
    return build(runs, shown, tmp_path_factory.mktemp("page") / "page.html").path


@pytest.fixture(scope="session")
def colour_runs() -> list[ExplorerRun]:
    """A convolutional run on colour images of 64 by 64 pixels."""
    return [explorer_run("conv", (3, 64, 64), 16, seed=3)]


@pytest.fixture(scope="session")
def colour_page(colour_runs: list[ExplorerRun], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page on colour images without test images."""
    nothing = ShownImages(torch.empty(0, 3, 64, 64, dtype=torch.uint8), None, "holiday")
    return build(colour_runs, nothing, tmp_path_factory.mktemp("colour") / "page.html").path
