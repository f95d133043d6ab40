"""The mistakes and failures that are told to a person in one line, without a traceback."""

import contextlib
import re
import shlex
import shutil
import sys
import textwrap
from collections.abc import Iterator

LONGEST = 2000  # letters of a message
# To the end of the line, to be copied; a sentence that follows makes it part of the text.
COMMAND = re.compile(r"(?:python -m trainer|wandb sync |pip install )(?:(?!\. [A-Z]).)*$")
# torch has a type of its own for memory that ran out on a GPU alone; the last is oneDNN's, which computes on CPUs.
NO_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "cannot allocate memory",
    "bad_alloc",
    "ALLOC_FAILED",
    "could not create a primitive",
)


def printable(text: str, keep: str = "") -> str:
    """The text with "?" for whatever could command a terminal or fake a line; `keep`: what may stay nevertheless."""
    return "".join(letter if letter.isprintable() or letter in keep else "?" for letter in text)


def fitted(text: str, width: int, indent: int = 0) -> str:
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
    print(fitted(told, shutil.get_terminal_size().columns) if sys.stderr.isatty() else told, file=sys.stderr)


class _Told(Exception):
    def __str__(self) -> str:
        """One line, whatever stands in the file, folder or class name that is quoted in it, and not a page of it."""
        text = printable(super().__str__())
        return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} … {text[-LONGEST // 2 :]}"


class ConfigError(_Told, ValueError):
    """The command line or a YAML file is wrong; nothing has been read, trained or written. Exit code 2."""


class RunError(_Told, RuntimeError):
    """The run was asked for correctly and failed: data missing or altered, loss not finite. Exit code 1."""


class NonFiniteError(RunError):
    """A loss or a weight is NaN or infinite."""


class Evicted(KeyboardInterrupt):
    """The machine asked for it back by a signal; what there is has been saved. A study goes on by the same command.

    Exit code 75: EX_TEMPFAIL of sysexits.h, "try again later", which schedulers can be told to requeue on.
    """

    exit_code = 75


def ran_out(error: BaseException) -> bool:
    """Whether this error means that memory ran out. What the failed step holds is let go of then.

    The step's tensors hang on its frames, and those on the traceback, which others hold as well: it is cut.
    """
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"  # torch's; it is not imported
    short = named or any(words.lower() in str(error).lower() for words in NO_MEMORY)
    trace = error.__traceback__ if short else None
    while trace:
        trace.tb_next, trace = None, trace.tb_next
    return short


@contextlib.contextmanager
def within_memory(advice: str = "End what else uses it, or try another device, such as device=cpu") -> Iterator[None]:
    """Around what may need more memory than there is. Raises RunError then: one line in place of torch's page."""
    try:
        yield
    except Exception as error:
        if isinstance(error, _Told) or not ran_out(error):
            raise
        first = str(error).partition("\n")[0].split(". ")[:2]  # torch goes on with how it is divided up
        reason = "".join([": ", ". ".join(first).rstrip(".")] if any(first) else [])
        raise RunError(f"the memory ran out{reason}. {advice}") from None
