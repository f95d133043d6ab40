"""Warnings of a best value at the end of its range, beyond which a better one may lie."""

import shlex
from collections.abc import Sequence
from dataclasses import replace

from trainer.config.schema import GROUPS
from trainer.errors import ConfigError
from trainer.runtime.console import warn
from trainer.study.axes import ARM, Axis, Border, Point, on_border, plain_override
from trainer.study.plan import Plan, plain
from trainer.study.results import StudyArm

MIN_POINTS = 3  # of a technique: the better one of two always lies at an end


def warn_of_borders(plan: Plan, axes: Sequence[Axis], best: Point, of: str = "") -> None:
    """Warn of every axis on whose border the best point lies; `of` says of what it is the best, as of a stage."""
    for axis in axes:
        border = on_border(axis, best)
        if border and not _nothing_beyond(plan, axis, border, best):
            end = "upper" if border.upper else "lower"
            suggested = _acceptable(plan, border, best)
            method = "" if plan.settings.method != "grid" else " with sweep.method=random, tpe or gp"
            advice = f". Try {shlex.quote(suggested.described())}{method}" if suggested else ""
            warn(
                f"the best {axis.key}{of and ' '}{of}, {border.value:g}, lies at the {end} end of what was tried"
                f" ({axis.described()}): a better one may lie beyond{advice}"
            )


def warn_of_borders_by_technique(plan: Plan, axes: Sequence[Axis], arms: Sequence[StudyArm], on: str = "") -> None:
    """Warn of the borders on which the best arm lies, and the best one with each technique that is compared.

    `arms`: those with values, best first. `on`: what they have in common, as the data where there are several, "on
    mnist", or the stage of a search, "of stage 1".
    """
    named = [axis for axis in axes if axis.key in GROUPS or axis.key == ARM]
    groups: dict[tuple[str, ...], list[StudyArm]] = {}
    for arm in arms:
        groups.setdefault(tuple(arm.texts[axis.key] for axis in named), []).append(arm)
    others = [axis for axis in axes if axis not in named]
    if len(groups) == 1:
        warn_of_borders(plan, axes, arms[0].texts, on)
        return
    for techniques, own in groups.items():
        if len(own) >= MIN_POINTS:
            point = {axis.key: text for axis, text in zip(named, techniques, strict=True)}
            warn_of_borders(plan, others, own[0].texts, " ".join(["of", *plain(point).values(), *([on] if on else [])]))


def _nothing_beyond(plan: Plan, axis: Axis, border: Border, best: Point) -> bool:
    """Return whether the setting takes whole numbers and not the next one, as a batch size of 1 has none below it."""
    values = [plain_override(text).partition("=")[2] for text in axis.texts]
    if not values or not all(value.isdigit() for value in values):
        return False
    beyond = int(border.value) + (1 if border.upper else -1)
    try:
        plan.runs_at({**best, axis.key: f"{axis.texts[0].partition('=')[0]}={beyond}"})
        return False
    except ConfigError:
        return True


def _acceptable(plan: Plan, border: Border, best: Point) -> Axis | None:
    """Return the suggested range, cut back until its new end is a value that the setting accepts."""
    axis, end = border.suggested, "high" if border.upper else "low"
    accepted = getattr(border.searched, end)
    for _ in range(4):
        try:
            plan.runs_at({**best, axis.key: axis.text(getattr(axis, end))})
            return axis
        except ConfigError:
            value = axis.unscaled((axis.scaled(getattr(axis, end)) + axis.scaled(accepted)) / 2)  # half-way back
            axis = replace(axis, high=value) if border.upper else replace(axis, low=value)
    return None
