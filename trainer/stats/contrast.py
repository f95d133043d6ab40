"""Sums and differences of the means of several arms: interactions and average effects. Imports no torch.

The standard error is that of the arms' own spreads, with the cautious degrees of freedom of `trial.py`; from
`PAIRED_FROM` seeds on, and for folds always, the same sum is made of each seed or fold, whose spread is taken.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import stdev

from trainer.stats.amounts import amount, p_text
from trainer.stats.arms import Arm
from trainer.stats.corrections import LEVEL, Bound
from trainer.stats.design import Design
from trainer.stats.finding import Finding
from trainer.stats.trial import MIN_RUNS, PAIRED_FROM, by_images

Weighted = tuple[float, Arm]


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of the means of arms. `error`: its standard error, None where it cannot be estimated.

    `runs`: values of each arm, the smallest number. `paired`: the spread is that of the sums seed by seed.
    """

    estimate: float
    runs: int
    error: float | None = None
    df: float = 0.0
    paired: bool = False


@dataclass(frozen=True)
class Judged:
    """A contrast with its p value and half of its 95 % interval, corrected for the others; None if not testable."""

    contrast: Contrast
    p: float | None = None
    half: float | None = None

    @property
    def concluded(self) -> bool:
        """True if the sum is told from zero."""
        return self.p is not None and self.p < LEVEL


def contrast(parts: Sequence[Weighted], split_ratio: float = 0.0) -> Contrast:
    """Return the sum of weight · mean. `split_ratio`: validation by training images of folds or splits, else 0."""
    if split_ratio:
        shared = [key for key in parts[0][1].values if all(key in arm.values for _, arm in parts)]
        parts = [(weight, by_images(Arm(arm.name, {key: arm.values[key] for key in shared}))) for weight, arm in parts]
    counts = [len(arm.values) for _, arm in parts]
    runs = min(counts)
    estimate = sum(weight * arm.mean for weight, arm in parts)
    same = all(arm.values.keys() == parts[0][1].values.keys() for _, arm in parts)
    paired = bool(split_ratio) or (same and runs >= PAIRED_FROM)
    untested = Contrast(estimate, runs, paired=paired)
    if runs < MIN_RUNS:
        return untested
    if paired:
        sums = [sum(weight * arm.values[key] for weight, arm in parts) for key in parts[0][1].values]
        # As in `trial.py`: folds share training images (Nadeau and Bengio 2003).
        error, df = stdev(sums) * math.sqrt(1 / runs + split_ratio), float(runs - 1)
    else:
        error, df = _own_spreads(parts, counts)
    if error < 1e-12 * max(1.0, abs(parts[0][1].mean)):
        return untested
    return Contrast(estimate, runs, error, df, paired)


def _own_spreads(parts: Sequence[Weighted], counts: Sequence[int]) -> tuple[float, float]:
    """Return the standard error and the degrees of freedom between n − 1 and Satterthwaite's, as `trial.py` does."""
    shares = [weight**2 * stdev(arm.values.values()) ** 2 / len(arm.values) for weight, arm in parts]
    least, total = min(counts) - 1, sum(shares)
    gamma = max(0.5, 1 - 2 / counts[0]) if len(set(counts)) == 1 else 0.0
    weight = sum(share**2 / (count - 1) for share, count in zip(shares, counts, strict=True))
    df = least + gamma * (total**2 / weight - least) if weight else float(least)
    return math.sqrt(total), math.floor(10 * df + 1e-9) / 10


def stepped(contrasts: Sequence[Contrast]) -> list[Judged]:
    """Return each contrast with p and interval corrected for all of them in steps (Holm 1979, Šidák 1967)."""
    tested = [each for each in contrasts if each.error]
    alone = {id(each): Bound(1, True).tail(each.estimate / (each.error or 1.0), each.df) for each in tested}
    found, p, failed = {}, 0.0, 0
    for place, each in enumerate(sorted(tested, key=lambda each: alone[id(each)])):
        # After the first that is not told, all that are left share its correction.
        bound = Bound(failed or len(tested) - place, True)
        p = max(p, bound.tail(each.estimate / (each.error or 1.0), each.df))
        failed = failed or (len(tested) - place if p >= LEVEL else 0)
        found[id(each)] = Judged(each, p, bound(each.df) * (each.error or 0.0))
    return [found.get(id(each), Judged(each)) for each in contrasts]


@dataclass(frozen=True)
class Square:
    """Two techniques, or two changes, and the four arms: with neither, with one of them, with both.

    `against`: what both are told against, such as "optimizer=sgd and dropout=0"; "" for techniques of an ablation.
    """

    first: str
    second: str
    neither: Arm
    only_first: Arm
    only_second: Arm
    both: Arm
    against: str = ""

    def contrast(self, split_ratio: float) -> Contrast:
        """Return both − first − second + neither: how much both give together beyond the sum of each."""
        parts = [(1.0, self.both), (-1.0, self.only_first), (-1.0, self.only_second), (1.0, self.neither)]
        return contrast(parts, split_ratio)


def interactions(squares: Sequence[Square], design: Design) -> list[Finding]:
    """Return whether two changes add up, for each square, corrected for all of them."""
    judged = stepped([square.contrast(design.split_ratio) for square in squares])
    return [
        _finding(
            "interaction",
            {"first": square.first, "second": square.second},
            each,
            _adds_up(square, each, design),
        )
        for square, each in zip(squares, judged, strict=True)
    ]


def _adds_up(square: Square, found: Judged, design: Design) -> str:
    names = f"{square.first} and {square.second}"
    against = f", against {square.against}" if square.against else ""
    if found.p is None or found.half is None:
        return f"{names}: whether they add up cannot be told, {_why(found.contrast, design)}"
    details = f"{_runs(found.contrast, design)}, {p_text(found.p)}{against}"
    if found.concluded:
        more = "more" if found.contrast.estimate > 0 else "less"
        shown = amount(abs(found.contrast.estimate), found.half, design)
        return f"{names} together give {shown} {more} than the sum of both ({details})"
    shown = _with_sign(found.contrast.estimate, found.half, design)
    return f"{names}: no conclusion on whether they add up (together {shown} against the sum of both, {details})"


def average_effects(effects: Sequence[tuple[str, Sequence[tuple[Arm, Arm]]]], design: Design) -> list[Finding]:
    """Return what each technique gains on average over arms that differ in nothing else, corrected for all of them.

    `effects`: of each technique its name, and its pairs of arms, (with, without).
    """
    sums = []
    for _, pairs in effects:
        weights = [(1 / len(pairs), one) for one, _ in pairs] + [(-1 / len(pairs), other) for _, other in pairs]
        sums.append(contrast(weights, design.split_ratio))
    return [
        _finding(
            "main_effect",
            {"technique": name, "pairs": len(pairs)},
            each,
            _gains(name, len(pairs), each, design),
        )
        for (name, pairs), each in zip(effects, stepped(sums), strict=True)
    ]


def _gains(name: str, pairs: int, found: Judged, design: Design) -> str:
    if found.p is None or found.half is None:
        return f"{name} on average: no conclusion, {_why(found.contrast, design)}"
    shown = _with_sign(found.contrast.estimate, found.half, design)
    details = f"over {pairs} pairs of arms ({_runs(found.contrast, design)}, {p_text(found.p)})"
    if not found.concluded:
        return f"{name} on average: no conclusion, {shown} {details}"
    verb = "helps" if found.contrast.estimate * design.sign > 0 else "hurts"
    return f"{name} on average: {shown} {details}, it {verb}"


def _finding(question: str, names: dict[str, object], found: Judged, sentence: str) -> Finding:
    estimate, half = found.contrast.estimate, found.half
    figures = {
        **names,
        "difference": estimate,
        "interval": None if half is None else [estimate - half, estimate + half],
        "p_corrected": found.p,
        "df": found.contrast.df if found.p is not None else None,
        "paired": found.contrast.paired,
        "concluded": found.concluded,
    }
    return Finding(question, sentence, figures)


def _with_sign(estimate: float, half: float, design: Design) -> str:
    return f"{'−' if estimate < 0 else '+'}{amount(abs(estimate), half, design)}"


def _runs(found: Contrast, design: Design) -> str:
    return f"{found.runs} {'paired ' if found.paired else ''}{design.unit}s an arm"


def _why(found: Contrast, design: Design) -> str:
    if found.runs < MIN_RUNS:
        return f"at least {MIN_RUNS} {design.unit}s an arm are needed"
    return f"as the {design.unit}s of an arm do not differ"
