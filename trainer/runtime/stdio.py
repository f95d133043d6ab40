"""What is told where it cannot be written, as on a full disk, is lost; the work goes on. Imports nothing heavy."""

import contextlib
import io
import sys
from pathlib import Path
from typing import Any, TextIO

from trainer.runtime.text import complain


class _LossyFile(io.FileIO):
    """Takes what cannot be written for written. It is the lowest layer, so no buffer above it holds on to the rest.

    A pipe whose reader has gone raises BrokenPipeError as ever.
    """

    failure: OSError | None = None

    def write(self, content: Any) -> int:
        try:
            return super().write(content)
        except BrokenPipeError:
            raise
        except OSError as error:
            self.failure = error
            return memoryview(content).nbytes

    def close(self) -> None:
        with contextlib.suppress(OSError):  # a network's file system may tell of a full disk as late as this
            super().close()


_output: list[_LossyFile] = []  # what stands behind standard output since `endure`


def ignore_write_errors() -> None:
    """From here on standard output and error end no work by failing."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None or stream is not getattr(sys, f"__{name}__"):  # closed, or somebody else's: a test's
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
    """The exit code of a command whose result is what it has printed: 1, with a line, if some of that is lost."""
    if sys.stdout:
        sys.stdout.flush()
    for failure in (raw.failure for raw in _output):
        if failure:
            complain(f"standard output could not be written: {failure.strerror}")
            return 1
    return 0


def append_log(file: Path | int) -> TextIO:
    """The file, or its descriptor, to be written behind what is there."""
    return io.TextIOWrapper(io.BufferedWriter(_LossyFile(file, "a")), encoding="utf-8")
