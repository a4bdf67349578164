"""Behaviour that every model guarantees with every network."""

import pytest
import torch

from logcosh_vae.base.settings import override
from logcosh_vae.experiments.autoencoders import count_flops
from logcosh_vae.losses import LOSSES, make_loss
from logcosh_vae.models import MODELS, VAE
from logcosh_vae.models.networks import NETWORKS, PAPER_SIZE, Size
from logcosh_vae.training.builders import build_model, build_objective, build_optimizer
from logcosh_vae.training.config import ModelConfig, TrainConfig, resolve
from logcosh_vae.training.loop import make_generator
from logcosh_vae.training.objective import Objective

COMBINATIONS = [(family, network) for family in MODELS for network in NETWORKS]
SHAPES = [(1, 28, 28), (3, 16, 20), (4, 9, 33)]
SIZE = Size(hidden=(32, 16), width=1 / 32)


def build(family: str, network: str, shape: tuple[int, int, int] = (1, 28, 28)) -> torch.nn.Module:
    torch.manual_seed(0)
    return MODELS[family].from_network(network, image_shape=shape, latent_size=4, size=SIZE)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("family", "network"), COMBINATIONS)
def test_images_have_the_shape_of_the_input_and_values_in_0_1(
    family: str, network: str, shape: tuple[int, int, int]
) -> None:
    model = build(family, network, shape).eval()
    x = torch.rand(6, *shape, generator=make_generator(0, "x"))
    output = model(x, make_generator(0, "noise"))
    for images in (output.x_hat, model.reconstruct(x), model.sample(6, make_generator(0, "z"))):
        assert images.shape == x.shape
        assert ((images >= 0) & (images <= 1)).all()
    assert output.z.shape == (6, 4)
    path = model.interpolate(x[:3], x[3:], steps=5)
    assert path.shape == (3, 5, *shape)
    torch.testing.assert_close(path[:, 0], model.reconstruct(x[:3]))
    torch.testing.assert_close(path[:, -1], model.reconstruct(x[3:]))


@pytest.mark.parametrize(("family", "network"), COMBINATIONS)
def test_results_depend_on_the_given_generator_only(family: str, network: str) -> None:
    model = build(family, network).eval()
    x = torch.rand(2, 1, 28, 28, generator=make_generator(0, "x"))
    first = model(x, make_generator(0, "noise")).x_hat
    torch.manual_seed(99)
    assert torch.equal(first, model(x, make_generator(0, "noise")).x_hat)
    assert torch.equal(model.sample(3, make_generator(1, "z")), model.sample(3, make_generator(1, "z")))
    assert not torch.equal(model.sample(3, make_generator(1, "z")), model.sample(3, make_generator(2, "z")))


@pytest.mark.parametrize("family", MODELS)
def test_encode_mean_is_the_code_without_noise_and_its_former_name_warns(family: str) -> None:
    model = build(family, "mlp").eval()
    x = torch.rand(2, 1, 28, 28, generator=make_generator(0, "x"))
    output = model(x, make_generator(0, "noise"))
    codes = model.encode_mean(x)
    assert torch.equal(codes, output.z if output.posterior is None else output.posterior.mean)
    with pytest.warns(DeprecationWarning, match="code is now called encode_mean"):
        assert torch.equal(model.code(x), codes)


@pytest.mark.parametrize(
    ("shape", "encoder_sizes", "start_size", "decoder_channels"),
    [((1, 28, 28), [28, 14, 7, 4, 2], 7, [512, 256]), ((3, 64, 64), [64, 32, 16, 8, 4], 8, [512, 256, 128])],
)
def test_convolutional_networks_have_the_layers_of_the_paper(
    shape: tuple[int, int, int], encoder_sizes: list[int], start_size: int, decoder_channels: list[int]
) -> None:
    network = NETWORKS["conv"]
    encoder, decoder = network.encoder(shape, 8, PAPER_SIZE), network.decoder(shape, 8, PAPER_SIZE)
    convolutions = [layer for layer in encoder if isinstance(layer, torch.nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [128, 256, 512, 1024]
    x, sizes = torch.rand(2, *shape), [shape[1]]
    for layer in encoder[:-2]:
        x = layer(x)
        if isinstance(layer, torch.nn.ReLU):
            sizes.append(x.shape[-1])
    assert sizes == encoder_sizes
    transposed = [layer for layer in decoder if isinstance(layer, torch.nn.ConvTranspose2d)]
    assert decoder[2](decoder[0](torch.rand(2, 8))).shape == (2, 1024, start_size, start_size)
    assert [layer.out_channels for layer in transposed] == [*decoder_channels, shape[0]]
    assert [layer.stride[0] for layer in transposed] == [2] * len(decoder_channels) + [1]
    assert {layer.kernel_size for layer in [*convolutions, *transposed]} == {(4, 4)}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(("family", "network"), COMBINATIONS)
def test_every_weight_gets_the_same_gradient_with_and_without_evaluating_the_loss(
    family: str, network: str, name: str
) -> None:
    model = build(family, network)
    x = torch.rand(8, 1, 28, 28, generator=make_generator(0, "x"))
    objective = Objective(make_loss(name, 100.0 if name == "log-cosh" else None), reconstruction_weight=0.5)
    weight_grads = []
    for compute_loss in (True, False):
        model.zero_grad()
        noise = make_generator(0, "noise")
        output = model(x, noise)
        losses = objective.backward(output, x, noise, compute_loss=compute_loss)
        assert bool(losses) is compute_loss
        assert not any(value.requires_grad for value in losses.values())
        weight_grads.append([parameter.grad for parameter in model.parameters()])
    for expected, obtained in zip(*weight_grads, strict=True):
        assert expected.abs().sum() > 0
        torch.testing.assert_close(obtained, expected, rtol=1e-5, atol=1e-6)
    model.zero_grad()
    model.encoder.requires_grad_(False)
    objective.backward(model(x, make_generator(0, "noise")), x, compute_loss=False)
    assert {name for name, weight in model.named_parameters() if weight.grad is not None} == {
        name for name, _ in model.named_parameters() if name.startswith("decoder")
    }
    model.requires_grad_(False)
    with pytest.raises(RuntimeError, match="does not require grad"):
        objective.backward(model(x, make_generator(0, "noise")), x, compute_loss=False)


@pytest.mark.parametrize(("family", "network"), COMBINATIONS)
def test_bfloat16_approximates_the_gradient_in_training_and_does_not_affect_evaluation(
    family: str, network: str
) -> None:
    config = override(TrainConfig(), [f"model.family={family}", f"model.network={network}", "bfloat16=true"])
    config = override(config, ["model.width=0.03125"] if network == "conv" else ["model.hidden=[32,16]"])
    model, x = build_model(resolve(config), (1, 28, 28)), torch.rand(64, 1, 28, 28, generator=make_generator(0, "x"))
    objective = Objective(make_loss("log-cosh", 100.0))
    results = []
    for bfloat16 in (False, True):
        model.trains_in_bfloat16 = bfloat16
        output = model.train()(x, noise := make_generator(0, "noise"))
        objective.backward(output, x, noise, compute_loss=False)
        results.append((output, [weight.grad for weight in model.parameters()]))
        model.zero_grad()
    (expected, expected_grads), (output, weight_grads) = results
    reconstructions = model.eval().reconstruct(x)
    model.trains_in_bfloat16 = False
    assert torch.equal(reconstructions, model.reconstruct(x))
    assert {tensor.dtype for tensor in (output.x_hat, output.z, *(output.posterior or ()))} == {torch.float32}
    assert 0.0 < (output.x_hat - expected.x_hat).abs().max() < 0.02
    assert not torch.equal(output.x_hat, output.x_hat.bfloat16().float()), "x_hat was rounded to bfloat16"
    for expected_grad, grad in zip(expected_grads, weight_grads, strict=True):
        assert torch.cosine_similarity(grad.flatten(), expected_grad.flatten(), dim=0) > 0.9


@pytest.mark.parametrize("family", MODELS)
def test_loss_is_the_weighted_reconstruction_plus_the_divergence(family: str) -> None:
    model = build(family, "mlp")
    x = torch.rand(8, 1, 28, 28, generator=make_generator(0, "x"))
    noise = make_generator(0, "noise")
    output = model(x, noise)
    losses = Objective(make_loss("l2"), reconstruction_weight=3.0)(output, x, noise)
    divergence = losses["kl" if family == "vae" else "mmd"]
    torch.testing.assert_close(losses["loss"], 3.0 * losses["reconstruction"] + divergence)
    expected = (output.x_hat - x).square().flatten(1).sum(1).mean()
    torch.testing.assert_close(losses["reconstruction"], expected)
    torch.testing.assert_close(losses["squared_l2"], expected)


@pytest.mark.parametrize("width", [0.125, 1.0])
def test_untrained_convolutional_decoder_does_not_saturate_its_sigmoid(width: float) -> None:
    torch.manual_seed(0)
    model = VAE.from_network("conv", size=Size(width=width)).train()
    with torch.no_grad():
        images = model.decode(torch.randn(16, 8, generator=make_generator(0, "codes")))
    # the logits have a standard deviation of 0.4; with torch's default initialisation it is 4 to 5 at full width
    assert float(images.min()) > 0.02
    assert float(images.max()) < 0.98
    assert float(images.std()) > 0.02


@pytest.mark.parametrize("beta1", [0.5, 0.9])
def test_the_first_steps_of_a_convolutional_vae_have_no_gradient_that_adam_does_not_forget(beta1: float) -> None:
    """Without the limit of log-variances, the encoder's second gradient is 150,000 times as large as its first."""
    blocks = torch.rand(64, 3, 4, 4, generator=make_generator(0, "images"))
    images = torch.nn.functional.interpolate(blocks, size=(64, 64), mode="bilinear")
    settings = ["data.name=celeba", "model.network=conv", "model.width=0.125", f"optimizer.betas=[{beta1}, 0.999]"]
    config = resolve(override(TrainConfig(), [*settings, "optimizer.learning_rate=0.008"]))
    model, noise = build_model(config, (3, 64, 64)).train(), make_generator(0, "noise")
    objective, optimizer = build_objective(config), build_optimizer(config, model)
    norms, wanted = [], 0.0
    for _ in range(5):
        optimizer.zero_grad()
        objective(model(images, noise), images, noise)["loss"].backward()
        norms.append(torch.nn.utils.get_total_norm([p.grad for p in model.encoder.parameters()]).item())
        optimizer.step()
        wanted = max(wanted, model.encoder(images)[:, 64:].max().item())
    assert wanted > 2 * model.max_log_variance  # what the encoder asks for
    assert max(norms) < 20 * norms[0]


def test_unknown_networks_and_impossible_sizes_are_rejected() -> None:
    with pytest.raises(ValueError, match="unknown network 'mpl'"):
        MODELS["vae"].from_network("mpl")
    with pytest.raises(ValueError, match="hidden must be positive"):
        MODELS["vae"].from_network("mlp", size=Size(hidden=(0,)))
    with pytest.raises(ValueError, match=r"8 by 64 pixels are too small .* must be at least 9"):
        MODELS["vae"].from_network("conv", image_shape=(1, 8, 64))
    model = build("wae", "mlp")
    x = torch.rand(1, 1, 28, 28)
    with pytest.raises(ValueError, match="steps must be at least 2"):
        model.interpolate(x, x, steps=1)


def test_flops_of_an_mlp_are_two_per_weight_and_a_convolutional_network_has_more() -> None:
    shape = (1, 28, 28)
    mlp, conv = (resolve(TrainConfig(model=ModelConfig(network=network))) for network in ("mlp", "conv"))
    layers = [layer for layer in build_model(mlp, shape).modules() if isinstance(layer, torch.nn.Linear)]
    assert count_flops(mlp, shape) == 2 * sum(layer.weight.numel() for layer in layers)
    assert count_flops(conv, shape) > 10 * count_flops(mlp, shape)
    assert count_flops(conv, (1, 9, 16)) > 0  # whose last feature map has one pixel
