"""The bounds of the verdict on |t|, corrected for the number of comparisons. Imports no torch."""

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LEVEL = 0.05  # the family-wise error rate: the share of studies of identical arms that may report a difference
NODES = 300  # of the quadrature over the estimated variance: the bounds are exact to a millionth


@dataclass(frozen=True)
class Bound:
    """The bound on the |t| of one of several comparisons; `tests`: how many it is corrected for.

    product: the comparisons are taken as independent (Šidák 1967), which holds for any errors. Else they are taken as
    independent given the estimated variance: the studentized maximum modulus of Dunnett's T3 (1980), which is smaller,
    and holds for Welch's test of arms that share no errors. level: the share of studies that may exceed it.
    """

    tests: int
    product: bool
    level: float = LEVEL

    def tail(self, t: float, df: float) -> float:
        """Return the corrected p value: the probability that some |t| is as large if all arms are the same."""
        return (_product_tail if self.product else _modulus_tail)(abs(t), self.tests, df)

    def __call__(self, df: float) -> float:
        """Return the |t| that identical arms exceed in this share of studies."""
        return (_product_bound if self.product else _modulus_bound)(self.tests, df, self.level)


# scipy is imported only where something is tested: its special functions take 0.1 s, its distributions half a second.


@cache
def _variances(df: float) -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
    """Return values of √(χ²/df) and their weights, which are a mean over its distribution."""
    import numpy as np
    from scipy.special import gammaincinv

    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    v = (nodes + 1) / 2
    # The quantiles u = v⁴: most nodes lie where the estimated variance is small, which decides over the tail.
    return np.sqrt(2 * gammaincinv(df / 2, v**4) / df), 2 * v**3 * weights


@cache
def _modulus_tail(t: float, tests: int, df: float) -> float:
    """Return the probability that the largest of `tests` independent |z|, divided by one estimated σ, exceeds t."""
    import numpy as np
    from scipy.special import ndtr

    scale, weight = _variances(df)
    # 1 - (1 - p)^tests by log1p and expm1: the plain form loses all digits of a small p. The clip keeps t = 0 finite.
    each = np.minimum(2 * ndtr(-t * scale), 1 - 1e-15)
    return float(np.clip(-(weight @ np.expm1(tests * np.log1p(-each))), 0, 1))


@cache
def _modulus_bound(tests: int, df: float, level: float) -> float:
    from scipy.optimize import brentq

    highest = _product_bound(tests, df, level)  # an inequality of Šidák
    return float(brentq(lambda t: _modulus_tail(t, tests, df) - level, 0.5, highest + 1e-3, xtol=1e-6))


def _product_tail(t: float, tests: int, df: float) -> float:
    from scipy.special import stdtr

    return float(-math.expm1(tests * math.log1p(-min(1.0 - 1e-15, 2 * float(stdtr(df, -t))))))


@cache
def _product_bound(tests: int, df: float, level: float) -> float:
    from scipy.special import stdtrit

    return -float(stdtrit(df, -math.expm1(math.log1p(-level) / tests) / 2))
