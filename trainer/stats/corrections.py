"""The distributions that the verdict tests with, where scipy has them not as they are needed. Imports no torch."""

import math
from dataclasses import dataclass
from functools import cache

LEVEL = 0.05  # of studies of identical arms this share may report a difference


def noise_floor(accuracy: float, images: int) -> float:
    """What two single runs differ by in one of 20 cases when each is scored on `images` images of its own, a share.

    1.96 standard deviations of the difference of two binomial shares.
    """
    return 1.96 * math.sqrt(2 * accuracy * (1 - accuracy) / images)


@dataclass(frozen=True)
class Bound:
    """The bound that the t of a pair among `arms` arms must exceed; `against_baseline`: all are compared with one arm.

    paired: the pairs' errors come from differences and are too little alike for the range's bound: on identical arms
    it errs in 10 % of studies of six arms and three runs, Šidák's in 2 %.
    """

    arms: int
    against_baseline: bool
    paired: bool = False

    @property
    def pairs(self) -> int:
        return self.arms - 1 if self.against_baseline else self.arms * (self.arms - 1) // 2

    def tail(self, t: float, df: float) -> float:
        """P(some |t| is as large, were all arms the same)."""
        if self.paired:
            return _sidak_tail(t, self.pairs, df)
        return (_dunnett_tail if self.against_baseline else _range_tail)(t, self.arms, df)

    def __call__(self, df: float) -> float:
        """The t that identical arms exceed in 5 % of studies."""
        if self.paired:
            return _sidak_bound(self.pairs, df)
        return (_dunnett_bound if self.against_baseline else _range_bound)(self.arms, df)


# scipy takes half a second to import: only where something is tested.


@cache
def _range_tail(t: float, arms: int, df: float) -> float:
    from scipy.stats import studentized_range

    return float(studentized_range.sf(t * math.sqrt(2), arms, df))


@cache
def _range_bound(arms: int, df: float) -> float:
    from scipy.stats import studentized_range

    return float(studentized_range.ppf(1 - LEVEL, arms, df)) / math.sqrt(2)


@cache
def _dunnett_tail(t: float, arms: int, df: float) -> float:
    """As scipy.stats.dunnett, which takes neither degrees of freedom nor, in a second, forty arms.

    Given the baseline's mean and the variance the arms are independent, so two integrals are left (Dunnett 1955,
    eq. 3), taken by Gauss's rules of 64 points.
    """
    import numpy as np
    from scipy.stats import chi2, norm

    z, z_weight = np.polynomial.hermite_e.hermegauss(64)
    u, u_weight = np.polynomial.legendre.leggauss(64)
    end = t * np.sqrt(2 * chi2.ppf((u + 1) / 2, df) / df)[:, None]
    inside = (norm.cdf(end - z) - norm.cdf(-end - z)) ** (arms - 1)
    return float(np.clip(1 - u_weight / 2 @ inside @ (z_weight / z_weight.sum()), 0, 1))


@cache
def _dunnett_bound(arms: int, df: float) -> float:
    from scipy.optimize import brentq

    return float(brentq(lambda t: _dunnett_tail(t, arms, df) - LEVEL, 0.5, 1000.0, xtol=1e-6))


@cache
def _sidak_tail(t: float, pairs: int, df: float) -> float:
    from scipy.stats import t as student

    return float(-math.expm1(pairs * math.log1p(-min(1.0 - 1e-15, 2 * student.sf(t, df)))))


@cache
def _sidak_bound(pairs: int, df: float) -> float:
    from scipy.stats import t as student

    return float(student.isf(-math.expm1(math.log1p(-LEVEL) / pairs) / 2, df))
