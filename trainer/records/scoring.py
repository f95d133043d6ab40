"""The scores of a run, by which it is compared with others, from its epochs. Imports no torch.

Each rule is told in `stats/score_rule.py`. A run that stopped early has its scores from the epochs that it has.
"""

import contextlib
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from trainer.errors import RunError
from trainer.records.metrics import FURTHER, HALVES, figure_of, read_metrics
from trainer.records.outcome import DONE, Outcome
from trainer.stats.score_rule import BEST, CROSS, LAST, count_of

ALWAYS = (CROSS, LAST)  # computed for every run of a study when it ends; others when they are asked for

Row = Mapping[str, Any]
Figures = dict[str, float | None]


def scored(outcome: Outcome, folder: Path, rules: Iterable[str]) -> Outcome:
    """Return the outcome of a run that has ended with its scores by these rules, read from its metrics if it has none.

    A rule that the record does not suffice for is left out; so is every one if the metrics are damaged.
    """
    missing = [rule for rule in rules if rule != BEST and rule not in outcome.scores]
    if not missing or outcome.state not in DONE:
        return outcome
    rows = list[dict[str, Any]]()
    with contextlib.suppress(RunError, OSError):
        rows = read_metrics(folder, halves=True)
    found = ((rule, score_of(rows, rule)) for rule in missing)
    return replace(outcome, scores=outcome.scores | {rule: each for rule, each in found if each is not None})


def score_of(rows: Sequence[Row], rule: str) -> Figures | None:
    """Return each figure of the validation by a rule; one that was not finite is None.

    `rows`: the epochs with their halves. Return None if they do not suffice for the rule.
    """
    validated = [row for row in rows if row["validation_accuracy"] is not None]
    if not validated:
        return None
    if rule == CROSS:
        # A run of an earlier version, or one that began in it, or with fewer than two validation images.
        return _crossed([row[HALVES] for row in validated]) if all(row[HALVES] for row in validated) else None
    last = validated[-1:] if rule == LAST else validated[-count_of(rule) :]
    return {name: _mean(figure_of(row, name) for row in last) for name in _names(last)}


def _crossed(epochs: Sequence[Sequence[Row]]) -> Figures:
    """Return the mean of each half's figure at the epoch of the lowest loss on the other half, of both halves."""
    chosen = [_lowest([halves[half] for halves in epochs]) for half in (0, 1)]
    scored = [{} if chosen[1 - half] is None else epochs[chosen[1 - half] or 0][half] for half in (0, 1)]
    return {name: _mean(each.get(name) for each in scored) for name in _names(epochs[0])}


def _lowest(halves: Sequence[Row]) -> int | None:
    """Return the place of the lowest loss, the first one of equal ones; None if none was finite."""
    losses = {place: half.get("validation_loss") for place, half in enumerate(halves)}
    finite = {place: loss for place, loss in losses.items() if loss is not None}
    return min(finite, key=lambda place: finite[place], default=None)


def _names(rows: Sequence[Row]) -> list[str]:
    """Return the names of the figures of a validation."""
    names = dict.fromkeys(name for row in rows for name in row)
    return [name for name in names if FURTHER.fullmatch(name) and name.startswith("validation")]


def _mean(values: Iterable[float | None]) -> float | None:
    known = list(values)
    return None if None in known else statistics.mean(value for value in known if value is not None)
