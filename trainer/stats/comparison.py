"""The comparison of two arms, and its sentence. Imports no torch."""

from dataclasses import dataclass, replace

from trainer.stats.amounts import amount, counted_runs, far_end, p_text, plain, signed
from trainer.stats.arms import Arm
from trainer.stats.corrections import LEVEL, Bound
from trainer.stats.design import Design
from trainer.stats.images import OtherImages
from trainer.stats.trial import MIN_RUNS


@dataclass(frozen=True)
class Comparison:
    """Two arms; `difference` (first minus second) and `half_width` (of the 95 % interval) are in the metric's unit.

    p and half_width hold for all comparisons of the study together; both are None where nothing can be tested.
    `needed`: runs per arm that would tell a difference of the design's margin in 4 of 5 studies, None without one.
    `t`, `df`: the statistic and its degrees of freedom, None where nothing can be tested. `paired`: tested on the
    differences within each seed or fold. `bound`: the bound on |t| by which it was judged. `images`: how certain the
    difference is on other images, None where it is not known which images each run classified correctly. `families`:
    the number of verdicts that share the level of p.
    """

    first: Arm
    second: Arm
    difference: float
    half_width: float | None = None
    p: float | None = None
    needed: int | None = None
    t: float | None = None
    df: float | None = None
    paired: bool = False
    bound: Bound | None = None
    images: OtherImages | None = None
    families: int = 1

    @property
    def image_half_width(self) -> float | None:
        """Half the 95 % interval for other seeds and other images, corrected as `half_width` is."""
        if self.images is None or self.bound is None or self.half_width is None:
            return None
        # With more degrees of freedom the bound is smaller; but what holds on other images also holds on these.
        return max(self.half_width, self.bound(self.images.df) * self.images.error)

    @property
    def level(self) -> float:
        """The level of p: 5 %, or that of the look at which the arms were tested."""
        return LEVEL if self.bound is None else self.bound.level * self.families

    def shared(self, families: int) -> "Comparison":
        """Return the comparison, judged at its share of the level, with a p for the whole level."""
        return self if self.p is None else replace(self, p=min(1.0, families * self.p), families=families)

    @property
    def single_p(self) -> float | None:
        """The p value of this comparison alone, without the correction for the others of the study."""
        return None if self.t is None or self.df is None else Bound(1, True).tail(self.t, self.df)

    @property
    def concluded(self) -> bool:
        """True if the difference is significant after the correction."""
        return self.p is not None and self.p < self.level

    def sentence(self, design: Design) -> str:
        """Return the result in words.

        "batch is better than none by 1.8 ± 0.4 points (6 seeds, cross-fitted, p = 0.03)".
        """
        return _sentence(self, design)


def _sentence(found: Comparison, design: Design) -> str:
    """Return the result in words: "batch is better than none by 1.8 ± 0.4 points (6 seeds, p = 0.03)"."""
    first, second = found.first.name, found.second.name
    counts = counted_runs(found.first, found.second, found.paired, design)
    techniques = design.effects.told(first, second) if design.effects else ""
    both = first if techniques else f"{first} against {second}"
    if 0 < max(len(found.first.values), len(found.second.values)) < MIN_RUNS:
        return f"{both}: {signed(found.difference, design)} at {counts}, no verdict"
    if found.p is None or found.half_width is None:
        return f"{both}: no conclusion, {_untestable(found, design)}"
    shown = amount(abs(found.difference) if found.concluded else found.difference, found.half_width, design)
    if techniques:  # a gain or a loss against the baseline
        sign = "−" if found.difference < 0 else "+"
        shown = f"{sign}{amount(abs(found.difference), found.half_width, design)}"
    p = p_text(found.p)
    if found.concluded:
        better = "better" if found.difference * design.sign > 0 else "worse"
        if techniques and design.effects:
            helps = (better == "better") == design.effects.added
            verb = ("help" if helps else "hurt") + "s" * (not techniques.endswith("together"))
            return f"{first}: {shown}, {techniques} {verb} ({counts}, {p}){_elsewhere(found, design)}"
        if design.share and abs(found.difference) + found.half_width > 1:  # more than all images
            least = plain(abs(found.difference) - found.half_width, design)
            shown = f"{plain(abs(found.difference), design)}, at least {least}"
        return f"{first} is {better} than {second} by {shown} ({counts}, {p}){_elsewhere(found, design)}"
    most = abs(found.difference) + found.half_width  # the end of the interval that is farther from zero
    if design.margin is not None and most <= design.margin:
        margin = plain(design.margin, design)
        return f"{first} and {second} are equal within the margin of {margin} ({shown}, {counts})"
    differ = f"it differs from {second}" if techniques else "they differ"
    sentence = f"{both}: no conclusion at {counts} ({shown}, {p}); if {differ}, then by at most"
    sentence = f"{sentence} {far_end(found.difference, found.half_width, design)}"
    if found.needed is None or design.margin is None:
        return sentence
    needed = f"{found.needed} {design.unit}s an arm"
    return f"{sentence}; {needed} would tell {plain(design.margin, design)} in 4 of 5 studies"


def _elsewhere(found: Comparison, design: Design) -> str:
    """Return how a concluded difference is on other images; "" where that is not known."""
    half = found.image_half_width
    if half is None:
        return ""
    shown = amount(abs(found.difference), half, design)
    if abs(found.difference) > half:
        return "; on other images like these, too" + (f" ({shown})" if half != found.half_width else "")
    return f"; on other images like these by {shown}: not certain"


def _untestable(found: Comparison, design: Design) -> str:
    """Return why two arms cannot be tested."""
    fewest = min(len(found.first.values), len(found.second.values))
    if fewest == 0:
        return f"they share no {design.unit} that both finished"
    if fewest < MIN_RUNS:
        short = min(found.first, found.second, key=lambda arm: len(arm.values))
        count = len(short.values)
        what = design.unit if design.paired else "run"
        return f"{short.name} has {count} finished {what}{'s' if count > 1 else ''}; at least {MIN_RUNS} are needed"
    if found.difference == 0 and len({*found.first.values.values()}) == 1 and not design.paired:
        return "every run gave the same value"
    if found.first.values == found.second.values:
        return f"they gave the same value in every {design.unit}"
    flat = all(len({*arm.values.values()}) == 1 for arm in (found.first, found.second))
    if flat and not design.paired:
        return f"every {design.unit} of an arm gave the same value, so the spread between runs cannot be estimated"
    return f"the difference is the same in every {design.unit}, so its spread cannot be estimated"
