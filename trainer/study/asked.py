"""The answers to `sweep.ask` and `report --ask`, and those of an ablation in pairs. Imports no torch."""

import itertools
from collections.abc import Iterator, Mapping, Sequence

from trainer.stats.arms import Arm
from trainer.stats.contrast import Square, average_effects, interactions
from trainer.stats.design import Effects
from trainer.stats.finding import Finding
from trainer.stats.superiority import no_losses, superiorities
from trainer.stats.verdict import Verdict
from trainer.study.results import StudyResults


def answers(results: StudyResults, judged: Verdict) -> Iterator[Finding]:
    """Yield the answers to what was asked, and of an ablation in pairs the interactions and average effects."""
    design, ask = results.design, results.ask
    if results.until is not None:  # the intervals of seeds that were added until they sufficed would be too narrow
        return
    # Each arm is measured against the reference, the best arm or the baseline.
    pairs = [
        (each.second, each.first) if each.first.name == judged.reference else (each.first, each.second)
        for each in judged.comparisons
    ]
    if "superiority" in ask:
        yield from superiorities([(each.first, each.second) for each in judged.comparisons], design)
    if "not_worse" in ask and design.margin is not None:
        yield from no_losses(pairs, design)
    arms = {arm.name: arm for arm in results.arms}
    if design.effects:
        squares = list(_ablated(design.effects, arms))
    else:
        squares = list(_crossed(results)) if "interaction" in ask else []
    if squares:
        yield from average_effects(_averages(squares), design)
        yield from interactions(squares, design)


def _ablated(effects: Effects, arms: Mapping[str, Arm]) -> Iterator[Square]:
    """Yield the square of each pair of techniques: with both, without one of them, without both."""
    lacking = {frozenset(names): arms[arm] for arm, names in effects.techniques.items()}
    techniques = dict.fromkeys(name for names in effects.techniques.values() for name in names)
    for first, second in itertools.combinations(techniques, 2):
        found = [lacking.get(frozenset(names)) for names in ((first, second), (second,), (first,), ())]
        if all(found):
            neither, only_first, only_second, both = (arm for arm in found if arm)
            yield Square(first, second, neither, only_first, only_second, both)


def _crossed(results: StudyResults) -> Iterator[Square]:
    """Yield the square of a grid over two settings with two values each; the first values are what is compared with."""
    points = {tuple(arm.point.items()): arm for arm in results.arms}
    keys = list(results.arms[0].point) if results.arms else []
    values = [list(dict.fromkeys(arm.point.get(key, "") for arm in results.arms)) for key in keys]
    if [len(each) for each in values] != [2, 2] or len(points) != 4:
        return
    one, other = keys
    names = [[f"{key}={value}" for value in each] for key, each in zip(keys, values, strict=True)]
    neither, only_first, only_second, both = (
        points[(one, first), (other, second)] for second in values[1] for first in values[0]
    )
    against = f"{names[0][0]} and {names[1][0]}"
    yield Square(names[0][1], names[1][1], neither, only_first, only_second, both, against)


def _averages(squares: Sequence[Square]) -> list[tuple[str, list[tuple[Arm, Arm]]]]:
    """Return each technique with the pairs of arms, with it and without it, that differ in nothing else."""
    pairs: dict[str, dict[tuple[str, str], tuple[Arm, Arm]]] = {}
    for square in squares:
        for name, alone, other in (
            (square.first, square.only_first, square.only_second),
            (square.second, square.only_second, square.only_first),
        ):
            for with_it, without in ((square.both, other), (alone, square.neither)):
                pairs.setdefault(name, {})[with_it.name, without.name] = (with_it, without)
    return [(name, list(found.values())) for name, found in pairs.items()]
