"""The parts of a book that its page, its Markdown and its slides share: chapters, counts, signs, anchors.

Imports no torch.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer.lecture.content import (
    FAILED,
    FAILS,
    HOLDS,
    NOT_RUN,
    SHOWN,
    UNDECIDED,
    VERDICTS,
    Book,
    ClaimResult,
    StatementResult,
)
from trainer.lecture.formulas import formula
from trainer.runtime.text import COMMAND, counted

if TYPE_CHECKING:
    from trainer.lecture.formulas.rule import Formula

# A verdict is told by its word, its sign and its colour: the sign remains on grey paper. None of them is an emoji.
SIGNS = {HOLDS: "✓", FAILS: "✗", UNDECIDED: "?", SHOWN: "◆", FAILED: "!", NOT_RUN: "○"}
CLASSES = {HOLDS: "holds", FAILS: "fails", UNDECIDED: "open", SHOWN: "shown", FAILED: "failed", NOT_RUN: "waiting"}
MEANINGS = {
    HOLDS: "every statement of the claim was tested, and the runs here show it",
    FAILS: "the runs here show that at least one statement of it is not so, or is too small to matter",
    UNDECIDED: "the runs here are too few or too different from each other to say",
    SHOWN: "a demonstration that decides nothing",
    FAILED: "its runs or its demonstration ended with an error",
    NOT_RUN: "still to come; its command runs it",
}


@dataclass(frozen=True)
class Chapter:
    """The claims of one note."""

    note: str
    title: str
    claims: tuple[ClaimResult, ...]

    @property
    def heading(self) -> str:
        """The note and its title: "Note 004: Optimization"."""
        return f"Note {self.note}: {self.title}" if self.title else f"Note {self.note}"

    @property
    def counts(self) -> Mapping[str, int]:
        """The number of claims by verdict, those without any left out, in the order of tables."""
        return _counts(self.claims)


def chapters(book: Book) -> list[Chapter]:
    """Return the claims by note, in the order of the book."""
    notes = dict.fromkeys(claim.note for claim in book.claims)
    return [
        Chapter(note, book.documents.get(note, ""), tuple(claim for claim in book.claims if claim.note == note))
        for note in notes
    ]


def counts(book: Book) -> Mapping[str, int]:
    """Return the number of claims by verdict, those without any left out, in the order of tables."""
    return _counts(book.claims)


def _counts(claims: Iterable[ClaimResult]) -> Mapping[str, int]:
    found = Counter(claim.verdict for claim in claims)
    return {verdict: found[verdict] for verdict in VERDICTS if found[verdict]}


def summary(number: Mapping[str, int]) -> str:
    """Return counts as one line: "12 hold here, 3 do not hold here, 1 not decided"."""
    words = {
        HOLDS: ("holds here", "hold here"),
        FAILS: ("does not hold here", "do not hold here"),
    }
    parts = [f"{count} {words.get(verdict, (verdict, verdict))[count != 1]}" for verdict, count in number.items()]
    return ", ".join(parts)


def facts(book: Book) -> list[tuple[str, str]]:
    """Return the facts of the front page, with the networks and data of the claims, the usual ones first."""
    places = Counter(claim.here.partition(",")[0] for claim in book.claims if claim.here)
    told = [f"{place} ({counted(number, 'claim')})" for place, number in places.most_common()]
    return [*book.facts, *([("networks and data", ", ".join(told))] if told else [])]


def alarms(book: Book) -> str:
    """Return the sentence on the claims that may hold by chance alone, "" where nothing was tested."""
    if not book.tested:
        return ""
    expected = f"{book.false_alarms:.1f}" if book.false_alarms >= 0.1 else "fewer than 0.1"
    return (
        f"{counted(book.tested, 'claim was', 'claims were')} put to a statistical test. If none of them were true,"
        f" about {expected} of them would still be said to hold, by chance alone."
    )


def formula_of(claim: ClaimResult) -> "Formula | None":
    """Return the formula of a claim in text, NumPy and PyTorch, None if it has none."""
    return None if claim.formula is None else formula(claim.formula)


def anchor(name: str) -> str:
    """Return the name of a claim as an anchor of a page: what a link could not hold is written as its number.

    A name without such characters is its own anchor, and no two names have the same.
    """
    return re.sub(r"[^A-Za-z0-9_.]", lambda found: f"-{ord(found[0]):x}-", name)


def places(claim: ClaimResult) -> str:
    """Return where the claim stands, for readers: "note 004, line 648; note 002, line 107"."""
    found = [re.fullmatch(r"([^:]+):(\d+)", place.strip()) for place in claim.places.split(",")]
    if not all(found):
        return claim.places
    return "; ".join(f"note {each[1]}, line {each[2]}" for each in found if each)


def numbers(result: StatementResult) -> str:
    """Return the estimate, its interval and the seeds of a statement as one line, "" without an estimate."""
    if result.estimate is None:
        return ""
    parts = [f"estimate {number(result.estimate)}{_unit(result.unit)}"]
    if result.interval is not None:
        low, high = result.interval
        parts.append(f"95 % interval {number(low)} to {number(high)}")
    if result.least and not result.exact:
        word = {"more": "at least", "less": "at least", "same": "at most"}.get(result.expect, "at least")
        parts.append(f"asked: {word} {number(result.least, sign=False)}{_unit(result.unit)}")
    seeds = [len(values) for values in result.values.values()]
    if seeds:
        count = f"{min(seeds)}" if min(seeds) == max(seeds) else f"{min(seeds)} to {max(seeds)}"
        parts.append(f"{count} {'seed' if max(seeds) == 1 else 'seeds'} an arm")
    return ", ".join(parts)


def number(value: float, sign: bool = True) -> str:
    """Return a number with three digits that count, with its sign: "+1.6", "−0.025", "+12 000"."""
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return ("−" if value < 0 else "+" if sign else "") + "∞"
    text = f"{value:.3g}"
    if "e" in text and 1000 <= abs(value) < 1e9:
        text = f"{float(text):,.0f}".replace(",", " ")
    plus = "+" if sign and value > 0 else ""
    return plus + text.replace("-", "−")


def ended(text: str) -> str:
    """Return a sentence with its full stop; one that ends with a command has none, so that it can be copied."""
    return text if not text or text.rstrip()[-1] in ".?!…)" or parted(text)[1] else f"{text}."


def parted(text: str) -> tuple[str, str]:
    """Return the text and the command at its end, "" without one."""
    command = COMMAND.search(text)
    return (text[: command.start()], command[0]) if command else (text, "")


def _unit(unit: str) -> str:
    return f" {unit}" if unit else ""


def columns_of(claim: ClaimResult) -> list[str]:
    """Return the columns of the table of a claim's arms."""
    return list(dict.fromkeys(column for texts in claim.arms.values() for column in texts))


def effort(claim: ClaimResult) -> str:
    """Return the runs of a claim and the time of those that were trained for it: "25 runs, 40 seconds"."""
    if claim.seconds >= 90:
        return f"{counted(claim.runs, 'run')}, {counted(round(claim.seconds / 60), 'minute')}"
    return f"{counted(claim.runs, 'run')}, {counted(max(1, round(claim.seconds)), 'second')}"
