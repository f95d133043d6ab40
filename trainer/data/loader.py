"""The whole data set as uint8 on the device; a batch is one gather. No worker processes, no pictures in the loop."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from trainer.config.schema import Choice
from trainer.data.images import Images
from trainer.errors import ConfigError
from trainer.runtime.memory import gigabytes, release
from trainer.runtime.seeding import generator

# A batch to evaluate on: as many images as are fast, and of large ones fewer, for they may not fit where training does.
# It changes no result.
EVALUATION_IMAGES, EVALUATION_VALUES = 2048, 2048 * 3 * 32 * 32

_held: dict[str, Images] = {}  # the data set that was read last: the jobs of a multirun share it


def load(dataset: Choice, data_dir: Path, device: torch.device) -> Images:
    """The training part on the device, read once in a process. Raises ConfigError if it does not fit there."""
    key = f"{dataset.name} {dataset.options} {data_dir.absolute()} {device}"
    if key not in _held:
        _held.clear()
        images = dataset.function()(data_dir, "train")
        _refuse_too_large(images, device)
        _held[key] = images.to(device)
    return _held[key]


def _refuse_too_large(images: Images, device: torch.device) -> None:
    """Compares the images' own bytes with what is free: of a step that finds no room beside them memory.py tells."""
    if device.type != "cuda":
        return  # the memory of the machine: they are in it, or a mapped file
    release()  # of the run before this one torch keeps blocks, which count as used
    needed, (free, _) = images.storage.numel(), torch.cuda.mem_get_info(device)
    if needed > free:
        raise ConfigError(
            f"{len(images)} images {'×'.join(map(str, images.shape))} need {gigabytes(needed)} on {device}, which has"
            f" {gigabytes(free)} free. Use fewer or smaller ones (dataset.image_size), or device=cpu"
        )


class DeviceLoader:
    """Images on a device, in batches: shuffled by (seed, epoch) to train on, in order to evaluate on."""

    def __init__(self, images: Images, batch_size: int, device: torch.device) -> None:
        self.images = images.to(device)
        self.labels = self.images.labels
        self.batch_size = batch_size

    def __len__(self) -> int:
        """The number of training batches in an epoch."""
        return max(1, -(-len(self.labels) // self.batch_size) - self._lone_image())

    def batches(self, seed: int, epoch: int, first: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """(pixels [B, C, H, W] uint8, labels [B]); every image once an epoch, the last batch is smaller.

        Those before `first`, which counts from 0, are left out.
        """
        count = len(self.labels)
        order = torch.randperm(count, generator=generator(seed, "order", epoch)).to(self.labels.device)
        for step in range(first, len(self)):
            # Batch normalization cannot train on one image: a lone last one joins the batch before it.
            last = step == len(self) - 1
            chosen = order[step * self.batch_size : count if last else (step + 1) * self.batch_size]
            yield self.images.at(chosen), self.labels[chosen]

    def in_order(self) -> Iterator[tuple[Tensor, Tensor]]:
        for chosen in in_order(self.images):
            yield self.images.at(chosen), self.labels[chosen]

    def _lone_image(self) -> bool:
        return self.batch_size > 1 and len(self.labels) % self.batch_size == 1


def evaluation_batch_size(images: Images) -> int:
    """How many images a batch to evaluate on has."""
    return max(1, min(EVALUATION_IMAGES, EVALUATION_VALUES // math.prod(images.shape)))


def in_order(images: Images) -> Sequence[Tensor]:
    """The positions of all images, in batches to evaluate on."""
    return torch.arange(len(images), device=images.labels.device).split(evaluation_batch_size(images))


def statistics(images: Images) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel, [C] each, on the scale where white is 1.

    From counts of the 256 values, so that the order of the images changes no bit.
    """
    counts = torch.zeros(images.shape[0], 256, dtype=torch.int64)
    parts = torch.arange(len(images), device=images.labels.device).split(1024)  # small enough for the cache
    with images.in_turn():
        for positions in parts:
            for channel, values in enumerate(images.at(positions).cpu().unbind(1)):
                counts[channel] += values.flatten().bincount(minlength=256)
    share, value = counts.double() / counts.sum(1, keepdim=True), torch.arange(256) / 255.0
    mean = (share * value).sum(1)
    std = (share * (value - mean[:, None]).square()).sum(1).sqrt()
    # A channel without any contrast is left as it is instead of being divided by zero.
    return mean.float(), torch.where(std > 1e-6, std, torch.ones_like(std)).float()
