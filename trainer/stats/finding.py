"""An answer beside the comparisons of a verdict, as an interaction or a time to target. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Finding:
    """The answer to one further question: its sentence, and its figures by name, plain values as JSON has them.

    `question`: the name of its kind in the verdict's JSON, such as "interaction".
    """

    question: str
    sentence: str
    figures: Mapping[str, Any] = field(default_factory=dict)

    def tree(self) -> dict[str, Any]:
        """Return the finding as the verdict's JSON holds it."""
        return {"question": self.question, **self.figures, "sentence": self.sentence}
