"""The number of trials that a search gives each option of a group, and the command that tunes all equally."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from trainer.config.schema import GROUPS
from trainer.config.shell import command
from trainer.study.axes import ARM, Axis, override_key, plain_override
from trainer.study.search import TriedPoint, ask

if TYPE_CHECKING:
    from trainer.study.plan import Plan

MAX_DRAWN = 200  # points of a random search that are drawn beforehand to count them


def unequal(trials: Mapping[str, int]) -> str:
    """Return a sentence on options that are not tried equally often: "sgd is tried at 6 points, adam at 4"; else ""."""
    if len(set(trials.values())) <= 1:
        return ""
    (first, most), *others = sorted(trials.items(), key=lambda each: -each[1])
    told = ", ".join(f"{name} at {count}" for name, count in others)
    return f"{first} is tried at {most} points, {told}: the best of more trials looks better by luck"


def with_equal_budgets(
    arguments: Sequence[str], axes: Sequence[Axis], compared: Axis, method: str, trials: int
) -> list[str]:
    """Return the command that tunes each option of one axis of a search over its other axes, with as many runs."""
    others = {axis.key: axis for axis in axes if axis.key != compared.key}
    kept, seeds = list[str](), ["seed=0,1,2,3,4"]
    for word in arguments:
        key = override_key(word)
        if key == "seed" and ("," in word or "(" in word):
            seeds = [word]
        elif key not in others and key not in (compared.key, "sweep.method", "sweep.trials", "sweep.stages"):
            kept += [word] if key not in ("sweep.pruner", "sweep.confirm", "sweep.confirm_seeds", "seed") else []
    arms = [] if compared.key == ARM else [compared.described()]
    tuned = [f"tune.{axis.described()}" for axis in others.values()]
    share = max(1, trials // max(1, len(compared.texts)))
    how = [f"tune.method={method}"] if method != "random" else []
    return [*kept, *arms, *tuned, f"tune.trials={share}", *how, *seeds]


def unequal_search(plan: "Plan", key: str) -> str:
    """Return a sentence if a search will not try the options of an axis equally often, with a command that does."""
    method, points = plan.settings.method, plan.stage(1)[0]
    axis = next(axis for axis in plan.axes if axis.key == key)
    if method == "grid" or not axis.texts or key not in (*GROUPS, ARM) or (method == "random" and points > MAX_DRAWN):
        return ""
    chosen = (
        f"sweep.method={method} tries options of {key} more often if they score better, so their tuning budgets differ"
    )
    sentence = unequal(_drawn(plan, axis, points)) if method == "random" else chosen
    fair = with_equal_budgets(plan.arguments, plan.axes, axis, method, points)
    return f"{sentence}. Equal budgets: {command('-m', *fair)}" if sentence else ""


def _drawn(plan: "Plan", axis: Axis, points: int) -> Counter[str]:
    """Return how often a random search will try each value of an axis, which does not depend on any result."""
    tried: list[TriedPoint] = []
    for _ in range(points):
        tried.append(TriedPoint(ask(plan.axes, tried, "random", plan.settings.seed + 1000, 1), None, "running"))
    names = {text: plain_override(text) if axis.key == ARM else plain_override(text).partition("=")[2]
             for text in axis.texts}  # fmt: skip
    count = Counter(dict.fromkeys(names.values(), 0))
    count.update(names[each.point[axis.key]] for each in tried)
    return count
