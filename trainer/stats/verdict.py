"""The verdict of a study: which arm is better, by how much, and whether its runs suffice to conclude it.

Numbers in, sentences out; imports no torch. Each pair of arms is tested on its own variance (Welch 1947), with the
bounds of Tukey's range test where all arms are compared with the best one (Games and Howell 1976) and of Dunnett's test
where they are compared with a named one (Dunnett 1955). The best arm is picked from the values that are then tested, so
that comparison is corrected for all pairs. `scripts/verdict_calibration.py` measures this: identical arms with three or
more seeds are reported as different in 3 to 6 % of studies. A variance pooled over all arms has the same rate while
the arms are equally noisy, but errs in up to 20 % of studies if one arm is four times as noisy; a permutation of signs
cannot conclude before six seeds.

Seeds are not treated as pairs: runs of one seed are alike in similar arms only (correlations of 0.1 to 0.6 were
recorded), and the gain there is lost elsewhere by the halved degrees of freedom. Folds and splits are treated as pairs:
they differ by more than arms do. But they share training images, so their differences are correlated: the variance of
the mean is not 1/n of theirs but 1/n + validation images / training images (Nadeau and Bengio 2003, Bouckaert and Frank
2004). Seeds of one fold share all its images: their mean is the one value of that fold.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from trainer.stats.arms import Arm, ranked
from trainer.stats.corrections import LEVEL, Bound, noise_floor

MIN_RUNS = 3  # per arm: the spread of two is a single number, and often 0 where accuracies go in steps of an image
MAX_SEEDS = 100  # per arm: a larger number that would be needed is given as "more than 100"
TABULATED_DF = (20, 24, 30, 40, 60, 120, 1000)  # as in printed tables, degrees of freedom between two are rounded down


@dataclass(frozen=True)
class Design:
    """The design of a comparison; `unit` is what repeats an arm (seed, fold, split), `images` the validation images.

    split_ratio: validation images divided by training images where the units are scored on different images, else 0.
    """

    metric: str = "validation_accuracy"
    sign: int = 1  # -1: lower is better
    unit: str = "seed"
    split_ratio: float = 0.0
    images: int = 0  # 0: not recorded

    @property
    def paired(self) -> bool:
        """True if each fold or split is compared with itself only."""
        return self.split_ratio > 0

    @property
    def share(self) -> bool:
        """True if the metric is a share of images, which is reported in percentage points."""
        return self.metric.endswith("accuracy")


@dataclass(frozen=True)
class Comparison:
    """Two arms; `difference` (first minus second) and `half_width` (of the 95 % interval) are in the metric's unit.

    p and half_width hold for all comparisons of the study together; both are None where nothing can be tested.
    `needed`: runs per arm that would suffice to conclude a difference of this size, None for more than `MAX_SEEDS`.
    `t`, `df`: the statistic and its degrees of freedom, None where nothing can be tested.
    """

    first: Arm
    second: Arm
    difference: float
    half_width: float | None = None
    p: float | None = None
    needed: int | None = None
    t: float | None = None
    df: float | None = None

    @property
    def single_p(self) -> float | None:
        """The p value of this comparison alone, without the correction for the others of the study."""
        from scipy.stats import t  # takes half a second to import

        return None if self.t is None else float(2 * t.sf(abs(self.t), self.df))

    @property
    def concluded(self) -> bool:
        """True if the difference is significant after the correction."""
        return self.p is not None and self.p < LEVEL

    def sentence(self, design: Design) -> str:
        """Return the result in words: "batch is better than none by 1.8 ± 0.4 points (6 seeds, p = 0.03)"."""
        first, second, counts = self.first.name, self.second.name, _counts(self, design)
        if self.p is None or self.half_width is None:
            return f"{first} against {second}: no conclusion, {_untestable(self, design)}"
        amount = _amount(abs(self.difference) if self.concluded else self.difference, self.half_width, design)
        p = "p < 0.001" if self.p < 0.001 else f"p = {self.p:.2g}"
        if self.concluded:
            better = "better" if self.difference * design.sign > 0 else "worse"
            return f"{first} is {better} than {second} by {amount} ({counts}, {p})"
        sentence = f"{first} against {second}: no conclusion at {counts} ({amount}, {p})"
        if design.unit == "fold":
            return sentence  # more folds would be other folds: smaller ones, with training images more alike
        needed = f"at least {self.needed} are" if self.needed else f"more than {MAX_SEEDS} are"
        return f"{sentence}; {needed} needed to tell a difference of this size"


@dataclass(frozen=True)
class Verdict:
    """The comparisons, the closest rival first, and the sentences about the test and the noise floor behind them."""

    design: Design
    comparisons: tuple[Comparison, ...]
    reasons: tuple[str, ...] = ()  # the sentences in place of comparisons where there is nothing to compare
    test: str = ""
    floor: str = ""
    equal: tuple[str, ...] = ()  # the sentences on arms whose runs gave the same results to the last digit
    reference: str = ""  # the arm that the others are compared with; "" without comparisons

    def lines(self) -> list[str]:
        """Return all sentences."""
        sentences = [comparison.sentence(self.design) for comparison in self.comparisons]
        return [line for line in (*self.equal, *self.reasons, *sentences, self.test, self.floor) if line]


def judge(arms: Sequence[Arm], design: Design, baseline: str | None = None) -> Verdict:
    """Compare every other arm with the best one, or with the arm named `baseline`, which must have values.

    Arms without values are left out. Raises StopIteration if there is no such baseline.
    """
    order = ranked((arm for arm in arms if arm.values), design.sign)
    if not order:
        return Verdict(design, (), ("No run has finished: there is nothing to compare",))
    floor = _floor_sentence(order[0].mean, design)
    if len(order) == 1:
        reason = f"Only one arm has finished runs, {order[0].name}: nothing to compare"
        if len(arms) == 1:
            reason = "One configuration is nothing to compare: give a setting several values, as in optimizer=sgd,adam"
        return Verdict(design, (), (reason,), "", floor)
    reference = order[0] if baseline is None else next(arm for arm in order if arm.name == baseline)
    others = [arm for arm in order if arm is not reference]
    most = max(len(_by_images(arm).values if design.paired else arm.values) for arm in order)
    if most < MIN_RUNS:
        begin = "Single runs: nothing can be concluded" if most == 1 else f"No conclusion at {most} {design.unit}s"
        advice = f"at least {MIN_RUNS} {design.unit}s an arm are needed"
        example = ": add seed=0,1,2" if design.unit == "seed" else ""
        return Verdict(design, (), (f"{begin}; {advice}{example}",), "", floor)
    # The subject of each sentence comes first: the best arm, or the arm that is measured against the baseline.
    pairs = [(reference, arm) if baseline is None else (arm, reference) for arm in others]
    bound = Bound(len(order), baseline is not None, design.paired)
    comparisons = tuple(
        _compare(*(_shared(*pair) if design.paired else pair), design.split_ratio, bound) for pair in pairs
    )
    tested = any(comparison.p is not None for comparison in comparisons)
    test = _test_sentence(design, len(order), baseline) if tested else ""
    return Verdict(design, comparisons, (), test, floor, reference=reference.name)


def _compare(first: Arm, second: Arm, split_ratio: float, bound: Bound) -> Comparison:
    """Test the difference of two arms; as pairs, which both have, if there is a `split_ratio`."""
    difference, count = first.mean - second.mean, min(len(first.values), len(second.values))
    if count < MIN_RUNS or first.values == second.values:  # the latter: nothing differs that could be tested
        return Comparison(first, second, difference)
    if split_ratio:
        # The corrected resampled t test: the standard error of the mean difference is s * sqrt(1/n + test/train)
        # instead of s * sqrt(1/n), because the training sets overlap (Nadeau and Bengio 2003, section 3).
        spread = stdev(value - second.values[key] for key, value in first.values.items())
        error = spread * math.sqrt(1 / count + split_ratio)
        df = float(count - 1)
    else:
        # Welch 1947: the variances of the two means add up, and the degrees of freedom of their sum are approximated
        # by Satterthwaite's formula, (a + b)^2 / (a^2/(n - 1) + b^2/(m - 1)).
        variances = [stdev(arm.values.values()) ** 2 / len(arm.values) for arm in (first, second)]
        error = math.sqrt(sum(variances))
        weights = [part**2 / (len(arm.values) - 1) for part, arm in zip(variances, (first, second), strict=True)]
        df = sum(variances) ** 2 / sum(weights) if any(weights) else float(count - 1)
    if error < 1e-12 * max(1.0, abs(first.mean)):  # rounding errors of equal values: without spread there is no test
        return Comparison(first, second, difference)
    df = math.floor(10 * df) / 10  # rounded down, so that pairs share the cached bounds, which are slow to compute
    p = bound.tail(abs(difference) / error, df)

    def suffices(runs: int) -> bool:
        """Return whether so many runs per arm, with this difference and spread, would be significant."""
        then = df * (runs - 1) / (count - 1)
        row = max((row for row in TABULATED_DF if row <= then), default=float(math.floor(then)))
        shrinkage = math.sqrt((1 / runs + split_ratio) / (1 / count + split_ratio))  # of the standard error
        return bound(row) * error * shrinkage <= abs(difference)

    needed = None if p < LEVEL else _first(suffices, count + 1, MAX_SEEDS)
    return Comparison(first, second, difference, bound(df) * error, p, needed, difference / error, df)


def _first(holds: Callable[[int], bool], low: int, high: int) -> int | None:
    """Return the smallest number in [low, high] that `holds`, None if there is none; all above it must hold, too."""
    if low > high or not holds(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def _shared(first: Arm, second: Arm) -> tuple[Arm, Arm]:
    """Return both arms reduced to the replicates that both of them finished, with a value for each fold or split."""
    keys = [key for key in first.values if key in second.values]
    both = (Arm(arm.name, {key: arm.values[key] for key in keys}) for arm in (first, second))
    return _by_images(next(both)), _by_images(next(both))


def _by_images(arm: Arm) -> Arm:
    """Return the arm with one value for each fold or split: the mean over its seeds."""
    seeds: dict[str, list[float]] = {}
    for key, value in arm.values.items():
        seeds.setdefault(key.partition("/")[0], []).append(value)
    return Arm(arm.name, {images: mean(values) for images, values in seeds.items()})


def _counts(comparison: Comparison, design: Design) -> str:
    """Return the number of runs in words: "6 seeds", "6 and 5 seeds"."""
    first, second = len(comparison.first.values), len(comparison.second.values)
    counts = f"{first}" if first == second else f"{first} and {second}"
    return f"{counts} {'paired ' if design.paired else ''}{design.unit}{'s' if (first, second) != (1, 1) else ''}"


def _amount(difference: float, half: float, design: Design) -> str:
    """Return "1.8 ± 0.4 points", to the interval's first digit, or its second behind a 1, and at least to a tenth."""
    difference, half = (100 * difference, 100 * half) if design.share else (difference, half)
    decimals = max(1, math.ceil(-math.log10(half / 2)))
    if round(half, decimals) == round(abs(difference), decimals):
        decimals += 1  # the larger of the two decides, so they must not look equal
    amount = f"{difference:.{decimals}f} ± {half:.{decimals}f}"
    return f"{amount} points" if design.share else f"{amount} in {design.metric.replace('_', ' ')}"


def _untestable(comparison: Comparison, design: Design) -> str:
    """Return why two arms cannot be tested."""
    fewest = min(len(comparison.first.values), len(comparison.second.values))
    if fewest == 0:
        return f"they share no {design.unit} that both finished"
    if fewest < MIN_RUNS:
        short = min(comparison.first, comparison.second, key=lambda arm: len(arm.values))
        count = len(short.values)
        what = design.unit if design.paired else "run"
        return f"{short.name} has {count} finished {what}{'s' if count > 1 else ''}; at least {MIN_RUNS} are needed"
    if design.paired and comparison.difference == 0:
        return f"they gave the same value in every {design.unit}"
    if design.paired:
        return f"the difference is the same in every {design.unit}, so its spread cannot be estimated"
    if comparison.difference == 0 and len({*comparison.first.values.values()}) == 1:
        return "every run gave the same value"
    if comparison.first.values == comparison.second.values:
        return f"they gave the same value in every {design.unit}"
    return f"every {design.unit} of an arm gave the same value, so the spread between runs cannot be estimated"


def _test_sentence(design: Design, arms: int, baseline: str | None) -> str:
    """Return the name of the test, its corrections and its measured error rate."""
    pairs = arms * (arms - 1) // 2
    kind = "the paired t test" if design.paired else "Welch's t test"
    if arms == 2:
        name, corrected = kind, "two arms are one comparison, which needs no correction"
    elif baseline is None:
        name = f"{kind} with Šidák's bound" if design.paired else "Games and Howell's test"
        corrected = f"the best arm was picked from these same runs, so p and ± are corrected for all {pairs} pairs"
    else:
        name = f"{kind} with {'Šidák' if design.paired else 'Dunnett'}'s bound"
        corrected = f"p and ± are corrected for the {arms - 1} comparisons with {baseline}"
    if design.paired:
        return (
            f"Test: {name} on the spread of each pair's differences {design.unit} by {design.unit} (the mean over its"
            f" seeds where there are several); the variance is corrected for the training images that {design.unit}s"
            f" share (Nadeau and Bengio: 1/n + {design.split_ratio:.2g} instead of 1/n); ± is the 95 % interval;"
            f" {corrected}. On simulated identical arms it reports a difference in about 5 % of studies at most, from 3"
            f" {design.unit}s on"
        )
    return (
        f"Test: {name} on each pair's own spread between {design.unit}s, as arms differ in noise; ± is the 95 %"
        f" interval; {corrected}. On recorded noise of identical arms it reports a difference in 3 to 6 % of studies,"
        " from 3 runs on"
    )


def _floor_sentence(accuracy: float, design: Design) -> str:
    """Return the noise floor in words; empty where the metric is no share of images."""
    if not design.share or not design.images or not 0 < accuracy < 1:
        return ""
    floor = 100 * noise_floor(accuracy, design.images)
    images = f"{design.images:,}".replace(",", " ")
    return (
        f"Noise floor: with {images} validation images at {accuracy:.0%} two single runs that are scored on different"
        f" images differ by up to {floor:.1f} points by chance (95 %). Here all arms are scored on the same images, so"
        " their difference varies less than that. But a lead below this may not hold on other images, and more seeds"
        " do not change that"
    )
