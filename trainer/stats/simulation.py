"""Many studies until decided at once: the looks of `sequential.look` on arrays of values. Imports no torch.

It gives the false alarms and the power of the looks, and the number of runs that a study is expected to train.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer.stats.corrections import Bound
from trainer.stats.sequential import levels, levels_of, one_sided
from trainer.stats.trial import PAIRED_FROM

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

EXPECTED_GAPS, EXPECTED_STUDIES = (0.5, 1.0, 2.0), 400
MOST_VALUES = 20_000_000  # in memory at once: a study of very many arms is simulated less often


@dataclass(frozen=True)
class Looked:
    """The end of each study: the arms that are left [studies, arms], the seeds of its last look, and its runs."""

    left: "Bools"
    seeds: "NDArray[np.int64]"
    runs: "NDArray[np.int64]"


@dataclass(frozen=True)
class _Pairs:
    """The studies at one look: differences, standard errors and degrees of freedom of all pairs of their arms."""

    means: "Floats"  # [studies, arms]
    error: "Floats"  # [studies, arms, arms], as df; 0 where nothing can be tested
    df: "Floats"
    paired: bool

    @property
    def difference(self) -> "Floats":
        result: Floats = self.means[:, :, None] - self.means[:, None, :]
        return result


def looked_at(
    values: "Floats",
    counts: Sequence[int],
    margin: float | None = None,
    baseline: bool = False,
    paired_from: int = PAIRED_FROM,
    give_up: bool = True,
    total: float | None = None,
) -> Looked:
    """Look at studies of values [studies, arms, seeds], of which higher ones are better. `baseline`: the first arm.

    `total`: the error that is spent until the last look, as in `levels_of`; one look and 0.05 are a verdict as usual.
    """
    import numpy as np

    studies, arms, _ = values.shape
    left, going = np.ones((studies, arms), bool), np.arange(studies)
    ended, runs, before = np.full(studies, counts[-1]), np.zeros(studies, int), 0
    by_level = levels(tuple(counts), baseline) if total is None else levels_of(tuple(counts), total)
    for seeds, level in zip(counts, by_level, strict=True):
        here = left[going]
        count = here.sum(1)
        runs[going] += (seeds - before) * count
        pairs = _pairs(values[going, :, :seeds], seeds >= paired_from)
        here = _without_told(pairs, here, level, baseline)
        left[going] = here
        over = here.sum(1) == 1
        if margin is not None:
            over |= _alike(pairs, here, margin, level, baseline)
        if give_up and PAIRED_FROM <= seeds < counts[-1]:
            over |= _hopeless(pairs, here, margin, seeds, counts[-1], by_level[-1], baseline)
        ended[going[over]] = seeds
        going, before = going[~over], seeds
        if not len(going):
            break
    return Looked(left, ended, runs)


def expected_runs(arms: int, counts: Sequence[int], baseline: bool = False) -> list[tuple[float, float, float]]:
    """Return (gap, mean number of arms' seeds that are trained, share of studies decided) for some gaps.

    The gap, in standard deviations between seeds, is that of one arm, the baseline, to all others, which are alike.
    """
    import numpy as np

    studies = max(20, min(EXPECTED_STUDIES, MOST_VALUES // (arms * max(arms, counts[-1]))))
    noise = np.random.default_rng(0).standard_normal((studies, arms, counts[-1]))
    found = []
    for gap in EXPECTED_GAPS:
        values = noise.copy()
        values[:, 0] += gap
        ended = looked_at(values, counts, baseline=baseline)
        found.append((gap, float(ended.runs.mean()), float((ended.left.sum(1) == 1).mean())))
    return found


def _pairs(values: "Floats", paired: bool) -> _Pairs:
    """Return the tests of all pairs, as `trial` makes them of equal numbers of runs."""
    import numpy as np

    seeds = values.shape[2]
    means = values.mean(2)
    centred = values - means[:, :, None]
    if paired:
        products = centred @ centred.transpose(0, 2, 1) / (seeds - 1)
        own = np.einsum("sii->si", products)
        error = np.sqrt(np.maximum(own[:, :, None] + own[:, None, :] - 2 * products, 0) / seeds)
        df = np.full_like(error, seeds - 1.0)
    else:
        own = (centred**2).sum(2) / (seeds - 1) / seeds
        a, b = own[:, :, None], own[:, None, :]
        with np.errstate(invalid="ignore", divide="ignore"):
            added = np.nan_to_num((a + b) ** 2 / ((a**2 + b**2) / (seeds - 1))) - (seeds - 1)
        df = seeds - 1 + max(0.5, 1 - 2 / seeds) * np.maximum(added, 0)
        error, df = np.sqrt(a + b), np.floor(10 * df + 1e-9) / 10
    scale = np.maximum(1.0, np.abs(means))[:, :, None]
    return _Pairs(means, np.where(error < 1e-9 * scale, 0.0, error), df, paired)  # products round to a billionth


def _without_told(pairs: _Pairs, left: "Bools", level: float, baseline: bool) -> "Bools":
    """Return the arms that are left [studies, arms]: those told worse than the best, or apart from the first, are not.

    Step by step as in `stepped`: who exceeds the bound for all arms is out, and the others are tested as the fewer.
    """
    import numpy as np

    left, rows = left.copy(), np.arange(len(left))
    reference = np.zeros(len(left), int) if baseline else np.where(left, pairs.means, -np.inf).argmax(1)
    error, df = pairs.error[rows, reference], pairs.df[rows, reference]
    with np.errstate(invalid="ignore", divide="ignore"):
        t = np.where(error > 0, np.abs(pairs.difference[rows, reference]) / error, 0.0)
    while True:
        bounds = _bounds(left.sum(1), df, level, baseline, pairs.paired)
        told = left & (t > bounds)
        told[rows, reference] = False
        if not told.any():
            return left
        left &= ~told


def _bounds(counts: "NDArray[np.int64]", df: "Floats", level: float, baseline: bool, paired: bool) -> "Floats":
    """Return the bound on |t| of each comparison [studies, arms], by the number of arms that are left."""
    import numpy as np

    found = np.zeros_like(df)
    for count in np.unique(counts[counts > 1]):
        rows = counts == count
        tests = int(count - 1 if baseline else count * (count - 1) // 2)
        bound = Bound(tests, baseline or paired, level)
        values, places = np.unique(df[rows], return_inverse=True)
        found[rows] = np.array([bound(float(value)) for value in values])[places].reshape(df[rows].shape)
    return found


def _asked(left: "Bools", baseline: bool) -> "Bools":
    """Return which pairs [studies, arms, arms] are asked about: both are left, and one is the baseline if there is one.

    Each pair occurs once.
    """
    import numpy as np

    both: Bools = left[:, :, None] & left[:, None, :] & np.triu(np.ones((left.shape[1],) * 2, bool), 1)
    if baseline:
        both[:, 1:] = False
    return both


def _alike(pairs: _Pairs, left: "Bools", margin: float, level: float, baseline: bool) -> "Bools":
    import numpy as np

    values, places = np.unique(pairs.df, return_inverse=True)
    bound = np.array([one_sided(level, float(value)) for value in values])[places].reshape(pairs.df.shape)
    within = np.abs(pairs.difference) + bound * pairs.error < margin
    result: Bools = np.asarray((within | ~_asked(left, baseline)).all((1, 2)))
    return result


def _hopeless(
    pairs: _Pairs, left: "Bools", margin: float | None, seeds: int, maximum: int, level: float, baseline: bool
) -> "Bools":
    import numpy as np

    asked, counts = _asked(left, baseline), left.sum(1)
    last = pairs.error * math.sqrt(seeds / maximum)
    bounds = _bounds(counts, np.full(left.shape, maximum - 1.0), level, baseline, True)[:, :1, None]
    size = np.abs(pairs.difference)
    hopeless: Bools = np.asarray(~((size + pairs.error > bounds * last) & asked).any((1, 2)))
    if margin is not None:
        reach = np.maximum(0, size - pairs.error) + one_sided(level, maximum - 1.0) * last < margin
        hopeless &= ~(reach | ~asked).all((1, 2))
    return hopeless
