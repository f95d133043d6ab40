"""What a person sees: a line an epoch above a progress bar in a terminal, plain lines in a file."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.status import Status
from rich.text import Text

from trainer.errors import printable
from trainer.runtime.files import open_regular
from trainer.runtime.stdio import append_log
from trainer.runtime.text import wrap

Item = TypeVar("Item")

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

BESIDE = 23  # where the values of a closing table begin
LONGEST = 1e13  # seconds that Python can write as days


def say(message: str, style: str | None = None) -> None:
    _tell(out, printable(message, keep="\n"), style or "")


def fail(error: Exception) -> None:
    _tell(err, f"trainer: {printable(str(error))}", "red")


def _tell(console: Console, line: str, style: str) -> None:
    """In a file one line, whatever its length: it is searched and counted by lines."""
    console.print(Text(wrap(line, console.width) if console.file.isatty() else line, style))


@contextmanager
def logged_to(path: Path) -> Iterator[None]:
    """What is said meanwhile goes into this file, behind what is there. Raises OSError where it is no plain file."""
    with append_log(open_regular(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)) as file:
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


def closing_table(rows: Iterable[tuple[str, str]]) -> None:
    """Name and value, in a file a line each."""
    for name, value in rows:
        told = printable(value)
        told = wrap(told, out.width, BESIDE) if out.file.isatty() else told
        out.print(Text.assemble((f"  {name:<{BESIDE - 3}} ", "bold"), told))


def duration(seconds: float) -> str:
    """12.3 s, or 1:02:03 from two minutes on."""
    return str(timedelta(seconds=round(seconds))) if 120 <= seconds < LONGEST else f"{seconds:.1f} s"


def new_table(*columns: tuple[str, str], pad: int = 2) -> "Table":
    from rich.table import Table

    table = Table(box=None, padding=(0, pad, 0, 0), pad_edge=False)
    for title, justify in columns:
        table.add_column(title, justify=justify, overflow="fold", no_wrap=justify == "right")  # type: ignore[arg-type]
    return table


def show_table(table: "Table") -> None:
    """In a file there is room for long names."""

    out.print(table, width=None if out.is_terminal else 160)
