"""Optimizers of one's own: a momentum by its sign, one that is made orthogonal, one that takes two gradients a step.

`params` is a list of torch's parameter groups, whose parameters come with their names: [(name, parameter), …].
"""

from typing import Any

import torch
from torch import Tensor

from trainer.config.types import Fraction, NonNegative, OpenFraction, Positive

Params = list[dict[str, Any]]


def lion(params: Params, lr: float, weight_decay: float, *, betas: tuple[Fraction, Fraction] = (0.9, 0.99)) -> "Lion":
    """Lion: W ← (1 − lr·λ)·W − lr·sign(β₁·m + (1 − β₁)·g). A tenth of Adam's rate suits it. Chen et al. 2023."""
    return Lion(params, {"lr": lr, "weight_decay": weight_decay, "betas": betas})


class Lion(torch.optim.Optimizer):
    """The sign of an interpolation between the momentum m and the gradient g; then m ← β₂·m + (1 − β₂)·g."""

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Take a step."""
        for group in self.param_groups:
            first, second = group["betas"]
            for weight in (each for each in group["params"] if each.grad is not None):
                moment = self.state[weight].setdefault("moment", torch.zeros_like(weight))
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.sub_(moment.lerp(weight.grad, 1 - first).sign_(), alpha=group["lr"])
                moment.lerp_(weight.grad, 1 - second)


def muon(
    params: Params,
    lr: float,
    weight_decay: float,
    *,
    momentum: OpenFraction = 0.95,
    betas: tuple[Fraction, Fraction] = (0.9, 0.95),
    adam_lr_scale: Positive = 0.1,
) -> "Muon":
    """Muon: an orthogonal step for each hidden matrix, AdamW for the classifier and for vectors. Jordan et al. 2024.

    Try lr=0.02. AdamW has the rate times `adam_lr_scale`.
    """
    pairs = [pair for group in params for pair in group["params"]]
    classifier = [name for name, weight in pairs if weight.ndim > 1][-1]
    groups = []
    for group in params:
        for orthogonal in (True, False):
            own = [(name, w) for name, w in group["params"] if (w.ndim > 1 and name != classifier) is orthogonal]
            scale = 1.0 if orthogonal else adam_lr_scale
            if own:
                groups.append({**group, "params": own, "orthogonal": orthogonal, "lr_scale": scale})
    return Muon(groups, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "betas": betas})


class Muon(torch.optim.Optimizer):
    """Two rules in one optimizer, chosen by `orthogonal` of a parameter group."""

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Take a step."""
        for group in self.param_groups:
            rule = self._orthogonal if group["orthogonal"] else self._adam
            for weight in group["params"]:
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.sub_(rule(weight, self.state[weight], group), alpha=group["lr"])

    @staticmethod
    def _orthogonal(weight: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
        moment = state.setdefault("moment", torch.zeros_like(weight))
        moment.lerp_(weight.grad, 1 - group["momentum"])
        # A convolution [outputs, inputs, height, width] is the matrix [outputs, inputs·height·width].
        matrix = weight.grad.lerp(moment, group["momentum"]).flatten(1)
        larger = max(1, matrix.shape[0] / matrix.shape[1]) ** 0.5
        return larger * _orthogonalized(matrix).view_as(weight)

    @staticmethod
    def _adam(weight: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
        first, second = group["betas"]
        if not state:
            state.update(steps=0, mean=torch.zeros_like(weight), square=torch.zeros_like(weight))
        state["steps"] += 1
        state["mean"].lerp_(weight.grad, 1 - first)
        state["square"].lerp_(weight.grad.square(), 1 - second)
        mean, square = state["mean"] / (1 - first ** state["steps"]), state["square"] / (1 - second ** state["steps"])
        return mean / (square.sqrt() + 1e-8)


def _orthogonalized(matrix: Tensor) -> Tensor:
    """Return a matrix of the same singular vectors, whose singular values are near 1: five Newton–Schulz steps."""
    wide = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    wide = wide / (wide.norm() + 1e-7)
    for _ in range(5):
        product = wide @ wide.T
        # Coefficients of Jordan et al., which lift small singular values fastest.
        wide = 3.4445 * wide + (-4.7750 * product + 2.0315 * product @ product) @ wide
    return wide.T if matrix.shape[0] > matrix.shape[1] else wide


def sam(params: Params, lr: float, weight_decay: float, *, rho: Positive = 0.05, momentum: NonNegative = 0.9) -> "SAM":
    """SAM: momentum, with the gradient at the worst point nearby, W + ρ·g / ‖g‖. Foret et al. 2021."""
    return SAM(params, lr, momentum, weight_decay=weight_decay, rho=rho)


class SAM(torch.optim.SGD):
    """Momentum whose gradient is taken at W + ρ·g / ‖g‖."""

    gradients_per_step = 2  # the fairness check compares it

    def __init__(self, params: Params, lr: float, momentum: float, *, weight_decay: float, rho: float) -> None:
        super().__init__(params, lr, momentum, weight_decay=weight_decay)
        self.rho = rho

    def step(self, closure: Any) -> Tensor:
        """Take a step. `closure` clears the gradients, computes them anew and returns the loss."""
        loss = closure()
        weights = [weight for group in self.param_groups for weight in group["params"]]
        with torch.no_grad():
            norm = torch.stack([weight.grad.norm() for weight in weights]).norm()
            climbs = [weight.grad * (self.rho / (norm + 1e-12)) for weight in weights]
            for weight, climb in zip(weights, climbs, strict=True):
                weight.add_(climb)
        closure()
        with torch.no_grad():
            for weight, climb in zip(weights, climbs, strict=True):
                weight.sub_(climb)
        super().step()
        return loss
