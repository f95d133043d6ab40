"""The tuning of each arm before a comparison, and the confirmation of a search: the choice of the best.

Points are chosen by seeds that the runs which are compared do not have: the best of several is too good by luck.
"""

from collections.abc import Iterator
from dataclasses import replace

from trainer.records.metrics import shown_figure
from trainer.records.outcome import DONE
from trainer.runtime.console import say, warn
from trainer.runtime.text import counted
from trainer.stats.arms import ranked
from trainer.study.axes import Axis, Point, canonical, fresh_seeds, grid, plain_override, point_label
from trainer.study.folder import Study
from trainer.study.history import ended_points, tried_point
from trainer.study.plan import Plan, PlannedRun, plain
from trainer.study.results import StudyArm, arms_of
from trainer.study.search import TriedPoint, ask
from trainer.study.tunable import unique_values

TUNING, COMPARISON = 1, 2  # the stages of a study whose arms are tuned
Batch = tuple[int, list[int], list[PlannedRun]]  # stage, trial of each run, runs


def described(plan: Plan) -> str:
    """Return the plan of a study whose arms are tuned in words, with the runs of both stages."""
    arms, tune = _arms(plan), plan.settings.tune
    assert tune is not None
    over, seeds = (", ".join(axis.described() for axis in axes) for axes in (plan.sweep.tuned, _repeats(plan)))
    compared = ", ".join(axis.described() for axis in plan.replicates) or f"seed={plan.seed}"
    runs = len(arms) * plan.trials * tune.seeds
    points = f"{counted(plan.trials, 'point')} of {over} by {tune.method}"
    return (
        f"{counted(len(arms), 'arm')}, each tuned at {points} with {seeds} ({counted(runs, 'run')}), then compared at"
        f" the best of them with {compared} ({counted(total_runs(plan) - runs, 'run')})"
    )


def tuned_batches(plan: Plan, study: Study, parallel: int) -> Iterator[Batch]:
    """Yield the runs that tune the arms, then those that compare them, each arm at its best point.

    Every arm is tried at as many points: at the same ones, unless a Bayesian search chooses them by their values.
    """
    arms, tune = _arms(plan), plan.settings.tune
    assert tune is not None
    # Points that no value decides are planned at once, so that a launcher is never short of work.
    at_once = plan.trials if tune.method in ("grid", "random") else max(1, parallel // len(arms))
    for first in range(0, plan.trials, at_once):
        numbers = range(first, min(first + at_once, plan.trials))
        chosen = [(number, point) for arm in arms for number, point in _left(plan, study, arm, numbers)]
        runs = [(number, run) for number, point in chosen for run in plan.runs_at(point, replicates=_repeats(plan))]
        if runs:
            yield TUNING, [number for number, _ in runs], [run for _, run in runs]
    best = [point for arm in arms for point in [_best(plan, study, arm)] if point is not None]
    compared = [run for point in best for run in plan.runs_at(point)]
    if compared:
        yield COMPARISON, [0] * len(compared), compared


def total_runs(plan: Plan) -> int:
    """Return the number of runs of a whole study."""
    if plan.runs:
        return len(plan.runs)
    repeats, settings = unique_values(plan.replicates), plan.settings
    if settings.tune:
        return unique_values(plan.axes) * (plan.trials * settings.tune.seeds + repeats)
    folds = unique_values([axis for axis in plan.replicates if axis.key != "seed"])
    confirmed = min(settings.confirm, plan.stage(settings.stages)[0])
    return plan.points * repeats + confirmed * settings.confirm_seeds * folds


def fresh(plan: Plan, count: int) -> Axis:
    """Return an axis of `count` seeds that no run of the comparison or search has."""
    typed = [int(text.partition("=")[2]) for axis in plan.replicates if axis.key == "seed" for text in axis.texts]
    return Axis("seed", texts=tuple(f"++seed={seed}" for seed in fresh_seeds(typed or [plan.seed], count)))


def confirmation(plan: Plan, study: Study) -> Batch:
    """Return the runs that train the best points of a search anew, with seeds that the search did not use."""
    stage, settings = plan.settings.stages, plan.settings
    complete = [arm for arm in ended_points(study, stage) if len(arm.values) == len(arm.entries)]
    best = {tuple(map(canonical, arm.texts.values())): arm.texts for arm in ranked(complete, settings.sign)[::-1]}
    points = list(best.values())[::-1][: settings.confirm]
    folds = [axis for axis in plan.replicates if axis.key != "seed"]
    seeds = fresh(plan, settings.confirm_seeds)
    say(
        f"The best {len(points)} of {counted(len(complete), 'finished point')} are trained again with"
        f" {seeds.described()}: only these runs are compared",
        "bold",
    )
    runs = [run for point in points for run in plan.runs_at(point, replicates=(*folds, seeds))]
    return stage + 1, [0] * len(runs), runs


def _arms(plan: Plan) -> list[dict[str, str]]:
    """Return the arms, each once: 0.001 and 1e-3 are one."""
    arms = {tuple(map(canonical, arm.values())): arm for arm in reversed(list(grid(plan.axes)))}
    return list(arms.values())[::-1]


def _repeats(plan: Plan) -> tuple[Axis, ...]:
    """Return what repeats a point of the tuning: fresh seeds, on the first fold or split."""
    assert plan.settings.tune is not None
    folds = [replace(axis, texts=axis.texts[:1]) for axis in plan.replicates if axis.key != "seed"]
    return (*folds, fresh(plan, plan.settings.tune.seeds))


def _left(plan: Plan, study: Study, arm: Point, numbers: range) -> Iterator[tuple[int, Point]]:
    """Yield those of the arm's trials with these numbers that have not ended, each with its point."""
    tune, axes = plan.settings.tune, plan.sweep.tuned
    assert tune is not None
    trials = _trials(plan, study, arm, TUNING)
    tried = [replace(tried_point(plan, study, trials[number]), point=_tuned(plan, trials[number].texts))
             for number in range(numbers.start)]  # fmt: skip
    listed = list(grid(axes)) if tune.method == "grid" else []
    for number in numbers:
        # A point that was chosen before a kill is kept: chosen again, it would be based on other results.
        if number in trials:
            point: Point = _tuned(plan, trials[number].texts)
        else:
            point = listed[number] if listed else ask(axes, tried, tune.method, plan.settings.seed, plan.settings.sign)
        tried.append(TriedPoint(point, None, "running"))
        if number not in trials or any(state not in (*DONE, "failed") for state in trials[number].states):
            yield number, {**arm, **point}


def _best(plan: Plan, study: Study, arm: Point) -> Point | None:
    """Return the arm at the best of its trials, and tell it; None if none has finished. A choice stays as it was."""
    chosen = _trials(plan, study, arm, COMPARISON)
    if chosen:
        return {**arm, **_tuned(plan, chosen[0].texts)}
    trials = _trials(plan, study, arm, TUNING)
    complete = [trial for _, trial in sorted(trials.items()) if len(trial.values) == len(trial.entries)]
    name = point_label(plain(arm)) or "the one configuration"
    if not complete:
        warn(f"{name}: none of its {counted(len(trials), 'trial')} has finished, so that it is not compared")
        return None
    best = ranked(complete, plan.settings.sign)[0]
    point = _tuned(plan, best.texts)
    value = shown_figure(plan.settings.metric, best.mean)
    words = " ".join(map(plain_override, point.values()))
    say(f"Tuned: {name} to {words}, with {value} the best of {counted(len(trials), 'trial')}")
    return {**arm, **point}


def _trials(plan: Plan, study: Study, arm: Point, stage: int) -> dict[int, StudyArm]:
    """Return what the arm has been trained at in a stage, by trial."""
    wanted = [canonical(arm[axis.key]) for axis in plan.axes]
    entries = [entry for entry in study.entries if entry.stage == stage]
    own = [entry for entry in entries if [canonical(entry.texts[axis.key]) for axis in plan.axes] == wanted]
    return {trial.entries[0].trial: trial for trial in arms_of(study, own, by_trial=True)}


def _tuned(plan: Plan, texts: Point) -> Point:
    """Return the part of a point that is tuned."""
    return {axis.key: texts[axis.key] for axis in plan.sweep.tuned}


def tuned_arms(plan: Plan) -> list[dict[str, str]]:
    """Return the arms at the lowest end of what is tuned, which stand for them before they are."""
    first = {axis.key: axis.corners()[0] for axis in plan.sweep.tuned}
    return [{**arm, **first} for arm in _arms(plan)]
