"""The test of two arms: the standard error of their difference, its degrees of freedom, the seeds that would be needed.

Imports no torch.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev, variance

from trainer.stats.arms import Arm
from trainer.stats.corrections import Bound

MIN_RUNS = 3  # per arm: the spread of two is a single number, and often 0 where accuracies go in steps of an image
PAIRED_FROM = 8  # seeds: fixed by the count alone, as choosing the better of two tests would add false alarms
MAX_SEEDS = 1000  # per arm: of a larger number that would be needed nothing is said
POWER_Z = 0.8416  # of four studies in five: the 80 % quantile of a normal distribution


@dataclass(frozen=True)
class Trial:
    """The difference of two arms, first minus second. `error`: its standard error, None where nothing can be tested.

    `runs`: values of each arm, the smaller number. `paired`: tested on the differences within each seed or fold.
    `parts`: the variances of means that add up to `error` squared, each with the number of its values.
    """

    first: Arm
    second: Arm
    difference: float
    runs: int
    error: float | None = None
    df: float = 0.0
    paired: bool = False
    parts: tuple[tuple[float, int], ...] = ()

    @property
    def t(self) -> float:
        """The difference in standard errors."""
        assert self.error is not None
        return self.difference / self.error

    def needed(self, margin: float, tests: int) -> int | None:
        """Return the runs an arm that would tell a difference of `margin` in 4 of 5 studies; None for over MAX_SEEDS.

        `tests`: the comparisons that are corrected for. The spread is taken as large as it may well be: from its upper
        80 % limit, as the observed one is often too small by chance.
        """
        from scipy.special import gammaincinv

        assert self.error is not None
        spread = self.error**2 * self.runs * self.df / (2 * gammaincinv(self.df / 2, 0.2))

        def suffices(runs: int) -> bool:
            df = float(math.floor(self.df * (runs - 1) / (self.runs - 1)))
            return (Bound(tests, self.paired)(df) + POWER_Z) * math.sqrt(spread / runs) <= margin

        low, high = MIN_RUNS, MAX_SEEDS
        if not suffices(high):
            return None
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if suffices(middle) else (middle + 1, high)
        return low


def trial(first: Arm, second: Arm, split_ratio: float = 0.0) -> Trial:
    """Test two arms. `split_ratio`: validation by training images where the units are scored on different images.

    Folds are pairs, and so are seeds, from `PAIRED_FROM` of them on, if both arms have the same ones.
    """
    if split_ratio:
        first, second = _shared(first, second)
    difference, runs = first.mean - second.mean, min(len(first.values), len(second.values))
    same = first.values.keys() == second.values.keys()
    paired = bool(split_ratio) or (same and runs >= PAIRED_FROM)
    untested = Trial(first, second, difference, runs, paired=paired)
    if runs < MIN_RUNS or first.values == second.values:  # the latter: nothing differs that could be tested
        return untested
    if paired:
        # The corrected resampled t test: the standard error of the mean difference is s * sqrt(1/n + test/train)
        # instead of s * sqrt(1/n), because the training sets of folds overlap (Nadeau and Bengio 2003, section 3).
        spread = stdev(value - second.values[key] for key, value in first.values.items())
        parts: tuple[tuple[float, int], ...] = ((spread**2 * (1 / runs + split_ratio), runs),)
    else:  # the test of Welch (1947), with the spread of each arm
        parts = tuple((variance(arm.values.values()) / len(arm.values), len(arm.values)) for arm in (first, second))
    error = math.sqrt(sum(part for part, _ in parts))
    if error < 1e-12 * max(1.0, abs(first.mean)):  # rounding errors of equal values: without spread there is no test
        return untested
    return Trial(first, second, difference, runs, error, freedom(parts), paired, parts)


def over_blocks(trials: Sequence[Trial]) -> Trial:
    """Return the mean difference of two arms over several blocks, each with its own runs; their errors add up."""
    difference, runs = mean(each.difference for each in trials), min(each.runs for each in trials)
    paired = any(each.paired for each in trials)
    untested = Trial(trials[0].first, trials[0].second, difference, runs, paired=paired)
    if any(each.error is None for each in trials):
        return untested
    parts = tuple((part / len(trials) ** 2, count) for each in trials for part, count in each.parts)
    error = math.sqrt(sum(part for part, _ in parts))
    return Trial(untested.first, untested.second, difference, runs, error, freedom(parts), paired, parts)


def freedom(parts: Sequence[tuple[float, int]]) -> float:
    """Return degrees of freedom, safe for few runs, of a sum of variances, each estimated from a number of values.

    Satterthwaite's number (1946), (a + b)² / (a²/(n - 1) + b²/(m - 1)), is the one of a sum of known variances: with
    three runs of unequal noise it errs in up to 5.75 % instead of 5 %. So the smallest n - 1 is taken, plus the share γ
    of what Satterthwaite adds, at which the error is at most 5.15 % (n = 3) and 5.05 % (from 4 on).
    """
    counts = [count for _, count in parts]
    least = min(counts) - 1
    gamma = max(0.5, 1 - 2 / counts[0]) if len({*counts}) == 1 else 0.0
    weight = sum(part**2 / (count - 1) for part, count in parts)
    df = least + gamma * (sum(part for part, _ in parts) ** 2 / weight - least) if weight else float(least)
    # Rounded down to a tenth, so that pairs share the cached bounds; 3.2 is stored as a little less.
    return math.floor(10 * df + 1e-9) / 10


def _shared(first: Arm, second: Arm) -> tuple[Arm, Arm]:
    """Return both arms reduced to the replicates that both of them finished, with a value for each fold or split."""
    keys = [key for key in first.values if key in second.values]
    both = (Arm(arm.name, {key: arm.values[key] for key in keys}) for arm in (first, second))
    return by_images(next(both)), by_images(next(both))


def by_images(arm: Arm) -> Arm:
    """Return the arm with one value for each fold or split: the mean over its seeds."""
    seeds: dict[str, list[float]] = {}
    for key, value in arm.values.items():
        seeds.setdefault(key.partition("/")[0], []).append(value)
    return Arm(arm.name, {images: mean(values) for images, values in seeds.items()})
