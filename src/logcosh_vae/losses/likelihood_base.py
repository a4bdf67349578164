"""The common base of likelihoods with a scale that can be learned; `likelihood` has the three kinds."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.overrides import handle_torch_function, has_torch_function_variadic

from .elementwise import match_inputs, residual

LEARN = ("none", "scale", "scale+shape")
"""What a likelihood can learn."""

PER = ("image set", "channel", "pixel")
"""What shares a scale and a shape: all pixels, the pixels of a channel, or only the same pixel of all images."""

QUANTISATION_STD = 1 / (255 * math.sqrt(12))
"""Standard deviation of the rounding error of 8-bit pixels in [0, 1]."""


class Likelihood(nn.Module, ABC):
    """Distribution of each pixel, centred at the reconstruction and independent of the other pixels.

    The learned scale is stored as the logarithm of the standard deviation, which does not depend on the shape. Its
    square is added to `min_std^2`: many pixels of real images are exactly 0 or 1 and can be reconstructed exactly, and
    without a bound the density of such pixels, and with it the gradient, would grow without limit. Rounding to 8 bits
    alone causes errors of `QUANTISATION_STD`, the default.

    Args:
        scale: scale or, if it is learned, its initial value; a number or a tensor that broadcasts to `(C, H, W)`.
        learn: `none` or `scale`; `scale+shape` where there is a shape.
        per: what shares a scale: `image set`, `channel` or `pixel`.
        image_shape: `(C, H, W)`; needed unless `per` is `image set`.
        min_std: lower bound of the learned standard deviation, in units of the pixel value.
        shape: shape, for subclasses that have one.

    Raises:
        ValueError: an argument is not one of the choices, not positive and finite, or does not fit the image shape.
    """

    takes_shape: ClassVar[bool] = False

    def __init__(
        self,
        scale: float | Tensor = 1.0,
        learn: str = "none",
        per: str = "image set",
        *,
        image_shape: Sequence[int] | None = None,
        min_std: float = QUANTISATION_STD,
        shape: float | Tensor | None = None,
    ) -> None:
        super().__init__()
        self.learn = _choice("learn", learn, LEARN[:2] if shape is None else LEARN)
        self.per = _choice("per", per, PER)
        self.min_std = float(min_std)
        if not 0 < self.min_std < math.inf:
            raise ValueError(f"min_std must be positive and finite, got {min_std!r}")
        self._image_shape = None if image_shape is None else tuple(int(size) for size in image_shape)
        if shape is not None:
            self._init_shape(self._expanded("shape", shape))
        value = self._expanded("scale", scale)
        if learn == "none":
            self.register_buffer("fixed_scale", value)
            return
        variance = value.double().square() * self._unit_std().detach().double().square() - self.min_std**2
        if not holds(variance > 0):
            raise ValueError(f"the initial standard deviation must be above min_std, {self.min_std:g}")
        self.log_std = nn.Parameter((variance.log() / 2).to(value.dtype))

    @property
    def scale(self) -> Tensor:
        """The current scale: a scalar, `(C, 1, 1)` or `(C, H, W)`."""
        if self.learn == "none":
            fixed: Tensor = self.get_buffer("fixed_scale")
            return fixed
        return self._std() / self._unit_std()

    @property
    def variance(self) -> Tensor:
        """The current variance of a pixel: a scalar, `(C, 1, 1)` or `(C, H, W)`."""
        return (self.scale * self._unit_std()).square()

    @torch.no_grad()
    def start_from(self, std: float | Tensor) -> None:
        """Set the learned scale such that the standard deviation is `std`, but not below twice `min_std`.

        Args:
            std: positive; a number or a tensor that broadcasts to the shape of `scale`.

        Raises:
            ValueError: the scale is not learned.
        """
        if self.learn == "none":
            raise ValueError("start_from needs a learned scale; this likelihood has learn='none'")
        variance = torch.as_tensor(std, dtype=torch.float64).clamp_min(2 * self.min_std).square()
        self.log_std.copy_((variance - self.min_std**2).log().expand(self.log_std.shape) / 2)

    @abstractmethod
    def distribution(self, prediction: Tensor) -> Distribution:
        """Return the distribution of the pixels given their reconstruction, `(..., C, H, W)`."""

    def nll(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the negative log-likelihood of each pixel, in nats.

        Args:
            prediction: reconstruction, `(N, C, H, W)`; any shape if `per` is `image set`.
            target: image, of the same shape.

        Returns:
            A tensor of the same shape in the promoted dtype.

        Raises:
            TypeError, ValueError: as for the losses; see `elementwise`.
        """
        return in_dtype_of_loss(self._nll(matched_residual(prediction, target)), prediction, target)

    def value(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the same as `nll`: the interface of the losses from `make_loss`."""
        return self.nll(prediction, target)

    def nll_total(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the sum of `nll`, a scalar; training uses it, and subclasses may have a faster way to compute it."""
        return self.nll(prediction, target).sum()

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the same as `nll`."""
        return self.nll(prediction, target)

    def log_prob(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the log-likelihood of each pixel, in nats; `-nll`."""
        return -self.nll(prediction, target)

    def sample(self, prediction: Tensor) -> Tensor:
        """Draw images given their reconstruction; they have its shape and may leave [0, 1]."""
        return self.distribution(prediction).sample()

    def cdf(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the probability of a pixel value below `target`."""
        return self.distribution(prediction).cdf(target)

    def icdf(self, prediction: Tensor, probability: Tensor) -> Tensor:
        """Return the pixel values for which `cdf` is `probability`."""
        return self.distribution(prediction).icdf(probability)

    @torch.no_grad()
    def averages(self) -> dict[str, float]:
        """Return the current `scale`, and `shape` if there is one, averaged where there are several."""
        return {"scale": float(self.scale.mean())}

    def extra_repr(self) -> str:
        return f"learn={self.learn!r}, per={self.per!r}"

    @abstractmethod
    def equivalent(self) -> dict[str, Tensor]:
        """Return the parameters of the fixed loss with the same gradient: `reconstruction_weight` and, if any, `a`."""

    @classmethod
    @abstractmethod
    def of_loss(cls, reconstruction_weight: float, a: float | None = None) -> Self:
        """Return the likelihood with the gradient of a fixed loss; the inverse of `equivalent`.

        Args:
            reconstruction_weight: `lambda` of Eq. 8.
            a: parameter of log-cosh; 1 if None.
        """

    @abstractmethod
    def _nll(self, t: Tensor) -> Tensor:
        """Return the negative log-likelihood of residuals."""

    @abstractmethod
    def _unit_std(self) -> Tensor:
        """Return the standard deviation at scale 1."""

    def _init_shape(self, value: Tensor) -> None:
        """Register the shape, in subclasses that have one; called before the scale is registered."""

    def _std(self) -> Tensor:
        return ((2 * self.log_std).exp() + self.min_std**2).sqrt()

    def _expanded(self, name: str, value: float | Tensor) -> Tensor:
        """Return a parameter in the shape that `per` demands."""
        tensor = torch.as_tensor(value)
        tensor = tensor.detach().clone() if tensor.is_floating_point() else tensor.to(torch.get_default_dtype())
        if not holds((tensor > 0) & (tensor < math.inf)):
            raise ValueError(f"{name} must be positive and finite, got {value!r}")
        shape: tuple[int, ...] = ()
        if self.per != "image set":
            if self._image_shape is None or len(self._image_shape) != 3:
                raise ValueError(f"per={self.per!r} needs image_shape=(channels, height, width)")
            shape = self._image_shape if self.per == "pixel" else (self._image_shape[0], 1, 1)
        try:
            return tensor.expand(shape).clone()
        except RuntimeError:
            raise ValueError(f"{name} of shape {tuple(tensor.shape)} does not broadcast to {shape}") from None


def matched_residual(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the `residual` of inputs that are checked by `match_inputs`; `torch.fx` records the call."""
    if has_torch_function_variadic(prediction, target):
        return handle_torch_function(matched_residual, (prediction, target), prediction, target)
    return residual(*match_inputs(prediction, target))


def in_dtype_of_loss(values: Tensor, prediction: Tensor, target: Tensor) -> Tensor:
    """Return `values` in the dtype of `match_inputs(prediction, target)`; `torch.fx` records the call."""
    if has_torch_function_variadic(values, prediction, target):
        tensors = (values, prediction, target)
        return handle_torch_function(in_dtype_of_loss, tensors, *tensors)
    return values.to(match_inputs(prediction, target)[0].dtype)


def holds(condition: Tensor) -> bool:
    """Return whether a condition holds everywhere; on the meta device, which has no values, it counts as true."""
    return condition.is_meta or bool(condition.all())


def _choice(name: str, value: str, choices: Sequence[str]) -> str:
    if value not in choices:
        raise ValueError(f"{name} must be {' or '.join(map(repr, choices))}, got {value!r}")
    return value
