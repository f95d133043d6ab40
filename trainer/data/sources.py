"""The data sets. Each reads one part; training only ever asks for "train", so the test images stay unread."""

from pathlib import Path
from typing import Literal

import torch

from trainer.data.images import Images, Part
from trainer.data.resident import gigabytes, physical_memory
from trainer.errors import ConfigError
from trainer.kinds import Count


def digits(data_dir: Path, part: Part, *, image_size: Count = 32) -> Images:
    """1 500 training and 297 test images; 8×8 enlarged bilinearly to one channel of `image_size`²."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data = load_digits()
    needed = 4 * image_size**2 * len(data.target)  # as float32, before it is rounded to bytes
    if needed > physical_memory():
        have = f"the memory is {gigabytes(physical_memory())}"
        raise ConfigError(f"dataset.image_size={image_size}: the digits need {gigabytes(needed)} at that size, {have}")
    # The data come without a test part: this one is drawn once and for all, whatever the run's seeds.
    train, test = train_test_split(range(len(data.target)), test_size=297, stratify=data.target, random_state=0)
    chosen = train if part == "train" else test
    small = torch.from_numpy(data.images[chosen]).float().unsqueeze(1) * (255 / 16)
    size = (image_size, image_size)
    pixels = torch.nn.functional.interpolate(small, size, mode="bilinear", align_corners=False)
    labels = torch.from_numpy(data.target[chosen]).long()
    return Images(pixels.round().to(torch.uint8), labels, tuple(map(str, data.target_names)))


def mnist(data_dir: Path, part: Part) -> Images:
    """60 000 training and 10 000 test images, 1×28×28."""
    from trainer.data.idx import read

    return read("MNIST", data_dir, part)


def fashion_mnist(data_dir: Path, part: Part) -> Images:
    """60 000 training and 10 000 test images, 1×28×28."""
    from trainer.data.idx import read

    return read("FashionMNIST", data_dir, part)


def cifar10(data_dir: Path, part: Part) -> Images:
    """50 000 training and 10 000 test images, 3×32×32."""
    from trainer.data.cifar import read

    return read(data_dir, part)


def image_folder(
    data_dir: Path,
    part: Part,
    *,
    image_size: Count = 32,
    grayscale: bool = False,
    broken: Literal["refuse", "skip"] = "refuse",
) -> Images:
    """`train/<class>/*` and, if there is one, `test/<class>/*`; the shorter side is resized, the centre kept."""
    from trainer.data.folder import read

    return read(data_dir, part, image_size, grayscale, broken)
