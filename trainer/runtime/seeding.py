"""Seeds by purpose, so that a technique that is switched on does not change the draws of another. Imports no torch."""

import hashlib
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Generator, device

Purpose = Literal["init", "order", "augmentation", "dropout", "sweep", "halves"]


def derive(seed: int, purpose: Purpose, epoch: int = 0) -> int:
    """Return a 63-bit seed that depends on all three arguments. The split has its own seed, `split_seed`.

    A hash, because neighbouring seeds such as seed + epoch would give the same draws for different pairs.
    """
    digest = hashlib.sha256(f"{seed}/{purpose}/{epoch}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, purpose: Purpose, epoch: int, where: "device | str" = "cpu") -> "Generator":
    """Return the generator for one purpose in one epoch. A resumed run derives it again, so it is not saved."""
    import torch  # not at the top: a study derives seeds without it

    return torch.Generator(where).manual_seed(derive(seed, purpose, epoch))
