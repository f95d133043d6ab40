"""What a data set is, wherever it came from."""

import contextlib
import hashlib
import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Part = Literal["train", "test"]
Shape = tuple[int, int, int]  # (C, H, W)


@dataclass(frozen=True)
class Images:
    """Some images of a data set, which lies in memory once however many parts are made of it.

    storage: uint8 [M, C, H, W], every image of the data set. indices: [N], which of them these are; None: all.
    labels: int64 [N], indices into `classes`. mapping: the memory-mapped file behind `storage`, if it is one.
    """

    storage: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    indices: Tensor | None = None
    mapping: mmap.mmap | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        channels, height, width = self.storage.shape[1:]
        return channels, height, width

    @property
    def pixels(self) -> Tensor:
        """uint8 [N, C, H, W]: a copy where these are not all."""
        return self.storage if self.indices is None else self.storage[self.indices]

    def at(self, positions: Tensor) -> Tensor:
        """uint8 [B, C, H, W], a copy of the pixels at these positions among the N."""
        return self.storage[positions if self.indices is None else self.indices[positions]]

    @contextlib.contextmanager
    def in_turn(self) -> Iterator[None]:
        """Around a pass from the first image to the last: of a mapped file the system reads ahead, as it must not where
        a batch takes images from all over it."""
        self._advise("MADV_SEQUENTIAL")
        try:
            yield
        finally:
            self._advise("MADV_RANDOM")

    def _advise(self, advice: str) -> None:
        if self.mapping is not None and hasattr(mmap, advice):
            self.mapping.madvise(getattr(mmap, advice))

    def fingerprint(self) -> str:
        """16 digits of the SHA-256 of classes, labels and pixels, wherever they lie."""
        content = hashlib.sha256(" ".join(self.classes).encode())
        content.update(self.labels.cpu().numpy().tobytes())
        with self.in_turn():
            content.update(self.pixels.cpu().permute(0, 2, 3, 1).contiguous().numpy().data)
        return content.hexdigest()[:16]

    def select(self, positions: Tensor) -> "Images":
        """Some of these: other rows of the same data set."""
        positions = positions.to(self.labels.device)
        indices = positions if self.indices is None else self.indices[positions]
        return Images(self.storage, self.labels[positions], self.classes, indices, self.mapping)

    def to(self, device: torch.device) -> "Images":
        """On this device and channels last, which a gather and all that follows keep.

        Convolutions take 10–30 % less time so on a CPU.
        """
        with self.in_turn():
            # Reordered where they lie: on the way to another device that would take their memory there twice.
            storage = self.storage.to(memory_format=torch.channels_last).to(device)
        indices = None if self.indices is None else self.indices.to(device)
        return Images(
            storage, self.labels.to(device), self.classes, indices, self.mapping if storage is self.storage else None
        )
