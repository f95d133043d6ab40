"""The numbers of a page's figures: curves with mean and deviation, values by arm, classes. Imports no torch."""

import itertools
import json
import math
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from trainer.errors import RunError
from trainer.records.metrics import figure_of, further_of
from trainer.records.outcome import DONE
from trainer.reports.content import ArmReport, Content
from trainer.reports.descriptive import profile_figure, tuning_figures
from trainer.reports.layer_charts import layer_figures
from trainer.reports.run_files import Run

CURVES = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "lr", "seconds")
MAX_FURTHER = 12  # figures of metrics
MAX_NUMBERS = 600_000  # in the curves of single runs, about 4 MB of a page: beyond, epochs are left out evenly
COMPARED = CURVES[:4]  # the quantities in which curves are drawn
MAX_RATES = 3  # that are listed in words
DIGITS = 5  # significant digits: more than a figure shows


def figures(content: Content) -> dict[str, Any]:
    """Return plain values for the page's script; a value that is not finite becomes null."""
    return {
        "arms": [arm.name for arm in content.arms],
        "metric": content.metric,
        "scored": content.scored,
        "share": content.share,
        "sign": content.sign,
        "unit": content.unit,
        "curves": curves(content.arms),
        "further": further_curves(content.arms),
        "values": [[[key, value] for key, value in arm.values.items()] for arm in content.arms],
        "means": [arm.mean if arm.values else None for arm in content.arms],
        "search": content.search,
        "profile": profile_figure(content),
        "tuning": tuning_figures(content),
        "classes": classes(content.arms),
        "layers": layer_figures(content.arms),
    }


def curves(arms: Sequence[ArmReport]) -> list[dict[str, Any]]:
    """Return each arm's runs, and of several the mean and deviation of each quantity after each of `epochs`.

    The mean is over the runs that finished, if any did, and ends at the last epoch that all of them have: beyond it the
    mean would be over other runs and jump.
    """
    # Counted over the whole page, so that all arms keep the same epochs.
    keys = (*CURVES, *(key for group in further_curves(arms) for key in group["keys"]))
    numbers = sum(len(run.epochs) for arm in arms for run in arm.runs) * len(keys)
    every = max(1, math.ceil(numbers / MAX_NUMBERS))
    return [_curves_of(arm, every, keys) for arm in arms]


def further_curves(arms: Sequence[ArmReport]) -> list[dict[str, Any]]:
    """Return what some runs have recorded beside loss and accuracy: {"name": "macro_f1", "keys": [...]} for each."""
    recorded = {key: None for arm in arms for run in arm.runs for row in run.epochs for key in further_of(row)}
    names = dict.fromkeys(key.partition("_")[2] for key in recorded)
    parts = ("train", "validation")
    return [
        {"name": name, "keys": [f"{part}_{name}" for part in parts if f"{part}_{name}" in recorded]}
        for name in sorted(names)[:MAX_FURTHER]
    ]


def _curves_of(arm: ArmReport, every: int, keys: Sequence[str]) -> dict[str, Any]:
    runs = [(run, _columns(run, every, keys)) for run in arm.runs if run.epochs]
    # A failed run ends early and at other values; alone it is still better than an empty figure.
    finished = [rows for run, rows in runs if run.outcome.state == "finished"] or [rows for _, rows in runs]
    columns = finished if len(runs) > 1 else []
    # zip(strict) below needs equal lengths; stdev needs two runs, and null marks an epoch without validation.
    shared = min((len(run["epoch"]) for run in columns), default=0)
    mean, deviation = dict[str, list[float | None]](), dict[str, list[float | None]]()
    for key in keys:
        rows = list(zip(*(run[key][:shared] for run in columns), strict=True))
        mean[key] = [_number(statistics.mean(row)) if None not in row else None for row in rows]
        deviation[key] = [_number(statistics.stdev(row)) if len(row) > 1 and None not in row else None for row in rows]
    return {
        "epochs": columns[0]["epoch"][:shared] if columns else [],
        "mean": mean,
        "deviation": deviation,
        "best": arm.best_epoch,
        "runs": [{"name": run.replicate or run.folder.name, **_marks(run), **rows} for run, rows in runs],
    }


def _marks(run: Run) -> dict[str, int | None]:
    """Return the epoch of the best network, and the last one if early stopping ended the run."""
    done = run.outcome.state in DONE
    planned = run.config.get("epochs")
    early = run.outcome.state == "finished" and not run.outcome.reason
    stopped = run.epochs[-1]["epoch"] if early and isinstance(planned, int) and run.last_epoch < planned else None
    return {"best": run.outcome.best_epoch or None if done else None, "stopped": stopped}


def coincident(arms: Sequence[ArmReport]) -> list[list[str]]:
    """Return the names of arms whose curves are equal, so that one covers the others, in groups."""
    groups: dict[str, list[str]] = {}
    for arm in arms:
        rows = [[[row[key] for key in ("epoch", *COMPARED)] for row in run.epochs] for run in arm.runs]
        if any(rows):
            groups.setdefault(json.dumps(rows), []).append(arm.name)
    return [names for names in groups.values() if len(names) > 1]


def constant_rate(arms: Sequence[ArmReport]) -> str:
    """Return the learning rate in words if that of every run is constant, else ""."""
    rates: dict[float, list[str]] = {}
    for arm in arms:
        found = {row["lr"] for run in arm.runs for row in run.epochs} - {None}
        each_constant = all(len({row["lr"] for row in run.epochs}) == 1 for run in arm.runs if run.epochs)
        if not each_constant or len(found) > 1:
            return ""
        for rate in found:
            rates.setdefault(rate, []).append(arm.name)
    if len(rates) == 1:
        return f"The learning rate is {next(iter(rates)):g} in every epoch."
    if not rates or len(rates) > MAX_RATES or sum(map(len, rates.values())) > MAX_RATES:
        return "The learning rate of each arm is constant." if rates else ""
    listed = "; ".join(f"{rate:g} ({', '.join(names)})" for rate, names in rates.items())
    return f"The learning rate is constant: {listed}."


def _columns(run: Run, every: int, keys: Sequence[str]) -> dict[str, list[Any]]:
    rows = [row for row in run.epochs if row["epoch"] % every == 0 or every == 1 or row is run.epochs[-1]]
    # Summed over all epochs before some of them are left out.
    elapsed = dict(zip((row["epoch"] for row in run.epochs), _elapsed(run), strict=True))
    return {
        "epoch": [row["epoch"] for row in rows],
        **{key: [_number(figure_of(row, key)) for row in rows] for key in keys if key != "seconds"},
        "seconds": [_number(elapsed[row["epoch"]]) for row in rows],
    }


def _elapsed(run: Run) -> Iterator[float]:
    return itertools.accumulate(row["epoch_seconds"] or 0.0 for row in run.epochs)


def classes(arms: Sequence[ArmReport]) -> dict[str, Any] | None:
    """Return the validation accuracy of each class in each arm, and the confusion matrix of the best arm.

    Both are sums over the runs of an arm; None if no run recorded its classes.
    """
    recorded = [arm for arm in arms if any(run.best for run in arm.runs)]
    if not recorded:
        return None
    # The arms are ordered best first, so the first matrix is that of the best arm with classes.
    names = next(run.best.classes for run in recorded[0].runs if run.best)
    recorded = [arm for arm in recorded if next(run.best.classes for run in arm.runs if run.best) == names]
    matrices = [_confusion(arm) for arm in recorded]
    accuracy = [
        [_number(row[label] / sum(row)) if sum(row) else None for label, row in enumerate(matrix)]
        for matrix in matrices
    ]
    return {"names": names, "arms": [arm.name for arm in recorded], "accuracy": accuracy, "confusion": matrices[0]}


def _confusion(arm: ArmReport) -> list[list[int]]:
    matrices = [run.best.confusion for run in arm.runs if run.best]
    if len({len(matrix) for matrix in matrices}) > 1:  # zip would cut the larger ones off
        raise RunError(f"{arm.name}: its runs differ in their classes, so a best.json of them is damaged")
    return [[sum(column) for column in zip(*rows, strict=True)] for rows in zip(*matrices, strict=True)]


def _number(value: float | None) -> float | None:
    if value is None or not math.isfinite(value):
        return None  # JSON has neither nan nor infinity
    return float(f"{value:.{DIGITS}g}")
