"""Further columns of a study's table, by `sweep.columns`: a figure of each run, of which an arm has the mean."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trainer.records.outcome import Outcome


@dataclass(frozen=True)
class Column:
    """`figure` of a finished run, None if it was not recorded; `form`: the format of the mean over an arm's runs."""

    title: str
    figure: Callable[[Outcome], float | None]
    form: str

    def cell(self, outcomes: Sequence[Outcome]) -> str:
        """Return the mean over the runs of an arm, "—" if none has the figure."""
        figures = [self.figure(outcome) for outcome in outcomes if outcome.state == "finished"]
        known = [figure for figure in figures if figure is not None]
        return format(statistics.mean(known), self.form).replace("-", "−") if known else "—"


def _gap(outcome: Outcome) -> float | None:
    return None if outcome.gap is None else 100 * outcome.gap


def _training_accuracy(outcome: Outcome) -> float | None:
    return None if outcome.train_eval_accuracy is None else 100 * outcome.train_eval_accuracy


def _images_per_second(outcome: Outcome) -> float | None:
    if outcome.training_images is None or not outcome.seconds:
        return None
    return outcome.epochs * outcome.training_images / outcome.seconds


COLUMNS = {
    "gap": Column("gap, points", _gap, "+.2f"),
    "training_accuracy": Column("training accuracy", _training_accuracy, ".2f"),
    "images_per_second": Column("images/s", _images_per_second, ",.0f"),
}
