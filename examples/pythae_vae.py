"""The log-cosh loss in pythae's VAE.

    pip install pythae
    python examples/pythae_vae.py

pythae's VAE keeps its reconstruction loss in the method `loss_function`; a subclass replaces it. Its own squared error
has the weight 1/2, so compare with `--loss l2 --set objective.reconstruction_weight=0.5` here.
"""

import logging
import tempfile

import torch
from pythae.data.datasets import BaseDataset
from pythae.models import VAE, VAEConfig
from pythae.models.nn.default_architectures import Encoder_VAE_MLP
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from torch import Tensor

from logcosh_vae import log_cosh
from logcosh_vae.data import load_images


class LogCoshVAE(VAE):
    """pythae's VAE with the paper's loss, summed over the pixels."""

    a = 100.0

    def loss_function(self, recon_x: Tensor, x: Tensor, mu: Tensor, log_var: Tensor, _z: Tensor) -> tuple[Tensor, ...]:
        reconstruction = log_cosh(recon_x.flatten(1), x.flatten(1), a=self.a).sum(1)
        kl = -0.5 * (1 + log_var - mu.square() - log_var.exp()).sum(1)
        return (reconstruction + kl).mean(), reconstruction.mean(), kl.mean()


def digits(split: str, count: int) -> BaseDataset:
    images = load_images("mnist", split)
    return BaseDataset(images.images[:count].float() / 255, images.labels[:count])


def main() -> None:
    torch.manual_seed(0)
    logging.getLogger("pythae").setLevel(logging.ERROR)
    config = VAEConfig(input_dim=(1, 28, 28), latent_dim=8)
    model = LogCoshVAE(config, encoder=Encoder_VAE_MLP(config))
    test = digits("test", 1_000)

    def loss() -> float:
        model.eval()
        with torch.no_grad():
            return float(model(test[:]).loss)

    before = loss()
    with tempfile.TemporaryDirectory() as folder:
        training = BaseTrainerConfig(
            output_dir=folder, num_epochs=2, per_device_train_batch_size=100, learning_rate=1e-3, no_cuda=True
        )
        BaseTrainer(model, digits("train", 10_000), training_config=training).train()
    after = loss()
    print(f"loss of test digits: {before:.1f} before, {after:.1f} after two epochs")
    assert after < before / 4


if __name__ == "__main__":
    main()
