"""The other metrics of a study's runs, which are told beside the one that decides, and not tested. Imports no torch."""

from collections.abc import Iterator
from statistics import mean

from trainer.records.metrics import shown_figure
from trainer.stats.arms import ranked
from trainer.stats.finding import Finding
from trainer.stats.times import LENGTH, REACHED
from trainer.study.results import StudyArm, StudyResults, is_finite

MOST_ARMS = 4  # in a sentence; its figures hold all


def also(results: StudyResults) -> Iterator[Finding]:
    """Yield the means of each metric that the runs measure beside the one that decides.

    Several tested metrics would share the 5 % of false alarms; so one decides, and the others are told as they are.
    """
    arms = [arm for arm in ranked(results.arms, results.design.sign) if arm.values]
    outcomes = [outcome for arm in arms for outcome in arm.outcomes if outcome.state == "finished"]
    names = dict.fromkeys(name for outcome in outcomes for name in outcome.further if name.startswith("validation_"))
    for name in names:
        if name in (results.design.metric, REACHED, LENGTH):
            continue
        means = {arm.name: value for arm in arms if (value := _mean(arm, name)) is not None}
        if means:
            told = [f"{shown_figure(name, value)} in {arm}" for arm, value in list(means.items())[:MOST_ARMS]]
            more = ", …" if len(means) > MOST_ARMS else ""
            sentence = f"Also (not tested): {name.replace('_', ' ')} {', '.join(told)}{more}"
            yield Finding("also", sentence, {"metric": name, "means": means})


def _mean(arm: StudyArm, name: str) -> float | None:
    """Return the mean of a metric over the arm's runs by the rule that scores them; None if one of them has none."""
    values = [outcome.value(name, arm.score) for outcome in arm.outcomes if outcome.state == "finished"]
    known = [value for value in values if value is not None and is_finite(value)]
    return mean(known) if known and len(known) == len(values) else None
