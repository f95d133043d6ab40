"""Update rules that torch does not have, each with one operation for all weights of a parameter group (foreach)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer, RMSprop

Params = list[dict[str, Any]]


def with_gradients(group: dict[str, Any]) -> tuple[list[Tensor], list[Tensor]]:
    """Return the weights of a parameter group that have a gradient, and these gradients."""
    weights = [weight for weight in group["params"] if weight.grad is not None]
    return weights, [weight.grad for weight in weights]


def memory(
    optimizer: Optimizer, weights: list[Tensor], name: str, first: Callable[[Tensor], Tensor] = torch.zeros_like
) -> list[Tensor]:
    """Return a part of the state of each weight, which is `first(weight)` before the first step."""
    for weight in weights:
        state = optimizer.state[weight]
        if name not in state:
            state[name] = first(weight)
    return [optimizer.state[weight][name] for weight in weights]


def root_mean_squares(
    squares: list[Tensor], gradients: list[Tensor], decay: float, steps: int, eps: float
) -> list[Tensor]:
    """Take the gradients of a step into the mean squares v ← β₂·v + (1 − β₂)·g², and return √v̂ + eps of Adam."""
    torch._foreach_mul_(squares, decay)
    torch._foreach_addcmul_(squares, gradients, gradients, value=1 - decay)
    roots = torch._foreach_div(squares, 1 - decay**steps)
    torch._foreach_sqrt_(roots)
    torch._foreach_add_(roots, eps)
    return list(roots)


class Momentum(Optimizer):
    """Momentum as the lecture's notes write it, from v = 0 on.

    form "lecture" (note 003): v ← β·v + lr·g; W ← W − v. "ema" (note 004): v ← β·v + (1 − β)·g; W ← W − lr·v.
    """

    def __init__(self, params: Params, lr: float, momentum: float, weight_decay: float, form: str) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "form": form})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take a step."""
        for group in self.param_groups:
            weights, gradients = with_gradients(group)
            if not weights:
                continue
            if group["weight_decay"]:
                gradients = list(torch._foreach_add(gradients, weights, alpha=group["weight_decay"]))
            lr, momentum, in_velocity = group["lr"], group["momentum"], group["form"] == "lecture"
            velocities = memory(self, weights, "velocity")
            torch._foreach_mul_(velocities, momentum)
            torch._foreach_add_(velocities, gradients, alpha=lr if in_velocity else 1 - momentum)
            torch._foreach_add_(weights, velocities, alpha=-1 if in_velocity else -lr)


class RMSpropFromGradient(RMSprop):
    """RMSprop whose mean of squares starts at the square of the first gradient, as in note 004, and not at zero."""

    def _init_group(self, group: dict[str, Any], *lists: list[Tensor]) -> bool:
        new = [weight for weight in group["params"] if weight.grad is not None and not self.state[weight]]
        is_complex: bool = super()._init_group(group, *lists)
        for weight in new:
            gradient = weight.grad.add(weight, alpha=group["weight_decay"])
            # After the first step it is α·g² + (1 − α)·g² = g².
            self.state[weight]["square_avg"].copy_(gradient.square())
        return is_complex


class Lion(Optimizer):
    """The sign of an interpolation between the momentum m and the gradient; then m ← β₂·m + (1 − β₂)·g."""

    def __init__(self, params: Params, lr: float, betas: tuple[float, float], weight_decay: float) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take a step."""
        for group in self.param_groups:
            weights, gradients = with_gradients(group)
            if not weights:
                continue
            first, second = group["betas"]
            momenta = memory(self, weights, "momentum")
            if group["weight_decay"]:
                torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
            signs = torch._foreach_lerp(momenta, gradients, 1 - first)
            torch._foreach_sign_(signs)
            torch._foreach_add_(weights, signs, alpha=-group["lr"])
            torch._foreach_lerp_(momenta, gradients, 1 - second)
