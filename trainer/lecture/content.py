"""The results of claims: plain values that the book shows and a JSON file holds. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from trainer.demonstrations.figures import Figure

HOLDS, FAILS, UNDECIDED = "holds here", "does not hold here", "not decided"
SHOWN = "shown"  # of a demonstration that only shows: nothing is decided
NOT_RUN, FAILED = "not run", "failed"
VERDICTS = (HOLDS, FAILS, UNDECIDED, SHOWN, FAILED, NOT_RUN)  # in the order of tables


@dataclass(frozen=True)
class StatementResult:
    """The answer to one statement. `estimate`: the difference, first arm minus second, in `unit`.

    `interval`: (low, high) at 95 %, corrected within the claim; None without a test. `values`: those of each arm, by
    seed. `needed`: the seeds an arm that would decide it in 4 of 5 cases, None if unknown or over a thousand.
    `sentence`: the result in words. `single`: one arm is held against a number instead of another arm.
    """

    says: str
    verdict: str
    sentence: str
    measure: str = ""
    unit: str = ""
    arms: tuple[str, ...] = ()
    expect: str = "more"
    least: float = 0.0
    estimate: float | None = None
    interval: tuple[float, float] | None = None
    p: float | None = None
    needed: int | None = None
    exact: bool = False
    values: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)


@dataclass(frozen=True)
class ClaimResult:
    """The result of one claim. `here`: network, data and epochs in words, "" for a demonstration.

    `command`: the words that repeat it. `arms`: {arm: {column: text}}, the table of a study. `runs`: those of its
    study. `why`: the reason of the verdict, where it was looked into. `reason`: of a failure. `notes`: sentences on
    what limits the comparison.
    """

    name: str
    note: str
    places: str
    title: str
    claim: str
    verdict: str
    next: str
    formula: str | None = None
    here: str = ""
    statements: tuple[StatementResult, ...] = ()
    figures: tuple[Figure, ...] = ()
    arms: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    command: str = ""
    runs: int = 0
    seconds: float = 0.0
    why: str = ""
    reason: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Book:
    """All claims of a book in the order of the notes. `budget`: quick, full or gpu; `facts`: (name, text) of the front.

    `false_alarms`: the number of tested claims that would hold by chance alone if none were true.
    """

    title: str
    budget: str
    claims: tuple[ClaimResult, ...]
    facts: tuple[tuple[str, str], ...] = ()
    tested: int = 0
    false_alarms: float = 0.0
    documents: Mapping[str, str] = field(default_factory=dict)  # note → its title
