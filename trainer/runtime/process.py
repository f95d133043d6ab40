"""The settings of a process that trains: threads, memory allocator, imports, and a fast exit. Imports no torch."""

import atexit
import contextlib
import ctypes
import gc
import os
import sys
from collections.abc import Callable, Iterator

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
MALLOC_VARIABLES = {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"}
PRELOADING = ("LD_PRELOAD", "LD_AUDIT", "DYLD_INSERT_LIBRARIES")
MAX_MMAP_BYTES = 2**30  # larger blocks are still returned to the system when they are freed


def configure_process() -> None:
    """Set how torch's threads wait and how its memory is kept. Call it before torch is imported.

    Environment variables that the user has set are respected.
    """
    # OpenMP threads wait for each other in a busy loop, which takes the cores from other processes: two trainings at
    # once on two cores ran at a tenth of the speed of one. With this many turns, which libgomp reads when it is loaded,
    # each ran at half the speed, and one alone as fast as before (measured, batch 512).
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    # glibc maps the memory of each tensor of over 32 MB anew and unmaps it when the tensor is freed, so every step has
    # a page fault for each of its pages. An epoch takes a fifth less time if the memory is kept (measured, batch 2
    # 048).
    if MALLOC_VARIABLES.isdisjoint(os.environ):
        with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
            library = ctypes.CDLL(None)
            # glibc before 2.35 accepts at most 32 MB. If both sizes are refused, the trim threshold is left alone too:
            # setting it would stop the growth of the mmap threshold at its initial 128 kB (man mallopt).
            if any(library.mallopt(M_MMAP_THRESHOLD, size) for size in (MAX_MMAP_BYTES, 2**25)):
                library.mallopt(M_TRIM_THRESHOLD, MAX_MMAP_BYTES)


@contextlib.contextmanager
def gc_paused() -> Iterator[None]:
    """Pause garbage collection while the block imports torch.

    The imports create 300 000 objects that live as long as the process. Searching them for garbage takes half a second
    during the import, and again in later collections; freezing them excludes them from those.
    """
    atexit.register(gc.unfreeze)  # an interpreter that shuts down normally frees them
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def run_and_exit(main: Callable[[], int]) -> None:
    """Run `main` and exit with the code that it returns, without freeing the objects of torch one by one.

    An interpreter that shuts down spends a second on them, though the system reclaims the memory at once. The process
    therefore ends by `os._exit` in an exit handler, after its threads have been joined. That handler runs last,
    because it is registered first. Where others wait for the exit already, the process ends in the ordinary way.
    """
    codes = list[int]()
    if not _others_wait_for_exit():
        atexit.register(_stop, codes)
    code = 1  # for an unexpected error, whose traceback Python prints
    try:
        code = main()
        sys.exit(code)
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
        raise
    finally:
        codes.append(code)


def _others_wait_for_exit() -> bool:
    """Return whether something that was loaded before this program may act when the process exits.

    Handlers registered before ours run after it: those of coverage, tracers, `sitecustomize`. A preloaded library may
    have handlers of the C library, which `os._exit` skips.
    """
    return atexit._ncallbacks() > 0 or any(os.environ.get(name) for name in PRELOADING)


def _stop(codes: list[int]) -> None:
    # os._exit flushes nothing.
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # closed, or its reader has gone
            stream.flush()
    if codes:  # empty in a process forked while `main` runs
        os._exit(codes[-1])
