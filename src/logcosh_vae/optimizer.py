"""Adam for training on a processor, where moving weights is limited by memory."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

LARGE = 1 << 16
"""Numbers in a weight that is worth an update of its own."""


def _hook(optimizer: weakref.ref[EagerAdam]) -> Callable[[Tensor], None]:
    def move(weight: Tensor) -> None:
        alive = optimizer()
        if alive is not None:
            alive.move_at_once(weight)

    return move


def _remove(handles: Sequence[RemovableHandle]) -> None:
    for handle in handles:
        handle.remove()


class EagerAdam(torch.optim.Adam):
    """Adam (Kingma and Ba 2015) that moves a large weight as soon as the backward pass has its gradient.

    The gradient is then still in the processor's cache, and its memory serves for the next one. What comes out is
    torch's fused Adam, bit for bit. There must be one backward pass a step: where gradients are to be added up over
    several, or changed before the step, use `torch.optim.Adam`.

    Args:
        weights: on the CPU.
        lr: learning rate.
        betas: of the averages of gradients and of their squares.
        eps: added to the root of the latter.

    Example:
        >>> layer = nn.Linear(300, 300)
        >>> optimizer = EagerAdam(layer.parameters())
        >>> layer(torch.ones(1, 300)).sum().backward()  # moves the matrix, which needs its gradient no longer
        >>> layer.weight.grad is None
        True
        >>> optimizer.step()  # moves the bias
    """

    def __init__(
        self,
        weights: Sequence[nn.Parameter],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        super().__init__(weights, lr=lr, betas=betas, eps=eps, fused=True)
        hook = _hook(weakref.ref(self))
        large = [weight for weight in self._weights if weight.numel() >= LARGE and weight.requires_grad]
        handles = [weight.register_post_accumulate_grad_hook(hook) for weight in large]
        weakref.finalize(self, _remove, handles)  # no weight is moved by an optimizer that nobody has any longer

    @property
    def _weights(self) -> list[Tensor]:
        weights: list[Tensor] = self.param_groups[0]["params"]
        return weights

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Take the weights, all alike: a second group is a ValueError."""
        if self.param_groups:
            raise ValueError("all weights are one group; use torch.optim.Adam for several")
        super().add_param_group(param_group)

    def move_at_once(self, weight: Tensor) -> None:
        """Move a weight whose gradient has just come, and take the gradient."""
        if weight.grad is None:
            raise RuntimeError("another optimizer has taken this weight's gradient; let go of it first")
        self._move([weight])
        weight.grad = None

    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Move the weights that still have a gradient; there is no closure."""
        if closure is not None:
            raise ValueError("a closure is not supported")
        self._move([weight for weight in self._weights if weight.grad is not None])

    @torch.no_grad()
    def _move(self, weights: list[Tensor]) -> None:
        """Move weights that all have a gradient."""
        group = self.param_groups[0]
        states = [self._state_of(weight) for weight in weights]
        steps = [state["step"] for state in states]
        torch._foreach_add_(steps, 1)
        # what torch.optim.Adam comes down to; its way there takes 0.1 ms a call, and here are several calls a step
        torch._fused_adam_(
            weights,
            [weight.grad for weight in weights if weight.grad is not None],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            steps,
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=0.0,
            eps=group["eps"],
            maximize=False,
        )

    def _state_of(self, weight: Tensor) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.state[weight]
        if not state:  # as torch's Adam has it, so that either goes on where the other has stopped
            state["step"] = torch.zeros((), dtype=torch.float32)
            state["exp_avg"], state["exp_avg_sq"] = (
                torch.zeros_like(weight, memory_format=torch.preserve_format) for _ in range(2)
            )
        return state
