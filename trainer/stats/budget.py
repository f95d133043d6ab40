"""The best of several trials by their number. Numbers in, numbers out; imports no torch."""

import math
from collections.abc import Sequence
from statistics import NormalDist


def budgets(trials: int) -> list[int]:
    """Return the numbers of trials that are told: 1, 3, 10, 30, … and all of them."""
    steps = sorted(round(10 ** (half / 2)) for half in range(2 * len(str(trials))))
    return [*(step for step in steps if step < trials), trials]


def expected_best(values: Sequence[float], count: int, sign: int) -> float:
    """Return the best of `count` of these values, on average over all orders in which they could have been drawn.

    For values that were drawn independently of each other (after Dodge et al. 2019, here without replacement, as their
    estimate is too low: Tang et al. 2020). `sign`: 1 if a higher value is better, else -1.
    """
    rising = sorted(sign * value for value in values)
    # The value of rank i is the best of C(i, count - 1) of the C(n, count) choices.
    ways = [math.comb(rank, count - 1) for rank in range(len(rising))]
    return sign * sum(way * value for way, value in zip(ways, rising, strict=True)) / math.comb(len(rising), count)


def best_so_far(values: Sequence[float], count: int, sign: int) -> float:
    """Return the best of the first `count` values, for values that were chosen by those before them."""
    return sign * max(sign * value for value in values[:count])


def luck_of_best(trials: int) -> float:
    """Return by how many standard deviations between seeds the best of single trials is too high on average.

    Where points differ as much as seeds do: the expected highest of `trials` normal values over √2. If all points are
    equally good it is √2 times as much.
    """
    normal, step = NormalDist(), 1 / 128
    places = (-8 + step * number for number in range(18 * 128 + 1))  # beyond them nothing is left
    highest = sum(z * trials * normal.pdf(z) * normal.cdf(z) ** (trials - 1) for z in places) * step
    return highest / math.sqrt(2)
