"""The whole data set on the device, where a batch is one gather: no worker processes and no decoding."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from trainer.config.schema import Choice
from trainer.data.contract import refuse_malformed
from trainer.data.images import Images, Part
from trainer.errors import ConfigError
from trainer.runtime.memory import gigabytes, release
from trainer.runtime.seeding import generator

# An evaluation batch: 2048 images are fast, fewer if they are large, so that it fits where a training batch does. The
# size changes no result.
EVALUATION_IMAGES, EVALUATION_VALUES = 2048, 2048 * 3 * 32 * 32

# The data set that was read last, by its options, folder and device. Global to the process, because the runs of a study
# are trained one after the other in one process and share it; one entry, because two data sets may not fit.
_last_loaded: dict[str, Images] = {}


def load(dataset: Choice, data_dir: Path, device: torch.device) -> Images:
    """Return the training part on the device, read once per process. Raises ConfigError if it does not fit there."""
    key = f"{dataset.name} {dataset.options} {data_dir.absolute()} {device}"
    if key not in _last_loaded:
        _last_loaded.clear()  # before reading: the old and the new one may not fit together
        images = read_part(dataset, data_dir, "train")
        _refuse_too_large(images, device)
        _last_loaded[key] = images.to(device)
    return _last_loaded[key]


def forget() -> None:
    """Let the next run read its data anew, in a process that lives longer than a command."""
    _last_loaded.clear()


def read_part(dataset: Choice, data_dir: Path, part: Part) -> Images:
    """Return one part of a data set, read anew and checked.

    Raises ConfigError where the system refuses to read or to write, and if the data are no images.
    """
    try:
        images = dataset.function()(data_dir, part)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise ConfigError(
            f"data_dir={data_dir} cannot be used ({where}{error.strerror or error}): name another"
        ) from None
    return refuse_malformed(images, dataset.name, part)


def _refuse_too_large(images: Images, device: torch.device) -> None:
    """Raise ConfigError if the pixels do not fit into the free memory of a GPU."""
    if device.type != "cuda":
        return  # the pixels are in the memory of the machine already, or in a mapped file
    release()  # torch keeps blocks of the previous run, which count as used
    needed, (free, _) = images.storage.nbytes, torch.cuda.mem_get_info(device)
    if needed > free:
        raise ConfigError(
            f"{len(images)} images {'×'.join(map(str, images.shape))} need {gigabytes(needed)} on {device}, which has"
            f" {gigabytes(free)} free. Use fewer or smaller ones (dataset.image_size), or device=cpu"
        )


class DeviceLoader:
    """Images on a device, in batches: shuffled by (seed, epoch) for training, in order for evaluation."""

    def __init__(self, images: Images, batch_size: int, device: torch.device) -> None:
        self.images = images.to(device)
        self.labels = self.images.labels
        self.batch_size = batch_size

    def __len__(self) -> int:
        """The number of training batches in an epoch."""
        return max(1, -(-len(self.labels) // self.batch_size) - self._lone_image())

    def positions(self, seed: int, epoch: int, first: int = 0) -> Iterator[Tensor]:
        """Yield the positions [B] of the images of each batch: every image once per epoch, the last batch smaller.

        A resumed epoch starts with batch `first`, which counts from 0.
        """
        count = len(self.labels)
        # Drawn on the CPU, so that the order is the same on every device.
        order = torch.randperm(count, generator=generator(seed, "order", epoch)).to(self.labels.device)
        for step in range(first, len(self)):
            # Batch normalization cannot train on one image: if one is left over, it joins the last full batch.
            last = step == len(self) - 1
            yield order[step * self.batch_size : count if last else (step + 1) * self.batch_size]

    def at(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return (pixels [B, C, H, W], labels [B]) of the images at these positions [B]."""
        return self.images.at(positions), self.labels[positions]

    def in_order(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (pixels, labels) in evaluation batches, from the first image to the last."""
        for positions in in_order(self.images):
            yield self.at(positions)

    def _lone_image(self) -> bool:
        return self.batch_size > 1 and len(self.labels) % self.batch_size == 1


def evaluation_batch_size(images: Images) -> int:
    """Return the number of images in an evaluation batch."""
    return max(1, min(EVALUATION_IMAGES, EVALUATION_VALUES // math.prod(images.shape)))


def in_order(images: Images) -> Sequence[Tensor]:
    """Return the positions of all images, split into evaluation batches."""
    return torch.arange(len(images), device=images.labels.device).split(evaluation_batch_size(images))
