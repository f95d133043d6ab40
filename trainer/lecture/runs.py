"""The record of a trained run as the measures read it. Imports no torch before a network is loaded."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.records.layout import BEST, LAST
from trainer.records.metrics import METRICS
from trainer.records.outcome import Outcome, outcome_or_damage
from trainer.storage.untrusted import read_config

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class RunRecord:
    """A run's settings, outcome, epochs and weights. `epochs`: the lines of its metrics, None for what is not finite.

    A line holds epoch, lr, train_loss, train_accuracy, validation_loss, validation_accuracy, epoch_seconds,
    images_per_second, and where they were recorded layer_stats.
    """

    folder: Path
    config: Mapping[str, Any]
    outcome: Outcome
    epochs: Sequence[Mapping[str, Any]]

    @classmethod
    def read(cls, folder: Path) -> "RunRecord":
        """Read the folder of a run. Raises RunError if it is damaged."""
        path = folder / METRICS
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        return cls(folder, read_config(folder / "config.yaml"), outcome_or_damage(folder), [*map(json.loads, lines)])

    @cached_property
    def best(self) -> "Mapping[str, NDArray[np.floating[Any]]]":
        """The parameters and buffers of the best epoch, by name."""
        return _tensors(self.folder / BEST)

    @cached_property
    def last(self) -> "Mapping[str, NDArray[np.floating[Any]]]":
        """All tensors of the last checkpoint by name: weights, optimizer state, generators."""
        return _tensors(self.folder / LAST)


def _tensors(path: Path) -> "Mapping[str, NDArray[np.floating[Any]]]":
    from safetensors.numpy import load_file

    return load_file(path)
