"""The evidence that rules judge, and the findings that they return. Imports no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trainer.config.run_config import RunConfig
from trainer.records.metrics import figure_of

Row = Mapping[str, Any]  # a line of metrics.jsonl
LayerStats = Mapping[str, Any]  # of diagnosis/layer_stats.py


def by_cross_entropy(rows: Sequence[Row]) -> list[Row]:
    """Return the epochs with the cross-entropies as their losses: of another loss no threshold is known."""
    figures = {"train_loss": "train_cross_entropy", "validation_loss": "validation_cross_entropy"}
    return [{**row, **{name: figure_of(row, figure) for name, figure in figures.items()}} for row in rows]


@dataclass(frozen=True)
class HeldOut:
    """The best network's answers to the validation images.

    `sure`: size of the more confident half; `contradicted`: images in it whose label is not even among the first three
    answers; `recalls`: accuracy of each class; `suspects`: the most confident of the contradicted, at most ten, by
    their position in the data set.
    """

    images: int
    accuracy: float
    sure: int
    contradicted: int
    recalls: tuple[float, ...]
    suspects: tuple[int, ...] = ()


@dataclass(frozen=True)
class Divergence:
    """The place at which an epoch stopped being finite when it was trained again; steps count from 1.

    `what`: the first value that is not finite, such as "the output of convolution 2 of 6"; `began`: the layer whose
    weights step `began_step` changed by `ratio` times their own size, or None.
    """

    epoch: int
    step: int
    what: str
    began: str | None = None
    began_step: int = 0
    ratio: float = 0.0


@dataclass(frozen=True)
class Evidence:
    """A run: its settings, its epochs, layer statistics before training and after it, and facts about its data."""

    config: RunConfig
    rows: Sequence[Row]  # their losses are cross-entropies (`by_cross_entropy`)
    class_counts: Mapping[str, int]  # of the training images
    validation_images: int
    initial: LayerStats | None = None
    final: LayerStats | None = None
    held_out: HeldOut | None = None
    divergence: Divergence | None = None
    stopped_early: bool = False
    alike: float = 0.0  # share of the training images looked at that are one and the same picture

    @property
    def loss(self) -> str:
        """The loss of the epochs in words."""
        return "loss" if self.config.loss.name == "cross_entropy" else "cross-entropy"

    @property
    def first_loss(self) -> float | None:
        """The cross-entropy of the network before training, if it is known."""
        known = self.initial is not None and self.config.loss.name == "cross_entropy"
        return self.initial["loss"] if self.initial and known else None

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.class_counts)

    @property
    def images(self) -> int:
        """The number of training images."""
        return sum(self.class_counts.values())

    @property
    def validated(self) -> list[Row]:
        """The epochs that were validated."""
        return [row for row in self.rows if row["validation_loss"] is not None]


@dataclass(frozen=True)
class Finding:
    """A fault. `seen`: the figures; `meaning`: their interpretation.

    `override`: a setting to try, as it is typed; "" if no setting helps.
    """

    name: str
    seen: str
    meaning: str
    override: str
    explains: frozenset[str] = field(default=frozenset())  # other findings that follow from this one
