"""What a data set is, wherever it came from."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Part = Literal["train", "test"]


@dataclass(frozen=True)
class Images:
    """pixels: uint8 [N, C, H, W]; labels: int64 [N], indices into `classes`."""

    pixels: Tensor
    labels: Tensor
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        channels, height, width = self.pixels.shape[1:]
        return channels, height, width

    def select(self, indices: Tensor) -> "Images":
        """A copy of some of them, channels last in memory: `Resident` takes it over as it is."""
        pixels = self.pixels[indices].contiguous(memory_format=torch.channels_last)
        return Images(pixels, self.labels[indices], self.classes)
