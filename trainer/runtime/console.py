"""Messages, tables and progress bars: coloured on a terminal, one plain line each in a file. Imports no torch."""

import os
import textwrap
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar

from rich.console import Console
from rich.text import Text

from trainer.errors import printable, reason_of
from trainer.runtime.files import open_regular
from trainer.runtime.stdio import append_log
from trainer.runtime.text import wrap

if TYPE_CHECKING:
    from rich.table import Table

Item = TypeVar("Item")

VALUE_COLUMN = 23  # letters before the values of a closing table
FILE_WIDTH = 10_000  # columns of a table in a file, which is searched by lines: nothing in it is wrapped
MAX_SECONDS = 1e13  # beyond it timedelta overflows

for _name in ("COLUMNS", "LINES"):  # as some supervisors set them; rich would print lines of no length
    if os.environ.get(_name, "").isdecimal() and not int(os.environ[_name]):
        del os.environ[_name]


def new_console(stderr: bool = False, file: IO[str] | None = None, width: int | None = None) -> Console:
    """Return a console of standard output or error, or of a file, that changes nothing in the texts."""
    # Not in a notebook's own way, which would make an HTML element of each line and ignore `file`.
    return Console(stderr=stderr, file=file, width=width, highlight=False, soft_wrap=True, force_jupyter=False)


out, err = new_console(), new_console(stderr=True)
_redrawn: list[Console] = []  # of tables that are being redrawn on the terminal


def on_screen(console: Console = out) -> bool:
    """Return whether the console writes to a terminal that can move its cursor.

    Not rich's `is_terminal`, which FORCE_COLOR sets for a file too: it asks for colours, not for animation.
    """
    return console.file.isatty() and not console.is_dumb_terminal


def say(message: str, style: str | None = None) -> None:
    """Print a message, which may have several lines, on standard output."""
    show_line(out, printable(message, keep="\n"), style or "")


def fail(error: Exception) -> None:
    """Print an error on standard error."""
    show_line(err, f"trainer: {printable(reason_of(error))}", "red")


def show_line(console: Console, line: str, style: str) -> None:
    """Print lines on a console, wrapped on a terminal, there above a table that is being redrawn."""
    # Only the console of the table knows that the lines below are to be drawn again: else it would draw over these.
    redrawn = _redrawn[-1:] if console._file is None and on_screen(console) else []
    # Not wrapped in a file, which is searched and counted by lines.
    text = Text(wrap(line, console.width) if console.file.isatty() else line, style)
    (redrawn or [console])[0].print(text)


@contextmanager
def redrawing(console: Console) -> Iterator[None]:
    """Print what is said meanwhile above the table that this console redraws on the terminal."""
    _redrawn.append(console)
    try:
        yield
    finally:
        _redrawn.remove(console)


@contextmanager
def logged_to(path: Path) -> Iterator[None]:
    """Append the output of the block to this file. Raises OSError if it is not a regular file."""
    before = current_files()
    with append_log(open_regular(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)) as file:
        set_files((file, file))
        try:
            yield
        finally:
            set_files(before)


@contextmanager
def silenced() -> Iterator[None]:
    """Drop what the block says on standard output; warnings on standard error remain."""
    before = current_files()
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        set_files((nowhere, before[1]))
        try:
            yield
        finally:
            set_files(before)


def current_files() -> tuple[IO[str] | None, IO[str] | None]:
    """Return the files that `logged_to` has set for both streams; None: follow those of the process."""
    return out._file, err._file


def set_files(files: tuple[IO[str] | None, IO[str] | None]) -> None:
    """Set what `current_files` returned."""
    out._file, err._file = files


def waiting(description: str) -> AbstractContextManager[object]:
    """Show a spinner while a block of a second or more runs; nothing in a file. Use as a context manager."""
    spinner = "dots" if err.encoding.startswith("utf") else "line"  # the dots have no stand-ins
    return err.status(description, spinner=spinner) if on_screen(err) else nullcontext()


def warn(message: str) -> None:
    """Print a warning on standard error."""
    show_line(err, f"trainer: warning: {printable(message)}", "yellow")


def progress(items: Iterable[Item], description: str) -> Iterator[Item]:
    """Yield the items and show a progress bar on the terminal; nothing in a file."""
    from rich.progress import track

    yield from track(items, description, console=err, transient=True, disable=not on_screen(err))


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
    """Print a table as wide as the terminal, or for a file."""
    # A console of its own for a file: rich gives no table more columns than the console has, and a file 80 of them.
    wide = out if out.file.isatty() else new_console(file=out.file, width=FILE_WIDTH)
    wide.print(table)


def show_columns(
    headings: Sequence[str], rows: Sequence[Sequence[str]], numbers: Collection[int], first: int = 0
) -> None:
    """Print a table of which a narrow terminal gets only the columns that fit, the first two in any case.

    `numbers`: the columns whose cells stand on the right. `first`: letters of the first column on one line, 0 for all;
    a longer name is folded, so that more columns fit.
    """
    titles = [headings[0], *("\n".join(textwrap.wrap(title, _heading_width(title))) for title in headings[1:])]
    # Two blanks separate the columns.
    widths = [max(map(len, (*title.split("\n"), *cells))) + 2 for title, *cells in zip(titles, *rows, strict=True)]
    widths[0] = min(widths[0], first + 2) if first else widths[0]
    fitting = [number for number in range(len(titles)) if sum(widths[: number + 1]) <= table_width() or number < 2]
    table = new_table(*((titles[number], "right" if number in numbers else "left") for number in fitting))
    for column in table.columns[1:]:
        column.no_wrap = True
    for row in rows:
        table.add_row(*(Text(printable(row[number])) for number in fitting))
    show_table(table)


def _heading_width(title: str) -> int:
    return max(14, min(30, max(map(len, title.split()), default=0)))  # the name of a setting is not divided


def table_width() -> int:
    """Return the columns that a table may have."""
    return out.width if out.file.isatty() else FILE_WIDTH
