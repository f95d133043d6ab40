"""The whole data set as uint8 on the device; a batch is one gather. No worker processes, no pictures in the loop."""

from collections.abc import Iterator

import torch
from torch import Tensor

from trainer.data.images import Images
from trainer.randomness import generator

EVALUATION_IMAGES = 2048  # per batch: as large as is fast; it changes no result


class Resident:
    """Images on a device, in batches: shuffled by (seed, epoch) to train on, in order to evaluate on."""

    def __init__(self, images: Images, batch_size: int, device: torch.device) -> None:
        # Channels last, which a gather and all that follows keep: convolutions take 10–30 % less time on a CPU.
        self.pixels = images.pixels.to(device, memory_format=torch.channels_last)
        self.labels = images.labels.to(device)
        self.batch_size = batch_size

    def __len__(self) -> int:
        """The number of training batches in an epoch."""
        return max(1, -(-len(self.labels) // self.batch_size) - self._lone_image())

    def batches(self, seed: int, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """(pixels [B, C, H, W] uint8, labels [B]); every image once an epoch, the last batch is smaller."""
        count = len(self.labels)
        order = torch.randperm(count, generator=generator(seed, "order", epoch)).to(self.labels.device)
        for step in range(len(self)):
            # Batch normalization cannot train on one image: a lone last one joins the batch before it.
            last = step == len(self) - 1
            chosen = order[step * self.batch_size : count if last else (step + 1) * self.batch_size]
            yield self.pixels[chosen], self.labels[chosen]

    def in_order(self) -> Iterator[tuple[Tensor, Tensor]]:
        yield from zip(self.pixels.split(EVALUATION_IMAGES), self.labels.split(EVALUATION_IMAGES), strict=True)

    def _lone_image(self) -> bool:
        return self.batch_size > 1 and len(self.labels) % self.batch_size == 1


def statistics(images: Images) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel, [C] each, on the scale where white is 1."""
    total = torch.zeros(images.shape[0], dtype=torch.float64)
    squares = torch.zeros_like(total)
    for part in images.pixels.split(4096):  # in parts: the whole set as float would be four times its size
        scaled = part.double() / 255
        total += scaled.sum((0, 2, 3))
        squares += scaled.square().sum((0, 2, 3))
    count = images.pixels.numel() / images.shape[0]
    mean = total / count
    std = (squares / count - mean.square()).clamp(min=0).sqrt()
    # A channel without any contrast is left as it is instead of being divided by zero.
    return mean.float(), torch.where(std > 1e-6, std, torch.ones_like(std)).float()
