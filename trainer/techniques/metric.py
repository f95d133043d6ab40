"""The metrics beside loss and accuracy: (logits [N, K], labels [N]) of all validation images → scalar.

The annotation of the result says which values are better, in a verdict and in a search by `sweep.metric`.
"""

from collections.abc import Callable
from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from trainer.config.types import Count, CountOrZero
from trainer.errors import ConfigError

Maximized = Annotated[Tensor, "a higher value is better"]
Minimized = Annotated[Tensor, "a lower value is better"]
Metric = Callable[[Tensor, Tensor], Tensor]


def top_k_accuracy(logits: Tensor, labels: Tensor, *, k: Count = 5) -> Maximized:
    """Return the share of images whose true class is among the k that the network holds likeliest."""
    likeliest = logits.topk(min(k, logits.shape[1])).indices
    return (likeliest == labels[:, None]).any(1).float().mean()


def class_accuracy(logits: Tensor, labels: Tensor, *, classes: tuple[CountOrZero, ...] = (0,)) -> Maximized:
    """Return the share of images that are classified correctly, of those of some classes alone; NaN if there is none.

    `classes`: their numbers, from 0. Raises ConfigError for one that the data do not have.
    """
    if missing := [number for number in classes if number >= logits.shape[1]]:
        raise ConfigError(
            f"metric.class_accuracy.classes: there is no class {missing[0]}, they are numbered from 0 to"
            f" {logits.shape[1] - 1}"
        )
    asked = torch.isin(labels, torch.tensor(classes, device=labels.device))
    return (logits.argmax(1) == labels)[asked].float().mean()


def macro_f1(logits: Tensor, labels: Tensor) -> Maximized:
    """Return the mean over the classes of F1 = 2·precision·recall / (precision + recall): rare ones count as much.

    A class that is neither the label nor the answer of any image is left out.
    """
    classes, answers = logits.shape[1], logits.argmax(1)
    right = torch.bincount(labels[answers == labels], minlength=classes)
    named = torch.bincount(labels, minlength=classes) + torch.bincount(answers, minlength=classes)
    return (2 * right[named > 0] / named[named > 0]).mean()


def calibration_error(logits: Tensor, labels: Tensor, *, bins: Count = 15) -> Minimized:
    """Return the expected calibration error: the mean gap between confidence and accuracy. Guo et al. 2017.

    The images are put into `bins` of equal width by the probability of the answer; each counts by its images.
    """
    confidence, answers = F.softmax(logits, 1).max(1)
    place = (confidence * bins).ceil().long().clamp(1, bins) - 1  # a bin holds its upper end
    gaps = torch.zeros(bins, device=logits.device).index_add_(0, place, confidence - (answers == labels).float())
    return gaps.abs().sum() / len(labels)
