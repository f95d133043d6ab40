"""The share of runs of each arm that reached the study's target, and their time. Imports no torch."""

from collections.abc import Iterator

from trainer.stats.finding import Finding
from trainer.stats.target import QUESTION, reached_finding
from trainer.stats.times import LENGTH, REACHED
from trainer.stats.verdict import Verdict
from trainer.study.results import StudyArm, StudyResults


def time_to_target(results: StudyResults, judged: Verdict) -> Iterator[Finding]:
    """Yield for each comparison how many runs reached the target; nothing where another metric decides."""
    design, target = results.design, results.target
    if not design.time or target is None:
        return
    arms = {arm.name: arm for arm in results.arms}
    for each in judged.comparisons:
        first, second = arms[each.first.name], arms[each.second.name]
        epochs = max(outcome.epochs for arm in (first, second) for outcome in arm.outcomes)
        reached, runs = ([count(arm) for arm in (first, second)] for count in (_reached, _finished))
        yield reached_finding(each, reached, runs, target, epochs, design)
    lengths = {length for arm in results.arms for length in _lengths(arm)}
    missed = any(_reached(arm) < _finished(arm) for arm in results.arms)
    if len(lengths) > 1 and missed and judged.comparisons and design.time != "seconds":
        yield Finding(
            QUESTION,
            "Runs that never reached the target count with their whole length, and these lengths differ"
            f" ({min(lengths):g} to {max(lengths):g} {design.time}): an arm of longer runs looks slower than it is",
            {"lengths": sorted(lengths)},
        )
    if design.time == "seconds" and judged.comparisons:
        yield Finding(
            QUESTION,
            "Seconds depend on the machine and on what else it does: compare runs that were trained on one machine, one"
            " at a time",
        )


def _reached(arm: StudyArm) -> int:
    return sum(outcome.state == "finished" and outcome.figure(REACHED) == 1 for outcome in arm.outcomes)


def _finished(arm: StudyArm) -> int:
    """Return the number of runs, of which an arm of folds has several in one value."""
    return sum(outcome.state == "finished" for outcome in arm.outcomes)


def _lengths(arm: StudyArm) -> Iterator[float]:
    """Yield the whole length of each finished run of an arm."""
    for outcome in arm.outcomes:
        length = outcome.figure(LENGTH) if outcome.state == "finished" else None
        if length is not None:
            yield length
