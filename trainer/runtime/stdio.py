"""Standard output and logs whose write errors, as on a full disk, do not end the process. Imports no torch."""

import contextlib
import io
import sys
from pathlib import Path
from typing import Any, TextIO

from trainer.runtime.text import complain


class _LossyFile(io.FileIO):
    """A file that drops what cannot be written and keeps the error in `failure`.

    The lowest layer of a stream, so that no buffer above it keeps the rest and fails again. A pipe whose reader has
    gone still raises BrokenPipeError.
    """

    failure: OSError | None = None

    def write(self, content: Any) -> int:
        try:
            return super().write(content)
        except BrokenPipeError:
            raise
        except OSError as error:
            self.failure = error
            return memoryview(content).nbytes  # "all written": a smaller number would be retried

    def close(self) -> None:
        with contextlib.suppress(OSError):  # a network file system may report a full disk as late as this
            super().close()


_output: list[_LossyFile] = []  # the file of standard output since `ignore_write_errors`


def ignore_write_errors() -> None:
    """Drop what cannot be written to standard output and error from here on."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None or stream is not getattr(sys, f"__{name}__"):  # closed, or replaced, as by a test
            continue
        with contextlib.suppress(OSError):
            stream.flush()
        raw = _LossyFile(stream.fileno(), "w", closefd=False)
        buffer: Any = raw if stream.write_through else io.BufferedWriter(raw)  # the former under python -u
        text = io.TextIOWrapper(
            buffer,
            stream.encoding,
            stream.errors,
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )
        setattr(sys, name, text)
        if name == "stdout":
            _output.append(raw)


def stdout_exit_code() -> int:
    """Return the exit code of a command whose result is its output: 1, with a message, if some of it is lost."""
    if sys.stdout:
        sys.stdout.flush()
    for failure in (raw.failure for raw in _output):
        if failure:
            complain(f"standard output could not be written: {failure.strerror}")
            return 1
    return 0


def append_log(file: Path | int) -> TextIO:
    """Open a file, given by its path or descriptor, to append text without write errors."""
    return io.TextIOWrapper(io.BufferedWriter(_LossyFile(file, "a")), encoding="utf-8")
