"""Losses of one's own: (logits [N, K], labels [N], or [N, K] once images were mixed) → the mean over the images."""

from torch import Tensor
from torch.nn import functional as F

from trainer.config.types import NonNegative


def focal(logits: Tensor, labels: Tensor, *, gamma: NonNegative = 2.0) -> Tensor:
    """Focal loss: −(1 − p)^γ·ln p of the true class, which passes over what is easy. Lin et al. 2017."""
    log_probabilities = F.log_softmax(logits, 1)
    each = (1 - log_probabilities.exp()) ** gamma * -log_probabilities
    if labels.ndim == 1:
        return each.gather(1, labels[:, None]).mean()
    return (labels * each).sum(1).mean()
