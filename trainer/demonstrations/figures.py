"""The figures and facts of a demonstration as plain values, and what all figures look like. Imports no torch."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# Okabe & Ito 2008, told apart by colour-blind readers; its yellow and black are left out: each vanishes in one mode.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#8C8C8C")
DASHES = ("solid", "solid", "dash", "solid", "dash", "dot", "solid")
SYMBOLS = ("circle", "square", "diamond", "cross", "x", "triangle-up", "star")
GREY = "#808080"  # to be read on white and on black
# The fills of a contour plot lie over one another: what is almost clear darkens with every line.
SHADES = [[0.0, "rgba(127,127,127,0.04)"], [1.0, "rgba(127,127,127,0.04)"]]


@dataclass(frozen=True)
class Figure:
    """A plotly figure as plain values: `data`, `layout` and, where it moves, `frames`.

    `shape`: height in pixels, or "3 / 2", width by height. What is not finite becomes None.
    """

    figure: Mapping[str, Any]
    caption: str
    shape: int | str = 380
    wide: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "figure", _finite(self.figure))


@dataclass(frozen=True)
class Fact:
    """A sentence with its numbers, and whether it shows what is claimed. `figures`: the numbers by name."""

    sentence: str
    holds: bool
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Shown:
    """The result of a demonstration: figures, and the facts read off the same numbers, () if it only shows."""

    figures: tuple[Figure, ...]
    facts: tuple[Fact, ...] = ()


def _finite(value: Any) -> Any:
    """Return the value with None in place of what is not finite, which JSON does not know."""
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def axis(title: str, **more: Any) -> dict[str, Any]:
    """Return the layout of an axis with a title."""
    return {"title": {"text": title}, **more}


def line(x: Sequence[float | None], y: Sequence[float | None], name: str, place: int, **more: Any) -> dict[str, Any]:
    """Return a line with points in the colour, dash and symbol of this place."""
    look = place % len(COLORS)
    return {
        "type": "scatter",
        "x": list(x),
        "y": list(y),
        "name": name,
        "mode": "lines+markers",
        "line": {"color": COLORS[look], "dash": DASHES[look]},
        "marker": {"symbol": SYMBOLS[look], "size": 7, "color": COLORS[look]},
        **more,
    }


def rounded(values: Iterable[Any]) -> list[float]:
    """Return numbers to five decimals, so that a page stays small."""
    return [round(float(value), 5) for value in values]
