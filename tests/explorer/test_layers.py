"""Networks as lists of layers: they compute what the networks compute, and what cannot be exported is refused."""

from dataclasses import replace

import pytest
import torch
from tests.explorer.models import random_model
from torch import nn

from logcosh_vae.explorer.compensation import compensated
from logcosh_vae.explorer.layers import ExportError, apply, layers_of
from logcosh_vae.explorer.precision import (
    Networks,
    RoundingCheck,
    StepChooser,
    as_saved,
    round_networks,
    rounded_networks,
    row_steps,
)
from logcosh_vae.explorer.runs import networks_of
from logcosh_vae.models import VAE, WAE, ImageShape
from logcosh_vae.training.precision import in_single_precision, reduced


def in_float64(networks: Networks) -> Networks:
    """Layers that compute in double precision, with the weights as they are."""
    return networks.with_layers(
        [replace(layer, weight=layer.weight.double(), bias=layer.bias.double()) for layer in networks.layers]
    )


TOLERANCE = 2.5e-4
"""Of a pixel, for weights that are left as they were saved."""

SHAPES = [(1, 28, 28), (3, 64, 64), (1, 17, 30), (3, 96, 40)]


@pytest.mark.parametrize("family", [VAE, WAE])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_layers_compute_what_the_model_computes(network: str, shape: ImageShape, family: type[VAE | WAE]) -> None:
    model = random_model(network, shape, family=family)
    networks = in_float64(networks_of(model, shape))
    x, z = torch.rand(5, *shape).double(), torch.randn(5, model.latent_size).double()
    with torch.inference_mode():
        code, image = model.double().encode_mean(x), model.decode(z)
    assert image.std() > 0.05
    torch.testing.assert_close(apply(networks.encoder, x), code, atol=1e-6 * float(code.abs().max() + 1), rtol=0)
    torch.testing.assert_close(apply(networks.decoder, z).reshape(image.shape), image, atol=1e-6, rtol=0)


def test_normalisation_leaves_only_convolutions_and_linear_maps() -> None:
    networks = networks_of(random_model("conv"), (1, 28, 28))
    assert [layer.kind for layer in networks.encoder] == ["conv"] * 4 + ["linear"]
    assert [layer.kind for layer in networks.decoder] == ["linear"] + ["transposed"] * 3
    assert [layer.activation for layer in networks.decoder] == ["relu", "relu", "relu", "sigmoid"]
    assert networks.decoder[-1].outputs == (1, 28, 28)


def test_the_log_variances_of_a_vae_are_left_out() -> None:
    networks = networks_of(random_model("mlp", latent_size=7), (1, 28, 28))
    assert networks.encoder[-1].weight.shape == (7, 48)


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Linear(4, 4), nn.Tanh()],
        [nn.ReLU()],
        [nn.BatchNorm2d(1)],
        [nn.Linear(5, 4)],
        [nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(1, 2, 2, dilation=2)],
        [nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(1, 2, (1, 2))],
        [nn.Unflatten(1, (1, 2, 2)), nn.ZeroPad2d((1, 0, 1, 0))],
        [nn.Unflatten(1, (1, 2, 2)), nn.ConvTranspose2d(1, 2, 2, stride=2, output_padding=1)],
    ],
    ids=lambda layers: str(layers[-1]),
)
def test_other_layers_are_refused_by_name(layers: list[nn.Module]) -> None:
    with pytest.raises(ExportError, match=f"{type(layers[-1]).__name__}.*cannot be explored; the page computes"):
        layers_of(nn.Sequential(*layers), (4, 1, 1))


def test_networks_that_are_no_sequence_are_refused() -> None:
    class Doubled(nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return 2 * z

    with pytest.raises(ExportError, match=r"Doubled cannot be explored: only nn\.Sequential"):
        networks_of(VAE(nn.Sequential(nn.Flatten(), nn.Linear(784, 4)), Doubled(), 2), (1, 28, 28))


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_rounding_stays_within_the_tolerance(network: str) -> None:
    networks = networks_of(random_model(network), (1, 28, 28))
    check = RoundingCheck(networks, torch.rand(100, 1, 28, 28), 3.0)
    chooser = StepChooser(networks, check)
    fine, coarse = chooser.steps_within(2e-4), chooser.steps_within(2e-3)
    for steps, tolerance in ((fine, 2e-4), (coarse, 2e-3)):
        largest = check.largest(rounded_networks(networks, steps))
        assert 0.3 * tolerance <= largest <= tolerance
        rounding = round_networks(networks, check, steps)
        assert rounding.difference <= 1.2 * tolerance
    assert max(c / f for c, f in zip(coarse, fine, strict=True)) > 3


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_weights_that_were_saved_with_8_bits_are_not_rounded_again(network: str) -> None:
    model = random_model(network)
    networks = networks_of(model, (1, 28, 28))
    check = RoundingCheck(networks, torch.rand(20, 1, 28, 28), 3.0)
    assert as_saved(networks, check, TOLERANCE) is None
    model.load_state_dict(in_single_precision(reduced(model.state_dict(), "int8"), model))
    networks = networks_of(model, (1, 28, 28))
    rounding = as_saved(networks, RoundingCheck(networks, torch.rand(20, 1, 28, 28), 3.0), TOLERANCE)
    if network == "conv":  # normalisation is folded into transposed convolutions across the rows
        assert rounding is None
        return
    assert rounding is not None
    assert rounding.difference < 2e-5
    for step, layer in zip(rounding.steps, networks.layers, strict=True):
        assert isinstance(step, torch.Tensor)
        assert float((layer.weight / step).abs().amax(1).max()) == pytest.approx(127, rel=1e-5)


def test_a_row_of_zeros_has_the_least_step() -> None:
    weight = torch.tensor([[0.0, 0.0], [0.5, 63.5], [0.25, 31.75]])
    steps = row_steps(weight)
    assert steps is not None
    assert steps.tolist() == [[0.25], [0.5], [0.25]]
    assert row_steps(torch.tensor([[0.3, 63.5]])) is None
    assert row_steps(torch.zeros(2, 3)) is not None


@pytest.mark.parametrize(("scale", "survives"), [(1.0, True), (1e-12, False), (1e-30, False)])
def test_rows_of_very_different_size_are_rounded_as_other_weights(scale: float, survives: bool) -> None:
    """The steps of the rows would not survive being packed, or only roughly."""
    model = random_model("mlp")
    linear = [module for module in model.decoder.modules() if isinstance(module, nn.Linear)]
    with torch.no_grad():
        linear[0].weight[3] = 0.0
        linear[0].weight[5] *= scale
    model.load_state_dict(in_single_precision(reduced(model.state_dict(), "int8"), model))
    networks = networks_of(model, (1, 28, 28))
    check = RoundingCheck(networks, torch.rand(20, 1, 28, 28), 3.0)
    rounding = as_saved(networks, check, TOLERANCE)
    assert (rounding is not None) == survives
    if rounding is not None:
        assert rounding.difference < 2e-5


def test_compensated_rounding_keeps_products_with_inputs_of_few_dimensions() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(500, 5, generator=generator) @ torch.randn(5, 60, generator=generator)
    weight = torch.randn(30, 60, generator=generator)
    step = 0.1
    rounded = compensated(weight, step, inputs)
    torch.testing.assert_close((rounded / step).round() * step, rounded, atol=1e-6, rtol=0)
    error = ((rounded - weight) @ inputs.T).square().mean().sqrt()
    plain = (((weight / step).round() * step - weight) @ inputs.T).square().mean().sqrt()
    assert error < 0.3 * plain


def test_steps_that_change_the_images_are_not_taken() -> None:
    model = random_model("mlp")
    linear = [module for module in model.decoder.modules() if isinstance(module, nn.Linear)]
    with torch.no_grad():  # one row a million times as large, whose effect the next layer undoes
        linear[0].weight[0] *= 1e6
        linear[0].bias[0] *= 1e6
        linear[1].weight[:, 0] /= 1e6
    model.load_state_dict(in_single_precision(reduced(model.state_dict(), "int8"), model))
    networks = networks_of(model, (1, 28, 28))
    check = RoundingCheck(networks, torch.rand(20, 1, 28, 28), 3.0)
    assert as_saved(networks, check, 1.0) is not None
    assert as_saved(networks, check, 1e-9) is None
