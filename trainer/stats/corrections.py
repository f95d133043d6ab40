"""The multiple-comparison bounds of the verdict, where scipy lacks them in the form needed. Imports no torch."""

import math
from dataclasses import dataclass
from functools import cache

LEVEL = 0.05  # the family-wise error rate: the share of studies of identical arms that may report a difference


def noise_floor(accuracy: float, images: int) -> float:
    """Return the difference that two single runs exceed by chance in one of 20 cases, as a share of images.

    Each run is scored on its own `images` images: 1.96 standard deviations of the difference of two binomial shares.
    """
    # The variances of the two shares, p(1 - p)/n each, add up.
    return 1.96 * math.sqrt(2 * accuracy * (1 - accuracy) / images)


@dataclass(frozen=True)
class Bound:
    """The bound on |t| of a pair among `arms` arms; `against_baseline`: all are compared with one arm only.

    paired: each pair has a standard error of its own, from its differences, while the studentized range assumes a
    common one: among six identical arms of three runs it reports a difference in 10 % of studies, Šidák's bound in 2 %.
    """

    arms: int
    against_baseline: bool
    paired: bool = False

    @property
    def pairs(self) -> int:
        """The number of comparisons that are corrected for."""
        return self.arms - 1 if self.against_baseline else self.arms * (self.arms - 1) // 2

    def tail(self, t: float, df: float) -> float:
        """Return the corrected p value: the probability that some |t| is as large if all arms are the same."""
        if self.paired:
            return _sidak_tail(t, self.pairs, df)
        return (_dunnett_tail if self.against_baseline else _range_tail)(t, self.arms, df)

    def __call__(self, df: float) -> float:
        """Return the |t| that identical arms exceed in 5 % of studies."""
        if self.paired:
            return _sidak_bound(self.pairs, df)
        return (_dunnett_bound if self.against_baseline else _range_bound)(self.arms, df)


# scipy takes half a second to import, so it is imported only where something is tested. The results are cached: the
# search for the number of runs that would be needed asks for the same bound many times.


@cache
def _range_tail(t: float, arms: int, df: float) -> float:
    from scipy.stats import studentized_range

    # The range is measured in errors of one mean, t in errors of a difference of two: sqrt(2) times as large.
    return float(studentized_range.sf(t * math.sqrt(2), arms, df))


@cache
def _range_bound(arms: int, df: float) -> float:
    from scipy.stats import studentized_range

    return float(studentized_range.ppf(1 - LEVEL, arms, df)) / math.sqrt(2)


@cache
def _dunnett_tail(t: float, arms: int, df: float) -> float:
    """Return the tail of scipy.stats.dunnett, which accepts no degrees of freedom and is slow for forty arms.

    Given the baseline's mean and the variance the arms are independent, so two integrals are left (Dunnett 1955,
    eq. 3). They are computed by Gaussian quadrature with 64 points each.
    """
    import numpy as np
    from scipy.stats import chi2, norm

    z, z_weight = np.polynomial.hermite_e.hermegauss(64)  # over the baseline's mean, in its standard errors
    u, u_weight = np.polynomial.legendre.leggauss(64)  # over the quantiles of the estimated variance, in (-1, 1)
    # [64, 1]: the bound in true standard errors for each estimate of the variance; sqrt(2) as in _range_tail.
    end = t * np.sqrt(2 * chi2.ppf((u + 1) / 2, df) / df)[:, None]
    inside = (norm.cdf(end - z) - norm.cdf(-end - z)) ** (arms - 1)
    # leggauss integrates over an interval of length 2, and hermegauss's weights sum to sqrt(2 pi): both are normalized.
    return float(np.clip(1 - u_weight / 2 @ inside @ (z_weight / z_weight.sum()), 0, 1))


@cache
def _dunnett_bound(arms: int, df: float) -> float:
    from scipy.optimize import brentq

    return float(brentq(lambda t: _dunnett_tail(t, arms, df) - LEVEL, 0.5, 1000.0, xtol=1e-6))


@cache
def _sidak_tail(t: float, pairs: int, df: float) -> float:
    from scipy.stats import t as student

    # 1 - (1 - p)^pairs (Šidák 1967), by log1p and expm1: the plain form loses all digits of a small p. 1 - 1e-15 keeps
    # the logarithm finite at t = 0.
    return float(-math.expm1(pairs * math.log1p(-min(1.0 - 1e-15, 2 * student.sf(t, df)))))


@cache
def _sidak_bound(pairs: int, df: float) -> float:
    from scipy.stats import t as student

    return float(student.isf(-math.expm1(math.log1p(-LEVEL) / pairs) / 2, df))
