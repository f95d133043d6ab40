"""How the program ends: when its work is done, not a second later. Imports nothing heavy."""

import atexit
import contextlib
import os
import sys
from collections.abc import Callable


def program(main: Callable[[], None]) -> None:
    """Runs `main` as all that this process is for.

    An interpreter that ends takes apart, one by one, what torch's import has built: a second to free memory that the
    system takes back at once. So it stops before that, with threads joined and everything done that was left for the
    exit: what is registered first is called last.
    """
    codes = list[int]()
    atexit.register(_stop, codes)
    code = 1  # of an error that nobody expected, whose traceback Python prints
    try:
        main()
        code = 0
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
