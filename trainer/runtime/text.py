"""Text for a terminal: wrapping, and errors of one line. Imports no torch."""

import contextlib
import functools
import re
import shlex
import shutil
import sys
import textwrap
from collections.abc import Iterable

from trainer.errors import printable

LONGEST_NAME = 255  # letters, of a file on all usual systems
WORD_ENDS = re.compile(r"[\s\"'/]")
# A command at the end of a line, to be copied; one that a sentence follows is part of the text.
COMMAND = re.compile(r"(?:python -m trainer|wandb sync |pip install )(?:(?!\. [A-Z]).)*$")


def wrap(text: str, width: int, indent: int = 0) -> str:
    """Return the text broken between words for a terminal of this width.

    `indent` letters stand before it on the first line and are left free on the others. A path is never broken, so that
    it can be copied. A command gets lines of its own, which end with the shell's backslash except for the last.
    """
    lines = []
    for line in text.split("\n"):
        if indent + len(line) <= width:
            lines.append(line)
            continue
        command = _command_in(line)
        words = line.removesuffix(command)
        margin = words[: len(words) - len(words.lstrip())]
        lines += textwrap.wrap(
            words, max(width - indent, 10), break_long_words=False, break_on_hyphens=False, subsequent_indent=margin
        )
        lines += _command_lines(command, max(width - indent, 10))
    return f"\n{' ' * indent}".join(lines)


def _command_in(line: str) -> str:
    """Return the command at the end of a line, "" if there is none that the shell could read."""
    match = COMMAND.search(line)
    with contextlib.suppress(ValueError):  # the name of a folder may hold a lone quote
        return match[0] if match and shlex.split(match[0]) else ""
    return ""


def _command_lines(command: str, width: int) -> list[str]:
    lines = [""]
    # Words of the shell: backslash and letter, quoted text, or anything else without spaces.
    for word in re.findall(r"""(?:\\.|'[^']*'|"(?:\\.|[^"\\])*"|[^\s'"])+""", command):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width - 2:
            lines[-1] += " \\"
            lines.append(f"  {word}")
        else:
            lines[-1] += f" {word}" if lines[-1] else word
    return [line for line in lines if line]


def undecoded(text: str) -> str | None:
    """Return a sentence about the first word that holds bytes which the locale could not read, None without one.

    Python keeps such bytes of a file's name or an argument as surrogates, which no file and no terminal accepts.
    """
    place = re.search("[\ud800-\udfff]", text)
    if not place:
        return None
    # The word around it, in two parts: one pattern for all of it takes the square of the length of a word, and the
    # text of a report has words of megabytes.
    before, after = text[max(0, place.start() - LONGEST_NAME) : place.start()], text[place.start() :][:LONGEST_NAME]
    word = WORD_ENDS.split(before)[-1] + WORD_ENDS.split(after)[0]
    encoding = sys.getfilesystemencoding()
    remedy = "Rename it in UTF-8" if encoding == "utf-8" else "Set LC_ALL=C.UTF-8"
    return f"{printable(word)}: this name cannot be read in the locale's encoding, {encoding}. {remedy}"


def counted(number: int, one: str, many: str = "") -> str:
    """Return the number with the noun in the singular or plural; `many`: where the plural has no plain s."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def file_size(count: int) -> str:
    """Return a number of bytes as a person reads it: "1.2 GB"."""
    size, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 999.5 or unit == "TB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" or size >= 99.5 else f"{size:.2g} {unit}"


def slug(words: Iterable[str]) -> str:
    """Return the words joined by underscores: letters, digits, dots, plus signs and dashes, at most 60 characters."""
    plain_words = [re.sub(r"[^A-Za-z0-9.+]+", "-", word).strip("-.") for word in words]
    # File systems allow 255 bytes in a name; what makes the name unique follows.
    return "_".join(word for word in plain_words if word)[:60].strip("-_.")


@functools.cache
def complain_once(message: str) -> None:
    """Print a warning on standard error once, of what a command reads several times."""
    complain(f"warning: {message}")


def complain(message: str) -> None:
    """Print an error on standard error, as `console.fail` does, without importing rich."""
    line = f"trainer: {printable(message)}"
    print(wrap(line, shutil.get_terminal_size().columns) if sys.stderr.isatty() else line, file=sys.stderr)
