"""The axes of a study, listed values or intervals, the points on them, and ranges that a search narrows or widens."""

import itertools
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trainer.config.shell import command

ARM = "arm"  # the key of the axis that changes several settings at once
# The axes whose runs are replicates of one point: they are averaged, not compared.
REPLICATES = ("seed", "split_seed", "dataset.fold")
BORDER = 0.05  # of the range on the searched scale: a value as near to an end lies on the border

Point = Mapping[str, str]  # key of the axis → override text, such as {"lr": "++lr=0.01"}


@dataclass(frozen=True)
class Axis:
    """Listed values, as override texts, or an interval [low, high]: logarithmic if `log`, of integers if `whole`."""

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
        """Return the override for a value."""
        # Four digits are readable, and give the same number when they are read again. Rounding may leave the interval.
        rounded = int(value) if self.whole else float(f"{value:.4g}")
        return f"{self.prefix}={min(max(rounded, self.low), self.high) if not self.whole else rounded}"

    def value(self, text: str) -> float:
        """Return the value in an override text."""
        return float(text.partition("=")[2])

    def scaled(self, value: float) -> float:
        """Return the place of a value on the searched scale."""
        return math.log(value) if self.log else value

    def unscaled(self, value: float) -> float:
        """Return the value at a place on the searched scale."""
        return math.exp(value) if self.log else value

    def described(self) -> str:
        """Return the axis as a person types it: "lr=tag(log,interval(1e-05,0.1))", "optimizer=sgd,adam"."""
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
        """Return all listed texts, or both ends of an interval: if these are valid, every value is."""
        return self.texts or (self.text(self.low), self.text(self.high))


def plain_override(text: str) -> str:
    """Return an override as a person types it: "weight_decay=0.01" for "++weight_decay=0.01"."""
    return " ".join(part.lstrip("+") for part in text.split(" "))


def grid(axes: Sequence[Axis]) -> Iterator[dict[str, str]]:
    """Yield every combination of the values; the last axis changes fastest."""
    for texts in itertools.product(*(axis.texts for axis in axes)):
        yield {axis.key: text for axis, text in zip(axes, texts, strict=True)}


def corners(axes: Sequence[Axis]) -> Iterator[dict[str, str]]:
    """Yield points in which every corner of every axis occurs at least once."""
    # To check these checks the space: as many points as the longest axis has corners, not the product of all.
    rows = [axis.corners() for axis in axes]
    for number in range(max(map(len, rows), default=0)):
        yield {axis.key: row[min(number, len(row) - 1)] for axis, row in zip(axes, rows, strict=True)}


def narrowed(axis: Axis, best: Iterable[Point]) -> Axis:
    """Return the axis around the values of the best points, with a margin of a tenth of its width on either side."""
    texts = [point[axis.key] for point in best]
    if axis.texts:
        return replace(axis, texts=tuple(text for text in axis.texts if text in texts))
    values = [axis.scaled(axis.value(text)) for text in texts]
    low, high = axis.scaled(axis.low), axis.scaled(axis.high)
    spare = (high - low) / 10
    low = axis.unscaled(max(low, min(values) - spare))
    high = axis.unscaled(min(high, max(values) + spare))
    # Rounded outwards, so that the best values stay inside, but never beyond the old ends.
    ends = (math.floor(low), math.ceil(high)) if axis.whole else (_outward(low, math.floor), _outward(high, math.ceil))
    return replace(axis, low=max(ends[0], axis.low), high=min(ends[1], axis.high))


def _outward(value: float, round_to: Callable[[float], int]) -> float:
    """Return the value rounded to two digits, by floor or ceil."""
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - 1) if value else 1.0
    # Rounded first: 0.3 / 0.1 is 2.999…, whose floor is 2. The format removes the same error of the product.
    return float(f"{round_to(round(value / unit, 6)) * unit:.4g}")


@dataclass(frozen=True)
class Border:
    """A best value on the border of the range that was searched (`spanned`); `further` is the range to try next."""

    value: float
    upper: bool
    spanned: Axis
    further: Axis


def on_border(axis: Axis, best: Point) -> Border | None:
    """Return the border on which the best point lies, within 5 % of the axis on the searched scale; None elsewhere.

    Of listed values, at least three numbers, the border is the smallest or the largest one. A lower end of 0 or less is
    none: most settings have no values below.
    """
    as_interval = _interval(axis)
    if as_interval is None:
        return None
    value = as_interval.value(best[axis.key])
    low, high = as_interval.scaled(as_interval.low), as_interval.scaled(as_interval.high)
    if low == high:
        return None
    # From 0 (lower end) to 1 (upper end). A logarithmic scale has no place for 0.
    place = (as_interval.scaled(value) - low) / (high - low) if value > 0 or not as_interval.log else -math.inf
    if axis.texts:
        place = {as_interval.low: 0.0, as_interval.high: 1.0}.get(value, 0.5)
    if BORDER < place < 1 - BORDER or (place <= BORDER and as_interval.low <= 0):
        return None
    # The next range is as wide, and centred on the border.
    half = (high - low) / 2
    ends = (low + half, high + half) if place > 0.5 else (low - half, high - half)
    start, end = (as_interval.unscaled(each) for each in ends)
    if as_interval.low >= 0 and not as_interval.log:  # a setting without negative values so far
        start = max(start, 0.0)
    start, end = (round(start), round(end)) if as_interval.whole else (float(f"{start:.2g}"), float(f"{end:.2g}"))
    spanned = replace(as_interval, texts=())
    return Border(value, place > 0.5, spanned, replace(spanned, low=start, high=end))


def _interval(axis: Axis) -> Axis | None:
    """Return the interval that a list of at least three numbers spans; None for other lists."""
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
    log = low > 0 and high / low >= 100  # such as 0.001, 0.01, 0.1: steps by factors
    whole = all(number == int(number) and "." not in text for number, text in zip(numbers, axis.texts, strict=True))
    return replace(axis, prefix=axis.texts[0].partition("=")[0], low=low, high=high, log=log, whole=whole and not log)


def arm_of(point: Mapping[str, Any]) -> dict[str, Any]:
    """Return the point without its replicates: the arm that is compared."""
    return {key: text for key, text in point.items() if key not in REPLICATES}


def command_at(arguments: Sequence[str], varied: Collection[str], texts: Mapping[str, str]) -> str:
    """Return the command that trains one point of a study alone, as a person types it.

    `texts`, the overrides of the point, replace the study's `arguments` for the keys `varied`.
    """
    # `dataset.folds` requires a fold. A point without one is trained on the usual split, so it is left out, too.
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
    """Return the setting of an override."""
    return text.lstrip("+").partition("=")[0]
