"""Losses, gradients and weights that are NaN or infinite: an error, or a skipped step (`on_nonfinite`)."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from trainer.errors import NonFiniteError
from trainer.training.lr_schedule import Schedule

OnNonFinite = Literal["stop", "skip", "halve_lr"]


def largest(tensors: Sequence[Tensor]) -> Tensor:
    """Return the largest absolute value as a scalar on the device; NaN if any value is NaN."""
    return nn.utils.get_total_norm(list(tensors), math.inf)


class Guard:
    """The decision to skip a step whose loss or gradient is not finite (`on_nonfinite=skip` and `halve_lr`).

    It makes every step wait for the device. In fp16 (`gradients=False`) only the loss is checked: the gradient
    scaler itself skips steps with overflowing gradients, which are normal while it searches for its scale.
    """

    def __init__(self, model: nn.Module, schedule: Schedule, halve: bool, gradients: bool) -> None:
        self.model, self.schedule, self.halve, self.gradients = model, schedule, halve, gradients

    def remember(self) -> None:
        """Copy the buffers before the forward pass, which updates the running statistics of batch normalization."""
        self.buffers = [buffer.clone() for buffer in self.model.buffers()]

    @torch.no_grad()
    def should_skip(self, loss: Tensor) -> bool:
        """Return whether to skip the step; then restore the buffers. Call it with unscaled gradients."""
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None] if self.gradients else []
        # One tensor, so that the device is waited for once.
        if torch.stack([loss.detach(), *([largest(gradients)] if gradients else [])]).isfinite().all():
            return False
        for buffer, before in zip(self.model.buffers(), self.buffers, strict=True):
            buffer.copy_(before)
        if self.halve:
            self.schedule.halve()
        return True


def raise_if_nonfinite(losses: Tensor, model: nn.Module, epoch: int, steps: int, lr: float) -> None:
    """Raise NonFiniteError if a loss of the steps done, a weight or a running statistic is not finite.

    It waits for the device and is called once an epoch and before each save, so that no broken state is saved.
    """
    bad = (~losses.isfinite()).nonzero()
    statistics = [buffer for buffer in model.buffers() if buffer.is_floating_point()]
    if len(bad):
        what, step = f"the training loss is {losses[int(bad[0])].item()}", int(bad[0]) + 1
    elif not largest(list(model.parameters())).isfinite():
        what, step = "a weight is not finite", len(losses)
    elif not largest(statistics).isfinite():
        what, step = "a running statistic is not finite", len(losses)
    else:
        return
    raise NonFiniteError(f"{what} in epoch {epoch}, step {step} of {steps} (learning rate about {lr:.3g})")
