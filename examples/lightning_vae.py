"""A VAE of this package, trained by Lightning.

    pip install lightning
    python examples/lightning_vae.py

The objective returns the losses by name, so they can be logged as they are.
"""

import logging
import warnings

import lightning
import torch
from torch.utils.data import DataLoader, TensorDataset

from logcosh_vae import VAE
from logcosh_vae.data import load_images
from logcosh_vae.losses import make_loss
from logcosh_vae.training.objective import Objective


class LogCoshVAE(lightning.LightningModule):
    """The paper's VAE (MLP) with the log-cosh loss."""

    def __init__(self, a: float = 100.0, learning_rate: float = 1e-3) -> None:
        super().__init__()
        self.learning_rate = learning_rate
        self.model = VAE.from_network("mlp")
        self.objective = Objective(make_loss("log-cosh", a=a))

    def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:
        (x,) = batch
        losses = self.objective(self.model(x), x)
        self.log_dict(losses, prog_bar=True)
        return losses["loss"]

    def validation_step(self, batch: list[torch.Tensor]) -> None:
        (x,) = batch
        self.log_dict({f"validation_{name}": value for name, value in self.objective(self.model(x), x).items()})

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate)


def digits(split: str, count: int) -> DataLoader:
    images = load_images("mnist", split).images[:count].float() / 255
    return DataLoader(TensorDataset(images), batch_size=100, shuffle=split == "train")


def main() -> None:
    lightning.seed_everything(0, verbose=False)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    module, validation = LogCoshVAE(), digits("test", 1_000)
    trainer = lightning.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False, enable_model_summary=False
    )
    (before,) = trainer.validate(module, validation, verbose=False)
    trainer.fit(module, digits("train", 10_000), validation)
    after = trainer.callback_metrics
    print({name: round(float(value), 2) for name, value in after.items()})
    assert float(after["validation_loss"]) < before["validation_loss"] / 4


if __name__ == "__main__":
    main()
