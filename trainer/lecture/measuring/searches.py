"""Reductions that search along measured settings: what a choice among them finds, and is worth. Imports no torch.

`values` and `beside`: two measures by the setting's text, in the order of the axis; nan where one of them is.
"""

import itertools
import math
import statistics
from collections.abc import Iterable

from trainer.config.types import Count
from trainer.errors import ConfigError
from trainer.lecture.measuring.values import Values, known, minus


@known
def optimism(values: Values, beside: Values, *, both_ways: bool = False) -> float:
    """Return how much better the picked setting looks on the data that picked it than on fresh data.

    The setting of the largest of `values` is picked, the first of equal ones; the result is its value minus that in
    `beside`, the same measure on other images. `both_ways`: the mean of this and of a pick by `beside`, so that it does
    not matter which of the two parts is the easier one. Unit of the measure.
    """
    picked = max(values, key=lambda setting: values[setting])
    once = minus(values[picked], beside[picked])
    return (once + optimism(beside, values)) / 2 if both_ways else once


@known
def picked(values: Values, beside: Values) -> float:
    """Return the value in `beside` of the setting with the largest of `values`, the first of equal ones.

    It is what a choice by one part of the data is worth on another. Unit of the measure.
    """
    return beside[max(values, key=lambda setting: values[setting])]


@known
def random_minus_grid(values: Values, *, side: Count) -> float:
    """Return the best of random points minus the best of a grid of equally many, `side`² of a measured surface.

    The settings are pairs, "lr=0.01 dropout=0.2", and all combinations of a few values of both are measured. The best
    of random points is the expected one of all choices of `side`² among them, without repetition; that of the grid the
    mean over all grids of `side` × `side` evenly spaced values. Bergstra & Bengio 2012. Unit of the measure.
    """
    surface = _surface(values)
    ordered, points = sorted(values.values()), side * side
    if not 1 <= side <= min(len(surface), len(surface[0])):
        raise ConfigError(f"random_minus_grid: side={side}: must be from 1 to {min(len(surface), len(surface[0]))}")
    # Of C(N, n) choices, C(k, n − 1) have the value at place k, counted from 0, as their largest.
    choices = math.comb(len(ordered), points)
    drawn = sum(value * math.comb(place, points - 1) / choices for place, value in enumerate(ordered))
    grids = [
        max(surface[row][column] for row in rows for column in columns)
        for rows in _evenly(len(surface), side)
        for columns in _evenly(len(surface[0]), side)
    ]
    return drawn - statistics.fmean(grids)


@known
def coarse_to_fine_minus_grid(values: Values, beside: Values, *, trials: Count = 8) -> float:
    """Return what a search in two stages finds minus what one even grid finds, by `beside`, at equal numbers of trials.

    Along one axis the grid tries `trials` evenly spaced settings. The search tries half as many, then as many more
    between the neighbours of the best one. Each picks by `values` and counts by `beside`, the same measure on other
    images; the mean over all starts of both. Unit of the measure.
    """
    order, half = list(values), trials // 2
    if half < 2 or trials > len(order):
        raise ConfigError(f"coarse_to_fine_minus_grid: trials={trials}: must be from 4 to {len(order)}")

    def found(places: Iterable[int]) -> float:
        return beside[max((order[place] for place in places), key=lambda setting: values[setting])]

    def searched(coarse: range) -> float:
        best = max(coarse, key=lambda place: values[order[place]])
        low, high = max(best - coarse.step, 0), min(best + coarse.step, len(order) - 1)
        fine = {round(low + (high - low) * part / (half + 1)) for part in range(1, half + 1)}
        return found([*coarse, *fine])

    staged = statistics.fmean(map(searched, _evenly(len(order), half)))
    return staged - statistics.fmean(map(found, _evenly(len(order), trials)))


@known
def border_minus_inside(values: Values, *, width: Count) -> float:
    """Return how much more often a better setting lies outside a range whose best value is on its border.

    All ranges of `width` neighbouring settings are searched. Of those with the best value on a border, beyond which
    further settings were measured, and of those with the best value inside, the share for which a better one lies
    outside; nan if there are none of a kind. Unit: points.
    """
    numbers = list(values.values())
    shares: dict[bool, list[bool]] = {True: [], False: []}
    for start in range(len(numbers) - width + 1):
        inside, outside = numbers[start : start + width], numbers[:start] + numbers[start + width :]
        place = inside.index(max(inside))
        if (place == 0 and start == 0) or (place == width - 1 and start + width == len(numbers)):
            continue  # nothing lies beyond this border
        shares[place in (0, width - 1)].append(bool(outside) and max(outside) > max(inside))
    if not (shares[True] and shares[False]):
        return math.nan
    return 100 * (statistics.fmean(shares[True]) - statistics.fmean(shares[False]))


def _surface(values: Values) -> list[list[float]]:
    """Return the values [A][B] by both settings of the pairs. Raises ConfigError if a combination is missing."""
    pairs = {tuple(text.split()): value for text, value in values.items()}
    if {len(pair) for pair in pairs} != {2}:
        raise ConfigError('random_minus_grid: the settings must be pairs such as "lr=0.01 dropout=0.2"')
    first, second = (list(dict.fromkeys(pair[part] for pair in pairs)) for part in (0, 1))
    if missing := [" ".join(pair) for pair in itertools.product(first, second) if pair not in pairs]:
        raise ConfigError(f"random_minus_grid: all combinations must be measured, {missing[0]} is not")
    return [[pairs[row, column] for column in second] for row in first]


def _evenly(count: int, side: Count) -> list[range]:
    """Return all choices of `side` evenly spaced places among `count`, as far apart as they fit."""
    step = count // side
    span = (side - 1) * step
    return [range(start, start + span + 1, step) for start in range(count - span)]
