"""What is particular to a process that trains: how it loads torch, where its tensors lie, and how it ends.

Imports nothing heavy.
"""

import atexit
import contextlib
import ctypes
import gc
import os
import sys
from collections.abc import Callable, Iterator

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
BY_HAND = {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"}
LARGEST = 2**30  # bytes; what is larger goes back to the system as before


def configure_process() -> None:
    """How torch's threads wait and where its tensors lie; before torch is imported. What is set by hand stays."""
    # The threads wait for each other in a busy loop. Where the machine has other work to do they wait for long: two
    # trainings at once on two cores ran at a tenth of the speed of one. This many turns, told before torch is imported,
    # cost nothing alone and keep half the speed each (measured, libgomp, batch 512).
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    # glibc gets memory for each tensor of over 32 MB from the system and gives it back when the tensor is gone: every
    # step then touches all its pages anew. Kept, it takes a fifth off an epoch (measured, batch 2 048).
    if BY_HAND.isdisjoint(os.environ):
        with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
            library = ctypes.CDLL(None)
            # An older glibc takes 32 MB at most. If it takes neither, the other one stays as well: set alone, it would
            # freeze the first, which else grows by itself, at 128 kB.
            if any(library.mallopt(M_MMAP_THRESHOLD, size) for size in (LARGEST, 2**25)):
                library.mallopt(M_TRIM_THRESHOLD, LARGEST)


@contextlib.contextmanager
def gc_paused() -> Iterator[None]:
    """Around the imports of torch and what uses it: they make 300 000 objects, which stay.

    To look for garbage among them takes half a second, while they are made and later again.
    """
    atexit.register(gc.unfreeze)  # for an interpreter that takes them apart
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def run_and_exit(main: Callable[[], int]) -> None:
    """Run `main` as the only purpose of this process, and exit with the code that it returns.

    An interpreter that ends frees, one by one, the objects that torch's import has built: a second to free memory that
    the system takes back at once. The process therefore stops before that, after its threads have been joined and all
    exit handlers have run: the handler that is registered first is called last.
    """
    codes = list[int]()
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


def _stop(codes: list[int]) -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # closed, or its reader has gone
            stream.flush()
    if codes:  # none in a process that was forked meanwhile
        os._exit(codes[-1])
