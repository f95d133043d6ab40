"""The method of a verdict as a paragraph for a paper, with the sources of its tests. Imports no torch."""

from collections.abc import Sequence

from trainer.stats.arms import Arm
from trainer.stats.design import Design
from trainer.stats.score_rule import how
from trainer.stats.sequential import levels
from trainer.stats.verdict import Verdict

SMALL = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def method_text(judged: Verdict, arms: Sequence[Arm]) -> str:
    """Return how the arms of a verdict were compared; "" where nothing was tested."""
    tested = [each for each in judged.comparisons if each.p is not None]
    with_values = [arm for arm in arms if arm.values]
    if not tested:
        return ""
    design = judged.design
    counts = sorted({len(arm.values) for arm in with_values})
    runs = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    repeats = {"seed": "random seeds", "fold": "folds", "split": "random splits"}.get(design.unit, f"{design.unit}s")
    sentences = [
        f"We compared {_number(len(with_values))} configurations, each trained with {runs} {repeats}",
        f"Each run is scored by its {design.metric.replace('_', ' ')}{how(design.score)}",
        "The test images were not used",
        f"Differences between mean scores were tested two-sided with {_test([each.paired for each in tested], design)}",
    ]
    sentences[1:1] = _tuning(judged)
    if len(with_values) > 2:
        sentences.append(_correction(judged, len(with_values)))
    if judged.looked:
        sentences += _looks(judged)
    else:
        sentences.append("Differences are given with 95 % confidence intervals")
    if judged.images:
        sentences.append(
            "Intervals for other images add the variance of the differences between validation images, without the"
            " part that the seeds explain"
        )
    return ". ".join(sentences) + "."


def _tuning(judged: Verdict) -> list[str]:
    """Return how each arm was tuned before; nothing where none was."""
    tuned = next((each.figures for each in judged.findings if each.question == "tuning"), None)
    if tuned is None:
        return []
    points = f"{_number(tuned['trials'])} settings" if tuned["trials"] != 1 else "one setting"
    return [
        f"Before, each of them was tried at {points} of {' and '.join(tuned['tuned'])} with other seeds, and the best"
        " of these was kept"
    ]


def _looks(judged: Verdict) -> list[str]:
    """Return how seeds were added until the arms were told apart, and how that is paid for."""
    planned = next((each.figures["planned"] for each in judged.findings if each.question == "looks"), ())
    counts = [str(count) for count in planned]
    shown = " and ".join(part for part in (", ".join(counts[:-1]), *counts[-1:]) if part)
    used = ", ".join(f"{level:.2g}" for level in levels(tuple(planned), judged.planned))
    return [
        f"Seeds were added until the configurations were told apart, to at most {counts[-1]}: they were compared at"
        f" {shown} seeds, and those told apart got no more. The levels of these looks, {used}, are those of a spending"
        " function (Lan and DeMets, 1983), so that all of them together err in at most 5 % of studies",
        "Each interval has the level of its look",
    ]


def _number(count: int) -> str:
    return SMALL[count] if count < len(SMALL) else str(count)


def _test(paired: Sequence[bool], design: Design) -> str:
    if design.paired:
        return (
            f"the paired t test over {design.unit}s, with the variance corrected for training sets that overlap (Nadeau"
            " and Bengio, 2003)"
        )
    welch = (
        "Welch's t test, with n − 1 + γ(ν − n + 1) degrees of freedom, where ν is Welch's number, n the number of seeds"
        " and γ = max(1/2, 1 − 2/n)"
    )
    if all(paired):
        return "the paired t test on the differences within each seed"
    return f"{welch}, or the paired t test where both have eight seeds or more" if any(paired) else welch


def _correction(judged: Verdict, arms: int) -> str:
    pairs = arms * (arms - 1) // 2
    paired = all(each.paired for each in judged.comparisons if each.p is not None)
    if judged.planned:
        return (
            f"All were compared with {judged.reference}, which was named before the first run; p values and intervals"
            f" are corrected for {arms - 1} comparisons (Holm, 1979; Šidák, 1967)"
        )
    bound = "Šidák, 1967" if paired else "studentized maximum modulus: Dunnett's T3, 1980"
    who = judged.baseline or "the best one"
    return (
        f"All were compared with {who}; p values and intervals are corrected for all {pairs} pairs ({bound}), step by"
        " step from the clearest difference on (Holm, 1979)"
    )
