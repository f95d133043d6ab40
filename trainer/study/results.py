"""A study as its arms and their values: what the verdict is given. Imports no torch."""

import difflib
import math
import re
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.errors import ConfigError, RunError
from trainer.records.outcome import DONE, Outcome
from trainer.stats.verdict import Arm, Design, Verdict, judge
from trainer.study.axes import ARM, REPLICATES, arm_of, command_at
from trainer.study.manifest import Entry, Manifest, arms_of

LONE = "the one configuration"  # the name of an arm where nothing but what repeats it is varied


@dataclass(frozen=True)
class StudyResults:
    """A study as its folder holds it. `states` counts the runs of (arm's name, state)."""

    design: Design
    arms: tuple[Arm, ...]
    states: Mapping[tuple[str, str], int]


def read(folder: Path) -> StudyResults:
    """Raises as `Manifest.read` does."""
    return reading_of(Manifest.read(folder))


def reading_of(study: Manifest) -> StudyResults:
    """Of several stages the last one counts: its runs are equally long."""
    sweep, entries = study.sweep, last_stage(study)
    names, outcomes = arm_names(entries), [study.outcome(entry) for entry in entries]
    splits = [key for key in study.varied if key in REPLICATES and key != "seed"]
    seeds = [key for key in study.varied if key == "seed"]
    values: dict[str, dict[str, float]] = {name: {} for name in names}
    for name, entry, outcome in zip(names, entries, outcomes, strict=True):
        value = outcome.value(sweep.metric)
        if value is not None and math.isfinite(value):
            images, seed = (" ".join(entry.point[key] for key in keys) for keys in (splits, seeds))
            values[name]["/".join(part for part in (images, seed) if part)] = value
    setting = Design(
        metric=sweep.metric,
        sign=sweep.sign,
        unit="fold" if "dataset.fold" in splits else "split" if splits else "seed",
        split_ratio=_split_ratio(outcomes) if splits else 0.0,
        images=min((each.validation_images for each in outcomes if each.validation_images), default=0),
    )
    states = Counter((name, outcome.state) for name, outcome in zip(names, outcomes, strict=True))
    return StudyResults(setting, tuple(Arm(name, each) for name, each in values.items()), states)


def _split_ratio(outcomes: Sequence[Outcome]) -> float:
    """Validation by training images, 1/(k - 1) of k folds; 1 where it was not recorded, which concludes less."""
    known = [(each.validation_images, each.training_images) for each in outcomes]
    return max((validation / training for validation, training in known if validation and training), default=1.0)


def last_stage(study: Manifest) -> list[Entry]:
    stage = max((entry.stage for entry in study.entries), default=1)
    return [entry for entry in study.entries if entry.stage == stage]


def arm_names(entries: Sequence[Entry]) -> list[str]:
    """Of each run: "batch" where one setting is varied and its values explain themselves, else "lr=0.1 init=zeros"."""
    points = [arm_of(entry.point) for entry in entries]
    words = all(len(point) == 1 and re.match(r"(?!(true|false|null)$)[a-z]", *point.values()) for point in points)
    return [
        " ".join(value if words or key == ARM else f"{key}={value}" for key, value in point.items()) or LONE
        for point in points
    ]


def lines(reading: StudyResults, baseline: str | None = None) -> list[str]:
    """What a study's runs can tell, a sentence each. Raises ConfigError for an unknown arm."""
    return [*verdict(reading, baseline).lines(), *_missing(reading)]


def verdict(reading: StudyResults, baseline: str | None = None) -> Verdict:
    """Raises ConfigError if no arm of finished runs has the baseline's name."""
    if baseline is None:
        return judge(reading.arms, reading.design)
    by_name = {arm.name: arm for arm in reading.arms}
    wanted = sorted(baseline.split())
    found = next((name for name in by_name if sorted(name.split()) == wanted), None)
    if found is None:
        near = difflib.get_close_matches(baseline, list(by_name), n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ConfigError(f"--baseline={baseline}: the study has no such arm.{hint} Accepted: {', '.join(by_name)}")
    if not by_name[found].values:
        raise ConfigError(f"--baseline={baseline}: none of its runs has finished")
    return judge(reading.arms, reading.design, found)


def _missing(reading: StudyResults) -> list[str]:
    """Runs that are left out; where they failed it flatters their arm."""
    told = []
    for arm in reading.arms:
        states = {state: count for (name, state), count in reading.states.items() if name == arm.name}
        asked, failed, pruned = sum(states.values()), states.get("failed", 0), states.get("pruned", 0)
        left = asked - failed - pruned - states.get("finished", 0)
        flattered = "; its mean is of those that went well" if arm.values else ""
        kinds = {
            f"failed{flattered}": failed,
            "were stopped by sweep.pruner and are not compared": pruned,
            "have not finished": left,
        }
        told += [f"{arm.name}: {count} of {asked} runs {what}" for what, count in kinds.items() if count]
    return told


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
        raise RunError(f"{study.folder} is not finished: {what}. Go on with: {study.restart_command}")
