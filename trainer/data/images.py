"""`Images`: pixels, labels and classes of a data set or of a part of it."""

import contextlib
import hashlib
import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

Part = Literal["train", "test"]
Shape = tuple[int, int, int]  # (C, H, W)


@dataclass(frozen=True)
class Images:
    """N images out of the M of a data set, whose pixels are in memory once for all parts made of it.

    `storage`: uint8 [M, C, H, W], all pixels of the data set. `indices`: int64 [N], the rows of `storage`; None: all.
    `labels`: int64 [N], indices into `classes`. `mapping`: the memory-mapped file behind `storage`, if there is one.
    `own_validation`: the number of images at the end that the data set itself keeps for validation.
    """

    storage: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    indices: Tensor | None = None
    mapping: mmap.mmap | None = None
    own_validation: int = 0

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        channels, height, width = self.storage.shape[1:]
        return channels, height, width

    @property
    def pixels(self) -> Tensor:
        """The pixels of the N images, uint8 [N, C, H, W]: a copy unless they are the whole data set."""
        return self.storage if self.indices is None else self.storage[self.indices]

    def at(self, positions: Tensor) -> Tensor:
        """Return a copy of the pixels of B images, uint8 [B, C, H, W], given by their positions [B] among the N."""
        return self.storage[positions if self.indices is None else self.indices[positions]]

    def spread(self, count: int) -> Tensor:
        """Return the positions of `count` images, or of all, at even distances: an image folder is sorted by class."""
        positions = torch.linspace(0, len(self) - 1, min(count, len(self)), dtype=torch.float64).long()
        return positions.to(self.labels.device)

    @contextlib.contextmanager
    def in_turn(self) -> Iterator[None]:
        """Let the system read a mapped file ahead while the block reads the images from first to last.

        Otherwise it must not: a batch takes images from all over the file, and reading ahead around each would read
        thousands of times as much.
        """
        self._advise("MADV_SEQUENTIAL")
        try:
            yield
        finally:
            self._advise("MADV_RANDOM")

    def _advise(self, advice: str) -> None:
        if self.mapping is not None and hasattr(mmap, advice):
            self.mapping.madvise(getattr(mmap, advice))

    def class_counts(self) -> dict[str, int]:
        """Return the number of images of each class."""
        return dict(zip(self.classes, self.labels.bincount(minlength=len(self.classes)).tolist(), strict=True))

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of the SHA-256 of classes, labels and pixels, the same on every device."""
        content = hashlib.sha256(" ".join(self.classes).encode())
        content.update(str(self.own_validation or "").encode())
        content.update(self.labels.cpu().numpy().tobytes())
        with self.in_turn():
            # [N, H, W, C], the order in memory (see `to`), so that no copy is made.
            content.update(self.pixels.cpu().permute(0, 2, 3, 1).contiguous().numpy().data)
        return content.hexdigest()[:16]

    def select(self, positions: Tensor) -> "Images":
        """Return the images at these positions, which share the pixels of the data set."""
        positions = positions.to(self.labels.device)
        indices = positions if self.indices is None else self.indices[positions]
        return Images(self.storage, self.labels[positions], self.classes, indices, self.mapping)

    def to(self, device: torch.device) -> "Images":
        """Return the images on a device, with pixels in channels-last order, [N, H, W, C] in memory.

        A gather and all layers keep that order, in which convolutions take 10–30 % less time on a CPU.
        """
        with self.in_turn():
            # Reordered before the transfer: on the device that would need the memory twice.
            storage = self.storage.to(memory_format=torch.channels_last).to(device)
        indices = None if self.indices is None else self.indices.to(device)
        mapping = self.mapping if storage is self.storage else None
        return Images(storage, self.labels.to(device), self.classes, indices, mapping, self.own_validation)
