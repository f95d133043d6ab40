"""The figures of one epoch, as the loop reports them and as they are shown and written down."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class EpochReport:
    """What one epoch came to. Losses are means over images, accuracies fractions of one, `epoch` counts from 1.

    The validation figures are None where this epoch was not validated, `improved` says it has the lowest
    validation loss so far. `skipped_steps` were left out under `on_nonfinite`; `insight`
    (trainer/insight.py) is None where it was not asked for.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    lr: float
    epoch_seconds: float
    images_per_second: float
    improved: bool
    skipped_steps: int = 0
    insight: dict[str, Any] | None = None
