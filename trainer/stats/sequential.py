"""Looks at a study that trains seeds until it is decided: their levels, and the arms that a look drops.

At each look the arms that are left are tested as a verdict does, at a level of the look's own. The levels follow from
the error that may have been spent by then, total·(n/N)^1.5 (Lan and DeMets 1983), by the recursion of a Gaussian
sequence with independent steps (Armitage, McPherson and Rowe 1969). `scripts/sequential_calibration.py` measures the
false alarms of all looks together. Imports no torch.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from statistics import mean

from trainer.stats.arms import Arm, ranked
from trainer.stats.comparison import Comparison
from trainer.stats.corrections import Bound
from trainer.stats.design import Design
from trainer.stats.trial import MIN_RUNS, PAIRED_FROM, Trial, trial
from trainer.stats.verdict import stepped

LOOKS = (3, 4, 6, 8, 12, 16, 24, 32, 48)
TOTAL, SMALL_TOTAL, SMALL_BELOW = (
    0.045,
    0.042,
    16,
)  # spent until the last look: less than 5 %, as few runs are not Gaussian
NODES = 61  # of the quadrature between two looks: the levels are exact to a hundred-thousandth

# How a look ends a study; "" means that it goes on.
DECIDED, ALIKE, GIVEN_UP, MAXIMUM, FAILED = "decided", "alike", "given up", "maximum", "failed"


@dataclass(frozen=True)
class Look:
    """The arms at a look at `seeds` seeds each, tested at `level`: which are told apart and dropped, and which remain.

    `failed`: arms that were dropped because none of their runs has finished. `outcome`: how the study ends here.
    """

    seeds: int
    level: float
    comparisons: tuple[Comparison, ...]
    failed: tuple[Arm, ...]
    remaining: tuple[Arm, ...]
    outcome: str

    @property
    def told(self) -> tuple[Comparison, ...]:
        """The comparisons with the arms that are dropped."""
        return tuple(each for each in self.comparisons if each.concluded)

    @property
    def dropped(self) -> tuple[str, ...]:
        """The names of the arms that get no more seeds."""
        remaining = {arm.name for arm in self.remaining}
        told = {arm.name: None for each in self.told for arm in (each.first, each.second) if arm.name not in remaining}
        return (*told, *(arm.name for arm in self.failed))


def look_counts(maximum: int, looks: Sequence[int] = LOOKS) -> tuple[int, ...]:
    """Return the seeds at which a study is looked at: those of `looks` below the maximum, and the maximum."""
    return (*(seeds for seeds in looks if seeds < maximum), maximum)


def levels(counts: tuple[int, ...], named: bool = False) -> tuple[float, ...]:
    """Return the level of the look at each of these counts of seeds; `named`: against a baseline."""
    return levels_of(counts, SMALL_TOTAL if named or counts[-1] < SMALL_BELOW else TOTAL)


@cache
def levels_of(counts: tuple[int, ...], total: float) -> tuple[float, ...]:
    """Return the levels of looks that spend `total` until the last one, in proportion to (seeds / last seeds)^1.5."""
    import numpy as np
    from scipy.optimize import brentq
    from scipy.special import ndtr

    places, weights = np.polynomial.legendre.leggauss(NODES)
    # The sum of n standard normal numbers, as long as it has stayed within all bounds: its nodes and their masses.
    nodes, masses, spent, last, found = np.zeros(1), np.ones(1), 0.0, 0, list[float]()
    for seeds in counts:
        step, due = math.sqrt(seeds - last), total * (seeds / counts[-1]) ** 1.5

        def excess(bound: float) -> float:
            beyond = ndtr((nodes - bound) / step) + ndtr((-bound - nodes) / step)  # noqa: B023
            return float(masses @ beyond) - (due - spent)  # noqa: B023

        bound = brentq(excess, 0.0, 40 * math.sqrt(seeds), xtol=1e-10)
        found.append(float(2 * ndtr(-bound / math.sqrt(seeds))))
        density = np.exp(-(((bound * places)[:, None] - nodes) ** 2) / (2 * step**2)) / (step * math.sqrt(2 * math.pi))
        nodes, masses, spent, last = bound * places, (density @ masses) * weights * bound, due, seeds
    return tuple(found)


def by_seed(values: Mapping[str, float], repeats: int, seeds: int) -> dict[str, float]:
    """Return the values of the seeds below `seeds`, in order: of each the mean over its `repeats` folds or splits.

    A key is "3", or "2/3" for fold 2 of seed 3. A seed that lacks a fold has no value.
    """
    groups: dict[int, list[float]] = {}
    for key, value in values.items():
        groups.setdefault(int(key.rpartition("/")[2]), []).append(value)
    return {str(seed): mean(groups[seed]) for seed in sorted(groups) if seed < seeds and len(groups[seed]) == repeats}


def look(
    arms: Sequence[Arm], design: Design, counts: tuple[int, ...], number: int, baseline: str | None = None
) -> Look:
    """Look at the arms that are left, with a value of each finished seed below counts[number].

    All others are compared with the best arm, or with the one named `baseline`. An arm with a failed seed goes on with
    its other values, tested as unpaired, and is not the one that others are dropped for.
    """
    by_look = levels(counts, baseline is not None)
    seeds, level = counts[number], by_look[number]
    order = ranked((arm for arm in arms if arm.values), design.sign)
    failed = tuple(arm for arm in arms if not arm.values)
    if not order or (baseline is not None and baseline not in {arm.name for arm in order}):
        return Look(seeds, level, (), failed, tuple(order), FAILED)
    most = max(len(arm.values) for arm in order)
    best = next(arm for arm in order if len(arm.values) == most)
    reference = best if baseline is None else next(arm for arm in order if arm.name == baseline)
    # The subject of each sentence comes first: the best arm, or the arm that is measured against the baseline.
    others = [arm for arm in order if arm is not reference]
    trials = [trial(*((reference, arm) if baseline is None else (arm, reference))) for arm in others]
    plain = replace(design, margin=None)  # how many more seeds would suffice is no question here
    comparisons = stepped(trials, len(order), baseline is not None, plain, level)
    worse = {id(other) for other, each in zip(others, comparisons, strict=True) if _told(each, design, baseline)}
    remaining = tuple(arm for arm in order if id(arm) not in worse)
    outcome = _outcome(remaining, reference if baseline is not None else None, design, counts, number, by_look)
    return Look(seeds, level, comparisons, failed, remaining, outcome)


def _told(each: Comparison, design: Design, baseline: str | None) -> bool:
    """Return whether an arm is dropped: told apart from the baseline, or told worse than the best one.

    An arm with a failed seed may be told better than the reference: it cannot win, and it stays.
    """
    return each.concluded and (baseline is not None or each.difference * design.sign > 0)


def _outcome(
    remaining: Sequence[Arm],
    baseline: Arm | None,
    design: Design,
    counts: tuple[int, ...],
    number: int,
    by_look: tuple[float, ...],
) -> str:
    """Return how the study ends with these arms, or "" if it goes on."""
    if len(remaining) == 1:
        return DECIDED
    pairs = [
        trial(first, second)
        for place, first in enumerate(remaining)
        for second in remaining[place + 1 :]
        if baseline is None or baseline in (first, second)
    ]
    if design.margin is not None and _alike(pairs, design.margin, by_look[number]):
        return ALIKE
    if counts[number] == counts[-1]:
        return MAXIMUM
    hopeless = counts[number] >= PAIRED_FROM and _hopeless(pairs, design.margin, counts[-1], by_look[-1])
    return GIVEN_UP if hopeless else ""


def _alike(pairs: Sequence[Trial], margin: float, level: float) -> bool:
    """Return whether every pair differs by less than the margin, each side tested at `level`; all must pass."""
    return all(
        each.runs >= MIN_RUNS and abs(each.difference) + one_sided(level, each.df) * (each.error or 0.0) < margin
        for each in pairs
    )


def _hopeless(pairs: Sequence[Trial], margin: float | None, maximum: int, level: float) -> bool:
    """Return whether no pair is likely to be told at the maximum of seeds, nor all to be shown within the margin.

    Likely: if its difference became greater, or smaller, by one standard error of now. `level`: of the last look.
    """
    bound, upper = Bound(len(pairs), True, level)(maximum - 1.0), one_sided(level, maximum - 1.0)
    within = margin is not None
    for each in pairs:
        if each.runs < MIN_RUNS:
            return False
        error, difference = each.error or 0.0, abs(each.difference)
        last = error * math.sqrt(each.runs / maximum)  # the standard error at the maximum
        if difference + error > bound * last:
            return False
        within = within and max(0.0, difference - error) + upper * last < (margin or 0.0)
    return not within


def one_sided(level: float, df: float) -> float:
    """Return the t that is exceeded in this share of cases; 0 without degrees of freedom, as of arms that are equal."""
    from scipy.special import stdtrit

    return -float(stdtrit(df, level)) if df else 0.0
