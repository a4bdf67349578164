"""Run training steps with the trainer of pythae, to be timed by `logcosh-vae bench step --peer`.

It runs in an environment of its own:

    python -m venv peer
    peer/bin/pip install --no-deps pythae==0.1.2
    peer/bin/pip install torch numpy scipy scikit-learn pydantic imageio cloudpickle tqdm typing-extensions
    logcosh-vae bench step --peer "peer/bin/python benchmarks/pythae_step.py"

The benchmark takes about seven minutes on two cores. It writes `results/bench-step.json`, which docs/speed.md shows.

pythae's VAE uses this project's networks as encoder and decoder, and its own squared error as loss. The timed steps are
those of its trainer's loop, including its data loader. `logcosh_vae.bench.peer` describes the protocol.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import warnings
from pathlib import Path

import torch

warnings.simplefilter("ignore")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from pythae.data.datasets import BaseDataset  # noqa: E402
from pythae.models import VAE, VAEConfig  # noqa: E402
from pythae.models.base.base_utils import ModelOutput  # noqa: E402
from pythae.models.nn import BaseDecoder, BaseEncoder  # noqa: E402
from pythae.trainers import BaseTrainer, BaseTrainerConfig  # noqa: E402

from logcosh_vae.models.networks import NETWORKS, Size  # noqa: E402

SHAPE, LATENT = (1, 28, 28), 8


class Encoder(BaseEncoder):
    """Wraps this project's encoder for pythae."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> ModelOutput:
        mean, log_variance = self.network(x).chunk(2, dim=1)
        return ModelOutput(embedding=mean, log_covariance=log_variance)


class Decoder(BaseDecoder):
    """Wraps this project's decoder for pythae."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, z: torch.Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=self.network(z))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", required=True)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    network, size = NETWORKS[arguments.network], Size(width=arguments.width)
    model = VAE(
        VAEConfig(input_dim=SHAPE, latent_dim=LATENT, reconstruction_loss="mse"),
        Encoder(network.encoder(SHAPE, 2 * LATENT, size)),
        Decoder(network.decoder(SHAPE, LATENT, size)),
    )

    def images(steps: int) -> BaseDataset:
        count = steps * arguments.batch_size
        return BaseDataset(torch.rand(count, *SHAPE), torch.zeros(count))

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        settings = BaseTrainerConfig(
            output_dir=folder,
            num_epochs=1,
            learning_rate=1e-3,
            per_device_train_batch_size=arguments.batch_size,
            no_cuda=True,
        )
        trainer = BaseTrainer(model, images(2), training_config=settings)
        trainer.prepare_training()
        print("pythae 0.1.2", file=sys.__stdout__, flush=True)
        for line in sys.stdin:
            trainer.train_loader = trainer.get_train_dataloader(images(int(line)))
            trainer.train_step(1)
            print("done", file=sys.__stdout__, flush=True)


if __name__ == "__main__":
    main()
