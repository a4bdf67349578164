"""Networks for tests of restoration."""

import torch

from logcosh_vae.restoration.network import RestorationNetwork
from logcosh_vae.training.loop import make_generator


def random_network(
    widths: tuple[int, ...], blocks: int, *, unshuffle: int = 1, mask: bool = False, hint: bool = False
) -> RestorationNetwork:
    """Return a network with large random weights, so that every one of them affects the output."""
    network = RestorationNetwork(widths, blocks, unshuffle=unshuffle, mask=mask, hint=hint).eval()
    generator = make_generator(0, "weights")
    with torch.no_grad():
        for weight in network.parameters():
            fan_in = max(1, weight[0].numel())
            weight.copy_(torch.randn(weight.shape, generator=generator) * (1.2 / fan_in) ** 0.5)
    return network
