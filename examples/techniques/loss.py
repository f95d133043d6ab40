"""Losses of one's own: (logits [N, K], labels [N], or [N, K] once images were mixed) → the mean over the images."""

from torch import Tensor
from torch.nn import functional as F

from trainer.config.types import OpenFraction


def generalized_cross_entropy(logits: Tensor, labels: Tensor, *, q: OpenFraction = 0.7) -> Tensor:
    """(1 − p^q) / q of the true class, which wrong labels mislead less. Zhang & Sabuncu 2018."""
    each = (1 - (q * F.log_softmax(logits, 1)).exp()) / q
    if labels.ndim == 1:
        return each.gather(1, labels[:, None]).mean()
    return (labels * each).sum(1).mean()
