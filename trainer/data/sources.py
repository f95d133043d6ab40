"""The data sets, a function for each option of `dataset`. Training reads the part "train" only, never "test"."""

from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from trainer.config.types import Count
from trainer.data.images import Images, Part
from trainer.data.splits import split as divide
from trainer.errors import ConfigError
from trainer.runtime.memory import gigabytes, physical_memory


def digits(data_dir: Path, part: Part, *, image_size: Count = 32) -> Images:
    """Read scikit-learn's digits: 1 500 training and 297 test images, 8×8 enlarged bilinearly to `image_size`."""
    # The file comes with scikit-learn, which is not imported for it because that takes a second.
    package = find_spec("sklearn")
    assert package is not None and package.origin is not None
    table = np.loadtxt(Path(package.origin).parent / "datasets/data/digits.csv.gz", delimiter=",", dtype=np.uint8)
    needed = 4 * image_size**2 * len(table)  # as float32, before it is rounded to bytes
    if needed > physical_memory():
        memory = f"the memory is {gigabytes(physical_memory())}"
        raise ConfigError(
            f"dataset.image_size={image_size}: the digits need {gigabytes(needed)} at that size, {memory}"
        )
    labels = torch.from_numpy(table[:, 64]).long()
    small = Images(torch.from_numpy(table[:, :64]).view(-1, 1, 8, 8), labels, tuple("0123456789"))
    # The data have no test part: it is drawn with a fixed seed, so that it is the same for all runs.
    train, test = divide(small, split_seed=0, validation_size=297)
    assert test is not None
    images = train if part == "train" else test
    size = (image_size, image_size)
    enlarged = torch.nn.functional.interpolate(
        images.pixels.float() * (255 / 16), size, mode="bilinear", align_corners=False
    )  # values are 0 to 16
    return Images(enlarged.round().to(torch.uint8), images.labels, small.classes)


def bag_of_words(data_dir: Path, part: Part) -> Images:
    """Make up 4 000 training and 1 000 test documents of ten topics: 1×16×16, a pixel for each of 256 words.

    One word decides the topic. Five topics have 8 words of their own each, five have 32, most of them rare.
    """
    from trainer.data.bag_of_words import read

    return read(part)


def mnist(data_dir: Path, part: Part) -> Images:
    """Read MNIST: 60 000 training and 10 000 test images, 1×28×28."""
    from trainer.data.mnist import read

    return read("MNIST", data_dir, part)


def fashion_mnist(data_dir: Path, part: Part) -> Images:
    """Read Fashion-MNIST: 60 000 training and 10 000 test images, 1×28×28."""
    from trainer.data.mnist import read

    return read("FashionMNIST", data_dir, part)


def kmnist(data_dir: Path, part: Part) -> Images:
    """Read Kuzushiji-MNIST: 60 000 training and 10 000 test images, 1×28×28."""
    from trainer.data.mnist import read

    return read("KMNIST", data_dir, part)


def qmnist(data_dir: Path, part: Part) -> Images:
    """Read QMNIST: 60 000 training and 60 000 test images, 1×28×28."""
    from trainer.data.mnist import read

    return read("QMNIST", data_dir, part)


def emnist(
    data_dir: Path,
    part: Part,
    *,
    split: Literal["byclass", "bymerge", "balanced", "letters", "digits", "mnist"] = "balanced",
) -> Images:
    """Read a split of EMNIST, of 10 to 62 classes: images 1×28×28, which lie on their side as in torchvision."""
    from trainer.data.emnist import read

    return read(data_dir, part, split)


def usps(data_dir: Path, part: Part) -> Images:
    """Read USPS: 7 291 training and 2 007 test images, 1×16×16."""
    from trainer.data.usps import read

    return read(data_dir, part)


def svhn(data_dir: Path, part: Part) -> Images:
    """Read SVHN: 73 257 training and 26 032 test images, 3×32×32."""
    from trainer.data.svhn import read

    return read(data_dir, part)


def cifar100(data_dir: Path, part: Part, *, labels: Literal["fine", "coarse"] = "fine") -> Images:
    """Read CIFAR-100: 50 000 training and 10 000 test images, 3×32×32, of 100 classes or their 20 groups."""
    from trainer.data.cifar100 import read

    return read(data_dir, part, labels)


def stl10(data_dir: Path, part: Part, *, image_size: Count = 96) -> Images:
    """Read STL-10: 5 000 training and 8 000 test images, 3×96×96, brought to `image_size` bilinearly."""
    from trainer.data.stl10 import read

    return read(data_dir, part, image_size)


def imagenette(data_dir: Path, part: Part, *, image_size: Count = 160) -> Images:
    """Read Imagenette: 9 469 training and 3 925 test pictures, each resized by its shorter side and cropped."""
    from trainer.data.imagenette import read

    return read(data_dir, part, image_size)


def cifar10(data_dir: Path, part: Part) -> Images:
    """Read CIFAR-10: 50 000 training and 10 000 test images, 3×32×32."""
    from trainer.data.cifar10 import read

    return read(data_dir, part)


def image_folder(
    data_dir: Path,
    part: Part,
    *,
    image_size: Count = 32,
    grayscale: bool = False,
    on_corrupt_image: Literal["refuse", "skip"] = "refuse",
    validation: Literal["split", "folder"] = "split",
) -> Images:
    """Read the pictures below `train/<class>/` or `test/<class>/`, and with `validation="folder"` below `val/<class>/`.

    Each picture is resized by its shorter side and cropped to a square.
    """
    from trainer.data.image_folder import read

    return read(data_dir, part, (1 if grayscale else 3, image_size, image_size), on_corrupt_image, validation)


def arrays(
    data_dir: Path,
    part: Part,
    *,
    file: str | None = None,
    layout: Literal["auto", "nhwc", "nchw", "nhw"] = "auto",
    validation: Literal["split", "own"] = "split",
    image_size: Count | None = None,
    label_column: str | None = None,
) -> Images:
    """Read arrays of images and labels: an .npz, .npy files, a folder of Hugging Face's `datasets`, or Parquet files.

    Values are kept as they are, floats and 16-bit numbers included. A set that is not divided has its test part drawn.
    """
    from trainer.data.arrays import read
    from trainer.data.parts import TableOptions

    return read(data_dir, part, file, layout, validation, TableOptions(image_size, label_column))
