"""Reductions of the values of a further setting to one number for an arm and a seed. Imports no torch.

`values`: by the setting's text, in the order of the axis. Where one of them is nan the result is nan. inf ("never
reached") counts as larger than every number; the difference of two that are inf is 0.
"""

import math
import statistics
from collections.abc import Sequence

from trainer.errors import ConfigError
from trainer.lecture.measuring.values import Values, known, minus

Setting = str | float | bool


@known
def spread(values: Values) -> float:
    """Return the largest minus the smallest value. Unit of the measure."""
    return minus(max(values.values()), min(values.values()))


@known
def best(values: Values, *, lowest: bool = False) -> float:
    """Return the largest value; the smallest with `lowest`, as of losses and epochs. Unit of the measure."""
    return min(values.values()) if lowest else max(values.values())


@known
def worst(values: Values, *, lowest: bool = False) -> float:
    """Return the smallest value; the largest where the lowest is the best. Unit of the measure."""
    return max(values.values()) if lowest else min(values.values())


@known
def mean(values: Values) -> float:
    """Return the mean. Unit of the measure."""
    return sum(values.values()) / len(values)


@known
def median(values: Values) -> float:
    """Return the median, of an even number the mean of the middle two. Unit of the measure."""
    return statistics.median(values.values())


@known
def best_minus_median(values: Values, *, lowest: bool = False) -> float:
    """Return by how much the best value is better than the median, 0 or more. Unit of the measure."""
    ends = (median(values), best(values, lowest=True)) if lowest else (best(values), median(values))
    return minus(*ends)


@known
def at(values: Values, *, value: str | float | bool) -> float:
    """Return what was measured at one value of the setting. Unit of the measure."""
    return values[_place(values, value)]


@known
def difference(values: Values, *, first: str | float | bool, second: str | float | bool) -> float:
    """Return what was measured at `first` minus what was measured at `second`.

    The difference of two arms in it is the interaction of both factors. Unit of the measure.
    """
    return minus(values[_place(values, first)], values[_place(values, second)])


@known
def last_minus_first(values: Values) -> float:
    """Return what was measured at the last value of the axis minus that at the first. Unit of the measure."""
    measured = list(values.values())
    return minus(measured[-1], measured[0])


@known
def last_below_best(values: Values) -> float:
    """Return by how much what was measured at the last value of the axis is below the best one, 0 or more.

    Unit of the measure.
    """
    return minus(max(values.values()), list(values.values())[-1])


@known
def largest_reaching(values: Values, *, least: float) -> float:
    """Return the decimal logarithm of the largest setting whose value is at least `least`.

    Where none reaches it, the setting is known to be below the smallest one: it counts as one step of the axis below
    it, of a single setting one decade. Unit: decades.
    """
    settings = _logarithms(values)
    reached = [place for text, place in settings.items() if values[text] >= least]
    smallest, *further = sorted(settings.values())
    return max(reached) if reached else smallest - (further[0] - smallest if further else 1)


@known
def largest_within(values: Values, *, points: float) -> float:
    """Return the decimal logarithm of the largest setting whose value is at most `points` below the best one.

    Unit: decades.
    """
    least = max(values.values()) - points
    return max(place for text, place in _logarithms(values).items() if values[text] >= least)


@known
def share_reaching(values: Values, *, least: float) -> float:
    """Return the share of the settings whose value is at least `least`. Unit: points."""
    return 100 * sum(value >= least for value in values.values()) / len(values)


@known
def rank_correlation(values: Values) -> float:
    """Return the rank correlation of the values with the setting, from −1 to 1; 0 where all values are equal.

    The setting counts as a number, or by its place on the axis if it is none. Spearman 1904. Unit: .
    """
    try:
        settings = list(_numbers(values).values())
    except ConfigError:
        settings = list(map(float, range(len(values))))
    return _correlation(_ranks(settings), _ranks(list(values.values())))


@known
def slope_log(values: Values) -> float:
    """Return the slope of log value on log setting, by least squares: the exponent of a power law. Unit: .

    nan where a value is not above zero or not finite.
    """
    settings = list(_logarithms(values).values())
    if len(settings) < 2 or not all(0 < value < math.inf for value in values.values()):
        return math.nan
    return statistics.linear_regression(settings, [math.log10(value) for value in values.values()]).slope


def _place(values: Values, setting: Setting) -> str:
    """Return the text of a setting among those of the axis; 0.01 and 1e-2 are the same. Raises ConfigError."""
    text = str(setting).lower() if isinstance(setting, bool) else str(setting)
    if text in values:
        return text
    equal = [each for each in values if _number(each) is not None and _number(each) == _number(text)]
    if not equal:
        raise ConfigError(f"{text}: no value of the setting. There are: {', '.join(values)}")
    return equal[0]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _numbers(values: Values) -> dict[str, float]:
    """Return the settings as numbers, by their text. Raises ConfigError for one that is none."""
    numbers = {text: _number(text) for text in values}
    if words := [text for text, number in numbers.items() if number is None]:
        raise ConfigError(f"{words[0]}: must be a number, as the setting is reduced by its size")
    return {text: number for text, number in numbers.items() if number is not None}


def _logarithms(values: Values) -> dict[str, float]:
    """Return the decimal logarithm of each setting, by its text. Raises ConfigError for one that is not above zero."""
    numbers = _numbers(values)
    if low := [text for text, number in numbers.items() if not 0 < number < math.inf]:
        raise ConfigError(f"{low[0]}: must be above 0, as the setting is reduced by its logarithm")
    return {text: math.log10(number) for text, number in numbers.items()}


def _ranks(numbers: Sequence[float]) -> list[float]:
    """Return the rank of each number, from 1; equal ones share the mean of theirs."""
    ordered = sorted(numbers)
    return [ordered.index(number) + (ordered.count(number) + 1) / 2 for number in numbers]


def _correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Return Pearson's correlation, 0 if one side is constant."""
    if len(set(first)) < 2 or len(set(second)) < 2:
        return 0.0
    return statistics.correlation(first, second)
