"""Memory: how much there is, running out of it, and returning what is free. Imports no torch."""

import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trainer.errors import OneLineError, RunError

# torch has an error type of its own for GPU memory alone. The last text is oneDNN's, which computes on CPUs.
NO_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "cannot allocate memory",
    "bad_alloc",
    "ALLOC_FAILED",
    "could not create a primitive",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether this error means that memory ran out."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"  # torch's, not imported here
    return named or any(text.lower() in str(error).lower() for text in NO_MEMORY)


def release_frames(error: BaseException) -> None:
    """Cut the traceback of an error, so that the tensors of the failed step are freed.

    They hang on the step's frames, and those on the traceback, which others hold as well.
    """
    trace = error.__traceback__
    while trace:
        trace.tb_next, trace = None, trace.tb_next


@contextmanager
def within_memory(advice: str = "End what else uses it, or try another device, such as device=cpu") -> Iterator[None]:
    """Raise RunError, one line in place of torch's page, when the enclosed code runs out of memory."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OneLineError) or not is_out_of_memory(error):
            raise
        release_frames(error)
        first = str(error).partition("\n")[0].split(". ")[:2]  # torch goes on with how the memory is divided up
        reason = "".join([": ", ". ".join(first).rstrip(".")] if any(first) else [])
        raise RunError(f"the memory ran out{reason}. {advice}") from None


@contextmanager
def skip_on_oom() -> Iterator[None]:
    """Leave the enclosed code, which a run can do without, when it runs out of memory."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        release_frames(error)
        release()


def release() -> None:
    """Free what nobody holds any more, on the GPU as well."""
    gc.collect()
    trim_heap()
    torch = sys.modules.get("torch")  # without it nothing lies on a GPU
    if torch and torch.cuda.is_available():
        torch.cuda.empty_cache()


def trim_heap() -> None:
    """Return to the system what is free of the memory that glibc keeps (see `process.configure_process`)."""
    with suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def physical_memory() -> int:
    """Return the memory of the machine in bytes, or of the container where that has less."""
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for limit in ("memory.max", "memory/memory.limit_in_bytes"):  # of control groups 2 and 1
        with suppress(OSError, ValueError):
            found.append(int(Path("/sys/fs/cgroup", limit).read_text()))
    return min(found)


def gigabytes(count: int) -> str:
    """Return a number of bytes as "1.5 GB"."""
    return f"{count / 1e9:.3g} GB"
