"""The answers about the trials behind a comparison: to what arms were tuned, and how much that depends on luck."""

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from trainer.config.schema import GROUPS
from trainer.config.settings import is_of_kind, kinds_of
from trainer.config.shell import command
from trainer.records.metrics import shown_figure
from trainer.runtime.text import counted
from trainer.stats.arms import ranked
from trainer.stats.budget import best_so_far, budgets, expected_best, luck_of_best
from trainer.stats.design import Design
from trainer.stats.finding import Finding
from trainer.study.axes import ARM, Axis, on_border
from trainer.study.fair_budget import unequal, with_equal_budgets
from trainer.study.results import Searched, StudyArm, StudyResults

CONFIRMED = 5  # points of a search that are advised to be trained again
NEAR = 0.01  # of a share: one point; of other metrics this part of the best value


def trial_findings(results: StudyResults) -> Iterator[Finding]:
    """Yield the answers about the trials of a study, none where it had none."""
    found = results.searched
    if found is None:
        return
    if found.tuned:
        for name, trials in found.trials.items():
            yield from _tuned(name, trials, found, results.design)
    else:
        yield from _unequal(found)
    if found.stages == 1:  # those of later stages were drawn where the earlier ones were good
        yield from _by_budget(found, results.design)
    if not found.tuned:
        yield from _flattery(results, found)


def _tuned(name: str, trials: Sequence[StudyArm], found: Searched, design: Design) -> Iterator[Finding]:
    """Yield to what an arm was tuned, how exactly it has to be, and whether a better value may lie beyond the range."""
    complete = ranked(_complete(trials), design.sign)
    failed = len(trials) - len(complete)
    if not complete:
        sentence = f"{name}: none of its {counted(len(trials), 'trial')} has finished, so that it is not compared"
        figures = {"arm": name, "tuned": [axis.key for axis in found.axes], "trials": len(trials), "failed": failed}
        yield Finding("tuning", sentence, figures)
        return
    best, keys = complete[0], [axis.key for axis in found.axes]
    near = [trial for trial in complete if design.sign * (best.mean - trial.mean) <= _near(best.mean, design)]
    ranges = {axis.key: _range(axis, near) for axis in found.axes}
    point = {key: best.point[key] for key in keys}
    lost = f" ({failed} did not finish)" if failed else ""
    within = "1 point" if design.share else f"{NEAR:.0%}"
    words = " and ".join(f"{key} {text}" for key, text in ranges.items())
    close = f"no other trial comes within {within} of this"
    if len(near) > 1:
        close = f"{len(near)} of them are within {within} of this, with {words}"
    value = shown_figure(design.metric, best.mean)
    sentence = (
        f"{name} was tuned to {_words(point)} ({value}), the best of {counted(len(trials), 'trial')}{lost}; {close}"
    )
    tried = [{**{key: trial.point[key] for key in keys}, "value": trial.mean if trial in complete else None}
             for trial in trials]  # fmt: skip
    yield Finding("tuning", sentence, {
        "arm": name, "tuned": keys, "best": point, "value": best.mean, "trials": len(trials), "failed": failed,
        "near_best": ranges, "near": len(near), "points": tried,
        "scales": {axis.key: "log" if axis.log else "linear" for axis in found.axes if not axis.texts},
    })  # fmt: skip
    yield from _borders(name, point, found)


def _borders(name: str, point: dict[str, str], found: Searched) -> Iterator[Finding]:
    """Yield each setting whose best value lies at the end of its range, with the range to try."""
    for axis in found.axes:
        border = on_border(axis, {axis.key: f"{axis.key}={point[axis.key]}"})
        if border is None:
            continue
        suggested, end = border.suggested, "upper" if border.upper else "lower"
        advice = f". Try {shlex.quote(f'tune.{suggested.described()}')}" if _accepted(suggested) else ""
        sentence = (
            f"The best {axis.key} of {name}, {border.value:g}, lies at the {end} end of what was tried"
            f" ({axis.described()}): a better one may lie beyond{advice}"
        )
        yield Finding("border", sentence, {"arm": name, "setting": axis.key, "value": border.value, "end": end})


def _by_budget(found: Searched, design: Design) -> Iterator[Finding]:
    """Yield the best value after 1, 3, 10, … trials of each arm: how much the comparison owes to its budget."""
    drawn = found.method == "random"
    told, figures = list[str](), dict[str, Any]()
    worst = min((design.sign * trial.mean for each in found.trials.values() for trial in _complete(each)), default=None)
    if worst is None:
        return
    for name, trials in found.trials.items():
        complete = set(map(id, _complete(trials)))
        # A trial without a value is as bad as the worst that has one.
        values = [trial.mean if id(trial) in complete else design.sign * worst for trial in trials]
        counts = budgets(len(values))
        best = expected_best if drawn else best_so_far
        figures[name] = {str(count): best(values, count, design.sign) for count in counts}
        shown = ", ".join(shown_figure(design.metric, value) for value in figures[name].values())
        told.append(f"{name} {shown}".strip())
    numbers = ", ".join(map(str, counts))
    how = "would have found on average" if drawn else "had found"
    if len(counts) > 1:
        sentence = f"By budget: {numbers} trials {how}, as their best: {'; '.join(told)}"
        yield Finding("by_budget", sentence, {"order": "any" if drawn else "as tried", "best": figures})


def _unequal(found: Searched) -> Iterator[Finding]:
    """Yield the numbers of trials of the options of a searched group, where they differ."""
    trials = found.trials.get("", ())
    for axis in found.axes:
        if axis.texts and (axis.key in GROUPS or axis.key == ARM):
            count = Counter({text if axis.key == ARM else text.partition("=")[2]: 0 for text in axis.texts})
            count.update(trial.point[axis.key] for trial in trials)
            if sentence := unequal(count):
                fair = with_equal_budgets(found.command, found.axes, axis, found.method, len(trials))
                yield Finding("tuning_budget", f"{sentence}. Equal budgets: {command('-m', *fair)}", {"trials": count})


def _flattery(results: StudyResults, found: Searched) -> Iterator[Finding]:
    """Yield how much too good the best of many trials looks: as measured by the runs that confirm it, or by theory."""
    design = results.design
    complete = ranked(_complete(found.trials.get("", ())), design.sign)
    if len(complete) < 2:
        return
    best, figures = complete[0], {"trials": len(complete), "best": complete[0].mean}
    if found.later:
        again = next((arm for arm in results.arms if arm.named == best.named and arm.values), None)
        if again is not None:
            lower = design.sign * (best.mean - again.mean)
            much = shown_figure(design.metric, abs(lower)).replace("%", " points")
            seeds = counted(len(again.values), "fresh seed")
            better = "worse" if lower > 0 else "better"
            sentence = (
                f"The best of {len(complete)} trials had {shown_figure(design.metric, best.mean)}; trained again with"
                f" {seeds} it has {shown_figure(design.metric, again.mean)}, {much} {better}. Only runs with fresh"
                " seeds are compared"
            )
            yield Finding("confirmation", sentence, {**figures, "again": again.mean})
        return
    if max(len(trial.values) for trial in complete) == 1:
        luck, few = luck_of_best(len(complete)), min(CONFIRMED, len(complete))
        sentence = (
            f"The best of {len(complete)} single trials looks better than it is, on average by about {luck:.1f} times"
            f" the standard deviation between seeds: sweep.confirm={few} trains the best {few} again with fresh"
            " seeds"
        )
        yield Finding("winners_curse", sentence, {**figures, "deviations": luck})


def _complete(trials: Sequence[StudyArm]) -> list[StudyArm]:
    """Return the trials of which every run has a value."""
    return [trial for trial in trials if trial.values and len(trial.values) == len(trial.entries)]


def _near(best: float, design: Design) -> float:
    """Return how far from the best value others count as near, with room for rounding."""
    return (NEAR if design.share else NEAR * abs(best)) + 1e-9


def _range(axis: Axis, trials: Sequence[StudyArm]) -> str:
    """Return the values of the trials in words: "from 0.001 to 0.01", "0.01", "cosine, linear"."""
    texts = list(dict.fromkeys(trial.point[axis.key] for trial in trials))
    try:
        texts = sorted(texts, key=float)
    except ValueError:
        return ", ".join(texts)
    return texts[0] if len(texts) == 1 else f"from {texts[0]} to {texts[-1]}"


def _accepted(axis: Axis) -> bool:
    """Return whether the setting takes both ends of a range."""
    ends = (int(axis.low), int(axis.high)) if axis.integer else (axis.low, axis.high)
    return all(any(is_of_kind(kind, end) for kind in kinds_of(axis.key)) for end in ends)


def _words(point: dict[str, str]) -> str:
    return " ".join(f"{key}={value}" for key, value in point.items())
