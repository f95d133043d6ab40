"""What is known of a run when it is diagnosed. Imports no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trainer.config.run_config import RunConfig

Row = Mapping[str, Any]  # a line of metrics.jsonl
LayerStats = Mapping[str, Any]  # trainer/layer_stats.py


@dataclass(frozen=True)
class HeldOut:
    """The best network's answers to the validation images. `sure`: the more confident half of them, of which
    `contradicted` have the given label not even among the first three; `recalls`: the accuracy of each class;
    `suspects`: the surest of the contradicted, at most ten, by their place in the data set."""

    images: int
    accuracy: float
    sure: int
    contradicted: int
    recalls: tuple[float, ...]
    suspects: tuple[int, ...] = ()


@dataclass(frozen=True)
class Divergence:
    """Where an epoch, trained again, stopped being finite; steps count from 1.

    `what`: the first value that is not finite, such as "the output of convolution 2 of 6"; `began`: the layer whose
    weights step `began_step` changed by `ratio` times their own size, None where none did.
    """

    epoch: int
    step: int
    what: str
    began: str | None = None
    began_step: int = 0
    ratio: float = 0.0


@dataclass(frozen=True)
class Evidence:
    """A run: its settings, its epochs, an layer_stats before training and one after, and facts of its data."""

    config: RunConfig
    rows: Sequence[Row]
    class_counts: Mapping[str, int]  # of the training images
    validation_images: int
    initial: LayerStats | None = None
    final: LayerStats | None = None
    held_out: HeldOut | None = None
    divergence: Divergence | None = None
    stopped_early: bool = False

    @property
    def classes(self) -> int:
        return len(self.class_counts)

    @property
    def images(self) -> int:
        return sum(self.class_counts.values())

    @property
    def validated(self) -> list[Row]:
        return [row for row in self.rows if row["validation_loss"] is not None]


@dataclass(frozen=True)
class Finding:
    """`seen`: the figures; `meaning`: what they say; `override`: what to try, as it is typed behind the command."""

    name: str
    seen: str
    meaning: str
    override: str
    explains: frozenset[str] = field(default=frozenset())  # other findings that follow from this one
