"""Losses, gradients and weights that are NaN or infinite: found, left out where that was chosen, traced to a layer."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from trainer.errors import NonFiniteError
from trainer.layers import titles
from trainer.schedule import Schedule

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
    def refuses(self, loss: Tensor) -> bool:
        """Asked after the backward pass, with gradients that are no longer scaled."""
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None] if self.gradients else []
        if torch.stack([loss.detach(), *([largest(gradients)] if gradients else [])]).isfinite().all():
            return False
        for buffer, before in zip(self.model.buffers(), self.buffers, strict=True):
            buffer.copy_(before)
        if self.halve:
            self.schedule.halve()
        return True


class Microscope:
    """Looks at every layer's output and gradient in every step; `found` says where the first one is not finite."""

    def __init__(self, model: nn.Module, gradients: bool) -> None:
        self.model, self.found = model, ""
        leaves = {name: layer for name, layer in model.named_modules() if not list(layer.children())}
        self.titles = titles({name: type(layer).__name__ for name, layer in leaves.items()})
        for name, layer in leaves.items():
            layer.register_forward_hook(lambda layer, _, output, name=name: self._look(name, output))
        for name, parameter in model.named_parameters() if gradients else ():
            parameter.register_post_accumulate_grad_hook(
                lambda parameter, name=name: self._note(f"the gradient of {self._title(name)}", parameter.grad)
            )

    def pause(self) -> bool:
        """After a step: whether there is something to tell."""
        for name, parameter in self.model.named_parameters():
            self._note(f"{self._title(name)} after the update", parameter)
        return bool(self.found)

    def _look(self, name: str, output: object) -> None:
        if isinstance(output, Tensor):
            self._note(f"the output of {self.titles[name]}", output)

    def _title(self, parameter: str) -> str:
        """ "the weight of convolution 2 of 6"."""
        layer, _, name = parameter.rpartition(".")
        return f"the {name} of {self.titles.get(layer, layer)}"

    def _note(self, what: str, values: Tensor | None) -> None:
        if not self.found and values is not None and not values.detach().isfinite().all():
            self.found = what


def refuse(losses: Tensor, weights: Sequence[Tensor], epoch: int, steps: int, lr: float) -> None:
    """Raises NonFiniteError naming the first of the steps taken whose loss is not finite, or that weights are not.

    Waits for the device: once an epoch, and before a state is saved within one.
    """
    bad = (~losses.isfinite()).nonzero()
    if len(bad):
        what, step = f"the training loss is {losses[int(bad[0])].item()}", int(bad[0]) + 1
    elif not largest(weights).isfinite():
        what, step = "a weight is not finite", len(losses)
    else:
        return
    raise NonFiniteError(f"{what} in epoch {epoch}, step {step} of {steps} (learning rate about {lr:.3g})")
