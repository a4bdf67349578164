"""Where the tests find real images."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from logcosh_vae.base.errors import DataError
from logcosh_vae.data import count_images, load_images
from logcosh_vae.data import data_root as find_root

# tests stop commands as Ctrl-C does; a shell that runs the tests in the background has that ignored, also by children
signal.signal(signal.SIGINT, signal.default_int_handler)

# times here are noisy, and CI must not fail by the luck of a draw
settings.register_profile("project", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("project")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def data_root() -> Path:
    """A data root with MNIST: the one in the environment, a shared one beside the project, else the user's."""
    root = SHARED if "LOGCOSH_VAE_DATA" not in os.environ and (SHARED / "mnist").is_dir() else find_root()
    for split in ("train", "test"):
        load_images("mnist", split, root=root)
    return root


@pytest.fixture(scope="session")
def celeba_root(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data root that also has CelebA, which is never fetched; images are prepared in a cache of the tests."""
    try:
        count_images("celeba", data_root)
    except DataError as error:
        pytest.skip(str(error))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOGCOSH_VAE_CACHE", str(tmp_path_factory.mktemp("prepared")))
        yield data_root
