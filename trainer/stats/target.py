"""The time until a run reaches an accuracy, as a metric of a study: its names and its sentences. Imports no torch."""

from collections.abc import Sequence

from trainer.stats.amounts import amount, p_text
from trainer.stats.comparison import Comparison
from trainer.stats.design import Design
from trainer.stats.finding import Finding
from trainer.stats.intervals import wilson

QUESTION = "time_to_target"


def reached_finding(
    each: Comparison, reached: Sequence[int], counts: Sequence[int], target: float, epochs: int, design: Design
) -> Finding:
    """Return how many runs of both arms reached the target, and how much sooner the first one did.

    `reached`: of the `counts` runs of each arm those that did; the others count with their whole length, of `epochs`.
    """
    first, second, what = each.first.name, each.second.name, design.time
    intervals = [wilson(some / count, count) for some, count in zip(reached, counts, strict=True)]
    shares = [
        f"{some} of {count} runs ({100 * low:.0f} to {100 * high:.0f} %)"
        for some, count, (low, high) in zip(reached, counts, intervals, strict=True)
    ]
    told = f"{first} reached {100 * target:g} % in {shares[0]}, {second} in {shares[1]}"
    if each.p is None or each.half_width is None:
        told += f"; no verdict on their {what}"
    elif each.concluded:
        more = "less" if each.difference < 0 else "more"
        shown = amount(abs(each.difference), each.half_width, design)
        told += f"; up to epoch {epochs} {first} needed {shown} {more} ({p_text(each.p)})"
    else:
        told += f"; no conclusion on the {what} up to epoch {epochs} ({p_text(each.p)})"
    figures = {
        "first": first,
        "second": second,
        "target": target,
        "reached": list(reached),
        "runs": list(counts),
        "intervals": [list(interval) for interval in intervals],
        "epochs": epochs,
        "difference": each.difference,
        "p_corrected": each.p,
        "concluded": each.concluded,
    }
    return Finding(QUESTION, told, figures)
