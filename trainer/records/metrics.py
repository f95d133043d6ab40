"""The metrics file of a run: written line by line, whole lines or none, kept in memory where the disk fails."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainer.training.epoch import EpochReport

import itertools
import json
import math
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trainer.errors import RunError
from trainer.runtime.files import write_text
from trainer.storage.untrusted import MOST_COUNT, finite_metric, parse_json, whole_lines

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


class MetricsFile:
    """`metrics.jsonl`: one object an epoch. What is not a number is written as null: strict JSON has no NaN.

    Opened after `epoch`, it drops what was written later than the checkpoint of that epoch, and a torn last line.
    """

    def __init__(self, folder: Path, epoch: int) -> None:
        self.path = folder / METRICS
        self.size = self._size_up_to(epoch)  # of what is known to be whole
        self.held: list[str] = []
        if not self.path.is_file():
            write_text(self.path, "")
        elif self.path.stat().st_size > self.size:
            self._cut()

    def append(self, report: "EpochReport") -> None:
        """Writes the line behind those that are there and those that could not be written; keeps it if it fails."""
        values = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in asdict(report).items()
            if key != "layer_stats" or value is not None
        }
        self.held.append(json.dumps(values, allow_nan=False) + "\n")
        self.write()

    def write(self) -> None:
        """Writes what is held, to the disk. Raises RunError if it cannot be; the lines before it stay as they are."""
        if not self.held:
            return
        content = "".join(self.held).encode()
        try:
            with self.path.open("ab") as file:
                file.truncate(min(self.size, file.tell()))  # half a line may be left where that could not be undone
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            with suppress(OSError):
                os.truncate(self.path, self.size)
            raise RunError(f"{self.path} could not be written: {error.strerror}") from None
        self.size, self.held = self.path.stat().st_size, []

    def _size_up_to(self, epoch: int) -> int:
        """Of the whole lines up to that epoch, in bytes. Raises RunError naming a line that is damaged."""
        size, lines = 0, whole_lines(self.path)
        for number in itertools.count(1):
            try:
                line = next(lines, None)
                if line is None or (row := row_of(line))["epoch"] > epoch:
                    break
                _refuse_gap(row)
            except ValueError:
                raise RunError(f"{self.path}, line {number} is damaged: mend or remove it and start again") from None
            size += len(line)
        return size

    def _cut(self) -> None:
        try:
            os.truncate(self.path, self.size)
        except OSError as error:
            raise RunError(f"{self.path} could not be written: {error.strerror}") from None


def _refuse_gap(row: Mapping[str, Any]) -> None:
    """Without these the run could not be looked at in its end. Raises ValueError."""
    if row["train_accuracy"] is None or (row["validation_loss"] is not None and row["validation_accuracy"] is None):
        raise ValueError("an accuracy is missing")


def count_of(folder: Path) -> int:
    """How many epochs stand in a run's metrics. Raises RunError if they are none."""
    try:
        return sum(1 for _ in whole_lines(folder / METRICS))
    except ValueError as error:
        raise RunError(f"{folder / METRICS} is damaged: {error}") from None


def row_of(line: bytes) -> dict[str, Any]:
    """The figures of an epoch, None where one is missing. Raises ValueError.

    `layer_stats` only says whether the epoch has any: those of a long run would fill the memory, and
    `reports/layer_charts.py` reads them.
    """
    row = parse_json(line)
    if not isinstance(row, dict) or type(row.get("epoch")) is not int or not 0 <= row["epoch"] < MOST_COUNT:
        raise ValueError("epoch: must be a whole number")
    figures = {key: finite_metric(row, key) for key in FIGURES}
    return {"epoch": row["epoch"], "layer_stats": bool(row.get("layer_stats")), **figures}


MOST_EPOCHS = 2_000_000  # of a run that is read as a whole: about a gigabyte


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The epochs of a run that is done or still running; a line that is just being written is left out."""
    path, rows = folder / METRICS, list[dict[str, Any]]()
    try:
        for line in whole_lines(path):
            rows.append(row_of(line))
            if len(rows) > MOST_EPOCHS:
                raise ValueError(f"more than {MOST_EPOCHS} epochs")
    except ValueError:
        raise RunError(f"{path} is damaged") from None
    return rows


def curve(folder: Path, metric: str) -> dict[int, float]:
    """The metric after each validated epoch."""
    return {row["epoch"]: row[metric] for row in read_metrics(folder) if row[metric] is not None}
