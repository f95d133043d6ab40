"""What a data set is, wherever it came from."""

from dataclasses import dataclass
from typing import Literal

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
        return Images(self.pixels[indices], self.labels[indices], self.classes)
