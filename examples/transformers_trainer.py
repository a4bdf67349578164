"""A VAE of this package, trained by the Trainer of Hugging Face's transformers.

    pip install 'transformers[torch]'
    python examples/transformers_trainer.py

The Trainer minimises the `loss` that the model returns, and passes the columns of the data set by name.
"""

import tempfile

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments

from logcosh_vae import VAE
from logcosh_vae.data import load_images
from logcosh_vae.losses import make_loss
from logcosh_vae.training.objective import Objective


class Digits(Dataset):
    def __init__(self, split: str, count: int) -> None:
        self.images = load_images("mnist", split).images[:count]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"pixel_values": self.images[index].float() / 255}


class LogCoshVAE(nn.Module):
    """Returns what the Trainer expects: a dictionary with the loss."""

    def __init__(self) -> None:
        super().__init__()
        self.model = VAE.from_network("mlp")
        self.objective = Objective(make_loss("log-cosh", a=100.0))

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        output = self.model(pixel_values)
        return {"loss": self.objective(output, pixel_values)["loss"], "x_hat": output.x_hat}


def main() -> None:
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            num_train_epochs=2,
            per_device_train_batch_size=100,
            per_device_eval_batch_size=500,
            learning_rate=1e-3,
            lr_scheduler_type="constant",
            save_strategy="no",
            report_to="none",
            label_names=["pixel_values"],  # without labels, no loss is computed in evaluation
            prediction_loss_only=True,
            use_cpu=True,
            disable_tqdm=True,
        )
        train, test = Digits("train", 10_000), Digits("test", 1_000)
        trainer = Trainer(LogCoshVAE(), arguments, train_dataset=train, eval_dataset=test)
        before = trainer.evaluate()["eval_loss"]
        trainer.train()
        after = trainer.evaluate()["eval_loss"]
    print(f"validation loss: {before:.1f} before, {after:.1f} after two epochs")
    assert after < before / 4


if __name__ == "__main__":
    main()
