"""The reader of SVHN: an array in MATLAB's format, whose md5 is checked before it is read."""

from pathlib import Path

import numpy as np
import torch

from trainer.data.archives import verified
from trainer.data.download import refuse_mistyped
from trainer.data.images import Images, Part
from trainer.errors import RunError

# The first address is the authors'. Names and md5 as in torchvision.
ADDRESSES = (
    "http://ufldl.stanford.edu/housenumbers/",
    "https://cseweb.ucsd.edu/~weijian/static/datasets/svhn/",
)
MD5 = {
    "train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373",
    "test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3",
}


def read(data_dir: Path, part: Part) -> Images:
    """Read one part, after a download if it is absent. Raises RunError naming a file that is damaged or missing."""
    refuse_mistyped("SVHN", data_dir)
    name = f"{part}_32x32.mat"
    path = verified(data_dir, name, [address + name for address in ADDRESSES], MD5[name])
    from scipy.io import loadmat

    try:
        content = loadmat(path, variable_names=("X", "y"))
        pixels, labels = np.asarray(content["X"]), np.asarray(content["y"]).reshape(-1)
    except Exception as error:  # a damaged file raises nearly anything
        raise RunError(f"{path} is damaged: {str(error) or type(error).__name__}") from None
    if pixels.dtype != np.uint8 or pixels.shape != (32, 32, 3, len(labels)) or not len(labels):
        raise RunError(f"{path} does not hold {len(labels)} images of 32×32×3 bytes")
    if not np.isin(labels, np.arange(1, 11)).all():
        raise RunError(f"{path} holds labels that are not whole numbers from 1 to 10")
    digits = torch.from_numpy(labels.astype(np.int64) % 10)  # 10 stands for the digit 0
    return Images(torch.from_numpy(pixels.transpose(3, 2, 0, 1).copy()), digits, tuple("0123456789"))
