"""Seeds derived for each purpose, so that switching one technique on does not change what another one draws."""

import hashlib
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Generator, device

Purpose = Literal["init", "order", "augmentation", "dropout", "sweep"]


def derive(seed: int, purpose: Purpose, epoch: int = 0) -> int:
    """A 63-bit seed that depends on all three; the split has a seed of its own (`split_seed`)."""
    digest = hashlib.sha256(f"{seed}/{purpose}/{epoch}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, purpose: Purpose, epoch: int, where: "device | str" = "cpu") -> "Generator":
    """A generator for one purpose in one epoch: nothing to save, a resumed run derives it again."""
    import torch  # late: the seeds alone need none of it

    return torch.Generator(where).manual_seed(derive(seed, purpose, epoch))
