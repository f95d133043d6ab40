"""The design of a comparison: its metric, what repeats an arm, and the images it is scored on. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass

from trainer.stats.times import TIMES


@dataclass(frozen=True)
class Effects:
    """The arms of an ablation: the techniques that each has less than the baseline or, with `added`, more."""

    baseline: str
    techniques: Mapping[str, tuple[str, ...]]
    added: bool = False

    def told(self, arm: str, other: str) -> str:
        """Return the techniques that tell an arm from the baseline, as "normalization"; "" for any other pair."""
        names = self.techniques.get(arm, ()) if other == self.baseline else ()
        return " and ".join(names) + " together" * (len(names) > 1)


@dataclass(frozen=True)
class Design:
    """The design of a comparison; `unit` is what repeats an arm (seed, fold, split).

    split_ratio: validation images divided by training images where the units are scored on different images, else 0.
    margin: the smallest difference that matters, in the metric's unit; None: not given.
    more: the command that adds seeds to the study; "" where there is none.
    score: the rule that chooses the epochs at which runs are scored (`score_rule.py`); "" for values of no run.
    lapse: a sentence on why that is another rule than the one that was asked for; "" where it is not.
    """

    metric: str = "validation_accuracy"
    sign: int = 1  # -1: lower is better
    unit: str = "seed"
    split_ratio: float = 0.0
    margin: float | None = None
    more: str = ""
    effects: Effects | None = None  # of an ablation
    score: str = ""
    lapse: str = ""

    @property
    def paired(self) -> bool:
        """True if each fold or split is compared with itself only, however few there are."""
        return self.split_ratio > 0

    @property
    def time(self) -> str:
        """Return what a time to target counts: steps, seconds, gradients or images; "" for another metric."""
        return TIMES.get(self.metric, "")

    @property
    def share(self) -> bool:
        """True if the metric is a share of images, which is reported in percentage points."""
        return self.metric.endswith("accuracy")
