"""Memory: its size, errors when it runs out, and the release of what is free. Imports no torch."""

import ctypes
import gc
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trainer.errors import OneLineError, RunError

CONTROL_GROUP = Path("/sys/fs/cgroup")  # holds the limits of a container, as seen from within

# torch has an error type for GPU memory only; on a CPU it raises RuntimeError with one of these texts. The last one is
# that of oneDNN, which computes convolutions there; for a layer that cannot be, it says "a primitive descriptor".
OUT_OF_MEMORY_TEXTS = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "cannot allocate memory",
    "bad_alloc",
    "ALLOC_FAILED",
    "could not create a primitive(?! descriptor)",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether this error means that memory ran out."""
    # By name, as torch is not imported here.
    by_type = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return by_type or any(re.search(text, str(error), re.IGNORECASE) for text in OUT_OF_MEMORY_TEXTS)


def release_frames(error: BaseException) -> None:
    """Cut the traceback of an error, so that the tensors of the failed step are freed.

    The traceback holds the frames, the frames hold the tensors. Deleting `error.__traceback__` is not enough, because
    other objects hold the traceback as well.
    """
    trace = error.__traceback__
    while trace:
        trace.tb_next, trace = None, trace.tb_next


@contextmanager
def within_memory(
    advice: str = "Stop other programs that use it, or try another device, such as device=cpu",
) -> Iterator[None]:
    """Raise RunError with one line and this advice if the block runs out of memory."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OneLineError) or not is_out_of_memory(error):
            raise
        release_frames(error)
        first = str(error).partition("\n")[0].split(". ")[:2]  # torch appends allocator statistics
        reason = "".join([": ", ". ".join(first).rstrip(".")] if any(first) else [])
        raise RunError(f"the memory ran out{reason}. {advice}") from None


@contextmanager
def skip_on_oom() -> Iterator[None]:
    """Abandon the block, which a run can do without, if it runs out of memory."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        release_frames(error)
        release()


def release() -> None:
    """Free memory that is no longer referenced, on the GPU as well."""
    gc.collect()
    trim_heap()
    torch = sys.modules.get("torch")  # not imported: no tensor lies on a GPU
    if torch and torch.cuda.is_available():
        torch.cuda.empty_cache()


def trim_heap() -> None:
    """Return the free memory that glibc keeps (see `process.configure_process`) to the system."""
    with suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def physical_memory() -> int:
    """Return the memory of the machine in bytes, or the limit of its container if that is lower."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for file in ("memory.max", "memory/memory.limit_in_bytes"):  # of control groups, version 2 and 1
        with suppress(OSError, ValueError):  # absent, or "max"
            limits.append(int((CONTROL_GROUP / file).read_text()))
    return min(limits)


def gigabytes(count: int) -> str:
    """Return a number of bytes as "1.5 GB"."""
    return f"{count / 1e9:.3g} GB"
