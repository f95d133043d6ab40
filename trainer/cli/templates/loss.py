"""Own losses: (logits, labels, *, options) -> scalar, the mean over the images."""

import torch
from torch import Tensor

from trainer.config.types import NonNegative


def technique(
    logits: Tensor,
    labels: Tensor,
    *,
    gamma: NonNegative = 2.0,  # 0: cross-entropy
) -> Tensor:
    """Cross-entropy in which an image counts by (1 − p)^γ, p being the probability of its class."""
    # logits: [N, K]. labels: [N], or probabilities [N, K] once an augmentation has mixed them.
    logarithms = logits.log_softmax(1)
    target = labels if labels.ndim == 2 else torch.eye(logits.shape[1], device=logits.device)[labels]
    # To do: your loss of each class of each image, [N, K].
    values = -((1 - logarithms.exp()) ** gamma) * logarithms * target
    return values.sum(1).mean()
