"""Text for a terminal: wrapping, and one line for an error. Imports nothing heavy."""

import contextlib
import re
import shlex
import shutil
import sys
import textwrap

from trainer.errors import printable

# To the end of the line, to be copied; a sentence that follows makes it part of the text.
COMMAND = re.compile(r"(?:python -m trainer|wandb sync |pip install )(?:(?!\. [A-Z]).)*$")


def wrap(text: str, width: int, indent: int = 0) -> str:
    """The text broken between words for a terminal of this width, behind `indent` letters that stand there already.

    A folder is never broken, so that it can be copied. A command gets lines of its own, each but the last of them with
    the shell's mark that it goes on.
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
    """What stands at its end for the shell, if the shell could read it: a folder may be named with a lone quote."""
    found = COMMAND.search(line)
    with contextlib.suppress(ValueError):
        return found[0] if found and shlex.split(found[0]) else ""
    return ""


def _command_lines(command: str, width: int) -> list[str]:
    lines = [""]
    for word in re.findall(r"""(?:\\.|'[^']*'|"(?:\\.|[^"\\])*"|[^\s'"])+""", command):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width - 2:
            lines[-1] += " \\"
            lines.append(f"  {word}")
        else:
            lines[-1] += f" {word}" if lines[-1] else word
    return [line for line in lines if line]


def complain(message: str) -> None:
    """Tells it on standard error: one line, which a terminal shows broken between words. Imports nothing heavy."""
    told = f"trainer: {printable(message)}"
    print(wrap(told, shutil.get_terminal_size().columns) if sys.stderr.isatty() else told, file=sys.stderr)
