"""Muon: an orthogonal step for each hidden matrix, AdamW for the first and the last layer and for vectors."""

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from trainer.errors import ConfigError
from trainer.techniques.steps.update_rules import Params, memory, root_mean_squares, with_gradients

# Of Jordan et al. 2024, as in torch.optim.Muon: they lift small singular values fastest and end between 0.7 and 1.2.
COEFFICIENTS = 3.4445, -4.7750, 2.0315


def muon_groups(params: Params, momentum: float, betas: tuple[float, float], adamw_lr_scale: float) -> Params:
    """Return groups of hidden matrices and of all else, whose rate is `adamw_lr_scale` times that of the schedule.

    Raises ConfigError if no matrix lies between the first and the last.
    """
    pairs = [pair for group in params for pair in group["params"]]
    matrices = [weight for name, weight in pairs if _is_matrix(name, weight)]
    hidden = set(map(id, matrices[1:-1]))
    if not hidden:
        raise ConfigError(
            f"optimizer=muon acts on weights between the first and the last layer, of which this network has none: it"
            f" has {len(matrices)} layers with weights, and needs at least 3"
        )
    groups = []
    for group in params:
        inside = [(name, weight) for name, weight in group["params"] if id(weight) in hidden]
        outside = [(name, weight) for name, weight in group["params"] if id(weight) not in hidden]
        groups.append({**group, "params": inside, "orthogonal": True, "momentum": momentum})
        groups.append(
            {**group, "params": outside, "orthogonal": False, "betas": betas, "lr_scale": adamw_lr_scale, "steps": 0}
        )
    return [group for group in groups if group["params"]]


def _is_matrix(name: str, weight: Tensor) -> bool:
    """Return whether it is the weight [out, in] of a linear layer or [out, in, h, w] of a convolution, and trained."""
    return (
        weight.ndim in (2, 4) and min(weight.flatten(1).shape) > 1 and name.endswith("weight") and weight.requires_grad
    )


class Muon(Optimizer):
    """m ← μ·m + (1 − μ)·g; W ← (1 − lr·λ)·W − lr·scale·O, with O the orthogonal matrix nearest to (1 − μ)·g + μ·m.

    `params` are those of `muon_groups`. scale "spectral": √max(1, out / in); "rms": 0.2·√max(out, in), at which a step
    is as large as one of AdamW (Liu et al. 2025).
    """

    def __init__(self, params: Params, lr: float, *, eps: float, iterations: int, scale: str) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": 0.0})
        self.eps, self.iterations, self.scale = eps, iterations, scale

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take a step."""
        for group in self.param_groups:
            weights, gradients = with_gradients(group)
            if not weights:
                continue
            if group["weight_decay"]:
                torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
            rule = self._orthogonal if group["orthogonal"] else self._adam
            rule(group, weights, gradients)

    def _orthogonal(self, group: dict[str, Any], weights: list[Tensor], gradients: list[Tensor]) -> None:
        momenta = memory(self, weights, "momentum")
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        ahead = torch._foreach_lerp(gradients, momenta, group["momentum"])
        alike = defaultdict(list)  # matrices of one size are multiplied at once
        for weight, direction in zip(weights, ahead, strict=True):
            alike[direction.flatten(1).shape].append((weight, direction))
        for (rows, columns), pairs in alike.items():
            steps = orthogonalized(torch.stack([direction.flatten(1) for _, direction in pairs]), self.iterations)
            factor = max(1, rows / columns) ** 0.5 if self.scale == "spectral" else 0.2 * max(rows, columns) ** 0.5
            shaped = [step.view_as(weight) for step, (weight, _) in zip(steps, pairs, strict=True)]
            torch._foreach_add_([weight for weight, _ in pairs], shaped, alpha=-group["lr"] * factor)

    def _adam(self, group: dict[str, Any], weights: list[Tensor], gradients: list[Tensor]) -> None:
        first, second = group["betas"]
        group["steps"] += 1
        means, squares = memory(self, weights, "mean"), memory(self, weights, "square")
        torch._foreach_lerp_(means, gradients, 1 - first)
        roots = root_mean_squares(squares, gradients, second, group["steps"], self.eps)
        torch._foreach_addcdiv_(weights, means, roots, value=-group["lr"] / (1 - first ** group["steps"]))


def orthogonalized(matrices: Tensor, iterations: int) -> Tensor:
    """Return matrices [N, rows, columns] of the same singular vectors, with singular values near 1.

    Newton–Schulz: X ← a·X + (b·XXᵀ + c·(XXᵀ)²)·X, from X of Frobenius norm 1.
    """
    a, b, c = COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    wide = matrices.mT if tall else matrices
    wide = wide / wide.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(iterations):
        product = wide @ wide.mT
        wide = a * wide + (b * product + c * product @ product) @ wide
    return wide.mT if tall else wide
