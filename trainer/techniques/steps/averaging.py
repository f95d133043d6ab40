"""The average of the weights at the ends of epochs, every one of which counts the same."""

import copy
import math
from typing import Any

import torch
from torch import nn


class EpochAverage:
    """Weights ← (n·average + weights) / (n + 1) after each `every`-th epoch of the last part of a run.

    `start`: the share of the epochs before the first that is averaged. Until then it is the network itself.
    """

    def __init__(self, model: nn.Module, start: float, every: int) -> None:
        self.model, self.module = model, copy.deepcopy(model).requires_grad_(False)
        self.start, self.every, self.count = start, every, 0

    @torch.no_grad()
    def after_epoch(self, epoch: int, epochs: int) -> bool:
        """Take the weights into the average if it is time; return whether the average differs from the network."""
        since = epoch - math.floor(self.start * epochs) - 1
        if since < 0:
            self.module.load_state_dict(self.model.state_dict())
            self.count = 0
            return False
        if since % self.every == 0:
            torch._foreach_lerp_(list(self.module.parameters()), list(self.model.parameters()), 1 / (self.count + 1))
            for average, current in zip(self.module.buffers(), self.model.buffers(), strict=True):
                average.copy_(current)
            self.count += 1
        return True

    def state_dict(self) -> dict[str, Any]:
        """Return the averaged weights and how many there are in the average."""
        return {"count": self.count, "module": self.module.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self.count = state["count"]
        self.module.load_state_dict(state["module"])
