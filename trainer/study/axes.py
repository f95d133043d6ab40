"""What a study varies: axes of listed values or intervals, points on them, and what a search learns about a range."""

import itertools
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trainer.config.shell import command

ARM = "arm"  # the key of the axis that changes several settings at once
# Axes that repeat a point instead of making another one: their runs are averaged, not compared.
REPLICATES = ("seed", "split_seed", "dataset.fold")
BORDER = 0.05  # of the range, on the scale that is searched: as near as this counts as on the border

Point = Mapping[str, str]  # key of the axis → override text, such as {"lr": "++lr=0.01"}


@dataclass(frozen=True)
class Axis:
    """Listed values, as override texts, or an interval: [low, high], on a logarithmic scale if `log`."""

    key: str
    texts: tuple[str, ...] = ()
    prefix: str = ""
    low: float = math.nan
    high: float = math.nan
    log: bool = False
    whole: bool = False

    @property
    def replicates(self) -> bool:
        return self.key in REPLICATES

    def text(self, value: float) -> str:
        """The override for a value, rounded to four digits: readable, and the same when it is read again."""
        rounded = int(value) if self.whole else float(f"{value:.4g}")
        return f"{self.prefix}={min(max(rounded, self.low), self.high) if not self.whole else rounded}"

    def value(self, text: str) -> float:
        return float(text.partition("=")[2])

    def scaled(self, value: float) -> float:
        return math.log(value) if self.log else value

    def unscaled(self, value: float) -> float:
        return math.exp(value) if self.log else value

    def described(self) -> str:
        """As it would be typed: "lr=tag(log,interval(1e-05,0.1))", "optimizer=sgd,adam"."""
        if self.texts:
            values = [
                plain_override(text) if self.key == ARM else plain_override(text).partition("=")[2]
                for text in self.texts
            ]
            return f"{self.key}={' | '.join(values)}" if self.key == ARM else f"{self.key}={','.join(values)}"
        low, high = (int(self.low), int(self.high)) if self.whole else (self.low, self.high)
        interval = f"int(interval({low},{high}))" if self.whole else f"interval({low:g},{high:g})"
        return f"{self.key}=tag(log,{interval})" if self.log else f"{self.key}={interval}"

    def corners(self) -> tuple[str, ...]:
        """The texts that must be right for all to be: every listed one, or both ends."""
        return self.texts or (self.text(self.low), self.text(self.high))


def plain_override(text: str) -> str:
    """An override as a person writes it: "weight_decay=0.01"."""
    return " ".join(part.lstrip("+") for part in text.split(" "))


def grid(axes: Sequence[Axis]) -> Iterator[dict[str, str]]:
    """Every combination, the last axis changing fastest."""
    for texts in itertools.product(*(axis.texts for axis in axes)):
        yield {axis.key: text for axis, text in zip(axes, texts, strict=True)}


def corners(axes: Sequence[Axis]) -> Iterator[dict[str, str]]:
    """Points in which every corner of every axis occurs: composing and checking them checks the whole space."""
    rows = [axis.corners() for axis in axes]
    for number in range(max(map(len, rows), default=0)):
        yield {axis.key: row[min(number, len(row) - 1)] for axis, row in zip(axes, rows, strict=True)}


def narrowed(axis: Axis, best: Iterable[Point]) -> Axis:
    """The axis around the values of the best points: with a tenth of its width to spare, never wider than before."""
    texts = [point[axis.key] for point in best]
    if axis.texts:
        return replace(axis, texts=tuple(text for text in axis.texts if text in texts))
    values = [axis.scaled(axis.value(text)) for text in texts]
    low, high = axis.scaled(axis.low), axis.scaled(axis.high)
    spare = (high - low) / 10
    low = axis.unscaled(max(low, min(values) - spare))
    high = axis.unscaled(min(high, max(values) + spare))
    ends = (math.floor(low), math.ceil(high)) if axis.whole else (_outward(low, math.floor), _outward(high, math.ceil))
    return replace(axis, low=max(ends[0], axis.low), high=min(ends[1], axis.high))


def _outward(value: float, round_to: Callable[[float], int]) -> float:
    """Two digits, away from what lies inside."""
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - 1) if value else 1.0
    return float(f"{round_to(round(value / unit, 6)) * unit:.4g}")


@dataclass(frozen=True)
class Border:
    """The best value lies on the border of the range that was spanned; `further` is the one to try next."""

    value: float
    upper: bool
    spanned: Axis
    further: Axis


def on_border(axis: Axis, best: Point) -> Border | None:
    """Whether the best point is within 5 % of an end of the axis, on the scale searched; 0 is no border to cross.

    For listed values it is the first or the last of at least three numbers, on a logarithmic scale where they
    span a factor of 100.
    """
    as_interval = _interval(axis)
    if as_interval is None:
        return None
    value = as_interval.value(best[axis.key])
    low, high = as_interval.scaled(as_interval.low), as_interval.scaled(as_interval.high)
    if low == high:
        return None
    place = (as_interval.scaled(value) - low) / (high - low) if value > 0 or not as_interval.log else -math.inf
    if axis.texts:
        place = {as_interval.low: 0.0, as_interval.high: 1.0}.get(value, 0.5)
    if BORDER < place < 1 - BORDER or (place <= BORDER and as_interval.low <= 0):
        return None
    half = (high - low) / 2
    ends = (low + half, high + half) if place > 0.5 else (low - half, high - half)
    start, end = (as_interval.unscaled(each) for each in ends)
    if as_interval.low >= 0 and not as_interval.log:
        start = max(start, 0.0)
    start, end = (round(start), round(end)) if as_interval.whole else (float(f"{start:.2g}"), float(f"{end:.2g}"))
    spanned = replace(as_interval, texts=())
    return Border(value, place > 0.5, spanned, replace(spanned, low=start, high=end))


def _interval(axis: Axis) -> Axis | None:
    """A list of at least three numbers as the interval it spans."""
    if not axis.texts:
        return axis
    numbers = []
    for text in axis.texts:
        try:
            numbers.append(float(plain_override(text).partition("=")[2]))
        except ValueError:
            return None
    if axis.replicates or len(set(numbers)) < 3:
        return None
    low, high = min(numbers), max(numbers)
    log = low > 0 and high / low >= 100
    whole = all(number == int(number) and "." not in text for number, text in zip(numbers, axis.texts, strict=True))
    return replace(axis, prefix=axis.texts[0].partition("=")[0], low=low, high=high, log=log, whole=whole and not log)


def arm_of(point: Mapping[str, Any]) -> dict[str, Any]:
    """The point without its replicates: what is compared."""
    return {key: text for key, text in point.items() if key not in REPLICATES}


def command_at(arguments: Sequence[str], varied: Collection[str], texts: Mapping[str, str]) -> str:
    """The command that trains one point of a study alone, as a person types it.

    `arguments` are the study's, `texts` the point's overrides, in place of what they say of the keys `varied`.
    """
    # Alone `dataset.folds` asks for a fold: a point without one is trained on the usual split.
    left_out = {*varied, *(["dataset.folds"] if "dataset.fold" in varied and "dataset.fold" not in texts else [])}
    own = [text for text in arguments if _key(text) not in left_out]
    own = [text for text in own if _key(text).split(".")[0] not in ("sweep", "retrain", "hydra", "hydra/launcher")]
    words = [
        word
        for key, text in texts.items()
        for word in (plain_override(text).split(" ") if key == ARM else [plain_override(text)])
    ]
    return command(*map(plain_override, own), *words)


def _key(text: str) -> str:
    return text.lstrip("+").partition("=")[0]
