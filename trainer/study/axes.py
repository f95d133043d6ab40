"""The axes of a study, listed values or intervals; the points on them; the ranges that a search tries next."""

import itertools
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from trainer.config.settings import OF_STUDY
from trainer.config.shell import command

ARM = "arm"  # the key of the axis that changes several settings at once
# Axes that repeat a point instead of making another one: their runs are averaged, not compared.
REPLICATES = ("seed", "split_seed", "dataset.fold")
FRESH = 10_000  # seeds from here on tune an arm or confirm a point: a person types smaller ones
BORDER = 0.05  # of the range, on the scale that is searched: a value this near to an end lies on the border

NOTHING_NAMED: Mapping[str, Sequence[str]] = MappingProxyType({})

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
    integer: bool = False

    @property
    def replicates(self) -> bool:
        """True if the axis repeats points, as seed does, instead of making other ones."""
        return self.key in REPLICATES

    def text(self, value: float) -> str:
        """Return the override for a value, rounded to four digits: readable, and the same when it is read again."""
        if self.integer:
            return f"{self.prefix}={int(value)}"
        # Rounding may lead out of the interval, as from 0.79999 to 0.8.
        return f"{self.prefix}={min(max(float(f'{value:.4g}'), self.low), self.high)}"

    def value(self, text: str) -> float:
        """Return the value in an override of this axis."""
        return float(text.partition("=")[2])

    def scaled(self, value: float) -> float:
        """Return the value on the scale that is searched."""
        return math.log(value) if self.log else value

    def unscaled(self, value: float) -> float:
        """Return the value at a place on the scale that is searched."""
        return math.exp(value) if self.log else value

    def described(self) -> str:
        """Return the axis as it would be typed: "lr=tag(log,interval(1e-05,0.1))", "optimizer=sgd,adam"."""
        if self.texts and self.key == ARM:
            return f"{self.key}={' | '.join(map(plain_override, self.texts))}"
        if self.texts:
            return f"{self.key}={','.join(plain_override(text).partition('=')[2] for text in self.texts)}"
        low, high = (int(self.low), int(self.high)) if self.integer else (self.low, self.high)
        interval = f"int(interval({low},{high}))" if self.integer else f"interval({low:g},{high:g})"
        return f"{self.key}=tag(log,{interval})" if self.log else f"{self.key}={interval}"

    @property
    def size(self) -> float:
        """The number of values: of a list, or of whole numbers; infinite for an interval of real numbers."""
        if self.texts:
            return len({canonical(text) for text in self.texts})
        return int(self.high) - int(self.low) + 1 if self.integer else math.inf

    def values(self) -> tuple[str, ...]:
        """Return the texts of all values, each once. The axis must be finite."""
        texts = self.texts or map(self.text, range(int(self.low), int(self.high) + 1))
        return tuple({canonical(text): text for text in reversed(list(texts))}.values())[::-1]

    def corners(self) -> tuple[str, ...]:
        """Return the texts that must be accepted for all to be: every listed one, or both ends."""
        return self.texts or (self.text(self.low), self.text(self.high))


def axis_of(described: str) -> Axis:
    """Return the axis that `Axis.described` has put into words."""
    key, _, values = described.partition("=")
    found = re.fullmatch(r"(tag\(log,)?(int\()?interval\(([^,]+),([^,)]+)\)+", values)
    if not found:
        listed = values.split(" | ") if key == ARM else [f"{key}={value}" for value in values.split(",")]
        return Axis(key, texts=tuple(listed))
    log, integer = bool(found[1]), bool(found[2])
    return Axis(key, prefix=key, low=float(found[3]), high=float(found[4]), log=log, integer=integer)


def fresh_seeds(taken: Iterable[int], count: int) -> list[int]:
    """Return the first `count` seeds from `FRESH` on that are not taken."""
    used = set(taken)
    return list(itertools.islice((seed for seed in itertools.count(FRESH) if seed not in used), count))


def plain_override(text: str) -> str:
    """Return an override as a person writes it: "weight_decay=0.01"."""
    return re.sub(r"(^| )\++(?=[\w./@]+=)", r"\1", text)  # an arm has several settings, and a text may hold a "+"


def canonical(text: str) -> str | tuple[str, float]:
    """Return what two spellings of an override have in common: ("++lr", 0.001) for "++lr=0.001" and "++lr=1e-3"."""
    key, _, value = text.partition("=")
    try:
        return key, float(value)
    except ValueError:
        return text


def point_label(point: Mapping[str, str], separator: str = " ") -> str:
    """Return a point in words: "lr=0.1 init=zeros"; an arm's settings stand without the word "arm"."""
    return separator.join(value if key == ARM else f"{key}={value}" for key, value in point.items())


def grid(axes: Sequence[Axis]) -> Iterator[dict[str, str]]:
    """Yield every combination, the last axis changing fastest."""
    for texts in itertools.product(*(axis.texts for axis in axes)):
        yield {axis.key: text for axis, text in zip(axes, texts, strict=True)}


def corners(axes: Sequence[Axis]) -> Iterator[dict[str, str]]:
    """Yield points in which every corner of every axis occurs: composing and checking them checks the whole space."""
    rows = [axis.corners() for axis in axes]
    for number in range(max(map(len, rows), default=0)):
        yield {axis.key: row[min(number, len(row) - 1)] for axis, row in zip(axes, rows, strict=True)}


def space_size(axes: Iterable[Axis]) -> float:
    """Return the number of points on the axes; infinite with an interval of real numbers."""
    return math.prod(axis.size for axis in axes)


def narrowed(axis: Axis, best: Iterable[Point]) -> Axis:
    """Return the axis around the values of the best points, with a tenth of its width to spare, never wider."""
    texts = [point[axis.key] for point in best]
    if axis.texts:
        return replace(axis, texts=tuple(text for text in axis.texts if text in texts))
    values = [axis.scaled(axis.value(text)) for text in texts]
    low, high = axis.scaled(axis.low), axis.scaled(axis.high)
    spare = (high - low) / 10
    low = axis.unscaled(max(low, min(values) - spare))
    high = axis.unscaled(min(high, max(values) + spare))
    # Outward, so that the best points, which were rounded to other digits, still lie inside.
    ends = (
        (math.floor(low), math.ceil(high)) if axis.integer else (_outward(low, math.floor), _outward(high, math.ceil))
    )
    return replace(axis, low=max(ends[0], axis.low), high=min(ends[1], axis.high))


def _outward(value: float, round_to: Callable[[float], int]) -> float:
    """Return the value rounded to two digits by `round_to`, math.floor or math.ceil."""
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - 1) if value else 1.0
    # round(…, 6) first: 0.29 / 0.01 is 28.999999999999996, whose floor would be 28.
    return float(f"{round_to(round(value / unit, 6)) * unit:.4g}")


@dataclass(frozen=True)
class Border:
    """The best value lies on the border of the searched range; `suggested` is the range to try next."""

    value: float
    upper: bool
    searched: Axis
    suggested: Axis


def on_border(axis: Axis, best: Point) -> Border | None:
    """Return the border that the best point lies on: within 5 % of an end of the axis, on the scale searched.

    0 is no border, as most settings accept nothing below. A list counts as the interval of its first to its last value
    if it has at least three numbers, on a logarithmic scale where they span a factor of 100.
    """
    interval = _interval(axis)
    if interval is None:
        return None
    value = interval.value(best[axis.key])
    low, high = interval.scaled(interval.low), interval.scaled(interval.high)
    if low == high:
        return None
    # The place in the range, from 0 to 1. A list's own values decide it: there is nothing between them to be near to.
    place = (interval.scaled(value) - low) / (high - low) if value > 0 or not interval.log else -math.inf
    if axis.texts:
        place = {interval.low: 0.0, interval.high: 1.0}.get(value, 0.5)
    if BORDER < place < 1 - BORDER or (place <= BORDER and interval.low <= 0):
        return None
    # As wide a range as before, moved by half its width: the best value lies in its middle.
    half = (high - low) / 2
    ends = (low + half, high + half) if place > 0.5 else (low - half, high - half)
    start, end = map(interval.unscaled, ends)
    if interval.low >= 0 and not interval.log:
        start = start if start > 1e-9 * half else 0.0  # 0.1 - (0.3 - 0.1) / 2 is 1.4e-17
    start, end = (round(start), round(end)) if interval.integer else (float(f"{start:.2g}"), float(f"{end:.2g}"))
    searched = replace(interval, texts=())
    return Border(value, place > 0.5, searched, replace(searched, low=start, high=end))


def _interval(axis: Axis) -> Axis | None:
    """Return the interval that a list of at least three numbers spans; None for other lists."""
    if not axis.texts:
        return axis
    try:
        numbers = [float(plain_override(text).partition("=")[2]) for text in axis.texts]
    except ValueError:
        return None
    if axis.replicates or len(set(numbers)) < 3:
        return None
    low, high = min(numbers), max(numbers)
    log = low > 0 and high / low >= 100
    integer = all(number == int(number) and "." not in text for number, text in zip(numbers, axis.texts, strict=True))
    prefix = axis.texts[0].partition("=")[0]
    return replace(axis, prefix=prefix, low=low, high=high, log=log, integer=integer and not log)


def arm_of(point: Mapping[str, Any]) -> dict[str, Any]:
    """Return the point without its replicates: the arm that its run belongs to."""
    return {key: text for key, text in point.items() if key not in REPLICATES}


def command_at(
    arguments: Sequence[str],
    varied: Collection[str],
    texts: Mapping[str, str],
    named: Mapping[str, Sequence[str]] = NOTHING_NAMED,
) -> str:
    """Return the command that trains one point of a study alone, as a person types it.

    `arguments` are the study's; the point's overrides `texts` replace what they set of the keys `varied`. `named`: the
    overrides of an arm that has a name in place of them, which replace whatever the study's set of their groups.
    """
    arm = named.get(texts.get(ARM, ""), ())
    groups = {override_key(text).lstrip("~").partition(".")[0] for text in arm}
    arguments = [text for text in arguments if override_key(text).lstrip("~").partition(".")[0] not in groups]
    # A single run with `dataset.folds` needs a fold: a point without one is trained on the usual split.
    left_out = {*varied, *(["dataset.folds"] if "dataset.fold" in varied and "dataset.fold" not in texts else [])}
    kept = [text for text in arguments if override_key(text) not in left_out]
    of_study = (*OF_STUDY, "hydra", "hydra/launcher", "output_dir")
    kept = [text for text in kept if override_key(text).split(".")[0] not in of_study]
    words = [
        word
        for key, text in texts.items()
        for word in (arm or plain_override(text).split(" ") if key == ARM else [text])
    ]
    return command(*(text.lstrip("+") for text in kept), *map(plain_override, words))


def override_key(text: str) -> str:
    """Return the setting that an override changes: "lr" of "++lr=0.01"."""
    return text.lstrip("+").partition("=")[0]
