"""The results of a study: its arms with their runs, and the design of their comparison. Imports no torch."""

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.config.recorded import typed_settings
from trainer.config.run_config import Question
from trainer.config.shell import command
from trainer.records.layout import MANIFEST
from trainer.records.outcome import Outcome, outcome_or_damage
from trainer.runtime.text import counted
from trainer.stats.arms import Arm
from trainer.stats.design import Design, Effects
from trainer.stats.score_rule import BEST, CROSS
from trainer.stats.times import TIMES
from trainer.study.arm_names import arm_names
from trainer.study.axes import ARM, Axis, arm_of, axis_of
from trainer.study.blocks import blocks_of
from trainer.study.manifest import Change, Entry, Manifest
from trainer.study.taken_looks import Until

if TYPE_CHECKING:
    from trainer.study.folder import Study


USUAL_SEEDS = 5  # of an arm, that a study with too few is advised to have


@dataclass(frozen=True)
class StudyArm(Arm):
    """An arm of a study with its runs, in the manifest's order."""

    entries: tuple[Entry, ...]
    outcomes: tuple[Outcome, ...]
    folders: Mapping[str, Path]  # of the runs with a value, by replicate as in `values`
    score: str = "best"  # the rule behind `values`
    tuned: tuple[str, ...] = ()  # the settings at whose best values it is compared; they are no part of its name

    @property
    def point(self) -> dict[str, str]:
        """The arm's values on the axes, as a person reads them."""
        return arm_of(self.entries[0].point)

    @property
    def named(self) -> dict[str, str]:
        """Its point without the values that were tuned for it."""
        return {key: value for key, value in self.point.items() if key not in self.tuned}

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
class Searched:
    """The trials before a comparison by arm, each in its order; of a search, which tunes no arms, under the name "".

    `axes`: what was tuned or searched. `later`: whether the arms that are compared were trained after the trials, with
    other seeds. `command`: the arguments of the study.
    """

    method: str
    axes: tuple[Axis, ...]
    trials: Mapping[str, Sequence[StudyArm]]
    tuned: bool
    later: bool
    stages: int
    command: tuple[str, ...]


@dataclass(frozen=True)
class StudyResults:
    """The arms of a study's last stage, whose runs are equally long, and the design of their comparison.

    `missing`: the number of runs whose folders are gone; `changes`: what became of the study after its first start.
    `baseline`: the name that `sweep.baseline` gave an arm before the first run. `searched`: the points that were tried
    before the comparison; None for a grid, whose points are its arms. `blocks`: the parts of the study whose arms are
    compared; empty where all arms are compared with each other. `ask`: further questions.
    """

    design: Design
    arms: tuple[StudyArm, ...]
    missing: int = 0
    changes: tuple[Change, ...] = ()
    baseline: str | None = None
    until: Until | None = None  # of a study that trains seeds until it is decided
    searched: Searched | None = None
    blocks: "tuple[BlockResults, ...]" = ()
    ask: tuple[Question, ...] = ()
    target: float | None = None  # the accuracy that runs are to reach, if the time to it is the metric


@dataclass(frozen=True)
class BlockResults:
    """The results of a block, whose arms are named without what makes the block. `noun`: a block in words."""

    name: str
    noun: str
    results: StudyResults


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
    groups: dict[Any, list[Entry]] = {}
    for name, entry in zip(_names(study, entries), entries, strict=True):
        groups.setdefault((entry.stage, entry.trial if by_trial else 0, name), []).append(entry)
    arms = []
    every = {entry: study.outcome(entry, outcome_of) for entry in entries}
    rule, _ = common_rule(study.settings.score, study.settings.metric, every.values())
    for (_, _, name), runs in groups.items():
        outcomes = [every[entry] for entry in runs]
        values, folders = dict[str, float](), dict[str, Path]()
        for entry, outcome in zip(runs, outcomes, strict=True):
            value = outcome.value(study.settings.metric, rule)
            if value is not None and is_finite(value):
                # The fold or split comes first: the verdict averages over the seeds of each.
                images, seed = " ".join(entry.point[key] for key in splits), entry.point.get("seed", "")
                key = "/".join(part for part in (images, seed) if part)
                values[key], folders[key] = value, study.path(entry)
        arms.append(StudyArm(name, values, tuple(runs), tuple(outcomes), folders, rule, _tuned(study, runs[0])))
    return arms


def common_rule(asked: str, metric: str, outcomes: Iterable[Outcome]) -> tuple[str, str]:
    """Return the rule by which all of these runs can be scored, and a sentence if it is not the one asked for.

    Values by two rules cannot be compared: if one run lacks a score, all are scored at their best epoch.
    """
    measured = [outcome for outcome in outcomes if outcome.value(metric) is not None]
    lacking = sum(asked not in outcome.scores for outcome in measured) if asked != BEST else 0
    if not lacking:
        return asked, ""
    needs = "the figures of both halves of the validation images" if asked == CROSS else "those epochs"
    lack = f"{lacking} of {counted(len(measured), 'run')} {'has' if lacking == 1 else 'have'} not recorded {needs}"
    return BEST, f"sweep.score={asked} is not possible: {lack}, so that all are scored at their best epoch"


def _names(study: "Manifest | Study", entries: Sequence[Entry]) -> Iterator[str]:
    """Yield the name of the arm of each run."""
    # Each stage by itself: the points that tune an arm are named by more settings than the arm.
    stages: dict[int, list[dict[str, str]]] = {}
    for entry in entries:
        tuned = _tuned(study, entry)
        point = {key: value for key, value in arm_of(entry.point).items() if key not in tuned}
        stages.setdefault(entry.stage, []).append(point)
    names = {stage: iter(arm_names(points, study.labels)) for stage, points in stages.items()}
    return (next(names[entry.stage]) for entry in entries)


def _tuned(study: "Manifest | Study", entry: Entry) -> tuple[str, ...]:
    """Return the settings at whose best values a run is compared."""
    return tuple(study.tuned_keys) if entry.stage == study.settings.last_stage else ()


def is_finite(value: float | None) -> bool:
    """Return whether there is a value that can be compared."""
    return value is not None and math.isfinite(value)


def results_of(study: Manifest, outcome_of: Callable[[Path], Outcome] = outcome_or_damage) -> StudyResults:
    """Return the arms of a study's last stage. `outcome_of` reads the outcome in a run's folder."""
    blocks = blocks_of(study)
    if blocks:
        outcome_of = cache(outcome_of)  # each run is read once, though it belongs to the study and to its block
    last = max((entry.stage for entry in study.entries), default=1)
    arms = arms_of(study, [entry for entry in study.entries if entry.stage == last], outcome_of=outcome_of)
    outcomes = [outcome for arm in arms for outcome in arm.outcomes]
    splits = [key for key in study.replicate_keys if key != "seed"]
    rule, lapse = common_rule(study.settings.score, study.settings.metric, outcomes)
    design = Design(
        metric=study.settings.metric,
        sign=study.settings.sign,
        unit="fold" if "dataset.fold" in splits else "split" if splits else "seed",
        split_ratio=_split_ratio(outcomes) if splits else 0.0,
        margin=study.settings.margin,
        more="" if splits else _more_seeds(study),
        score="" if study.settings.metric in TIMES else rule,
        lapse="" if study.settings.metric in TIMES else lapse,
        effects=_effects(study, arms),
    )
    missing = sum(study.is_missing(entry) for arm in arms for entry in arm.entries)
    until = None
    if study.settings.until is not None:
        repeats = len({tuple(entry.point[key] for key in splits) for entry in study.entries})
        until = Until(study.settings.max_seeds, study.settings.looks, study.looks, repeats)
        design = replace(design, unit="seed", split_ratio=0.0, more="")
    found = _searched(study, last, outcome_of)
    parts = tuple(BlockResults(block.name, block.noun, results_of(block.study, outcome_of)) for block in blocks)
    named, ask, target = study.settings.baseline, study.settings.ask, study.settings.target
    return StudyResults(design, tuple(arms), missing, study.changes, named, until, found, parts, ask, target)


def _searched(study: Manifest, last: int, outcome_of: Callable[[Path], Outcome]) -> Searched | None:
    """Return the trials of a search, or of the tuning of arms, given the last stage that has runs; None of a grid."""
    tune, settings = study.settings.tune, study.settings
    if tune is None and settings.method == "grid":
        return None
    method, axes, stages = (tune.method, study.tuned, 1) if tune else (settings.method, study.axes, settings.stages)
    trials = _tried(study, min(last, stages), outcome_of)
    return Searched(method, tuple(map(axis_of, axes)), trials, bool(tune), last > stages, stages, study.command)


def _tried(study: Manifest, stage: int, outcome_of: Callable[[Path], Outcome]) -> dict[str, list[StudyArm]]:
    """Return the points that were tried in a stage, by the arm that they tune."""
    entries = [entry for entry in study.entries if entry.stage == stage]
    tuned = study.tuned_keys
    points = [{key: value for key, value in arm_of(entry.point).items() if key not in tuned} for entry in entries]
    names = arm_names(points, study.labels) if study.tuned else [""] * len(entries)
    trials: dict[str, list[StudyArm]] = {}
    for name in dict.fromkeys(names):
        own = [entry for entry, owner in zip(entries, names, strict=True) if owner == name]
        trials[name] = sorted(arms_of(study, own, True, outcome_of), key=lambda arm: arm.entries[0].trial)
    return trials


def _effects(study: Manifest, arms: Sequence[StudyArm]) -> Effects | None:
    """Return the techniques of the arms of an ablation by their present names; None for any other study."""
    if study.ablation is None:
        return None
    planned = {arm.name: arm.point[ARM] for arm in arms}
    baseline = next((name for name, point in planned.items() if point == study.ablation.baseline), "")
    techniques = {name: study.ablation.arms[point].techniques for name, point in planned.items()}
    return Effects(baseline, techniques, study.ablation.kind == "add")


def _more_seeds(study: Manifest) -> str:
    """Return the command that adds seeds to a study until it has `USUAL_SEEDS`; "" if it has, or is none on disk."""
    if study.settings.method != "grid" or study.tuned or not (study.folder / MANIFEST).is_file():
        return ""
    seeds = {typed_settings(entry.config).get("seed") for entry in study.entries}
    if len(seeds) >= USUAL_SEEDS:
        return ""
    free = (seed for seed in itertools.count() if seed not in seeds)
    new = ",".join(str(seed) for seed in itertools.islice(free, USUAL_SEEDS - len(seeds)))
    return command("study", study.folder, "add", f"seed={new}")


def _split_ratio(outcomes: Sequence[Outcome]) -> float:
    """Return validation by training images, 1/(k - 1) for k folds; 1 where none were recorded, which is cautious."""
    pairs = [(outcome.validation_images, outcome.training_images) for outcome in outcomes]
    return max((validation / training for validation, training in pairs if validation and training), default=1.0)
