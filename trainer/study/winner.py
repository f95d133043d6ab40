"""What a finished study says about its best configuration, read from its folder."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.errors import RunError
from trainer.study.manifest import DONE, Entry, Manifest, Outcome, arms_of, command_at
from trainer.study.space import arm_of


@dataclass(frozen=True)
class Winner:
    """The best point by the mean of its runs. `epochs`: the median of `best_epochs`; `config`: of its first run.

    `median`: the folder of the first run whose best epoch is the median.
    `tried`: how many points and runs the study has. `code`, `data`: the fingerprints it was run with.
    """

    folder: Path
    point: Mapping[str, str]
    command: str
    config: Mapping[str, Any]
    epochs: int
    median: Path
    best_epochs: tuple[int, ...]
    metric: str
    values: tuple[float, ...]
    tried: tuple[int, int]
    code: str
    data: frozenset[str]

    @property
    def mean(self) -> float:
        return statistics.mean(self.values)

    @property
    def deviation(self) -> float | None:
        return statistics.stdev(self.values) if len(self.values) > 1 else None


def winner_of(folder: Path) -> Winner:
    """Raises ConfigError if this is no study, RunError if it is damaged, has not ended or no run of it finished."""
    study = Manifest.read(folder)
    sweep, entries, arms = study.sweep, study.entries, arms_of(study.entries)
    outcomes = {entry.id: study.outcome(entry) for entry in entries}
    _refuse_unfinished(study, outcomes, arms, 1 if sweep.method == "grid" else _points(sweep))
    last = [each for each in arms if each[0].stage == sweep.stages]
    scored = [(_values(each, outcomes, sweep.metric), each) for each in last]
    scored = [(values, each) for values, each in scored if values]
    if not scored:
        raise RunError(f"{folder}: no run came to its end, so there is no best one")
    values, best = max(scored, key=lambda pair: sweep.sign * statistics.mean(pair[0]))
    finished = [entry for entry in best if outcomes[entry.id].state == "finished"]
    best_epochs = tuple(outcomes[entry.id].best_epoch for entry in finished)
    epochs = statistics.median_high(best_epochs)
    return Winner(
        folder,
        arm_of(best[0].point),
        command_at(study.command, study.varied, arm_of(best[0].texts)),
        best[0].config,
        epochs,
        study.path(finished[best_epochs.index(epochs)]),
        best_epochs,
        sweep.metric,
        tuple(values),
        (len(arms), len(entries)),
        study.code,
        frozenset(study.data.values()),
    )


def _points(sweep: Any) -> int:
    """How many points the last stage of a search has."""
    return max(1, int(sweep.trials) // 2 ** (int(sweep.stages) - 1))


def _values(entries: Sequence[Entry], outcomes: Mapping[str, Outcome], metric: str) -> list[float]:
    found = [outcomes[entry.id].value(metric) for entry in entries]
    return [value for value in found if value is not None]


def _refuse_unfinished(
    study: Manifest, outcomes: Mapping[str, Outcome], arms: Sequence[Sequence[Entry]], points: int
) -> None:
    """A winner among some of the runs would be another one among all."""
    waiting = sum(outcome.state not in (*DONE, "failed") for outcome in outcomes.values())
    last = study.sweep.stages
    missing = points - sum(each[0].stage == last for each in arms)
    if waiting or missing > 0:
        what = (
            f"{waiting} of its {len(outcomes)} runs have not ended" if waiting else f"{missing} points were not tried"
        )
        raise RunError(f"{study.folder} is not finished: {what}. Go on with: {study.again}")
