"""Reductions of the values of a further setting to one number for an arm and a seed. Imports no torch."""

import math
from collections.abc import Mapping


def spread(values: Mapping[str, float]) -> float:
    """Return the largest minus the smallest value. Unit of the measure."""
    return max(values.values()) - min(values.values())


def largest_reaching(values: Mapping[str, float], *, least: float) -> float:
    """Return the decimal logarithm of the largest setting whose value is at least `least`; -inf without one.

    Unit: decades.
    """
    reached = [float(setting) for setting, value in values.items() if value >= least]
    return math.log10(max(reached)) if reached else -math.inf
