"""The runs and studies below a folder as rows of a list: filtered by settings, sorted by a metric. Imports no torch."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trainer.config.directions import direction_of
from trainer.config.recorded import typed_settings
from trainer.config.schema import GROUPS
from trainer.records.metrics import FIGURES, figure_of
from trainer.reports.content import ArmReport, Content
from trainer.reports.run_files import Run

# Of a run as a whole; the others are of its best epoch.
WHOLE = ("seconds", "epochs", "best_epoch", "parameters", "train_eval_accuracy", "gap")
METRICS = (*FIGURES, *WHOLE)


@dataclass(frozen=True)
class Row:
    """A run, or a study with its best arm by the metric; `value` is that arm's mean, None where nothing is recorded."""

    content: Content
    arm: str
    value: float | None


def is_higher_better(metric: str) -> bool:
    """Return whether the best value of a metric is its highest, as that of accuracies and of images per second."""
    return metric.endswith("accuracy") or metric == "images_per_second" or direction_of(metric) == "maximize"


def rows_of(contents: Iterable[Content], settings: Mapping[str, Sequence[Any]], metric: str) -> list[Row]:
    """Return the runs, and the studies with an arm, that have one of the listed values of each setting."""
    found = []
    for content in contents:
        arms = [arm for arm in content.arms if _matches(arm, settings)]
        if arms or not settings:
            found.append(_row(replace(content, arms=arms), metric))
    return found


def sorted_by_value(rows: Iterable[Row], metric: str) -> list[Row]:
    """Return the rows, best first; those without a value come last, in the order that they have."""
    sign = -1 if is_higher_better(metric) else 1
    return sorted(rows, key=lambda row: (row.value is None, 0.0 if row.value is None else sign * row.value))


def _matches(arm: ArmReport, settings: Mapping[str, Sequence[Any]]) -> bool:
    """Return whether a run of the arm has one of the values of each setting."""
    typed = [typed_settings(run.config) for run in arm.runs]
    return any(all(_has(each, *item) for item in settings.items()) for each in typed)


def _has(typed: Mapping[str, Any], key: str, accepted: Sequence[Any]) -> bool:
    """Return whether a setting has an accepted value; several techniques have those that are named, none has `none`."""
    if key not in typed:
        return False
    value = typed[key]
    for wanted in accepted:
        if key in GROUPS and isinstance(value, list):
            names = wanted if isinstance(wanted, list) else [wanted]
            if value == [] if names == ["none"] else set(names) <= set(value):
                return True
        elif value == wanted and isinstance(value, bool) == isinstance(wanted, bool):
            return True
    return False


def _row(content: Content, metric: str) -> Row:
    means = {}
    shown = {arm.name for arm in content.arms}
    if sum(any(arm.name in shown for arm in block.arms) for block in content.blocks) > 1:
        return Row(content, "", None)  # there is no best arm over several data sets
    for arm in content.arms:
        # A run that has not ended has a value of its own, but none that its arm could be compared by.
        runs = [run for run in arm.runs if content.kind == "run" or run.outcome.state == "finished"]
        values = [value for run in runs if (value := value_of(run, metric)) is not None]
        if values:
            means[arm.name] = statistics.mean(values)
    if not means:
        return Row(content, "", None)
    best = (max if is_higher_better(metric) else min)(means, key=lambda name: means[name])
    return Row(content, best if content.kind == "study" else "", means[best])


def value_of(run: Run, metric: str) -> float | None:
    """Return a metric of a run: of its best epoch, or of the run as a whole."""
    if metric not in WHOLE:
        return next((figure_of(row, metric) for row in run.epochs if row["epoch"] == run.outcome.best_epoch), None)
    if metric == "parameters":
        return run.best.parameters if run.best else None
    if metric in ("train_eval_accuracy", "gap"):
        measured: float | None = getattr(run.outcome, metric)
        return measured
    if not run.epochs:
        return None
    return {"seconds": run.seconds, "epochs": run.last_epoch, "best_epoch": run.outcome.best_epoch}[metric]
