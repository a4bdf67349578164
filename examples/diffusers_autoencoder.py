"""The log-cosh loss in a training step of diffusers' `AutoencoderKL`.

    pip install diffusers
    python examples/diffusers_autoencoder.py

diffusers has pixels in [-1, 1], so residuals are twice as large as in [0, 1]. The paper's setting, `a = 100` and weight
1, becomes `a = 50` and weight 1/2: `log_cosh(2 t; a/2) / 2 = log_cosh(t; a)`. The loss is summed over the pixels of an
image. If you average over them, as many scripts do, divide the weight of the KL divergence by their number as well.
"""

import torch
from diffusers import AutoencoderKL

from logcosh_vae import log_cosh
from logcosh_vae.data import load_images

A, WEIGHT = 50.0, 0.5
KL_WEIGHT = 1e-3
"""The codes have more variables than the paper's, 4x16x16, and a diffusion model is to describe them. As in diffusers'
own training script, the KL divergence only keeps them near the origin."""


def to_diffusers(images: torch.Tensor) -> torch.Tensor:
    """Return uint8 images of 28x28 pixels as 32x32 in [-1, 1]."""
    return torch.nn.functional.pad(images.float() / 127.5 - 1, (2, 2, 2, 2), value=-1.0)


def main() -> None:
    torch.manual_seed(0)
    x, y = torch.rand(2, 100)
    torch.testing.assert_close(WEIGHT * log_cosh(2 * x - 1, 2 * y - 1, a=A), log_cosh(x, y, a=100.0))

    images = to_diffusers(load_images("mnist", "train").images[:1_600])
    test = to_diffusers(load_images("mnist", "test").images[:100])
    model = AutoencoderKL(
        in_channels=1,
        out_channels=1,
        latent_channels=4,
        block_out_channels=(16, 32),
        down_block_types=("DownEncoderBlock2D", "DownEncoderBlock2D"),
        up_block_types=("UpDecoderBlock2D", "UpDecoderBlock2D"),
        norm_num_groups=8,
        sample_size=32,
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def error() -> float:
        with torch.no_grad():
            return float((model(test).sample - test).abs().mean()) / 2  # of pixels in [0, 1]

    before = error()
    for batch in images.split(16):
        posterior = model.encode(batch).latent_dist
        reconstruction = model.decode(posterior.sample()).sample
        loss = WEIGHT * log_cosh(reconstruction, batch, a=A).sum() / len(batch) + KL_WEIGHT * posterior.kl().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    after = error()

    print(f"loss {loss.item():.1f}")
    print(f"mean absolute error of test digits: {before:.3f} before, {after:.3f} after 100 steps")
    assert after < 0.07  # of black images: 0.10


if __name__ == "__main__":
    main()
