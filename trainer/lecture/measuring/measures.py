"""Measures of a run: pure functions of its epochs and outcome, each a number. Imports no torch.

The unit of a measure stands in its docstring. nan: not measurable in this run; inf: what it waits for never came.
Accuracies are in points, 0 to 100. A run that was stopped because its loss was no longer finite has the accuracy and
the loss of chance: it would be no measurement to leave out the runs that fared worst.
"""

import itertools
import math
import statistics
from collections.abc import Mapping
from typing import Any, Literal

from trainer.config.types import Count, Positive
from trainer.lecture.measuring.runs import RunRecord
from trainer.records.metrics import figure_of
from trainer.records.target import steps_of

FALLING = ("loss", "cross_entropy")  # ends of the names of figures that are better the lower they are


def score(run: RunRecord) -> float:
    """Return the validation accuracy, cross-fitted: each half of the images at the best epoch of the other half.

    Unit: points.
    """
    if run.stopped_as_not_finite:
        return _chance_accuracy(run)
    value = run.outcome.value("validation_accuracy", "cross")
    return math.nan if value is None else 100 * value


def accuracy(
    run: RunRecord,
    *,
    figure: str = "validation_accuracy",
    at: Literal["best", "last", "first", "lowest", "highest"] = "best",
) -> float:
    """Return an accuracy at the best epoch (of the lowest validation loss), the last, the first, or its extreme.

    `figure`: validation_accuracy or train_accuracy, which is a mean over the epoch in training mode. Unit: points.
    """
    return _chance_accuracy(run) if run.stopped_as_not_finite else 100 * _at(run, figure, at)


def accuracy_last(run: RunRecord) -> float:
    """Return the validation accuracy of the last weights. Unit: points."""
    return accuracy(run, at="last")


def figure(run: RunRecord, *, name: str, at: Literal["best", "last", "first", "lowest", "highest"] = "last") -> float:
    """Return a figure of `metrics.jsonl` as it stands there, shares from 0 to 1; nan if it was not finite. Unit: ."""
    return _at(run, name, at)


def loss(run: RunRecord, *, at: Literal["best", "last", "first", "lowest", "highest"] = "best") -> float:
    """Return the validation loss. Unit: ."""
    return _finite_loss(run, _at(run, "validation_loss", at))


def train_loss_end(run: RunRecord) -> float:
    """Return the training loss of the last epoch, the mean over its steps. Unit: ."""
    return _finite_loss(run, _at(run, "train_loss", "last"))


def train_eval(run: RunRecord) -> float:
    """Return the training accuracy in evaluation mode, without augmentation and dropout, at the best epoch.

    Unit: points.
    """
    if run.stopped_as_not_finite:
        return _chance_accuracy(run)
    value = run.outcome.train_eval_accuracy
    return math.nan if value is None else 100 * value


def gap(run: RunRecord) -> float:
    """Return the training accuracy in evaluation mode minus the validation accuracy, both of the best epoch.

    Unit: points.
    """
    value = run.outcome.gap
    return math.nan if value is None else 100 * value


def train_end(run: RunRecord) -> float:
    """Return the training accuracy of the last epoch, a mean over its steps in training mode. Unit: points."""
    return accuracy(run, figure="train_accuracy", at="last")


def half_first(run: RunRecord) -> float:
    """Return the validation accuracy of the last epoch on the first of two fixed halves of the images. Unit: points."""
    return _half(run, 0)


def half_second(run: RunRecord) -> float:
    """Return the validation accuracy of the last epoch on the second half of the images. Unit: points."""
    return _half(run, 1)


def epoch_optimism(run: RunRecord) -> float:
    """Return how much better the best epoch looks on the images that chose it than on fresh ones.

    The epoch of the highest accuracy on one half of the validation images is chosen, the first of equal ones, and its
    accuracy there compared with that on the other half; the mean of both ways round. Unit: points.
    """
    halves = [[half.get("validation_accuracy") for half in row["halves"]] for row in run.epochs if row["halves"]]
    if not halves or any(None in each for each in halves):
        return math.nan
    chosen = [max(halves, key=lambda each: each[half]) for half in (0, 1)]
    return 100 * statistics.fmean((chosen[0][0] - chosen[0][1], chosen[1][1] - chosen[1][0]))


def epochs_to(run: RunRecord, *, figure: str, target: float) -> float:
    """Return the first epoch at which a figure reaches the target: a loss from above, an accuracy from below.

    `target`: an accuracy in points, a loss as it is; inf if it never does, nan for a figure that was not recorded.
    Unit: epochs.
    """
    for row in run.epochs:
        value = _scaled(row, figure)
        if value <= target if figure.endswith(FALLING) else value >= target:
            return float(row["epoch"])
    recorded = not run.epochs or any(figure in row for row in run.epochs)
    known = run.stopped_as_not_finite or run.outcome.state == "finished"
    return math.inf if known and recorded else math.nan


def steps_to(run: RunRecord, *, figure: str, target: float) -> float:
    """Return the steps until the end of the first epoch at which a figure reaches the target, as `epochs_to` does.

    Unit: steps.
    """
    epoch = epochs_to(run, figure=figure, target=target)
    images, size = run.outcome.training_images, run.config.get("batch_size")
    if not math.isfinite(epoch):
        return epoch
    return math.nan if images is None or not isinstance(size, int) else epoch * steps_of(images, size)


def diverged(run: RunRecord, *, chance: Positive | None = None) -> float:
    """Return 100 if the run ended no better than chance or was stopped as not finite, else 0: the mean is a share.

    Compared is the cross-entropy of the training images in the last epoch. `chance`: that of guessing, None: the
    logarithm of the number of classes. Unit: points.
    """
    if run.stopped_as_not_finite:
        return 100.0
    if run.outcome.state != "finished":
        return math.nan
    limit = _chance_loss(run) if chance is None else chance
    if math.isnan(limit):
        return math.nan
    last = run.epochs[-1] if run.epochs else {}
    ends = [figure_of(last, "train_cross_entropy"), last.get("validation_loss")]
    return 100.0 if None in ends or (ends[0] or 0.0) >= limit else 0.0


def drop_effect(run: RunRecord, *, every: Count, before: Count = 2, after: Count = 2) -> float:
    """Return the mean training loss of the epochs after a drop of the rate minus that of the epochs before it.

    The drops are after each `every` epochs, as of scheduler=step; of several the mean. A run whose rate does not drop
    is measured at the same epochs. `before` and `after`: the number of epochs in the means. Unit: .
    """
    losses = [figure_of(row, "train_loss") for row in run.epochs]
    effects = [
        _mean(losses[drop : drop + after]) - _mean(losses[drop - before : drop])
        for drop in range(every, len(losses) - after + 1, every)
        if drop >= before
    ]
    return statistics.fmean(effects) if effects else math.nan


def curve_noise(run: RunRecord, *, figure: str = "train_loss") -> float:
    """Return the standard deviation of the change from epoch to epoch in the last half of the epochs.

    An accuracy is in points, a loss as it is. Unit: .
    """
    values = [_scaled(row, figure) for row in run.epochs]
    values = values[len(values) // 2 :]
    changes = [later - earlier for earlier, later in itertools.pairwise(values)]
    return statistics.stdev(changes) if len(changes) > 1 and all(map(math.isfinite, changes)) else math.nan


def images_per_second(run: RunRecord) -> float:
    """Return the median over the epochs of the training images a second. Unit: images a second."""
    speeds = [row["images_per_second"] for row in run.epochs if row["images_per_second"] is not None]
    return statistics.median(speeds) if speeds else math.nan


def seconds(run: RunRecord) -> float:
    """Return the time of all epochs together. Unit: seconds."""
    times = [row["epoch_seconds"] for row in run.epochs]
    return float(sum(times)) if times and None not in times else math.nan


def _at(run: RunRecord, name: str, at: str) -> float:
    """Return a figure of a chosen epoch of those that have one; nan without one."""
    values = {row["epoch"]: figure_of(row, name) for row in run.epochs}
    if at in ("lowest", "highest"):
        known = [value for value in values.values() if value is not None]
        return (min if at == "lowest" else max)(known, default=math.nan)
    epoch = {"best": run.best_epoch, "first": min(values, default=0), "last": max(values, default=0)}[at]
    value = values.get(epoch)
    return math.nan if value is None else value


def _half(run: RunRecord, half: int) -> float:
    """Return the accuracy of the last epoch on a half of the validation images."""
    if run.stopped_as_not_finite:
        return _chance_accuracy(run)
    halves = run.epochs[-1]["halves"] if run.epochs else ()
    value = halves[half].get("validation_accuracy") if halves else None
    return math.nan if value is None else 100 * value


def _scaled(row: Mapping[str, Any], name: str) -> float:
    """Return a figure of an epoch, an accuracy in points; nan without one."""
    value = figure_of(row, name)
    return math.nan if value is None else 100 * value if name.endswith("accuracy") else value


def _mean(values: list[float | None]) -> float:
    return statistics.fmean(math.nan if value is None else value for value in values)


def _chance_accuracy(run: RunRecord) -> float:
    return 100 / run.classes if run.classes else math.nan


def _chance_loss(run: RunRecord) -> float:
    return math.log(run.classes) if run.classes else math.nan


def _finite_loss(run: RunRecord, value: float) -> float:
    """Return a loss, that of chance for a run that was stopped as not finite."""
    return _chance_loss(run) if run.stopped_as_not_finite else value
