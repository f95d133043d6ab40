"""Techniques against overfitting that act on a training step; several at once, in the order of the list.

"Weights" are those of convolutions and linear layers: biases and normalization are left alone.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import get_ema_multi_avg_fn

from trainer.config.types import OpenFraction, Positive
from trainer.techniques.hooks import StepHooks
from trainer.techniques.layers import weights


def l1(model: nn.Module, *, strength: Positive = 1e-4) -> StepHooks:
    """λ‖W‖₁; gradient λ·sgn(W)."""
    matrices = weights(model)
    return StepHooks(penalty=lambda _logits, _labels: strength * torch.stack([w.abs().sum() for w in matrices]).sum())


def l2(model: nn.Module, *, strength: Positive = 1e-4) -> StepHooks:
    """(λ/2)‖W‖²; gradient λW."""
    matrices = weights(model)
    return StepHooks(
        penalty=lambda _logits, _labels: strength / 2 * torch.stack([w.square().sum() for w in matrices]).sum()
    )


def gradient_clipping(model: nn.Module, *, max_norm: Positive = 1.0) -> StepHooks:
    """Scales all gradients together so that their joint norm is at most `max_norm`. Pascanu et al. 2013."""
    parameters = list(model.parameters())

    def clip() -> None:
        nn.utils.clip_grad_norm_(parameters, max_norm)

    return StepHooks(limit_gradients=clip)


def max_norm(model: nn.Module, *, limit: Positive = 3.0) -> StepHooks:
    """Scales each unit's incoming weights back to the norm `limit` after a step. Srebro et al. 2005."""
    matrices = weights(model)

    @torch.no_grad()
    def constrain() -> None:
        for weight in matrices:
            norms = weight.flatten(1).norm(dim=1).clamp(min=limit)
            weight.mul_((limit / norms).view(-1, *[1] * (weight.ndim - 1)))

    return StepHooks(after_step=constrain)


def ema(model: nn.Module, *, decay: OpenFraction = 0.99) -> StepHooks:
    """Evaluates and keeps an exponential moving average of the weights: average ← decay·average + (1 − decay)·W."""
    average = _Average(model, decay)
    return StepHooks(after_step=average.update, evaluated=average.module, state={"ema": average})


class _Average:
    """As torch's AveragedModel, whose step counter lies on the device and is waited for in every step."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model, self.module, self.started = model, copy.deepcopy(model).requires_grad_(False), False
        self.combine = get_ema_multi_avg_fn(decay)

    @torch.no_grad()
    def update(self) -> None:
        if self.started:
            self.combine(list(self.module.parameters()), list(self.model.parameters()), None)
        else:
            self.module.load_state_dict(self.model.state_dict())
        self.started = True
        for average, current in zip(self.module.buffers(), self.model.buffers(), strict=True):
            average.copy_(current)  # the running statistics are averages already

    def state_dict(self) -> dict[str, Any]:
        return {"started": self.started, "module": self.module.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.started = state["started"]
        self.module.load_state_dict(state["module"])


def label_smoothing(model: nn.Module, *, smoothing: OpenFraction = 0.1) -> StepHooks:
    """Trains on (1 − ε)·label + ε·uniform. Szegedy et al. 2016.

    Written as a penalty, ε·(cross-entropy to uniform − cross-entropy to the label), so that the training loss
    that is reported stays the one of the true labels and arms with and without it can be compared.
    """

    def penalty(logits: Tensor, labels: Tensor) -> Tensor:
        to_uniform = -F.log_softmax(logits, 1).mean()
        return smoothing * (to_uniform - F.cross_entropy(logits, labels))

    return StepHooks(penalty=penalty)
