"""The metrics file of a run, `metrics.jsonl`: a line for each epoch, written completely or not at all."""

import itertools
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.errors import RunError
from trainer.runtime.files import write_text
from trainer.stats.times import TIMES
from trainer.storage.checksums import with_checksum
from trainer.storage.untrusted import MAX_COUNT, finite_metric, parse_line, whole_lines

if TYPE_CHECKING:
    from trainer.training.epoch import EpochReport

METRICS = "metrics.jsonl"
FIGURES = (
    "train_loss",
    "train_accuracy",
    "validation_loss",
    "validation_accuracy",
    "lr",
    "epoch_seconds",
    "images_per_second",
)
# What some runs record besides: their metrics, and the cross-entropy beside another loss.
FURTHER = re.compile(r"(?:train|validation)_[A-Za-z0-9_]{1,60}")
CROSS_ENTROPY = "_cross_entropy"
HALVES = "halves"  # the same figures of each half of the validation images, for the score of the run alone
LISTED = 5  # damaged lines at most that a sentence lists
MAX_EPOCHS = 2_000_000  # of a run that is read into memory: about a gigabyte


class MetricsFile:
    """The open metrics file of a run that continues after `epoch`.

    Lines of later epochs, which the checkpoint does not cover, and an incomplete last line are removed. NaN and
    infinity are written as null, because strict JSON has neither. Lines that cannot be written stay in memory and are
    written with the next one.
    """

    def __init__(self, folder: Path, epoch: int) -> None:
        self.path = folder / METRICS
        self.size = self._size_up_to(epoch)  # bytes of complete lines
        self.pending: list[str] = []
        if not self.path.is_file():
            write_text(self.path, "")
        elif self.path.stat().st_size > self.size:
            self._cut()

    def append(self, report: "EpochReport") -> None:
        """Append the line of an epoch. Raises RunError if it cannot be written; it is then kept."""
        rare = ("layer_stats", "gradients")  # None where they are not recorded
        values = _finite({key: value for key, value in report.row().items() if key not in rare or value is not None})
        if report.halves:
            values[HALVES] = list(map(_finite, report.halves))
        self.pending.append(with_checksum(json.dumps(values, allow_nan=False)) + "\n")
        self.write()

    def write(self) -> None:
        """Write the pending lines to the disk. Raises RunError if that fails; the file is then as before."""
        if not self.pending:
            return
        content = "".join(self.pending).encode()
        try:
            with self.path.open("ab") as file:
                # Remove part of a line that an earlier failure has left and could not remove.
                file.truncate(min(self.size, file.tell()))
                file.write(content)
                file.flush()
                os.fsync(file.fileno())  # before the checkpoint of this epoch, which relies on the line
        except OSError as error:
            with suppress(OSError):  # a full disk allows this, a failing one may not
                os.truncate(self.path, self.size)
            raise RunError(f"{self.path} could not be written: {error.strerror}") from None
        self.size, self.pending = self.path.stat().st_size, []

    def _size_up_to(self, epoch: int) -> int:
        """Return the bytes of the lines up to an epoch. Raises RunError with the number of a damaged line."""
        size, lines = 0, whole_lines(self.path)
        for number in itertools.count(1):
            try:
                line = next(lines, None)
                if line is None or (row := row_of(line))["epoch"] > epoch:
                    break
                _refuse_gap(row)
            except ValueError:
                raise RunError(f"{self.path}, line {number} is damaged: repair or remove it and start again") from None
            size += len(line)
        return size

    def _cut(self) -> None:
        try:
            os.truncate(self.path, self.size)
        except OSError as error:
            raise RunError(f"{self.path} could not be written: {error.strerror}") from None


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values with None for each number that is not finite."""
    lost = (key for key, value in values.items() if isinstance(value, float) and not math.isfinite(value))
    return {**values, **dict.fromkeys(lost)}


def _refuse_gap(row: Mapping[str, Any]) -> None:
    """Raise ValueError if an accuracy is missing that the summary at the end of the run needs."""
    if row["train_accuracy"] is None or (row["validation_loss"] is not None and row["validation_accuracy"] is None):
        raise ValueError("an accuracy is missing")


def count_of(folder: Path) -> int:
    """Return the number of epochs in a run's metrics. Raises RunError if the file is damaged."""
    try:
        return sum(1 for _ in whole_lines(folder / METRICS))
    except ValueError as error:
        raise RunError(f"{folder / METRICS} is damaged: {error}") from None


def row_of(line: bytes, halves: bool = False) -> dict[str, Any]:
    """Return what a line says of its epoch, None for a missing figure. Raises ValueError if the line is no epoch.

    `halves`: also the figures of each half of the validation images, () where none are recorded. `layer_stats` is
    reduced to true or false, because those of a long run would fill the memory; `reports/layer_charts.py` reads them
    line by line.
    """
    row = parse_line(line)
    if not isinstance(row, dict) or type(row.get("epoch")) is not int or not 0 <= row["epoch"] < MAX_COUNT:
        raise ValueError("epoch: must be a whole number")
    figures = {key: finite_metric(row, key) for key in FIGURES}
    skipped = row.get("skipped_steps", 0)  # missing in records of earlier versions
    if type(skipped) is not int or not 0 <= skipped < MAX_COUNT:
        raise ValueError("skipped_steps: must be a whole number")
    flags = {key: bool(row.get(key)) for key in ("improved", "layer_stats")}
    further = {key: finite_metric(row, key) for key in row if FURTHER.fullmatch(key) and key not in figures}
    by_half = _halves(row)
    values = {"epoch": row["epoch"], **flags, **figures, "skipped_steps": skipped, **further}
    return {**values, HALVES: by_half} if halves else values


def _halves(row: Mapping[str, Any]) -> tuple[dict[str, float | None], ...]:
    """Return the figures of both halves of the validation images, () if there are none. Raises ValueError."""
    halves = row.get(HALVES)
    if halves is None:
        return ()
    if not isinstance(halves, list) or len(halves) != 2 or not all(isinstance(half, dict) for half in halves):
        raise ValueError(f"{HALVES}: must be two groups of figures")
    return tuple({key: finite_metric(half, key) for key in half if FURTHER.fullmatch(key)} for half in halves)


def read_metrics(folder: Path, halves: bool = False) -> list[dict[str, Any]]:
    """Return the epochs of a run, which may still be running: an incomplete last line is ignored.

    `halves`: with the figures of each half of the validation images. Raises RunError with the numbers of damaged lines.
    """
    rows, damaged = intact_metrics(folder, halves)
    if damaged:
        raise RunError(damage_of(folder, damaged))
    return rows


def intact_metrics(folder: Path, halves: bool = False) -> tuple[list[dict[str, Any]], tuple[int, ...]]:
    """Return the epochs of a run that can be read, and the numbers of its damaged lines."""
    lines, rows, damaged = whole_lines(folder / METRICS), list[dict[str, Any]](), list[int]()
    for number in itertools.count(1):
        try:
            line = next(lines, None)
            if line is None:
                break
            rows.append(row_of(line, halves))
            if len(rows) > MAX_EPOCHS:
                raise RunError(f"{folder / METRICS} is damaged: more than {MAX_EPOCHS} epochs")
        except ValueError:  # also of the file itself, which then has no further line
            damaged.append(number)
    return rows, tuple(damaged)


def damage_of(folder: Path, damaged: Sequence[int]) -> str:
    """Return a sentence on the damaged lines of a run's metrics."""
    first, more = damaged[:LISTED], len(damaged) - LISTED
    numbers = ", ".join(map(str, first)) + (f" and {more} more" if more > 0 else "")
    return f"{folder / METRICS}, {f'line {numbers} is' if len(damaged) == 1 else f'lines {numbers} are'} damaged"


def figure_of(values: Mapping[str, Any], name: str) -> float | None:
    """Return a figure of an epoch by its name, None if it has none.

    A run that records no cross-entropy beside its loss has that as its loss.
    """
    if name.endswith(CROSS_ENTROPY) and name not in values:
        name = name.replace(CROSS_ENTROPY, "_loss")
    value: float | None = values.get(name)
    return value


def curve(folder: Path, metric: str) -> dict[int, float]:
    """Return a metric by epoch, for the validated epochs."""
    values = {row["epoch"]: figure_of(row, metric) for row in read_metrics(folder)}
    return {epoch: value for epoch, value in values.items() if value is not None}


def further_at(folder: Path, epoch: int) -> dict[str, float | None]:
    """Return what a run has recorded of an epoch's validation beside loss and accuracy, by name."""
    row = next((row for row in read_metrics(folder) if row["epoch"] == epoch), {})
    return further_of(row, "validation")


def further_of(row: Mapping[str, Any], images: str = "") -> dict[str, float | None]:
    """Return the figures of an epoch beside those that every run has; of the training or validation `images` alone."""
    return {
        key: value
        for key, value in row.items()
        if FURTHER.fullmatch(key) and key not in FIGURES
        if key.startswith(images)
    }


def in_words(name: str) -> str:
    """Return the name of a figure of the validation as a person reads it: "Macro f1"."""
    return name.removeprefix("validation_").replace("_", " ").capitalize()


def shown_figure(name: str, value: float) -> str:
    """Return a figure as a person reads it: an accuracy in percent, another one with four decimals or digits."""
    if name.endswith("accuracy"):
        return f"{value:.2%}"
    if name in TIMES:
        return f"{value:.1f}"
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e5 or not math.isfinite(value) else f"{value:.4g}"
