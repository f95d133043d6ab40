"""Which arm is better, by how much, and whether the runs can tell: values in, sentences out. Imports no torch.

Each pair of arms is tested on its own spread (Welch 1947), with the bounds of Tukey's range test against the best arm
(Games and Howell 1976) and of Dunnett's against a named one (Dunnett 1955). `scripts/verdict_calibration.py` shows why:
identical arms with three or more seeds are told apart in 3 to 6 % of studies. A variance pooled over all arms does as
well until one of them is four times as noisy as the others, then it errs in up to 20 %; a permutation of signs cannot
conclude before six seeds. The best arm is picked from the values that are then tested, so all pairs are corrected for.

Seeds are not taken as pairs: runs of one seed are alike in similar arms only (correlations of 0.1 to 0.6 were
recorded), and what that would gain there, the halved degrees of freedom lose elsewhere. Folds and splits are: they
differ by more than arms do. But they share training images, so that their differences are alike: the variance of the
mean is not 1/n of theirs but 1/n + validation images / training images (Nadeau and Bengio 2003, Bouckaert and Frank
2004). Seeds of one fold share all its images: their mean is the one value of that fold.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from trainer.stats.corrections import LEVEL, Bound, noise_floor

MIN_RUNS = 3  # runs an arm: the spread of two is one number, and often 0 where accuracies go in steps of an image
MAX_SEEDS = 100  # seeds: what needs more is said to need more
TABULATED_DF = (
    20,
    24,
    30,
    40,
    60,
    120,
    1000,
)  # degrees of freedom; as in printed tables, those between take the row before


@dataclass(frozen=True)
class Arm:
    """What is compared: `values` holds the metric of each run that finished, by replicate.

    "0", "1": the seeds; where images differ, too, the fold or split and then the seed: "3/0", "3/1".
    """

    name: str
    values: Mapping[str, float]

    @property
    def mean(self) -> float:
        return mean(self.values.values())

    @property
    def deviation(self) -> float | None:
        """Standard deviation between runs; None for a single one."""
        return stdev(self.values.values()) if len(self.values) > 1 else None


@dataclass(frozen=True)
class Design:
    """How the values are meant. `images`: those validated on; `unit`: what repeats an arm (seed, fold, split).

    split_ratio: where the units are scored on different images, validation images by training images, else 0.
    """

    metric: str = "validation_accuracy"
    sign: int = 1  # -1: lower is better
    unit: str = "seed"
    split_ratio: float = 0.0
    images: int = 0  # 0: not known

    @property
    def paired(self) -> bool:
        """Whether each fold or split is compared with itself only."""
        return self.split_ratio > 0

    @property
    def share(self) -> bool:
        """Whether the metric is a share of images, told in points of a hundred."""
        return self.metric.endswith("accuracy")


@dataclass(frozen=True)
class Comparison:
    """Two arms. `difference` (first minus second) and `half` (half the 95 % interval) are in the metric's own unit.

    p and the interval hold for all comparisons of the study together; both are None where nothing can be tested.
    `needed`: runs an arm from which on a difference of this size is told apart, None: more than `MAX_SEEDS`.
    """

    first: Arm
    second: Arm
    difference: float
    half_width: float | None = None
    p: float | None = None
    needed: int | None = None

    @property
    def concluded(self) -> bool:
        return self.p is not None and self.p < LEVEL

    def sentence(self, design: Design) -> str:
        """ "batch is better than none by 1.8 ± 0.4 points (6 seeds, p = 0.03)"."""
        names, counts = (self.first.name, self.second.name), _counts(self, design)
        if self.p is None or self.half_width is None:
            return f"{names[0]} against {names[1]}: no conclusion, {_untestable(self, design)}"
        amount = _amount(abs(self.difference) if self.concluded else self.difference, self.half_width, design)
        p = "p < 0.001" if self.p < 0.001 else f"p = {self.p:.2g}"
        if self.concluded:
            better = "better" if self.difference * design.sign > 0 else "worse"
            return f"{names[0]} is {better} than {names[1]} by {amount} ({counts}, {p})"
        told = f"{names[0]} against {names[1]}: no conclusion at {counts} ({amount}, {p})"
        if design.unit == "fold":
            return told  # more folds are other folds: smaller ones, whose training images are more alike
        needs = f"at least {self.needed} are" if self.needed else f"more than {MAX_SEEDS} are"
        return f"{told}; {needs} needed to tell a difference of this size"


@dataclass(frozen=True)
class Verdict:
    """The comparisons, the first of them with the closest rival, and in words what they rest on."""

    design: Design
    comparisons: tuple[Comparison, ...]
    lone: tuple[str, ...] = ()  # what is said where there is nothing to compare
    test: str = ""
    floor: str = ""

    def lines(self) -> list[str]:
        sentences = [comparison.sentence(self.design) for comparison in self.comparisons]
        return [line for line in (*self.lone, *sentences, self.test, self.floor) if line]


def judge(arms: Sequence[Arm], design: Design, baseline: str | None = None) -> Verdict:
    """Every other arm against the best one, or against the arm named `baseline`, which must be among those with values.

    Arms without values are passed over. Raises StopIteration if there is no such baseline.
    """
    ranked = sorted((arm for arm in arms if arm.values), key=lambda arm: -design.sign * arm.mean)
    if not ranked:
        return Verdict(design, (), ("No run has finished: there is nothing to compare",))
    floor = _floor_sentence(ranked[0].mean, design)
    if len(ranked) == 1:
        alone = f"Only one arm has finished runs, {ranked[0].name}: nothing to compare"
        if len(arms) == 1:
            alone = "One configuration is nothing to compare: give a setting several values, as in optimizer=sgd,adam"
        return Verdict(design, (), (alone,), "", floor)
    reference = ranked[0] if baseline is None else next(arm for arm in ranked if arm.name == baseline)
    others = [arm for arm in ranked if arm is not reference]
    most = max(len(_by_images(arm).values if design.paired else arm.values) for arm in ranked)
    if most < MIN_RUNS:
        begin = "Single runs: nothing can be concluded" if most == 1 else f"No conclusion at {most} {design.unit}s"
        advice = f"at least {MIN_RUNS} {design.unit}s an arm are needed"
        example = ": add seed=0,1,2" if design.unit == "seed" else ""
        return Verdict(design, (), (f"{begin}; {advice}{example}",), "", floor)
    pairs = [(reference, arm) if baseline is None else (arm, reference) for arm in others]
    bound = Bound(len(ranked), baseline is not None, design.paired)
    comparisons = tuple(
        _compare(*(_shared(*pair) if design.paired else pair), design.split_ratio, bound) for pair in pairs
    )
    tested = any(comparison.p is not None for comparison in comparisons)
    return Verdict(design, comparisons, (), _test_sentence(design, len(ranked), baseline) if tested else "", floor)


def _compare(first: Arm, second: Arm, split_ratio: float, bound: Bound) -> Comparison:
    if not first.values or not second.values:
        return Comparison(first, second, math.nan)
    difference, fewest = first.mean - second.mean, min(len(first.values), len(second.values))
    if fewest < MIN_RUNS:
        return Comparison(first, second, difference)
    if split_ratio:
        spread = stdev(value - second.values[key] for key, value in first.values.items())
        error = spread * math.sqrt(1 / fewest + split_ratio)
        df = float(fewest - 1)
    else:
        parts = [stdev(arm.values.values()) ** 2 / len(arm.values) for arm in (first, second)]
        error = math.sqrt(sum(parts))
        weights = [part**2 / (len(arm.values) - 1) for part, arm in zip(parts, (first, second), strict=True)]
        df = sum(parts) ** 2 / sum(weights) if any(weights) else float(fewest - 1)
    if error < 1e-12 * max(1.0, abs(first.mean)):  # what rounding leaves of equal values
        return Comparison(first, second, difference)
    df = math.floor(10 * df) / 10  # so that studies share the tables' entries
    p = bound.tail(abs(difference) / error, df)

    def tells(runs: int) -> bool:
        then = df * (runs - 1) / (fewest - 1)
        row = max((row for row in TABULATED_DF if row <= then), default=float(math.floor(then)))
        smaller = math.sqrt((1 / runs + split_ratio) / (1 / fewest + split_ratio))
        return bound(row) * error * smaller <= abs(difference)

    needed = None if p < LEVEL else _first(tells, fewest + 1, MAX_SEEDS)
    return Comparison(first, second, difference, bound(df) * error, p, needed)


def _first(holds: Callable[[int], bool], low: int, high: int) -> int | None:
    """The smallest number in [low, high] for which it holds, if from there on it always does."""
    if low > high or not holds(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def _shared(first: Arm, second: Arm) -> tuple[Arm, Arm]:
    """Both with the replicates alone that both of them finished, a value for each fold or split."""
    keys = [key for key in first.values if key in second.values]
    both = (Arm(arm.name, {key: arm.values[key] for key in keys}) for arm in (first, second))
    return _by_images(next(both)), _by_images(next(both))


def _by_images(arm: Arm) -> Arm:
    """Of each fold or split the mean over its seeds."""
    found: dict[str, list[float]] = {}
    for key, value in arm.values.items():
        found.setdefault(key.partition("/")[0], []).append(value)
    return Arm(arm.name, {images: mean(values) for images, values in found.items()})


def _counts(comparison: Comparison, design: Design) -> str:
    """ "6 seeds", "6 and 5 seeds"."""
    first, second = len(comparison.first.values), len(comparison.second.values)
    counts = f"{first}" if first == second else f"{first} and {second}"
    return f"{counts} {'paired ' if design.paired else ''}{design.unit}{'s' if (first, second) != (1, 1) else ''}"


def _amount(difference: float, half: float, design: Design) -> str:
    """ "1.8 ± 0.4 points": to the interval's first digit, or the second behind a 1; of points at least to a tenth."""
    difference, half = (100 * difference, 100 * half) if design.share else (difference, half)
    decimals = max(1, math.ceil(-math.log10(half / 2)))
    if round(half, decimals) == round(abs(difference), decimals):
        decimals += 1  # which of the two is larger decides
    told = f"{difference:.{decimals}f} ± {half:.{decimals}f}"
    return f"{told} points" if design.share else f"{told} in {design.metric.replace('_', ' ')}"


def _untestable(comparison: Comparison, design: Design) -> str:
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
        return f"they differ by the same in every {design.unit}, so what that varies by is not known"
    if comparison.difference == 0:
        return "every run gave the same value"
    return f"every {design.unit} of an arm gave the same value, so what runs differ by is not known"


def _test_sentence(design: Design, arms: int, baseline: str | None) -> str:
    pairs = arms * (arms - 1) // 2
    kind = "the paired t test" if design.paired else "Welch's t test"
    if arms == 2:
        name, corrected = kind, "with two arms there is no more to correct for"
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
        " from 3 runs on; a permutation of signs needs at least 6"
    )


def _floor_sentence(accuracy: float, design: Design) -> str:
    if not design.share or not design.images or not 0 < accuracy < 1:
        return ""
    floor = 100 * noise_floor(accuracy, design.images)
    images = f"{design.images:,}".replace(",", " ")
    return (
        f"Noise floor: with {images} validation images at {accuracy:.0%} two single runs, each scored on images of its"
        f" own, must differ by {floor:.1f} points. Here all arms see the same images, which makes it less; but a lead"
        " below this may not hold on other images, and more seeds do not change that"
    )
