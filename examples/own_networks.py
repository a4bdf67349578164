"""A VAE of this package with an encoder and a decoder of your own.

    python examples/own_networks.py

Any two modules of matching sizes make a VAE: the encoder returns means and log-variances, the decoder images in [0, 1].
`Objective` adds the reconstruction loss, summed over the pixels, to the KL divergence.
"""

import torch
from torch import nn

from logcosh_vae import VAE
from logcosh_vae.data import load_images
from logcosh_vae.losses import make_loss
from logcosh_vae.training.objective import Objective

LATENT = 8

encoder = nn.Sequential(
    nn.Conv2d(1, 16, 4, stride=2, padding=1),
    nn.SiLU(),
    nn.Conv2d(16, 32, 4, stride=2, padding=1),
    nn.SiLU(),
    nn.Flatten(),
    nn.Linear(32 * 7 * 7, 2 * LATENT),  # means, then log-variances
)
decoder = nn.Sequential(
    nn.Linear(LATENT, 32 * 7 * 7),
    nn.SiLU(),
    nn.Unflatten(1, (32, 7, 7)),
    nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1),
    nn.SiLU(),
    nn.ConvTranspose2d(16, 1, 4, stride=2, padding=1),
    nn.Sigmoid(),  # images in [0, 1]
)


def main() -> None:
    torch.manual_seed(0)
    images = load_images("mnist", "train").images[:20_000].float() / 255
    test = load_images("mnist", "test").images[:500].float() / 255
    model = VAE(encoder, decoder, LATENT)
    objective = Objective(make_loss("log-cosh", a=100.0))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

    before = float((model.reconstruct(test) - test).abs().mean().detach())
    for batch in images.split(64):
        losses = objective(model(batch), batch)
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
    after = float((model.reconstruct(test) - test).abs().mean().detach())

    print({name: round(value.item(), 2) for name, value in losses.items()})
    print(f"mean absolute error of test digits: {before:.3f} before, {after:.3f} after an epoch of 20,000 digits")
    print(f"samples: {tuple(model.sample(16).shape)}")
    assert after < 0.1  # of black images: 0.13


if __name__ == "__main__":
    main()
