"""How good predicted probabilities are: accuracy with its interval, calibration, what is taken for what."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

BINS = 15
Z = 1.959964  # of a normal distribution 95 % lie within ±Z


@dataclass(frozen=True)
class Scores:
    """`confusion`: [K, K] counts, a row for each true class and a column for each predicted one."""

    confusion: Tensor
    calibration_error: float

    @property
    def images(self) -> int:
        return int(self.confusion.sum())

    @property
    def correct(self) -> int:
        return int(self.confusion.trace())

    @property
    def accuracy(self) -> float:
        return self.correct / self.images

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.accuracy, self.images)

    def of_class(self, label: int) -> float:
        """The share of a class's images that were recognized; nan if it has none."""
        row = self.confusion[label]
        return int(row[label]) / int(row.sum()) if int(row.sum()) else math.nan


def score(probabilities: Tensor, labels: Tensor) -> Scores:
    """probabilities [N, K], labels [N]."""
    classes = probabilities.shape[1]
    confusion = (labels * classes + probabilities.argmax(1)).bincount(minlength=classes**2).view(classes, classes)
    return Scores(confusion, calibration_error(probabilities, labels))


def wilson(share: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a share that was observed in `count` cases. Wilson 1927."""
    square = Z * Z / count
    middle = (share + square / 2) / (1 + square)
    half = Z / (1 + square) * math.sqrt(share * (1 - share) / count + square / (4 * count))
    return max(0.0, middle - half), min(1.0, middle + half)


def calibration_error(probabilities: Tensor, labels: Tensor) -> float:
    """Expected calibration error: over 15 bins of confidence, |accuracy − mean confidence| weighted by their images.

    Guo et al. 2017. probabilities [N, K], labels [N].
    """
    confidence, predicted = probabilities.double().max(1)
    correct = (predicted == labels).double()
    inside = (confidence * BINS).ceil().clamp(1, BINS).long() - 1  # a bin holds its upper end
    gaps = torch.zeros(BINS, dtype=torch.float64).index_add_(0, inside, correct - confidence)
    return float(gaps.abs().sum() / len(labels))
