"""Losses, gradients and weights that are NaN or infinite: found, or left out where that was chosen."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from trainer.errors import NonFiniteError
from trainer.training.lr_schedule import Schedule

OnNonFinite = Literal["stop", "skip", "halve_lr"]


def largest(tensors: Sequence[Tensor]) -> Tensor:
    """The largest magnitude as a scalar on the device; NaN if one is NaN."""
    return nn.utils.get_total_norm(list(tensors), math.inf)


class Guard:
    """`on_nonfinite=skip` and `halve_lr`: leaves out a step whose loss or gradient is not finite.

    To know it, every step waits for the device. In fp16 gradients are left to the scaler, whose search for
    the scale begins with some that overflow.
    """

    def __init__(self, model: nn.Module, schedule: Schedule, halve: bool, gradients: bool) -> None:
        self.model, self.schedule, self.halve, self.gradients = model, schedule, halve, gradients

    def remember(self) -> None:
        """Before the forward pass, which moves the running statistics of batch normalization."""
        self.buffers = [buffer.clone() for buffer in self.model.buffers()]

    @torch.no_grad()
    def should_skip(self, loss: Tensor) -> bool:
        """Asked after the backward pass, with gradients that are no longer scaled."""
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None] if self.gradients else []
        if torch.stack([loss.detach(), *([largest(gradients)] if gradients else [])]).isfinite().all():
            return False
        for buffer, before in zip(self.model.buffers(), self.buffers, strict=True):
            buffer.copy_(before)
        if self.halve:
            self.schedule.halve()
        return True


def raise_if_nonfinite(losses: Tensor, model: nn.Module, epoch: int, steps: int, lr: float) -> None:
    """Raises NonFiniteError naming the first of the steps taken whose loss is not finite, or that the network is not.

    Waits for the device: once an epoch, and before a state is saved within one.
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
