"""The sentences of a verdict on its test, its images and too few runs. Imports no torch."""

from collections.abc import Sequence

from trainer.stats.comparison import Comparison
from trainer.stats.design import Design
from trainer.stats.trial import MIN_RUNS, PAIRED_FROM


def too_few(most: int, design: Design) -> str:
    """Return the sentence of a study in which no arm has enough runs."""
    begin = "Single runs: nothing can be concluded" if most == 1 else f"No conclusion at {most} {design.unit}s"
    add = f": {design.more}" if design.more else ": add seed=0,1,2" if design.unit == "seed" else ""
    return f"{begin}; at least {MIN_RUNS} {design.unit}s an arm are needed{add}"


def test_sentence(
    comparisons: Sequence[Comparison], design: Design, arms: int, baseline: str | None, picked: bool = False
) -> str:
    """Return the name of the test, its corrections and its measured error rate."""
    pairs = arms * (arms - 1) // 2
    paired = [each.paired for each in comparisons if each.p is not None]
    if arms == 2:
        corrected = ""
    elif baseline is None or picked:
        bound = "Šidák" if all(paired) else "Dunnett's T3" if not any(paired) else "Dunnett's T3 or Šidák"
        why = "the best arm was picked from these runs"
        if picked:
            why = f"{baseline} was named after the runs (sweep.baseline names an arm before them)"
        corrected = f"; as {why}, p and ± are corrected for all {pairs} pairs in steps ({bound})"
    else:
        corrected = f"; p and ± are corrected for the {arms - 1} comparisons with {baseline} in steps (Holm and Šidák)"
    if design.paired:
        kind = (
            f"the paired t test, {design.unit} by {design.unit} (the mean over its seeds where there are several), with"
            f" the variance corrected for shared training images (Nadeau and Bengio: 1/n + {design.split_ratio:.2g}"
            " instead of 1/n)"
        )
    elif all(paired):
        kind = f"the paired t test, seed by seed, as from {PAIRED_FROM} seeds on"
    else:
        kind = "Welch's t test, as arms differ in noise"
        kind += f", or the paired one where both have {PAIRED_FROM} seeds" if any(paired) else ""
    return (
        f"Test: {kind}{corrected}; ± is the 95 % interval. If all arms were equal, at most about 5 of 100 such studies"
        " would report a difference"
    )


def images_sentence(images: int) -> str:
    """Return how the figures for other images are meant."""
    shown = f"{images:,}".replace(",", " ")
    return (
        f"Other images: the {shown} validation images are a sample of all images of this kind; on others a difference"
        " varies more, and more seeds do not change that"
    )
