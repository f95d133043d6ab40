"""The time that a run took to reach the target of its study, from its metrics. Imports no torch."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from trainer.errors import RunError
from trainer.records.metrics import METRICS, read_metrics
from trainer.records.outcome import Outcome
from trainer.stats.score_rule import BEST
from trainer.stats.times import LENGTH, REACHED, TIMES
from trainer.storage.untrusted import MAX_COUNT, parse_line, whole_lines


def timed(
    outcome: Outcome, folder: Path, metric: str, target: float | None, rule: str, config: Mapping[str, Any]
) -> Outcome:
    """Return the outcome of a run that has finished with the time to its target, if that is the study's metric.

    A run that never reaches the validation accuracy `target` has the time of its whole length. Every score has the same
    value, as it depends on no chosen epoch.
    """
    if metric not in TIMES or target is None or outcome.state != "finished":
        return outcome
    rows, gradients = list[dict[str, Any]](), list[int | None]()
    with contextlib.suppress(RunError, OSError, ValueError):
        rows = read_metrics(folder)
        gradients = [_gradients(parse_line(line)) for line in whole_lines(folder / METRICS)]
    if not rows:
        return outcome
    accuracies = [row["validation_accuracy"] for row in rows]
    found = next((place for place, each in enumerate(accuracies) if each is not None and each >= target), None)
    last = len(rows) if found is None else found + 1
    value = _time(TIMES[metric], rows[:last], gradients[:last], outcome, config)
    whole = _time(TIMES[metric], rows, gradients, outcome, config)
    figures = {metric: value, REACHED: float(found is not None), LENGTH: whole}
    scores = {name: {**each, **figures} for name, each in outcome.scores.items()}
    if rule != BEST:
        scores.setdefault(rule, dict(figures))
    return replace(outcome, further={**outcome.further, **figures}, scores=scores)


def _time(
    what: str,
    rows: Sequence[Mapping[str, Any]],
    gradients: Sequence[int | None],
    outcome: Outcome,
    config: Mapping[str, Any],
) -> float | None:
    """Return the steps, seconds, gradients or images of these epochs, None if they are not recorded."""
    if what == "seconds":
        seconds = [row["epoch_seconds"] for row in rows]
        return None if None in seconds else float(sum(seconds))
    size = config.get("batch_size")
    if outcome.training_images is None or not isinstance(size, int) or size < 1:
        return None
    steps = steps_of(outcome.training_images, size)
    if what == "gradients":  # recorded in each epoch of an optimizer that computes them itself, as SAM does
        return float(sum(steps if each is None else each for each in gradients))
    return float(len(rows) * (steps if what == "steps" else outcome.training_images))


def steps_of(images: int, batch_size: int) -> int:
    """Return the steps of an epoch: a single image that is left over is no batch of its own."""
    alone = batch_size > 1 and images % batch_size == 1
    return max(1, -(-images // batch_size) - alone)


def _gradients(row: Any) -> int | None:
    """Return the gradients that an epoch recorded, None if it did not. Raises ValueError."""
    count = row.get("gradients") if isinstance(row, dict) else None
    if count is not None and (type(count) is not int or not 0 <= count < MAX_COUNT):
        raise ValueError("gradients: must be a whole number")
    return count
