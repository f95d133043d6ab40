"""The share of runs of one arm that beat one of another, and the test that an arm is no worse. Imports no torch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, variance

from trainer.stats.amounts import counted_runs, p_text, plain
from trainer.stats.arms import Arm
from trainer.stats.corrections import LEVEL
from trainer.stats.design import Design
from trainer.stats.finding import Finding
from trainer.stats.trial import MIN_RUNS, Trial, trial

RANKS_FROM = 20  # runs of each arm, from which no normal distribution of the values is assumed


@dataclass(frozen=True)
class Share:
    """The share of pairs of runs in which the first arm is better, a tie counting half, with its 95 % interval."""

    share: float
    low: float
    high: float
    ranks: bool  # counted over all pairs, else by normal distributions


def superiority(first: Arm, second: Arm, sign: int = 1) -> Share | None:
    """Return how often a run of the first arm beats one of the second; None where it cannot be estimated."""
    one, other = ([sign * value for value in arm.values.values()] for arm in (first, second))
    if min(len(one), len(other)) < MIN_RUNS:
        return None
    if min(len(one), len(other)) >= RANKS_FROM and (found := _by_ranks(one, other)):
        return found
    return _by_normal(one, other)


def _by_normal(one: Sequence[float], other: Sequence[float]) -> Share | None:
    """Return Φ(z), z = d/√(s² + s²), with z ± t(2(n − 1)) · √(1/n + z²/(4(n − 1))); n of the smaller arm."""
    from scipy.special import ndtr, stdtrit

    spread = math.sqrt(variance(one) + variance(other))
    if spread < 1e-12 * max(1.0, abs(mean(one))):
        return None
    runs, z = min(len(one), len(other)), (mean(one) - mean(other)) / spread
    half = -float(stdtrit(2 * (runs - 1), LEVEL / 2)) * math.sqrt(1 / runs + z**2 / (4 * (runs - 1)))
    share, low, high = (float(ndtr(each)) for each in (z, z - half, z + half))
    return Share(share, low, high, ranks=False)


def _by_ranks(one: Sequence[float], other: Sequence[float]) -> Share | None:
    """Return the counted share with the interval of Brunner and Munzel (2000) on the scale of the logit.

    None if the arms do not overlap: the logit is infinite then.
    """
    from scipy.special import stdtrit

    # The share of the other arm's runs that each run beats.
    beats = [mean((value > rival) + (value == rival) / 2 for rival in other) for value in one]
    beaten = [mean((value > rival) + (value == rival) / 2 for value in one) for rival in other]
    share = mean(beats)
    shares = variance(beats) / len(one), variance(beaten) / len(other)
    if not 0 < share < 1 or sum(shares) == 0:
        return None
    df = sum(shares) ** 2 / sum(
        part**2 / (count - 1) for part, count in zip(shares, (len(one), len(other)), strict=True)
    )
    half = -float(stdtrit(df, LEVEL / 2)) * math.sqrt(sum(shares)) / (share * (1 - share))
    logit = math.log(share / (1 - share))
    low, high = (1 / (1 + math.exp(-(logit + side * half))) for side in (-1, 1))
    return Share(share, low, high, ranks=True)


def superiorities(pairs: Sequence[tuple[Arm, Arm]], design: Design) -> list[Finding]:
    """Return how often the first arm of each pair beats the second; each interval holds by itself."""
    return [_beats(*pair, superiority(*pair, design.sign), design) for pair in pairs]


def _beats(first: Arm, second: Arm, found: Share | None, design: Design) -> Finding:
    names = {"first": first.name, "second": second.name}
    if found is None:
        few = min(len(first.values), len(second.values)) < MIN_RUNS
        why = f"at least {MIN_RUNS} {design.unit}s an arm are needed" if few else "the runs of an arm do not differ"
        sentence = f"How often a run of {first.name} beats one of {second.name} cannot be told: {why}"
        return Finding("superiority", sentence, {**names, "share": None, "interval": None})
    sentence = (
        f"A run of {first.name} beats a run of {second.name} in {100 * found.share:.0f} % of pairs, 95 % interval"
        f" {100 * found.low:.0f} to {100 * found.high:.0f} % ({counted_runs(first, second, False, design)})"
    )
    figures = {**names, "share": found.share, "interval": [found.low, found.high], "ranks": found.ranks}
    return Finding("superiority", sentence, figures)


@dataclass(frozen=True)
class NotWorse:
    """A trial with the p value of "worse by the margin or more", corrected in steps (Holm), and its 95 % lower end.

    `worst`: by how much the first arm may be worse, seen alone; both None where nothing can be tested.
    """

    trial: Trial
    p: float | None = None
    worst: float | None = None


def not_worse(trials: Sequence[Trial], margin: float, sign: int = 1) -> list[NotWorse]:
    """Test that each first arm is worse than its second by less than the margin, corrected for all (Holm 1979)."""
    from scipy.special import stdtr, stdtrit

    tested = [(each, each.error) for each in trials if each.error is not None]
    alone = {id(each): float(stdtr(each.df, -(sign * each.difference + margin) / error)) for each, error in tested}
    found, p = {}, 0.0
    for place, (each, error) in enumerate(sorted(tested, key=lambda pair: alone[id(pair[0])])):
        p = min(1.0, max(p, (len(tested) - place) * alone[id(each)]))
        worst = -float(stdtrit(each.df, LEVEL)) * error - sign * each.difference
        found[id(each)] = NotWorse(each, p, worst)
    return [found.get(id(each), NotWorse(each)) for each in trials]


def no_losses(pairs: Sequence[tuple[Arm, Arm]], design: Design) -> list[Finding]:
    """Return whether the first arm of each pair is no worse than the second by more than the design's margin."""
    assert design.margin is not None
    judged = not_worse([trial(*pair, design.split_ratio) for pair in pairs], design.margin, design.sign)
    return [_no_worse(*pair, each, design.margin, design) for pair, each in zip(pairs, judged, strict=True)]


def _no_worse(first: Arm, second: Arm, found: NotWorse, margin: float, design: Design) -> Finding:
    names, by = f"{first.name} is no worse than {second.name}", f"by more than {plain(margin, design)}"
    figures = {"first": first.name, "second": second.name, "margin": margin, "worst": found.worst}
    if found.p is None or found.worst is None:
        few = found.trial.runs < MIN_RUNS
        why = f"at least {MIN_RUNS} {design.unit}s an arm are needed" if few else "their values do not vary"
        sentence = f"Whether {names} {by} cannot be told: {why}"
        return Finding("not_worse", sentence, {**figures, "p_corrected": None, "concluded": False})
    details = f"({counted_runs(first, second, found.trial.paired, design)}, {p_text(found.p)})"
    concluded = found.p < LEVEL
    figures |= {"p_corrected": found.p, "concluded": concluded}
    if concluded:
        return Finding("not_worse", f"{names} {by} {details}", figures)
    # An arm that would be told alone is left open by the correction for the others.
    most = f", by up to {plain(found.worst, design, up=True)}" if found.worst > margin else ""
    return Finding("not_worse", f"{first.name} may be worse than {second.name} {by}{most} {details}", figures)
