"""The inputs of a network that are arrays: images in .npy files, of the kind that it was trained on."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from trainer.data.array_files import array_in
from trainer.data.layout import as_trained
from trainer.data.values import pixels_of
from trainer.errors import ConfigError
from trainer.evaluation.inference import TrainedNetwork

SUFFIX = ".npy"
UNIT = (0.0, 1.0)


def refuse_pictures(network: TrainedNetwork) -> None:
    """Raise ConfigError if a picture file, of bytes and one or three channels, cannot be what was trained on."""
    channels, bounds = network.shape[0], network.value_range
    if channels not in (1, 3):
        raise ConfigError(f"{network.name} was trained on images of {channels} channels: name {SUFFIX} files of such")
    if bounds and not _is_unit(bounds):
        raise ConfigError(
            f"{network.name} was trained on values from {bounds[0]:g} to {bounds[1]:g}, and a picture holds bytes: name"
            f" {SUFFIX} files with such values"
        )


def array_batches(files: Sequence[Path], network: TrainedNetwork, batch: int) -> Iterator[tuple[list[str], Tensor]]:
    """Yield (names, pixels [B, C, H, W]) of the images in .npy files, at most `batch` at once.

    A name is that of the file, with the image's number if the file holds several. Raises ConfigError if a file holds
    other images than were trained on, and RunError if it is damaged.
    """
    for file in files:
        pixels = _kind_of_training(
            pixels_of(as_trained(array_in(file), network.shape, str(file)), str(file)), network, file
        )
        names = [str(file)] if len(pixels) == 1 else [f"{file}[{number}]" for number in range(len(pixels))]
        for first in range(0, len(pixels), batch):
            yield names[first : first + batch], pixels[first : first + batch]


def _kind_of_training(pixels: Tensor, network: TrainedNetwork, file: Path) -> Tensor:
    """Return bytes as floats where the network was trained on floats. Raises ConfigError for other values."""
    if network.value_range is None:
        if pixels.dtype != torch.uint8:
            raise ConfigError(f"{file}: {network.name} was trained on bytes from 0 to 255: save the array as uint8")
        return pixels
    if not pixels.isfinite().all():
        raise ConfigError(f"{file}: a value is NaN or infinite")
    return pixels if _is_unit(network.value_range) else pixels.float()


def _is_unit(bounds: tuple[float, float]) -> bool:
    """True if values were from 0 to 1, as which bytes are read as well."""
    return UNIT[0] <= bounds[0] and bounds[1] <= UNIT[1]
