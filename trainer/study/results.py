"""The results of a study: its arms with their runs, the verdict on them, and the best point. Imports no torch."""

import difflib
import math
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.errors import ConfigError, RunError
from trainer.records.outcome import DAMAGED, DONE, Outcome, outcome_or_damage
from trainer.runtime.text import counted
from trainer.stats.arms import Arm, ranked
from trainer.stats.design import Design
from trainer.stats.verdict import Verdict, judge
from trainer.study.axes import are_words, arm_name, arm_of, command_at
from trainer.study.manifest import Change, Entry, Manifest

if TYPE_CHECKING:
    from trainer.study.folder import Study


@dataclass(frozen=True)
class StudyArm(Arm):
    """An arm of a study with its runs, in the manifest's order."""

    entries: tuple[Entry, ...]
    outcomes: tuple[Outcome, ...]

    @property
    def point(self) -> dict[str, str]:
        """The arm's values on the axes, as a person reads them."""
        return arm_of(self.entries[0].point)

    @property
    def texts(self) -> dict[str, str]:
        """The overrides that make the arm, by axis."""
        return arm_of(self.entries[0].texts)

    @property
    def stage(self) -> int:
        """The stage of the search in which the arm was trained."""
        return self.entries[0].stage

    @property
    def states(self) -> Mapping[str, int]:
        """The number of runs in each state."""
        return Counter(outcome.state for outcome in self.outcomes)


@dataclass(frozen=True)
class StudyResults:
    """The arms of a study's last stage, whose runs are equally long, and the design of their comparison.

    `missing`: the number of runs whose folders are gone; `changes`: what became of the study after its first start.
    """

    design: Design
    arms: tuple[StudyArm, ...]
    missing: int = 0
    changes: tuple[Change, ...] = ()


def arms_of(
    study: "Manifest | Study",
    entries: Sequence[Entry],
    by_trial: bool = False,
    outcome_of: Callable[[Path], Outcome] = outcome_or_damage,
) -> list[StudyArm]:
    """Return the arms that these runs make up, in the order of their first runs: one arm for each point and stage.

    Runs of one arm differ in their replicates only. `by_trial`: a point that a search tried twice is two arms. A run
    whose record is damaged has no value, and hides no other one. `outcome_of` reads the outcome in a run's folder.
    """
    splits = [key for key in study.replicate_keys if key != "seed"]
    seeds = [key for key in study.replicate_keys if key == "seed"]
    groups: dict[Any, list[Entry]] = {}
    for name, entry in zip(_arm_names(entries, study.labels), entries, strict=True):
        groups.setdefault((entry.stage, entry.trial if by_trial else 0, name), []).append(entry)
    arms = []
    for (_, _, name), runs in groups.items():
        outcomes = [study.outcome(entry, outcome_of) for entry in runs]
        values = {}
        for entry, outcome in zip(runs, outcomes, strict=True):
            value = outcome.value(study.settings.metric)
            if value is not None and is_finite(value):
                # The fold or split comes first: the verdict averages over the seeds of each.
                images, seed = (" ".join(entry.point[key] for key in keys) for keys in (splits, seeds))
                values["/".join(part for part in (images, seed) if part)] = value
        arms.append(StudyArm(name, values, tuple(runs), tuple(outcomes)))
    return arms


def is_finite(value: float | None) -> bool:
    """Return whether there is a value that can be compared."""
    return value is not None and math.isfinite(value)


def _arm_names(entries: Sequence[Entry], labels: Mapping[str, str]) -> list[str]:
    """Return the arm's name of each run: "batch" if one setting is varied and its values are words, else "lr=0.1".

    `labels`: other names for some of these.
    """
    points = [arm_of(entry.point) for entry in entries]
    words = all(len(point) == 1 and are_words(point.values()) for point in points)
    return [arm_name(point, words, labels) for point in points]


def results_of(study: Manifest, outcome_of: Callable[[Path], Outcome] = outcome_or_damage) -> StudyResults:
    """Return the arms of a study's last stage. `outcome_of` reads the outcome in a run's folder."""
    last = max((entry.stage for entry in study.entries), default=1)
    arms = arms_of(study, [entry for entry in study.entries if entry.stage == last], outcome_of=outcome_of)
    outcomes = [outcome for arm in arms for outcome in arm.outcomes]
    splits = [key for key in study.replicate_keys if key != "seed"]
    design = Design(
        metric=study.settings.metric,
        sign=study.settings.sign,
        unit="fold" if "dataset.fold" in splits else "split" if splits else "seed",
        split_ratio=_split_ratio(outcomes) if splits else 0.0,
        margin=study.settings.margin,
        images=min((outcome.validation_images for outcome in outcomes if outcome.validation_images), default=0),
    )
    missing = sum(study.is_missing(entry) for arm in arms for entry in arm.entries)
    return StudyResults(design, tuple(arms), missing, study.changes)


def _split_ratio(outcomes: Sequence[Outcome]) -> float:
    """Return validation by training images, 1/(k - 1) for k folds; 1 where none were recorded, which is cautious."""
    pairs = [(outcome.validation_images, outcome.training_images) for outcome in outcomes]
    return max((validation / training for validation, training in pairs if validation and training), default=1.0)


def verdict(results: StudyResults, baseline: str | None = None) -> Verdict:
    """Judge a study. Raises ConfigError if no arm with finished runs has the baseline's name."""
    equal = equal_arms(results.arms)
    if baseline is None:
        judged = replace(judge(results.arms, results.design), equal=equal)
        if unmeasured := nowhere_finite(results):
            return replace(judged, reasons=(f"{unmeasured}: there is nothing to compare",))
        return judged
    arm = arm_named(results, baseline, f"--baseline={baseline}")
    if not arm.values:
        raise ConfigError(f"--baseline={baseline}: none of its runs has finished")
    return replace(judge(results.arms, results.design, arm.name), equal=equal)


def nowhere_finite(results: StudyResults) -> str:
    """Return a sentence if runs have finished and none has a finite value of the study's metric, else ""."""
    finished = sum(arm.states.get("finished", 0) for arm in results.arms)
    if not finished or any(arm.values for arm in results.arms):
        return ""
    return f"{results.design.metric} was not finite in the best epoch of {finished} of {counted(finished, 'run')}"


def arm_named(results: StudyResults, name: str, typed: str) -> StudyArm:
    """Return the arm of this name. Raises ConfigError, which begins with what was typed, if there is none."""
    arms = {arm.name: arm for arm in results.arms}
    words = sorted(name.split())  # the settings of an arm may be typed in any order
    found = next((arm for arm in results.arms if sorted(arm.name.split()) == words), None)
    if found is None:
        near = difflib.get_close_matches(name, list(arms), n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ConfigError(f"{typed}: the study has no such arm.{hint} Accepted: {', '.join(arms)}")
    return found


def equal_arms(arms: Sequence[StudyArm]) -> tuple[str, ...]:
    """Return a sentence for each group of arms whose runs all gave the same results, to the last digit of the loss."""
    groups: dict[Any, list[str]] = {}
    for arm in arms:
        if all(outcome.state == "finished" and outcome.validation_loss is not None for outcome in arm.outcomes):
            groups.setdefault(_results_by_replicate(arm), []).append(arm.name)
    return tuple(
        f"{', '.join(names[:-1])} and {names[-1]} are the same run: their results are equal to the last digit, so that"
        " what differs between them never acted"
        for names in groups.values()
        if len(names) > 1
    )


def _results_by_replicate(arm: StudyArm) -> tuple[Any, ...]:
    """Return the seed and fold of each run of an arm, with its length and its best loss and accuracy, in order."""
    point = arm.point
    runs = [
        (
            tuple(value for key, value in entry.point.items() if key not in point),
            (outcome.epochs, outcome.validation_loss, outcome.validation_accuracy),
        )
        for entry, outcome in zip(arm.entries, arm.outcomes, strict=True)
    ]
    return tuple(sorted(runs))


@dataclass(frozen=True)
class Winner:
    """The best point of a finished study. `epochs` is the median of `best_epochs`, one for each of its runs.

    `median`: the folder of the first run whose best epoch is the median.
    `tried`: the numbers of points and of runs of the study. `code`, `data`: the fingerprints it was run with.
    """

    folder: Path
    arm: StudyArm
    command: str
    epochs: int
    median: Path
    best_epochs: tuple[int, ...]
    metric: str
    tried: tuple[int, int]
    code: str
    data: frozenset[str]

    @property
    def config(self) -> Mapping[str, Any]:
        """The configuration of the first run at this point."""
        return self.arm.entries[0].config


def winner_of(folder: Path) -> Winner:
    """Return the best point. Raises ConfigError if this is no study, RunError if it is damaged or has not ended."""
    study = Manifest.read(folder)
    arms = arms_of(study, study.entries, by_trial=True)
    _refuse_unfinished(study, arms)
    best = best_arm([arm for arm in arms if arm.stage == study.settings.stages], study.settings.sign)
    if not best.values:
        raise RunError(f"{folder}: no run came to its end, so there is no best one")
    pairs = zip(best.entries, best.outcomes, strict=True)
    finished = [(entry, outcome.best_epoch) for entry, outcome in pairs if outcome.state == "finished"]
    best_epochs = tuple(epoch for _, epoch in finished)
    epochs = statistics.median_high(best_epochs)  # of an even number the later one: an epoch that was reached
    return Winner(
        folder,
        best,
        command_at(study.command, study.varied, best.texts),
        epochs,
        study.path(finished[best_epochs.index(epochs)][0]),
        best_epochs,
        study.settings.metric,
        (len(arms), len(study.entries)),
        study.code,
        frozenset(study.data.values()),
    )


def best_arm(arms: Sequence[StudyArm], sign: int) -> StudyArm:
    """Return the best of the arms that have lost the fewest runs: those that failed may be the bad ones."""
    least = min(len(arm.entries) - len(arm.values) for arm in arms)
    return ranked((arm for arm in arms if len(arm.entries) - len(arm.values) == least), sign)[0]


def _refuse_unfinished(study: Manifest, arms: Sequence[StudyArm]) -> None:
    """Raise RunError unless every run has ended: the best of some of the points may not be the best of all."""
    outcomes = [outcome for arm in arms for outcome in arm.outcomes]
    for damaged in (outcome for outcome in outcomes if outcome.state == DAMAGED):
        raise RunError(damaged.reason or DAMAGED)
    if missing := sum(study.is_missing(entry) for entry in study.entries):
        raise RunError(
            f"{study.folder}: {missing} of {counted(len(outcomes), 'run')} are missing: their folders are gone."
            f" To train them again: {study.restart_command}"
        )
    waiting = sum(outcome.state not in (*DONE, "failed") for outcome in outcomes)
    settings = study.settings
    # Each stage of a search has half the points of the one before.
    usual = 1 if settings.method == "grid" else max(1, settings.trials // 2 ** (settings.stages - 1))
    points = usual if study.points is None else min(usual, study.points)
    missing = points - sum(arm.stage == settings.stages for arm in arms)
    if waiting or missing > 0:
        unended, untried = f"{waiting} of {counted(len(outcomes), 'run')} not ended", counted(missing, "point")
        what = unended if waiting else f"{untried} not tried"
        raise RunError(f"{study.folder} is not finished: {what}. To continue: {study.restart_command}")
