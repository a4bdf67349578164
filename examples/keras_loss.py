"""The log-cosh loss in Keras 3 on torch.

    pip install keras
    python examples/keras_loss.py

Keras has a loss of this name, but without the parameter `a`: it is nearly the squared error for pixels in [0, 1]. A
Keras loss returns one value per image; Keras averages them over the batch.
"""

import os

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
import torch

from logcosh_vae import log_cosh
from logcosh_vae.data import load_images


@keras.saving.register_keras_serializable("logcosh-vae")
class LogCosh(keras.losses.Loss):
    """`log(cosh(a t)) / a`, summed over the pixels of an image and averaged over the batch."""

    def __init__(self, a: float = 100.0, name: str = "log_cosh", **options: object) -> None:
        super().__init__(name=name, **options)
        self.a = a

    def call(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        return log_cosh(y_pred, y_true, a=self.a).flatten(1).sum(1)

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "a": self.a}


def main() -> None:
    keras.utils.set_random_seed(0)
    x = load_images("mnist", "train").images[:10_000].flatten(1).numpy().astype(np.float32) / 255
    test = load_images("mnist", "test").images[:1_000].flatten(1).numpy().astype(np.float32) / 255
    model = keras.Sequential(
        [
            keras.layers.Input((784,)),
            keras.layers.Dense(256, "relu"),
            keras.layers.Dense(8),
            keras.layers.Dense(256, "relu"),
            keras.layers.Dense(784, "sigmoid"),
        ]
    )
    model.compile(keras.optimizers.Adam(1e-3), LogCosh(a=100.0))
    before = model.evaluate(test, test, verbose=0)
    model.fit(x, x, batch_size=100, epochs=2, verbose=2)
    after = model.evaluate(test, test, verbose=0)

    expected = log_cosh(torch.from_numpy(model.predict(test, verbose=0)), torch.from_numpy(test), a=100.0)
    torch.testing.assert_close(after, float(expected.sum() / len(test)), rtol=1e-4, atol=0.0)
    again = keras.losses.deserialize(keras.losses.serialize(LogCosh(a=2.5)))
    assert again.a == 2.5
    print(f"log-cosh of test digits: {before:.1f} before, {after:.1f} after two epochs")
    assert after < before / 4


if __name__ == "__main__":
    main()
