"""What a person sees: a line an epoch above a progress bar in a terminal, plain lines in a file."""

import math
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.status import Status
from rich.text import Text

from trainer.epoch import EpochReport
from trainer.errors import fitted, printable
from trainer.files import opened
from trainer.streams import log

Item = TypeVar("Item")

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

# Of each column the title and the width; a narrow terminal gets the first five, closer together.
COLUMNS = (
    ("epoch", 7),
    ("train loss", 10),
    ("accuracy", 8),
    ("validation loss", 15),
    ("accuracy", 8),
    ("lr", 8),
    ("images/s", 8),
    ("seconds", 7),
)
NARROW = 92
BESIDE = 23  # where the values of a closing table begin
REFRESH_SECONDS = 0.1
LONGEST = 1e13  # seconds that Python can write as days


def say(message: str, style: str | None = None) -> None:
    _tell(out, printable(message, keep="\n"), style or "")


def fail(error: Exception) -> None:
    _tell(err, f"trainer: {printable(str(error))}", "red")


def _tell(console: Console, line: str, style: str) -> None:
    """In a file one line, whatever its length: it is searched and counted by lines."""
    console.print(Text(fitted(line, console.width) if console.file.isatty() else line, style))


@contextmanager
def logged_to(path: Path) -> Iterator[None]:
    """What is said meanwhile goes into this file, behind what is there. Raises OSError where it is no plain file."""
    with log(opened(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)) as file:
        out.file = err.file = file
        try:
            yield
        finally:
            out.file = err.file = None  # type: ignore[assignment]  # again what sys.stdout and sys.stderr are


def waiting(description: str) -> Status:
    """Use as a context around what takes a second or more: a spinner on the terminal, nothing in a file."""
    return err.status(description)


def warn(message: str) -> None:
    _tell(err, f"trainer: warning: {printable(message)}", "yellow")


def progress(items: Iterable[Item], description: str) -> Iterator[Item]:
    """The items, with a bar on the terminal while they are worked through; nothing in a file."""
    from rich.progress import track

    yield from track(items, description, console=err, transient=True, disable=not err.is_terminal)


class EpochDisplay:
    """Use as a context: `line` for every epoch, `watch` around the batches of one."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
        )
        self.progress = Progress(*columns, console=out, transient=True, disable=not out.is_terminal)
        self.task, self.shown = self.progress.add_task("", visible=False), False

    def __enter__(self) -> "EpochDisplay":
        say(self._row([title for title, _ in COLUMNS]), "bold")
        self.progress.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.progress.stop()

    def watch(self, batches: Iterable[Item], epoch: int, steps: int, done: int) -> Iterator[Item]:
        """The batches of an epoch (from 1) behind those done; the bar moves ten times a second, not with each."""
        before, updated = (epoch - 1) * steps + done, time.monotonic()
        if not self.shown:  # the time left is reckoned from here, also in a run that goes on
            self.progress.reset(self.task, total=self.epochs * steps, completed=before, visible=True)
            self.shown = True
        self.progress.update(self.task, description=f"epoch {epoch}/{self.epochs}", completed=before)
        for step, batch in enumerate(batches, 1):
            yield batch
            if time.monotonic() - updated > REFRESH_SECONDS:
                updated = time.monotonic()
                self.progress.update(self.task, completed=before + step)

    def line(self, report: EpochReport) -> None:
        loss, accuracy = report.validation_loss, report.validation_accuracy
        values = [
            f"{report.epoch}/{self.epochs}",
            f"{report.train_loss:.4f}",
            f"{report.train_accuracy:.2%}",
            "—" if loss is None else f"{loss:.4f}",
            "—" if accuracy is None else f"{accuracy:.2%}",
            f"{report.lr:.2e}",
            f"{report.images_per_second:,.0f}",
            f"{report.epoch_seconds:.2f}",
        ]
        mark, style = (
            ("  best", "green") if report.improved and math.isfinite(report.validation_loss or 0.0) else ("", "")
        )
        self.progress.console.print(Text(self._row(values) + mark, style))

    @staticmethod
    def _row(values: list[str]) -> str:
        narrow = out.is_terminal and out.width < NARROW
        cells = [f"{value:>{width}}" for value, (_, width) in zip(values, COLUMNS, strict=True)]
        return " ".join(cells[:5]) if narrow else "  ".join(cells)


def closing_table(rows: Iterable[tuple[str, str]]) -> None:
    """Name and value, in a file a line each."""
    for name, value in rows:
        told = printable(value)
        told = fitted(told, out.width, BESIDE) if out.file.isatty() else told
        out.print(Text.assemble((f"  {name:<{BESIDE - 3}} ", "bold"), told))


def duration(seconds: float) -> str:
    """12.3 s, or 1:02:03 from two minutes on."""
    return str(timedelta(seconds=round(seconds))) if 120 <= seconds < LONGEST else f"{seconds:.1f} s"
