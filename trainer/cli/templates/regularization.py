"""Own regularizations: (model, *, options) -> StepHooks, or -> None for one that changes the network itself."""

import torch
from torch import Tensor, nn

from trainer.config.types import Positive
from trainer.techniques.hooks import StepHooks
from trainer.techniques.layers import weights


def technique(
    model: nn.Module,
    *,
    strength: Positive = 1e-4,  # factor of the penalty
) -> StepHooks:
    """Add strength·Σ|W|³ to the loss."""
    matrices = weights(model)  # of convolutions and linear layers, without biases and normalization

    def penalty(logits: Tensor, labels: Tensor) -> Tensor:
        """Return a scalar; logits: [N, K], labels: [N] or mixed ones [N, K]."""
        # To do: your penalty. StepHooks also takes limit_gradients, after_step, evaluated, and state to be saved.
        return strength * torch.stack([weight.abs().pow(3).sum() for weight in matrices]).sum()

    return StepHooks(penalty=penalty)
