"""Measures of a run: pure functions of its record and checkpoints, each a number. Imports no torch.

The unit of a measure stands in its docstring. nan: not measurable in this run; inf: what it waits for never came.
"""

import math

from trainer.lecture.runs import RunRecord


def score(run: RunRecord) -> float:
    """Return the validation accuracy, cross-fitted: each half of the images at the best epoch of the other half.

    Unit: points.
    """
    value = run.outcome.value("validation_accuracy", "cross")
    return math.nan if value is None else 100 * value
