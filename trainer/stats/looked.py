"""The verdict of a study that trains seeds until it is decided: its comparisons and its sentences. Imports no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

from trainer.stats.amounts import plain
from trainer.stats.comparison import Comparison
from trainer.stats.design import Design
from trainer.stats.sequential import ALIKE, DECIDED, GIVEN_UP, MAXIMUM, Look
from trainer.stats.trial import PAIRED_FROM


@dataclass(frozen=True)
class LookedAt(Comparison):
    """A comparison at a look at `seeds` seeds; `dropped`: the arm that gets no more, "" if they were not told apart."""

    seeds: int = 0
    dropped: str = ""

    def sentence(self, design: Design) -> str:
        """Return the result: "a was dropped at 4 seeds (limit for p at this look: 0.0018): b is better than a by …"."""
        sentence, level = super().sentence(design), f"limit for p at this look: {self.level:.2g}"
        # Against a baseline the dropped arm comes first, and may be the better one.
        what = "told apart" if self.dropped == self.first.name else "dropped"
        return f"{self.dropped} was {what} at {self.seeds} seeds ({level}): {sentence}" if self.dropped else sentence


def compared(looks: Sequence[Look]) -> tuple[LookedAt, ...]:
    """Return the comparisons of the last look, and before it those by which arms were dropped, the latest first."""
    found = []
    for look in reversed(looks):
        dropped = look.dropped
        for each in look.comparisons:
            arm = next((arm.name for arm in (each.first, each.second) if arm.name in dropped), "")
            if arm or look is looks[-1]:
                values = {field.name: getattr(each, field.name) for field in fields(Comparison)}
                found.append(LookedAt(**values, seeds=look.seeds, dropped=arm))
    return tuple(found)


def outcome_sentence(look: Look, outcome: str, counts: Sequence[int], design: Design, baseline: str) -> str:
    """Return how the study has ended, or how far it is, with `look` as its last one."""
    names = [arm.name for arm in look.remaining if arm.name != baseline]
    left = _listed(names)
    from_it = f" from {baseline}" if baseline else ""
    if outcome == DECIDED:
        which = f"every other arm is told apart{from_it}" if baseline else f"{left} is better than all others"
        early = ""
        if look.seeds < counts[-1]:
            early = f". It ended before {counts[-1]} seeds, so that differences look somewhat larger than they are"
        return f"Decided after {look.seeds} seeds: {which}{early}"
    if outcome == ALIKE:
        assert design.margin is not None
        arms = f"the {len(look.remaining)} remaining arms are within {plain(design.margin, design)} of each other"
        if baseline:
            arms = f"{left} {_are(names)} within {plain(design.margin, design)} of {baseline}"
        return f"No difference that matters: {arms} ({look.seeds} seeds)"
    if outcome == MAXIMUM:
        remain = f"{left} {'remains' if len(names) == 1 else 'remain'}"
        what = f"{left} {_are(names)} not told apart{from_it}" if baseline else remain
        return f"Not decided at {look.seeds} seeds, the maximum: {what}"
    if outcome == GIVEN_UP:
        return (
            f"Given up at {look.seeds} seeds, with {left} left: a difference of this size would not be told by"
            f" {counts[-1]}"
        )
    number = counts.index(look.seeds) + 1 if look.seeds in counts else 0
    return f"Not finished: after look {number} of {len(counts)}, at {look.seeds} seeds, {left} {_are(names)} left"


def errors_sentence(maxima: Sequence[int], looks: int, trained: int, most: int) -> str:
    """Return the false alarms of all looks, and the runs trained; `maxima`: of seeds, the first and each higher one."""
    alarms = f"False alarms: at most 5 % over all arms and {f'all {looks} looks' if looks > 1 else 'the one look'}"
    if len(maxima) > 1:
        raised = ", then ".join(f"from {low} to {high}" for low, high in pairwise(maxima))
        alarms = f"The maximum was raised after looking, {raised} seeds: at most {5 * len(maxima)} %, not 5 %"
    return f"{alarms}. {trained} of {most} runs were trained"


def method_sentence(counts: Sequence[int], design: Design, baseline: str, repeats: int) -> str:
    """Return the name of the test at each look, its corrections and its error rate."""
    shown = ", ".join(map(str, counts[:-1]))
    against = f"with {baseline}" if baseline else "with the best of them"
    kind = "Welch's t test" + (f", from {PAIRED_FROM} seeds on the paired t test" if counts[-1] >= PAIRED_FROM else "")
    corrected = "Holm and Šidák" if baseline else "Dunnett's T3 and Šidák, for all their pairs"
    folds = f" on the mean of the {repeats} folds or splits of a seed" if repeats > 1 else ""
    looks = f"looks at {shown} and {counts[-1]} seeds" if shown else f"one look, at {counts[-1]} seeds"
    return (
        f"Test: {looks}; at each the arms that are left are compared {against} by {kind}{folds}, corrected in steps"
        f" ({corrected}), at a level of the look's own; ± is the interval of that level. If all arms were equal, at"
        " most 5 of 100 such studies would drop any, over all looks"
    )


def figures(looks: Sequence[Look], outcome: str, counts: Sequence[int]) -> Mapping[str, Any]:
    """Return the looks as plain values, as the verdict's JSON lists them."""
    return {
        "outcome": outcome or None,
        "left": [arm.name for arm in looks[-1].remaining] if looks else [],
        "planned": list(counts),
        "looks": [
            {"seeds": each.seeds, "level": each.level, "dropped": list(each.dropped), "outcome": each.outcome or None}
            for each in looks
        ],
    }


def _listed(names: Sequence[str]) -> str:
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"
