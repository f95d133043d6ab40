"""The reader of MNIST and Fashion-MNIST: four IDX files each under `<data_dir>/<name>/raw/`, as in torchvision."""

import gzip
import math
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from trainer.data.download import fetch, md5_of, refuse_mistyped
from trainer.data.images import Images, Part
from trainer.errors import RunError, reason_of

MAX_BYTES = 100_000_000  # unpacked; the largest file has 47 million

# Addresses, class names and md5 as in torchvision, which is not imported for them because that takes half a second.
ADDRESSES = {
    "MNIST": ("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/"),
    "FashionMNIST": ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
}
CLASSES = {
    "MNIST": tuple("0123456789"),
    "FashionMNIST": (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
}
PACKED_MD5 = {
    "MNIST/train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "MNIST/train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
    "MNIST/t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
    "MNIST/t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
    "FashionMNIST/train-images-idx3-ubyte": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "FashionMNIST/train-labels-idx1-ubyte": "25c81989df183df01b3e8a0aad5dffbe",
    "FashionMNIST/t10k-images-idx3-ubyte": "bef4ecab320f06d8554ea6380940ec79",
    "FashionMNIST/t10k-labels-idx1-ubyte": "bb300cfdad3c16e7a12a480ee83cd310",
}
# The authors of Fashion-MNIST publish none for the unpacked files.
UNPACKED_MD5 = {
    "MNIST/train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "MNIST/train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "MNIST/t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "MNIST/t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


def read(name: str, data_dir: Path, part: Part) -> Images:
    """Read one part, after a download if it is absent. Raises RunError naming a file that is damaged or missing."""
    refuse_mistyped(name, data_dir)
    raw = data_dir / name / "raw"
    prefix = "train" if part == "train" else "t10k"
    arrays = []
    for file in (f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"):
        key = f"{name}/{file}"
        content = _content(raw, file, PACKED_MD5[key], UNPACKED_MD5.get(key), ADDRESSES[name])
        arrays.append(_parse(content, raw / file))
    pixels, labels = arrays
    if pixels.ndim != 3 or labels.ndim != 1 or len(pixels) != len(labels):
        raise RunError(f"{raw}: {list(pixels.shape)} images and {list(labels.shape)} labels do not belong together")
    if int(labels.max()) >= len(CLASSES[name]):
        raise RunError(f"{raw}: label {int(labels.max())}, where there are {len(CLASSES[name])} classes")
    return Images(pixels.unsqueeze(1), labels.long(), CLASSES[name])


def _content(raw: Path, file: str, packed_md5: str, unpacked_md5: str | None, mirrors: Sequence[str]) -> bytes:
    """Return the bytes of an IDX file, from the packed file if it is there (its md5 is always known)."""
    packed, unpacked = raw / f"{file}.gz", raw / file
    if unpacked.is_file() and not packed.is_file():
        if (size := unpacked.stat().st_size) > MAX_BYTES:
            raise RunError(f"{unpacked} has {size} bytes, where at most {MAX_BYTES} are expected")
        if unpacked_md5 is not None and md5_of(unpacked) != unpacked_md5:
            raise _damaged(unpacked, unpacked_md5)
        return unpacked.read_bytes()
    if not packed.is_file():
        fetch(packed.name, [mirror + packed.name for mirror in mirrors], packed_md5, raw)
    if md5_of(packed) != packed_md5:
        raise _damaged(packed, packed_md5)
    try:
        with gzip.open(packed) as stream:
            content = stream.read(MAX_BYTES + 1)  # bounded: a small file may unpack to terabytes
    except (OSError, EOFError, zlib.error) as error:
        raise RunError(f"{packed} cannot be unpacked: {reason_of(error)}") from None
    if len(content) > MAX_BYTES:
        raise RunError(f"{packed} unpacks to more than {MAX_BYTES} bytes")
    return content


def _damaged(path: Path, md5: str) -> RunError:
    return RunError(f"{path} is damaged or altered: its md5 is not {md5}. Delete it and start again")


def _parse(content: bytes, path: Path) -> Tensor:
    """Return the array of an IDX file as a tensor. Raises RunError if it is damaged.

    IDX: two zero bytes, the type (8: uint8), the number of dimensions, their sizes (4 bytes, big-endian), the data.
    """
    if len(content) < 4 or content[:3] != b"\0\0\x08" or len(content) < 4 + 4 * content[3]:
        raise RunError(f"{path} is not an IDX file of bytes")
    shape = struct.unpack_from(f">{content[3]}I", content, 4)
    start = 4 + 4 * len(shape)
    expected = start + math.prod(shape)
    if 0 in shape or not shape:
        raise RunError(f"{path} is empty: its header says {'×'.join(map(str, shape)) or 'nothing'}")
    if len(content) != expected:
        raise RunError(f"{path} is damaged: {len(content)} bytes where its header asks for {expected}")
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=start).view(shape)
