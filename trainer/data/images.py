"""`Images`: pixels, labels and classes of a data set or of a part of it.

A data set of one's own is a function `(data_dir: Path, part: Part, *, …) -> Images`, which ends in `Images.of(…)`.
"""

import contextlib
import hashlib
import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor

from trainer.data.values import labels_of, pixels_of
from trainer.errors import ConfigError

Part = Literal["train", "test"]
Shape = tuple[int, int, int]  # (C, H, W)


@dataclass(frozen=True)
class Images:
    """N images out of the M of a data set, whose pixels are in memory once for all parts made of it.

    `storage`: [M, C, H, W], all pixels of the data set, uint8 or float32 of any range. `indices`: int64 [N], the rows
    of `storage`; None: all.
    `labels`: int64 [N], indices into `classes`. `mapping`: the memory-mapped file behind `storage`, if there is one.
    `own_validation`: the number of images at the end that the data set itself keeps for validation.
    """

    storage: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    indices: Tensor | None = None
    mapping: mmap.mmap | None = None
    own_validation: int = 0

    @staticmethod
    def of(pixels: Any, labels: Any, classes: Sequence[str], own_validation: int = 0) -> "Images":
        """Return images of NumPy arrays or tensors, whose values are kept as they are.

        `pixels`: [N, C, H, W], or [N, H, W] for grey images. uint8 stays bytes, 0 black and 255 white; floats and
        other whole numbers become float32 and are scaled by the mean and deviation of the training images.
        `labels`: whole numbers [N] or [N, 1], indices into `classes`. `own_validation`: how many images at the end are
        to be validated on, instead of a split. Raises ConfigError for what is neither.
        """
        tensor = pixels_of(pixels)
        if tensor.ndim == 3:
            tensor = tensor[:, None]
        if tensor.ndim != 4:
            raise ConfigError(f"pixels: an array {list(tensor.shape)}, where [N, C, H, W] or [N, H, W] is expected")
        return Images(tensor, labels_of(labels), tuple(map(str, classes)), own_validation=own_validation)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        channels, height, width = self.storage.shape[1:]
        return channels, height, width

    @property
    def pixels(self) -> Tensor:
        """The pixels of the N images, [N, C, H, W]: a copy unless they are the whole data set."""
        return self.storage if self.indices is None else self.storage[self.indices]

    def at(self, positions: Tensor) -> Tensor:
        """Return a copy of the pixels of B images, [B, C, H, W], given by their positions [B] among the N."""
        return self.storage[positions if self.indices is None else self.indices[positions]]

    @property
    def are_bytes(self) -> bool:
        """True if the pixels are uint8, 0 black and 255 white; False for floats of a range of their own."""
        return self.storage.dtype == torch.uint8

    @cached_property
    def value_range(self) -> tuple[float, float]:
        """The values of black and white: 0 and 255 of bytes, the lowest and the highest of floats; NaN if one is NaN.

        Of the training images it is the range that augmentation and pictures of these images map to 0 … 1.
        """
        if self.are_bytes:
            return 0.0, 255.0
        if self.indices is None:
            bounds = torch.stack(self.storage.aminmax())[:, None]
        else:  # in parts: the selected images would take as much memory again
            parts = self.indices.split(1024)
            bounds = torch.stack([torch.stack(self.storage[part].aminmax()) for part in parts], 1)
        return float(bounds[0].amin()), float(bounds[1].amax())

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
