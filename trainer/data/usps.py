"""The reader of USPS: lines of numbers in LIBSVM's format, packed, whose md5 is checked."""

import bz2
from pathlib import Path

import numpy as np
import torch

from trainer.data.archives import verified
from trainer.data.download import refuse_mistyped
from trainer.data.images import Images, Part
from trainer.errors import RunError, reason_of

MAX_BYTES = 100_000_000  # unpacked; the larger file has 26 million
SIDE = 16  # pixels
ADDRESS = "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/"
# Names and md5 as in torchvision.
FILES = {
    "train": ("usps.bz2", "ec16c51db3855ca6c91edd34d0e9b197"),
    "test": ("usps.t.bz2", "8ea070ee2aca1ac39742fdd1ef5ed118"),
}


def read(data_dir: Path, part: Part) -> Images:
    """Read one part, after a download if it is absent. Raises RunError naming a file that is damaged or missing."""
    refuse_mistyped("USPS", data_dir)
    name, md5 = FILES[part]
    path = verified(data_dir, name, [ADDRESS + name], md5)
    try:
        with bz2.open(path) as stream:
            content = stream.read(MAX_BYTES + 1)  # bounded: a small file may unpack to terabytes
    except (OSError, EOFError, ValueError) as error:
        raise RunError(f"{path} cannot be unpacked: {reason_of(error)}") from None
    if len(content) > MAX_BYTES:
        raise RunError(f"{path} unpacks to more than {MAX_BYTES} bytes")
    try:
        rows = [line.split() for line in content.decode("ascii").splitlines()]
        labels = torch.tensor([int(row[0]) for row in rows]) - 1
        # "number:value", a value from −1 to 1.
        values = np.array([[pair.partition(":")[2] for pair in row[1:]] for row in rows], np.float32)
        pixels = ((values.reshape(-1, 1, SIDE, SIDE) + 1) / 2 * 255).astype(np.uint8)
    except (ValueError, IndexError):
        raise RunError(f"{path} does not hold a label and {SIDE * SIDE} numbers in each line") from None
    if len(pixels) != len(labels) or not len(labels) or not np.abs(values).max() <= 1:
        raise RunError(f"{path} does not hold a label and {SIDE * SIDE} numbers from -1 to 1 in each line")
    if int(labels.min()) < 0 or int(labels.max()) > 9:
        raise RunError(f"{path} holds labels that are not from 1 to 10")
    return Images(torch.from_numpy(pixels), labels, tuple("0123456789"))
