"""Optimizers of one's own: a momentum by its sign, a rate for each layer, and a step that takes two gradients.

`params` is a list of torch's parameter groups, whose parameters come with their names: [(name, parameter), …].
"""

from typing import Any

import torch
from torch import Tensor

from trainer.config.types import Fraction, NonNegative, OpenFraction

Params = list[dict[str, Any]]


def tiger(params: Params, lr: float, weight_decay: float, *, beta: Fraction = 0.965) -> "Tiger":
    """Tiger: m ← β·m + (1 − β)·g; W ← (1 − lr·λ)·W − lr·sign(m). A tenth of Adam's rate suits it. Su 2023."""
    return Tiger(params, {"lr": lr, "weight_decay": weight_decay, "beta": beta})


class Tiger(torch.optim.Optimizer):
    """The sign of the momentum: every weight takes a step of the same size."""

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Take a step."""
        for group in self.param_groups:
            for weight in (each for each in group["params"] if each.grad is not None):
                moment = self.state[weight].setdefault("moment", torch.zeros_like(weight))
                moment.lerp_(weight.grad, 1 - group["beta"])
                weight.mul_(1 - group["lr"] * group["weight_decay"]).sub_(moment.sign(), alpha=group["lr"])


def layerwise_adamw(
    params: Params, lr: float, weight_decay: float, *, layer_decay: OpenFraction = 0.75
) -> torch.optim.Optimizer:
    """AdamW with a lower rate in each earlier layer: lr·decay^(layers − number of the layer). Clark et al. 2020."""
    # A layer is what stands before the last dot of a name: 1.0.4.weight and 1.0.4.bias belong to one.
    layers = list(dict.fromkeys(name.rpartition(".")[0] for group in params for name, _ in group["params"]))
    groups = []
    for group in params:
        for name, weight in group["params"]:
            below = len(layers) - 1 - layers.index(name.rpartition(".")[0])
            groups.append({**group, "params": [(name, weight)], "lr_scale": layer_decay**below})
    return torch.optim.AdamW(groups, lr, weight_decay=weight_decay)


def extragradient(params: Params, lr: float, weight_decay: float, *, momentum: NonNegative = 0.0) -> "Extragradient":
    """A step from W along the gradient at the point that a first step leads to, W − lr·g. Korpelevich 1976."""
    return Extragradient(params, lr, momentum, weight_decay=weight_decay)


class Extragradient(torch.optim.SGD):
    """Gradient descent that looks one step ahead for its gradient."""

    gradients_per_step = 2  # the fairness check compares it

    def step(self, closure: Any) -> Tensor:
        """Take a step. `closure` clears the gradients, computes them anew and returns the loss."""
        loss = closure()
        pairs = [(weight, group["lr"]) for group in self.param_groups for weight in group["params"]]
        with torch.no_grad():
            starts = [weight.clone() for weight, _ in pairs]
            for weight, lr in pairs:
                weight.sub_(weight.grad, alpha=lr)
        closure()
        with torch.no_grad():
            for (weight, _), start in zip(pairs, starts, strict=True):
                weight.copy_(start)
        super().step()
        return loss
