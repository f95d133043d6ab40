"""Noise on the gradients that becomes smaller during the training."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn


class GradientNoise:
    """Normal noise of the variance eta / (1 + t)^gamma on the gradients of step t = 0, 1, …"""

    def __init__(self, parameters: Iterable[nn.Parameter], eta: float, gamma: float) -> None:
        self.parameters, self.eta, self.gamma = list(parameters), eta, gamma
        # On the device, so that a step that is replayed as a CUDA graph counts as well.
        self.steps = torch.zeros((), device=self.parameters[0].device)

    @torch.no_grad()
    def add(self) -> None:
        """Add the noise, after the backward pass and before the optimizer's step."""
        deviation = (self.eta * (1 + self.steps) ** -self.gamma).sqrt()
        for parameter in self.parameters:
            if parameter.grad is not None:
                parameter.grad.addcmul_(torch.randn_like(parameter.grad), deviation.to(parameter.grad.dtype))

    def count(self) -> None:
        """Count a step, after the optimizer's."""
        self.steps.add_(1)

    def state_dict(self) -> dict[str, Any]:
        """Return the number of steps."""
        return {"steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self.steps.copy_(state["steps"])
