"""Messages, tables and progress bars: coloured on a terminal, one plain line each in a file. Imports no torch."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar

from rich.console import Console
from rich.status import Status
from rich.text import Text

from trainer.errors import printable, reason_of
from trainer.runtime.files import open_regular
from trainer.runtime.stdio import append_log
from trainer.runtime.text import wrap

if TYPE_CHECKING:
    from rich.table import Table

Item = TypeVar("Item")

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

VALUE_COLUMN = 23  # letters before the values of a closing table
MAX_SECONDS = 1e13  # beyond it timedelta overflows


def say(message: str, style: str | None = None) -> None:
    """Print a message, which may have several lines, on standard output."""
    _print(out, printable(message, keep="\n"), style or "")


def fail(error: Exception) -> None:
    """Print an error on standard error."""
    _print(err, f"trainer: {printable(reason_of(error))}", "red")


def _print(console: Console, line: str, style: str) -> None:
    # Not wrapped in a file, which is searched and counted by lines.
    console.print(Text(wrap(line, console.width) if console.file.isatty() else line, style))


@contextmanager
def logged_to(path: Path) -> Iterator[None]:
    """Append the output of the block to this file. Raises OSError if it is not a regular file."""
    with append_log(open_regular(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)) as file:
        out.file = err.file = file
        try:
            yield
        finally:
            out.file = err.file = None  # type: ignore[assignment]  # None: follow sys.stdout and sys.stderr


def current_files() -> tuple[IO[str] | None, IO[str] | None]:
    """Return the files that `logged_to` has set for both streams; None: the streams of the process."""
    return out._file, err._file


def set_files(files: tuple[IO[str] | None, IO[str] | None]) -> None:
    """Set what `current_files` returned."""
    out._file, err._file = files


def waiting(description: str) -> Status:
    """Show a spinner while a block of a second or more runs; nothing in a file. Use as a context manager."""
    return err.status(description)


def warn(message: str) -> None:
    """Print a warning on standard error."""
    _print(err, f"trainer: warning: {printable(message)}", "yellow")


def progress(items: Iterable[Item], description: str) -> Iterator[Item]:
    """Yield the items and show a progress bar on the terminal; nothing in a file."""
    from rich.progress import track

    yield from track(items, description, console=err, transient=True, disable=not err.is_terminal)


def closing_table(rows: Iterable[tuple[str, str]]) -> None:
    """Print names and values, in a file one line each."""
    for name, value in rows:
        cell = printable(value)
        cell = wrap(cell, out.width, VALUE_COLUMN) if out.file.isatty() else cell
        out.print(Text.assemble((f"  {name:<{VALUE_COLUMN - 3}} ", "bold"), cell))


def duration(seconds: float) -> str:
    """Return a duration as "12.3 s", or as "1:02:03" from two minutes on."""
    return str(timedelta(seconds=round(seconds))) if 120 <= seconds < MAX_SECONDS else f"{seconds:.1f} s"


def new_table(*columns: tuple[str, str], pad: int = 2) -> "Table":
    """Return a table without borders; each column is its title and "left" or "right" (numbers, never wrapped)."""
    from rich.table import Table

    table = Table(box=None, padding=(0, pad, 0, 0), pad_edge=False)
    for title, justify in columns:
        table.add_column(title, justify=justify, overflow="fold", no_wrap=justify == "right")  # type: ignore[arg-type]
    return table


def show_table(table: "Table") -> None:
    """Print a table, in a file 160 letters wide, so that long names are not wrapped."""
    out.print(table, width=None if out.is_terminal else 160)
