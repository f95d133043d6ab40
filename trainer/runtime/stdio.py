"""Standard output and logs that never end the process: full disks, closed streams, narrow encodings. Imports no torch.

A character that the encoding of a stream lacks gets a stand-in: "×" is shown as "x" on a terminal for ASCII.
"""

import codecs
import contextlib
import io
import os
import re
import select
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from trainer.runtime.text import complain

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
STAND_IN = "stand-in"  # the error handler of this module, as the codecs know it
SIGNS = {
    **dict.fromkeys("—–−‐‑━╸╺─▇█", "-"),
    **dict.fromkeys("‘’′", "'"),
    **dict.fromkeys("“”„", '"'),
    "·": ".",
    "•": "*",
    "×": "x",
    "±": "+-",
    "→": "->",
    "←": "<-",
    "↓": "v",
    "↑": "^",
    "≤": "<=",
    "≥": ">=",
    "≠": "!=",
    "≈": "~",
    "√": "sqrt",
    "∞": "inf",
    "‖": "||",
    "⌊": "floor(",
    "⌋": ")",
    "ß": "ss",
    "λ": "lambda",  # Unicode's own name for it is LAMDA
}


def stand_in(character: str) -> str:
    """Return ASCII text in place of a character: a similar sign, the name of a Greek letter, a letter, or "?"."""
    if character in SIGNS:
        return SIGNS[character]
    name = unicodedata.name(character, "")
    if name.startswith("GREEK ") and " LETTER " in name:
        word = name.rpartition(" LETTER ")[2].partition(" ")[0]
        return word.capitalize() if "CAPITAL" in name else word.lower()
    if unicodedata.combining(character):
        return ""
    # The letter without its accent, the digit of an exponent.
    return unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode() or "?"


def _encode_stand_ins(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(stand_in, error.object[error.start : error.end])), error.end


codecs.register_error(STAND_IN, _encode_stand_ins)


class _LossyFile(io.FileIO):
    """A file that drops what cannot be written and keeps the error in `failure`.

    The lowest layer of a stream, so that no buffer above it keeps the rest and fails again. A pipe whose reader has
    gone still raises BrokenPipeError.
    """

    failure: OSError | None = None

    def write(self, content: Any) -> int:
        try:
            # None: a pipe that is full and does not wait by itself, as ssh and some supervisors pass it on.
            while (written := super().write(content)) is None:
                select.select([], [self], [])
            return written
        except BrokenPipeError:
            raise
        except OSError as error:
            self.failure = error
            return memoryview(content).nbytes  # "all written": a smaller number would be retried

    def close(self) -> None:
        with contextlib.suppress(OSError):  # a network file system may report a full disk as late as this
            super().close()


_output: list[_LossyFile] = []  # the file of standard output since `protect_streams`


def protect_streams() -> None:
    """Make standard output and error safe to write to from here on, whatever they are.

    What cannot be written is dropped, a character without an encoding gets a stand-in, and a closed stream leads
    nowhere.
    """
    _open_closed_streams()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not getattr(sys, f"__{name}__"):  # replaced, as by a test
            continue
        with contextlib.suppress(OSError):
            stream.flush()
        raw = _LossyFile(stream.fileno(), "w", closefd=False)
        buffer: Any = raw if stream.write_through else io.BufferedWriter(raw)  # the former under python -u
        text = io.TextIOWrapper(
            buffer,
            stream.encoding,
            # The last two are Python's own choice; another one was made by the user (PYTHONIOENCODING).
            STAND_IN if stream.errors in ("strict", "surrogateescape", "backslashreplace") else stream.errors,
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )
        setattr(sys, name, text)
        if name == "stdout":
            _output.append(raw)


def _open_closed_streams() -> None:
    """Let closed standard streams lead to the null device.

    Otherwise the next file to be opened, such as a checkpoint, would get the number of the stream, and with it whatever
    a library or a child process prints there.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            number = os.open(os.devnull, os.O_RDWR)  # the lowest that is free: that of this stream
            os.set_inheritable(number, True)
            stream = io.TextIOWrapper(io.FileIO(number, mode), encoding="utf-8")
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


def holds_unicode() -> bool:
    """Return whether standard output can show every character, so that data need no escapes."""
    return (getattr(sys.stdout, "encoding", None) or "utf-8").lower().startswith("utf")


def stdout_failure() -> OSError | None:
    """Return why some of standard output is lost, None if all was written."""
    if sys.stdout:
        sys.stdout.flush()
    return next((raw.failure for raw in _output if raw.failure), None)


def stdout_exit_code() -> int:
    """Return the exit code of a command whose result is its output: 1, with a message, if some of it is lost."""
    if failure := stdout_failure():
        complain(f"standard output could not be written: {failure.strerror}")
    return 1 if failure else 0


class _Log(io.TextIOWrapper):
    """A text file without colours: rich chooses them once for a console, before its output goes to a log."""

    def write(self, text: str) -> int:
        return super().write(COLOURS.sub("", text))


def append_log(file: Path | int) -> TextIO:
    """Open a file, given by its path or descriptor, to append text without write errors and colours."""
    return _Log(io.BufferedWriter(_LossyFile(file, "a")), encoding="utf-8", errors=STAND_IN)


@contextlib.contextmanager
def stderr_dropped() -> Iterator[None]:
    """Give the processes that are started in the block no terminal to write their own messages on."""
    sys.stderr.flush()
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)
