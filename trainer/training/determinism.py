"""`deterministic=true`: the same bits in every run, also on a GPU, which may sum in another order each time."""

import contextlib
import re
from collections.abc import Iterator

import torch

from trainer.errors import RunError


@contextlib.contextmanager
def deterministic_mode(deterministic: bool) -> Iterator[None]:
    """Allow torch only deterministic operations while the block runs, if `deterministic`.

    Raises RunError for an operation that has no deterministic implementation. The settings are global to the process
    and restored afterwards, because other runs share it.
    """
    if not deterministic:
        yield
        return
    algorithms, benchmark = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False  # it chooses algorithms by measured time, which varies
    try:
        yield
    except RuntimeError as error:
        if message := _not_deterministic(str(error)):
            raise RunError(message) from None
        raise
    finally:
        torch.use_deterministic_algorithms(algorithms)
        torch.backends.cudnn.benchmark = benchmark


def _not_deterministic(text: str) -> str | None:
    """Return torch's error in one line, None if it is another error."""
    if operation := re.search(r"(\S+) does not have a deterministic implementation", text):
        return (
            f"deterministic=true: {operation[1]} has no deterministic implementation on this device. Leave out the"
            " technique that needs it, or deterministic=true"
        )
    if "CUBLAS_WORKSPACE_CONFIG" in text:
        return "deterministic=true: CUBLAS_WORKSPACE_CONFIG in the environment must be :4096:8, :16:8 or unset"
    return None
