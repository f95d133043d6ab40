"""An arm of a comparison and the order of arms. Imports no torch."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import mean, stdev
from typing import TypeVar


@dataclass(frozen=True)
class Arm:
    """One of the configurations that are compared; `values` holds the metric of each finished run by its replicate.

    A replicate is named by its seed, "0", or by its fold or split and then its seed, "3/0".
    """

    name: str
    values: Mapping[str, float]

    @property
    def mean(self) -> float:
        """The mean over the finished runs; nan without one."""
        return mean(self.values.values()) if self.values else math.nan

    @property
    def deviation(self) -> float | None:
        """The sample standard deviation between runs; None for fewer than two."""
        return stdev(self.values.values()) if len(self.values) > 1 else None


AnyArm = TypeVar("AnyArm", bound=Arm)


def ranked(arms: Iterable[AnyArm], sign: int) -> list[AnyArm]:
    """Return the arms, best first: by falling mean for sign 1, by rising mean for -1. Arms without values come last."""
    return sorted(arms, key=lambda arm: (not arm.values, -sign * arm.mean if arm.values else 0.0))
