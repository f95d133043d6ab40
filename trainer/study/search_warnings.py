"""Warnings about the settings of a search before it starts: those that never act, and a pruner that may misjudge."""

import math
from collections.abc import Iterator, Sequence

from trainer.config.run_config import RunConfig, TuneConfig
from trainer.study.axes import ARM, Axis, override_key, plain_override
from trainer.study.plan import Plan, PlannedRun
from trainer.study.search import STARTUP
from trainer.techniques.scheduler import StatefulLR

MEDIAN_STARTUP = 5  # points that Optuna's median pruner lets come to their end before it stops one
LOW = 0.1  # of the highest rate: a schedule that ends below it makes runs better in their last epochs


def search_warnings(plan: Plan, runs: Sequence[PlannedRun]) -> Iterator[str]:
    """Yield a sentence for each setting of the search that never acts, and for a pruner that compares too early.

    `runs`: runs of the plan that stand for the others.
    """
    yield from _idle(plan)
    yield from _late_rankings(plan, runs)


def _idle(plan: Plan) -> Iterator[str]:
    """Yield a sentence for each setting of the search that was given and can never act."""
    settings, given = plan.settings, {override_key(text) for text in plan.arguments}
    if settings.tune:
        yield from _idle_tuning(plan, settings.tune, given)
        return
    points = plan.stage(1)[0]
    if settings.until is None:
        for key in sorted({"sweep.looks", "sweep.max_seeds"} & given):
            yield f"{key} does nothing without sweep.until=decided"
    if settings.method == "grid":
        for key in sorted({"sweep.trials", "sweep.seed"} & given):
            yield f"{key} does nothing: sweep.method=grid tries every point once"
        return
    if settings.pruner == "median" and points <= MEDIAN_STARTUP:
        yield f"sweep.pruner=median first stops a run at point {MEDIAN_STARTUP + 1}; the search has {points}"
    if settings.method in ("tpe", "gp") and points <= STARTUP:
        yield (
            f"sweep.method={settings.method} draws its first {STARTUP} points at random; the search has {points}, so"
            " that it is a random one"
        )


def _idle_tuning(plan: Plan, tune: TuneConfig, given: set[str]) -> Iterator[str]:
    """Yield the same of the settings by which arms are tuned."""
    if "sweep.trials" in given:
        yield f"sweep.trials does nothing: each arm is tried at tune.trials={tune.trials} points"
    if tune.method == "grid":
        for key in sorted({"tune.trials", "sweep.seed"} & given):
            yield f"{key} does nothing: tune.method=grid tries every point once"
    if tune.method in ("tpe", "gp") and plan.trials <= STARTUP:
        yield (
            f"tune.method={tune.method} draws its first {STARTUP} points at random; each arm has {plan.trials}, so that"
            " its search is a random one"
        )


def _late_rankings(plan: Plan, runs: Sequence[PlannedRun]) -> Iterator[str]:
    """Yield a sentence if runs that are behind early often end better, as between schedules."""
    pruner = plan.settings.pruner
    if pruner == "none":
        return
    whole = "sweep.pruner=none lets every run come to its end"
    if varied := dict.fromkeys(key for axis in plan.axes for key in _schedule_settings(axis)):
        yield (
            f"sweep.pruner={pruner} compares runs with different schedules ({', '.join(varied)}) in their early epochs:"
            f" those that keep a high rate for longer often overtake late. {whole}"
        )
    elif low := next((run.config.scheduler.name for run in runs if _ends_low(run.config)), None):
        yield (
            f"sweep.pruner={pruner} compares runs while their rate is high, and scheduler={low} ends at a low one: runs"
            f" often overtake each other late. {whole}"
        )


def _schedule_settings(axis: Axis) -> Iterator[str]:
    """Yield the settings of the schedule that an axis varies, warm-up included."""
    words = [word for text in axis.texts for word in plain_override(text).split(" ")] if axis.key == ARM else [axis.key]
    yield from (key for word in words if (key := override_key(word)).split(".")[0] == "scheduler")


def _ends_low(run: RunConfig) -> bool:
    """Return whether the learning rate ends below a tenth of its highest value."""
    if run.scheduler.own:  # the code of one's own is not run before the first run is built
        return False
    length = run.epochs - run.scheduler.shared["warmup_epochs"]
    rule = run.scheduler.function()(run.lr, length)
    if length <= 0 or isinstance(rule, StatefulLR):
        return False
    highest = max(rule(float(epoch)) for epoch in range(math.ceil(length)))
    return rule(math.nextafter(length, 0)) < LOW * highest
