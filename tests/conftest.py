"""Test configuration: real images, hypothesis settings, signals."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from logcosh_vae.base.errors import DataError
from logcosh_vae.data import count_images, load_images
from logcosh_vae.data import data_root as find_root

# tests interrupt commands with SIGINT; a shell that runs the tests in the background makes them ignore it
signal.signal(signal.SIGINT, signal.default_int_handler)

# no deadlines, since the machine may be busy; in CI the examples are the same in every run
settings.register_profile("project", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("project")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def data_root() -> Path:
    """A data root with MNIST: that of the environment, else one beside the project, else the user's."""
    root = SHARED if "LOGCOSH_VAE_DATA" not in os.environ and (SHARED / "mnist").is_dir() else find_root()
    for split in ("train", "test"):
        load_images("mnist", split, root=root)
    return root


@pytest.fixture(scope="session")
def celeba_root(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data root that also has CelebA, which cannot be downloaded; prepared images go to a temporary cache."""
    try:
        count_images("celeba", data_root)
    except DataError as error:
        pytest.skip(str(error))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOGCOSH_VAE_CACHE", str(tmp_path_factory.mktemp("prepared")))
        yield data_root
