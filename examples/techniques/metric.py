"""Metrics of one's own: (logits [N, K], labels [N]) of all validation images → a number, an epoch.

The type that a function returns says which values are better.
"""

import torch
from torch import Tensor

from trainer.techniques.metric import Maximized


def balanced_accuracy(logits: Tensor, labels: Tensor) -> Maximized:
    """The mean over the classes of the share of their images that are right. Brodersen et al. 2010."""
    count = torch.bincount(labels, minlength=logits.shape[1])
    right = torch.bincount(labels[logits.argmax(1) == labels], minlength=logits.shape[1])
    return (right[count > 0] / count[count > 0]).mean()
