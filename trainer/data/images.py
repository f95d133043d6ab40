"""What a data set is, wherever it came from."""

import hashlib
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Part = Literal["train", "test"]


@dataclass(frozen=True)
class Images:
    """Some images of a data set, which lies in memory once however many parts are made of it.

    whole: uint8 [M, C, H, W], every image of the data set. rows: [N], which of them these are; None: all.
    labels: int64 [N], indices into `classes`.
    """

    whole: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    rows: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        channels, height, width = self.whole.shape[1:]
        return channels, height, width

    @property
    def pixels(self) -> Tensor:
        """uint8 [N, C, H, W]: a copy where these are not all."""
        return self.whole if self.rows is None else self.whole[self.rows]

    def at(self, positions: Tensor) -> Tensor:
        """uint8 [B, C, H, W], a copy of the pixels at these positions among the N."""
        return self.whole[positions if self.rows is None else self.rows[positions]]

    def fingerprint(self) -> str:
        """16 digits of the SHA-256 of classes, labels and pixels, wherever they lie."""
        content = hashlib.sha256(" ".join(self.classes).encode())
        content.update(self.labels.cpu().numpy().tobytes())
        content.update(self.pixels.cpu().permute(0, 2, 3, 1).contiguous().numpy().data)
        return content.hexdigest()[:16]

    def select(self, positions: Tensor) -> "Images":
        """Some of these: other rows of the same data set."""
        positions = positions.to(self.labels.device)
        rows = positions if self.rows is None else self.rows[positions]
        return Images(self.whole, self.labels[positions], self.classes, rows)

    def to(self, device: torch.device) -> "Images":
        """On this device and channels last, which a gather and all that follows keep.

        Convolutions take 10–30 % less time so on a CPU.
        """
        whole = self.whole.to(device, memory_format=torch.channels_last)
        rows = None if self.rows is None else self.rows.to(device)
        return Images(whole, self.labels.to(device), self.classes, rows)
