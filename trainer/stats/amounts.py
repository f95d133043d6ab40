"""Differences, intervals, p values and numbers of runs in words. Imports no torch."""

import math

from trainer.stats.arms import Arm
from trainer.stats.design import Design
from trainer.stats.score_rule import label


def counted_runs(first: Arm, second: Arm, paired: bool, design: Design) -> str:
    """Return the number of runs in words, and how they are scored: "6 seeds, cross-fitted", "6 and 5 seeds"."""
    counts = len(first.values), len(second.values)
    numbers = f"{counts[0]}" if counts[0] == counts[1] else f"{counts[0]} and {counts[1]}"
    told = f"{numbers} {'paired ' if paired else ''}{design.unit}{'s' if counts != (1, 1) else ''}"
    return f"{told}, {label(design.score)}" if design.score else told


def p_text(p: float) -> str:
    """Return "p = 0.03", "p < 0.001" for a smaller one, "p > 0.99" for one that nothing speaks for."""
    if not 0.001 <= p <= 0.99:
        return "p < 0.001" if p < 0.001 else "p > 0.99"
    return f"p = {p:.2f}" if p >= 0.095 else f"p = {p:.2g}"


def amount(difference: float, half: float, design: Design) -> str:
    """Return "1.8 ± 0.4 points", to the interval's first digit, or its second behind a 1, and at least to a tenth."""
    shown, wide, decimals = _rounded(difference, half, design)
    return f"{shown:.{decimals}f} ± {wide:.{decimals}f} {_unit(design)}"


def far_end(difference: float, half: float, design: Design) -> str:
    """Return the end of the interval that is farther from zero, as the sum of what is shown of both."""
    shown, wide, decimals = _rounded(difference, half, design)
    return f"{abs(shown) + wide:.{decimals}f} {_unit(design)}"


def _rounded(difference: float, half: float, design: Design) -> tuple[float, float, int]:
    """Return a difference and half its interval as they are shown, and their decimals."""
    difference, half = (100 * difference, 100 * half) if design.share else (difference, half)
    decimals = max(1, math.ceil(-math.log10(half / 2)))
    if round(half, decimals) == round(abs(difference), decimals):
        decimals += 1  # the larger of the two decides, so they must not look equal
    return round(difference, decimals), round(half, decimals), decimals


def plain(value: float, design: Design, up: bool = False) -> str:
    """Return "1.6 points", to the first digit or the second behind a 1; `up`: rounded up."""
    value = 100 * value if design.share else value
    decimals = max(1, math.ceil(-math.log10(value / 2)))
    shown = math.ceil(value * 10**decimals - 1e-9) / 10**decimals if up else round(value, decimals)
    return f"{shown:.{decimals}f} {_unit(design)}"


def signed(difference: float, design: Design) -> str:
    """Return "+1.6 points", in as many digits as accuracies are shown with."""
    return f"{100 * difference:+.2f} points" if design.share else f"{difference:+.4f} {_unit(design)}"


def _unit(design: Design) -> str:
    if design.time:
        return design.time
    return "points" if design.share else f"in {design.metric.replace('_', ' ')}"
