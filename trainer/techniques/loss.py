"""The losses: (logits [N, K], labels [N] or mixed labels [N, K]) → scalar, the mean over the images.

The chosen one is trained, validated and reported. Beside another one than cross-entropy every epoch also records the
cross-entropy, on which runs with different losses can be compared.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from trainer.config.types import NonNegative, Positive

Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return −ln of the probability of the true class; of mixed labels their weighted mean."""
    return F.cross_entropy(logits, labels)


def focal(logits: Tensor, labels: Tensor, *, gamma: NonNegative = 2.0) -> Tensor:
    """Return −(1 − p)^γ·ln p of the true class, which passes over what is easy. Lin et al. 2017."""
    log_probabilities = F.log_softmax(logits, 1)
    each = (1 - log_probabilities.exp()) ** gamma * -log_probabilities
    return (_shares(logits, labels) * each).sum(1).mean()


def poly(logits: Tensor, labels: Tensor, *, epsilon: float = 1.0) -> Tensor:
    """Return −ln p + ε·(1 − p) of the true class, the first term of the cross-entropy's series reweighted.

    Poly-1 of Leng et al. 2022.
    """
    true = (_shares(logits, labels) * logits.softmax(1)).sum(1)
    return F.cross_entropy(logits, labels) + epsilon * (1 - true).mean()


def mse(logits: Tensor, labels: Tensor, *, outputs: Literal["logits", "probabilities"] = "logits") -> Tensor:
    """Return the squared error against 1 for the true class and 0 for the others, the mean over the classes."""
    return F.mse_loss(logits if outputs == "logits" else logits.softmax(1), _shares(logits, labels))


def hinge(logits: Tensor, labels: Tensor, *, margin: Positive = 1.0, power: Literal[1, 2] = 1) -> Tensor:
    """Return Σ max(0, margin − z + z_k)^power / K over the classes k but the true one, whose logit is z.

    Weston & Watkins 1999. Mixed labels need memory for N·K² numbers.
    """
    if labels.ndim == 1:
        return F.multi_margin_loss(logits, labels, p=power, margin=margin)
    classes = logits.shape[1]
    # [N, K, K]: a row for each class as the true one
    short = (margin - logits[:, :, None] + logits[:, None, :]).clamp(min=0) ** power
    others = 1 - torch.eye(classes, device=logits.device)
    return (labels * (short * others).sum(2)).sum(1).mean() / classes


def _shares(logits: Tensor, labels: Tensor) -> Tensor:
    """Return labels [N] or [N, K] as the share [N, K] of each class."""
    # Not one_hot, which reads the labels' values and so waits for the device.
    return labels if labels.ndim == 2 else torch.zeros_like(logits).scatter_(1, labels[:, None], 1.0)
