"""The best point of a finished study, with the lengths and folders of its runs. Imports no torch."""

import math
import shlex
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.errors import ConfigError, RunError
from trainer.records.outcome import DAMAGED, DONE
from trainer.runtime.text import counted
from trainer.stats.arms import ranked
from trainer.stats.budget import luck_of_best
from trainer.study.axes import command_at
from trainer.study.blocks import blocks_of
from trainer.study.looks import contenders
from trainer.study.manifest import Manifest
from trainer.study.results import StudyArm, arms_of
from trainer.study.taken_looks import ending


@dataclass(frozen=True)
class Winner:
    """The best point of a finished study. `epochs` is the median of `best_epochs`, one for each of its runs.

    `median`: the folder of the first run whose best epoch is the median.
    `tried`: the numbers of points and of runs of the study. `rivals`: the number of arms with values that were compared
    at last, the best one included. `code`, `data`: the fingerprints it was run with.
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
    rivals: int

    @property
    def flattery(self) -> float | None:
        """By how much its value is too high on average, as the best of several; None where that cannot be told.

        If the arms differ as much as runs of one arm do; if less, by up to √2 times as much.
        """
        if self.rivals < 2 or self.arm.deviation is None:
            return None
        return luck_of_best(self.rivals) * self.arm.deviation / math.sqrt(len(self.arm.values))

    @property
    def config(self) -> Mapping[str, Any]:
        """The configuration of the first run at this point."""
        return self.arm.entries[0].config


def winner_of(folder: Path, block: str | None = None) -> Winner:
    """Return the best point; in a study of several blocks, such as data sets, that of the named block.

    Raises ConfigError if this is no study or no block is named, RunError if it is damaged or has not ended.
    """
    study = _in_block(Manifest.read(folder), block)
    arms = arms_of(study, study.entries, by_trial=True)
    _refuse_unfinished(study, arms)
    last = max(study.settings.last_stage, *(arm.stage for arm in arms))
    best = best_arm([arm for arm in contenders(study, arms) if arm.stage == last], study.settings.sign)
    if not best.values:
        raise RunError(f"{folder}: no run came to its end, so there is no best one")
    pairs = zip(best.entries, best.outcomes, strict=True)
    finished = [(entry, outcome.best_epoch) for entry, outcome in pairs if outcome.state == "finished"]
    best_epochs = tuple(epoch for _, epoch in finished)
    epochs = statistics.median_high(best_epochs)  # of an even number the later one: an epoch that was reached
    return Winner(
        folder,
        best,
        command_at(study.command, study.varied, best.texts, study.arm_words),
        epochs,
        study.path(finished[best_epochs.index(epochs)][0]),
        best_epochs,
        study.settings.metric,
        (len(arms), len(study.entries)),
        study.code,
        frozenset(study.data.values()),
        sum(arm.stage == last and bool(arm.values) for arm in arms),
    )


def _in_block(study: Manifest, name: str | None) -> Manifest:
    """Return the study, or its block of this name. Raises ConfigError unless a study of several blocks names one."""
    blocks = {block.name: block for block in blocks_of(study)}
    accepted = ", ".join(map(shlex.quote, blocks))
    if name is None and blocks:
        raise ConfigError(
            f"{study.folder}: has several {next(iter(blocks.values())).noun}s, whose scores cannot be compared, so that"
            f" there is no best arm over all of them. Name one with --block. Accepted: {accepted}"
        )
    if name is not None and name not in blocks:
        hint = f"Accepted: {accepted}" if blocks else "All its runs are compared with each other: leave --block out"
        raise ConfigError(f"--block={name}: {study.folder} has no such part. {hint}")
    return study if name is None else blocks[name].study


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
    chosen = any(arm.stage >= settings.last_stage for arm in arms)
    if settings.until is not None and not (waiting or ending(study.looks, settings.max_seeds)):
        looks = counted(len(study.looks), "look")
        raise RunError(f"{study.folder} is not finished: undecided after {looks}. To continue: {study.restart_command}")
    if waiting or missing > 0 or not chosen:
        unended, untried = f"{waiting} of {counted(len(outcomes), 'run')} not ended", counted(missing, "point")
        what = unended if waiting else f"{untried} not tried" if missing > 0 else "its best points are not yet compared"
        raise RunError(f"{study.folder} is not finished: {what}. To continue: {study.restart_command}")
