"""The same numbers again: one seed for each purpose, so that switching one technique on does not change those that
another one draws, and `deterministic=true` for the operations that a GPU may add up in another order each time."""

import contextlib
import re
from collections.abc import Iterator

import torch

from trainer.errors import RunError


@contextlib.contextmanager
def deterministic_mode(deterministic: bool) -> Iterator[None]:
    """Within it torch computes, if `deterministic`, only what comes to the same bits each time.

    The setting is the process's, which other runs share: it is put back. Raises RunError for an operation that has no
    such form.
    """
    if not deterministic:
        yield
        return
    before, stopwatch = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False  # it chooses a convolution's algorithm by how long each took
    try:
        yield
    except RuntimeError as error:
        if told := _not_deterministic(str(error)):
            raise RunError(told) from None
        raise
    finally:
        torch.use_deterministic_algorithms(before)
        torch.backends.cudnn.benchmark = stopwatch


def _not_deterministic(text: str) -> str | None:
    """torch's complaint in one line; None if it is another one."""
    if operation := re.search(r"(\S+) does not have a deterministic implementation", text):
        return (
            f"deterministic=true: {operation[1]} has no deterministic form on this device. Leave out the technique that"
            " needs it, or deterministic=true"
        )
    if "CUBLAS_WORKSPACE_CONFIG" in text:
        return "deterministic=true: needs CUBLAS_WORKSPACE_CONFIG=:4096:8 or :16:8 in the environment, or it left unset"
    return None
