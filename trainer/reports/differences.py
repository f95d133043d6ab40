"""The difference of each arm to a reference: the numbers of a report's forest plot. Imports no torch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trainer.reports.content import Content
from trainer.stats.arms import Arm
from trainer.stats.comparison import Comparison

MARGIN = 4.0  # percent of the figure's width, left free at both ends
NARROW = 120  # pixels: the width of the figure on the smallest phones
LETTER = 8  # pixels: the width of a letter below its axis


@dataclass(frozen=True)
class Difference:
    """An arm's mean minus that of the reference, in points where the metric is a share.

    `half` is half the 95 % interval; it and `p` are None where nothing can be tested, as with one seed.
    """

    name: str
    value: float
    half: float | None = None
    p: float | None = None
    concluded: bool = False

    @property
    def text(self) -> str:
        """The difference with its interval: "−3.1 ± 2.4"."""
        if self.half is None:
            return _signed(self.value, 2)
        decimals = max(1, math.ceil(-math.log10(self.half / 2))) if self.half > 0 else 2
        if round(self.half, decimals) == round(abs(self.value), decimals):
            decimals += 1  # the larger of the two decides, so they must not look equal
        return f"{_signed(self.value, decimals)} ± {self.half:.{decimals}f}"

    @property
    def p_text(self) -> str:
        """The corrected p-value as the verdict writes it."""
        return "—" if self.p is None else "< 0.001" if self.p < 0.001 else f"{self.p:.2g}"


def reference_of(content: Content) -> Arm | None:
    """Return the arm that the others are measured against: the baseline, or the best one; None without values.

    Several blocks have none: each has its own.
    """
    with_values = [arm for arm in content.arms if arm.values]
    if content.kind != "study" or len(with_values) < 2 or content.blocks:
        return None
    return next((arm for arm in with_values if arm.name == content.baseline), with_values[0])


def differences(content: Content) -> list[Difference]:
    """Return the difference of every other arm with values, in the order of the arms; of pairs, that of the pairs."""
    reference = reference_of(content)
    if reference is None:
        return []
    tested = dict[str, tuple[Comparison, int]]()
    for each in content.judged.with_reference if content.judged else ():
        first, second = each.first.name, each.second.name
        # The verdict's subject comes first: it is the best arm, or the one measured against the baseline.
        name, sign = (second, -1) if first == reference.name else (first, 1)
        tested[name] = (each, sign)
    unit = 100 if content.share else 1
    found = []
    for arm in content.arms:
        if arm.name == reference.name or not arm.values:
            continue
        each, sign = tested.get(arm.name, (Comparison(arm, reference, arm.mean - reference.mean), 1))
        half = None if each.half_width is None else unit * each.half_width
        if not math.isnan(each.difference):  # of pairs that share no fold
            found.append(Difference(arm.name, unit * sign * each.difference, half, each.p, each.concluded))
    return found


def forest(content: Content, most: int) -> dict[str, Any] | None:
    """Return places in percent of the width for the differences of the first `most` arms; None without any.

    `rows`: (difference, place, low, high); `ticks`: (place, label, whether the label also
    fits into a narrow figure); `zero`: the place of no difference.
    """
    every = differences(content)
    reference = reference_of(content)
    if not every or reference is None:
        return None
    if content.search and not content.baseline and all(each.half is None for each in every):
        return None  # the points of a search as such are in the figure of all runs
    shown = every[:most]
    ends = [0.0, *(each.value + sign * (each.half or 0.0) for each in shown for sign in (-1, 1))]
    low, high = min(ends), max(ends)
    width = high - low or 1.0

    def place(value: float) -> float:
        return round(MARGIN + (100 - 2 * MARGIN) * (value - low) / width, 2)

    return {
        "reference": reference.name,
        "unit": "points" if content.share else content.metric.replace("_", " "),
        "lower": content.sign < 0,
        "left_out": len(every) - len(shown),
        "untested": [each.name for each in shown if each.half is None],
        "zero": place(0.0),
        "ticks": [(place(value), label, fits) for value, label, fits in ticks(low, high)],
        "rows": [
            (each, place(each.value), place(each.value - (each.half or 0.0)), place(each.value + (each.half or 0.0)))
            for each in shown
        ],
    }


def ticks(low: float, high: float) -> Sequence[tuple[float, str, bool]]:
    """Return three to six round values between the ends, their labels, and which of these fit into a narrow figure."""
    width = high - low
    if not 0 < width < math.inf:
        return [(0.0, "0", True)]
    power = 10.0 ** math.floor(math.log10(width / 3))
    step = next(power * factor for factor in (5, 2, 1) if width / (power * factor) >= 2)
    decimals = max(0, -math.floor(math.log10(step)))
    numbers = range(math.ceil(low / step), math.floor(high / step) + 1)
    labels = [_signed(number * step, decimals) for number in numbers]
    free = (1 - 2 * MARGIN / 100) * NARROW * step / width  # pixels from one value to the next
    every = math.ceil(LETTER * (max(map(len, labels)) + 0.5) / free)
    return [(number * step, label, number % every == 0) for number, label in zip(numbers, labels, strict=True)]


def _signed(value: float, decimals: int) -> str:
    text = f"{value:+.{decimals}f}"
    if float(text) == 0:
        return text[1:]
    return text.replace("-", "−")
