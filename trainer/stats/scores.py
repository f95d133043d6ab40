"""Scores of predicted probabilities: accuracy with its interval, calibration, confusion matrix. Imports no torch."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.stats.intervals import wilson

BINS = 15


@dataclass(frozen=True)
class Scores:
    """The scores of one network; `confusion` [K, K] counts images, a row a true class, a column a predicted one."""

    confusion: NDArray[np.int64]
    calibration_error: float

    @property
    def images(self) -> int:
        """The number of images scored."""
        return int(self.confusion.sum())

    @property
    def correct(self) -> int:
        """The number of images whose class was predicted."""
        return int(self.confusion.trace())

    @property
    def accuracy(self) -> float:
        """The share of images whose class was predicted."""
        return self.correct / self.images

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the accuracy."""
        return wilson(self.accuracy, self.images)

    def of_class(self, label: int) -> float:
        """Return the share of a class's images that were recognized; nan if it has none."""
        row = self.confusion[label]
        return int(row[label]) / int(row.sum()) if int(row.sum()) else math.nan


def score(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> Scores:
    """Return the scores of probabilities [N, K] for true labels [N]."""
    classes = probabilities.shape[1]
    pairs = labels * classes + probabilities.argmax(1)  # one number for each (true, predicted)
    confusion = np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
    return Scores(confusion, calibration_error(probabilities, labels))


def calibration_error(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Return the expected calibration error of probabilities [N, K] for true labels [N]. Guo et al. 2017.

    Over 15 bins of confidence, |accuracy − mean confidence| is weighted by the images of the bin.
    """
    confidence, correct = probabilities.max(1), probabilities.argmax(1) == labels
    bins = np.clip(np.ceil(confidence * BINS), 1, BINS).astype(np.int64) - 1  # a bin includes its upper end
    gaps = np.bincount(bins, weights=correct - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / len(labels))
