"""The metrics file of a run: written line by line, whole lines or none, kept in memory where the disk fails."""

import json
import math
import os
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from trainer.epoch import EpochReport
from trainer.errors import RunError
from trainer.files import write_text
from trainer.strangers import parse_json, read_text

METRICS = "metrics.jsonl"


class MetricsFile:
    """`metrics.jsonl`: one object an epoch. What is not a number is written as null: strict JSON has no NaN.

    Opened after `epoch`, it drops what was written later than the checkpoint of that epoch, and a torn last line.
    """

    def __init__(self, folder: Path, epoch: int) -> None:
        self.path = folder / METRICS
        kept = []
        for number, line in enumerate(self._whole_lines(), 1):
            try:
                kept += [line + "\n"] if parse_json(line)["epoch"] <= epoch else []
            except (ValueError, LookupError, TypeError):
                raise RunError(f"{self.path}, line {number} is damaged: mend or remove it and start again") from None
        write_text(self.path, "".join(kept))
        self.size = self.path.stat().st_size  # of what is known to be whole
        self.held: list[str] = []

    def append(self, report: EpochReport) -> None:
        """Writes the line behind those that are there and those that could not be written; keeps it if it fails."""
        values = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in asdict(report).items()
            if key != "insight" or value is not None
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

    def _whole_lines(self) -> list[str]:
        try:
            text = read_text(self.path) if self.path.is_file() else ""
        except ValueError as error:
            raise RunError(f"{self.path} is damaged: {error}") from None
        return text[: text.rfind("\n") + 1].splitlines()
