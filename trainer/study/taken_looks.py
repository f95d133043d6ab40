"""The looks that a study has taken at its arms, as `study.json` keeps them. Imports no torch."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.stats.arms import Arm
from trainer.stats.sequential import ALIKE, DECIDED, look_counts
from trainer.storage.untrusted import parse_json_as, validate_plain

WORSE, BETTER, LOST = "worse", "better", "no run finished"  # why an arm was dropped; better: than the baseline


@dataclass(frozen=True)
class TakenLook:
    """A look at `n` seeds an arm, when the study had at most `maximum`. `digest`: of the values that were looked at.

    `dropped`: the arms that got no more seeds, by their settings, and why. `outcome`: how the study ended, "" if not.
    """

    n: int
    maximum: int
    level: float
    digest: str
    dropped: dict[str, str]
    outcome: str


@dataclass(frozen=True)
class Until:
    """The plan of a study's looks, and those taken. `repeats`: the folds or splits whose mean is a seed's value."""

    maximum: int
    looks: tuple[int, ...]
    taken: tuple[TakenLook, ...]
    repeats: int

    @property
    def counts(self) -> tuple[int, ...]:
        """The seeds of each look."""
        return look_counts(self.maximum, self.looks)

    @property
    def left_out(self) -> dict[str, str]:
        """The arms that were dropped, by their settings, and why."""
        return {arm: why for taken in self.taken for arm, why in taken.dropped.items()}

    @property
    def outcome(self) -> str:
        """The way the study has ended, "" if it goes on, as with more looks up to a maximum that was raised."""
        return ending(self.taken, self.maximum)


def ending(taken: Sequence[TakenLook], maximum: int) -> str:
    """Return how the study has ended after these looks, "" if it goes on."""
    if not taken:
        return ""
    last = taken[-1]
    final = last.outcome in (DECIDED, ALIKE) or maximum <= last.maximum
    return last.outcome if final else ""


def digest_of(values: Mapping[str, Arm]) -> str:
    """Return the digest of the values of the arms at a look, by their settings, to the last digit."""
    text = json.dumps({key: dict(arm.values) for key, arm in values.items()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_looks(tree: Any) -> Iterator[TakenLook]:
    """Yield the looks in a manifest. Raises ValueError, LookupError or TypeError."""
    for each in validate_plain(tree):
        taken = parse_json_as(TakenLook, json.dumps(each))
        if not 3 <= taken.n <= taken.maximum:
            raise ValueError("looks: must be at three seeds or more, up to the maximum")
        yield taken
