"""Metrics whose values have the same scale in every arm of a study. Imports no torch."""

from collections.abc import Sequence

from trainer.config.run_config import SweepConfig
from trainer.config.schema import Choice
from trainer.errors import ConfigError


def refuse_other_scales(settings: SweepConfig, losses: Sequence[Choice]) -> None:
    """Raise ConfigError if the values of different losses would be compared with each other."""
    first, other = losses[0], next((loss for loss in losses if loss != losses[0]), None)
    if settings.metric == "validation_loss" and other:
        names = f"{first.name} and {other.name}" if first.name != other.name else f"{first.name} with other options"
        raise ConfigError(
            f"sweep.metric=validation_loss: the values of different losses ({names}) cannot be compared. Accepted here:"
            " validation_accuracy, validation_cross_entropy or a metric"
        )
