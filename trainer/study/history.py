"""The points that a search has tried, with their values and curves, as it reads them before it chooses the next one."""

import statistics
from collections.abc import Sequence

from trainer.records.metrics import curve
from trainer.records.outcome import DONE
from trainer.study.folder import Study
from trainer.study.manifest import Entry
from trainer.study.plan import Plan
from trainer.study.results import StudyArm, arms_of
from trainer.study.search import TriedPoint


def ended_points(study: Study, stage: int) -> list[StudyArm]:
    """Return the points of a stage by trial, up to the first one with a run that has not ended."""
    arms = arms_of(study, [entry for entry in study.entries if entry.stage == stage], by_trial=True)
    arms.sort(key=lambda arm: arm.entries[0].trial)
    ended = [all(state in (*DONE, "failed") for state in arm.states) for arm in arms]
    return arms[: ended.index(False)] if False in ended else arms


def history(plan: Plan, study: Study, stage: int) -> list[TriedPoint]:
    """Return the points that a stage has tried; a point with a run that has not ended, and those after it, are not."""
    return [tried_point(plan, study, arm) for arm in ended_points(study, stage)]


def tried_point(plan: Plan, study: Study, arm: StudyArm) -> TriedPoint:
    """Return a point whose runs have ended, with its value and curve."""
    state = next((state for state in ("failed", "pruned") if arm.states.get(state)), "finished")
    # A point with a run that failed or was pruned has no value: the mean of the others would be biased.
    value = arm.mean if len(arm.values) == len(arm.entries) else None
    return TriedPoint(arm.texts, value, state, _mean_curve(plan, study, arm.entries))


def _mean_curve(plan: Plan, study: Study, entries: Sequence[Entry]) -> dict[int, float]:
    """Return the mean of the metric by epoch, over the epochs in which every run was validated."""
    curves = [curve(study.path(entry), plan.settings.metric) for entry in entries]
    # If the set of runs changed from epoch to epoch, the mean would jump.
    shared = set.intersection(*map(set, curves))
    return {epoch: statistics.mean(values[epoch] for values in curves) for epoch in sorted(shared)}
