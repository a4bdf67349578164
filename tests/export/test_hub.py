"""Pretrained models on the Hugging Face Hub: with a stand-in for its client, and with the client and a local server."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from tests.export.hub_stand_in import HubStandIn

from logcosh_vae import VAE
from logcosh_vae.base.errors import MissingPackageError, RunError
from logcosh_vae.models.networks import Size

REPOSITORY = "someone/digits"


def small_model() -> VAE:
    return VAE.from_network("mlp", latent_size=2, size=Size(hidden=(4,))).eval()


class Client(ModuleType):
    """The three functions of `huggingface_hub` that are used, on folders."""

    def __init__(self, store: Path) -> None:
        super().__init__("huggingface_hub")
        self.store, self.asked = store, dict[str, Any]()

    def snapshot_download(self, repository: str, **options: Any) -> str:
        self.asked = options
        if not (self.store / repository).is_dir():
            raise OSError("404 Client Error.\n\nRepository Not Found for url: https://huggingface.co/api.\nAdvice.")
        return str(self.store / repository)

    def HfApi(self, **_: Any) -> "Client":  # noqa: N802
        return self

    def create_repo(self, repository: str, **_: Any) -> str:
        (self.store / repository).mkdir(parents=True)
        return f"https://huggingface.co/{repository}"

    def upload_folder(self, repo_id: str, folder_path: Path, **_: Any) -> None:
        for file in folder_path.iterdir():
            (self.store / repo_id / file.name).write_bytes(file.read_bytes())


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
    client = Client(tmp_path / "hub")
    monkeypatch.setitem(sys.modules, "huggingface_hub", client)
    monkeypatch.setattr("logcosh_vae.base.extras._is_installed", lambda _: True)
    return client


def test_a_model_is_uploaded_and_downloaded(client: Client) -> None:
    model = small_model()
    assert model.push_to_hub(REPOSITORY, license="mit") == f"https://huggingface.co/{REPOSITORY}"
    again = VAE.from_pretrained(REPOSITORY, revision="v1", local_files_only=True)
    assert all(torch.equal(again.state_dict()[name], value) for name, value in model.state_dict().items())
    assert (client.asked["revision"], client.asked["local_files_only"]) == ("v1", True)
    assert "*" not in "".join(client.asked["allow_patterns"])
    card = (client.store / REPOSITORY / "README.md").read_text()
    assert "\n# digits\n" in card
    assert f'VAE.from_pretrained("{REPOSITORY}")' in card


@pytest.mark.usefixtures("client")
def test_an_error_of_the_client_is_one_line() -> None:
    with pytest.raises(
        RunError, match=r"^someone/digits cannot be loaded from the Hub: 404 Client Error. Repos.*api\."
    ):
        VAE.from_pretrained(REPOSITORY)
    with pytest.raises(RunError, match="write it as OWNER/NAME"):
        small_model().push_to_hub("digits")


def test_a_folder_with_the_form_of_a_repository_is_preferred(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, client: Client
) -> None:
    small_model().save_pretrained(tmp_path / REPOSITORY)
    monkeypatch.chdir(tmp_path)
    VAE.from_pretrained(REPOSITORY)
    assert client.asked == {}


def test_without_the_client_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logcosh_vae.base.extras._is_installed", lambda name: name != "huggingface_hub")
    with pytest.raises(MissingPackageError, match=r"needs huggingface-hub: pip install 'logcosh-vae\[hub\]'"):
        VAE.from_pretrained(REPOSITORY)


@pytest.fixture
def server() -> Iterator[HubStandIn]:
    pytest.importorskip("huggingface_hub")
    with HubStandIn() as server:
        yield server
        server.shutdown()


REAL_CLIENT = """
import sys, torch
from logcosh_vae import VAE
from logcosh_vae.base.errors import RunError
from logcosh_vae.models.networks import Size
model = VAE.from_network("mlp", latent_size=2, size=Size(hidden=(4,))).eval()
print(model.push_to_hub(sys.argv[1], token="hf_secret", precision="float16"))
again = VAE.from_pretrained(sys.argv[1])
assert again.latent_size == 2
offline = VAE.from_pretrained(sys.argv[1], local_files_only=True)
assert all(torch.equal(offline.state_dict()[name], value) for name, value in again.state_dict().items())
try:
    VAE.from_pretrained("someone/nothing")
except RunError as error:
    print(error)
"""


def test_the_real_client_with_a_local_server(server: HubStandIn, tmp_path: Path) -> None:
    environment = {"HF_ENDPOINT": server.address, "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", REAL_CLIENT, REPOSITORY],
        env={"PYTHONPATH": ":".join(sys.path), "PATH": ""} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    address, error = done.stdout.splitlines()
    assert address == f"{server.address}/{REPOSITORY}"
    assert error.startswith("someone/nothing cannot be loaded from the Hub: ")
    assert set(server.repositories[REPOSITORY]) == {"README.md", "config.json", "model.safetensors"}
    assert "Bearer hf_secret" in server.tokens
