"""The reader of MNIST and its kin: IDX files under `<data_dir>/<name>/raw/`, as in torchvision."""

import gzip
import math
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
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
    "KMNIST": ("http://codh.rois.ac.jp/kmnist/dataset/kmnist/",),
    "QMNIST": ("https://raw.githubusercontent.com/facebookresearch/qmnist/master/",),
}
CLASSES = {
    "MNIST": tuple("0123456789"),
    "FashionMNIST": (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    "KMNIST": ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
    "QMNIST": tuple("0123456789"),
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
    "KMNIST/train-images-idx3-ubyte": "bdb82020997e1d708af4cf47b453dcf7",
    "KMNIST/train-labels-idx1-ubyte": "e144d726b3acfaa3e44228e80efcd344",
    "KMNIST/t10k-images-idx3-ubyte": "5c965bf0a639b31b8f53240b1b52f4d7",
    "KMNIST/t10k-labels-idx1-ubyte": "7320c461ea6c1c855c0b718fb2a4b134",
    "QMNIST/qmnist-train-images-idx3-ubyte": "ed72d4157d28c017586c42bc6afe6370",
    "QMNIST/qmnist-train-labels-idx2-int": "0058f8dd561b90ffdd0f734c6a30e5e4",
    "QMNIST/qmnist-test-images-idx3-ubyte": "1394631089c404de565df7b7aeaf9412",
    "QMNIST/qmnist-test-labels-idx2-int": "5b5b05890a5e13444e108efe57b788aa",
}
# Type of an IDX file → its name in NumPy; those that data sets use.
TYPES = {8: "u1", 12: ">i4"}
# The authors of the others publish none for the unpacked files.
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
    files = _files(name, part)
    keys = [f"{name}/{file}" for file in files]
    pixels, labels = (
        parse(_content(raw, file, PACKED_MD5[key], UNPACKED_MD5.get(key), ADDRESSES[name]), raw / file)
        for file, key in zip(files, keys, strict=True)
    )
    return paired(pixels, labels, CLASSES[name], raw)


def _files(name: str, part: Part) -> tuple[str, str]:
    """Return the names of the unpacked files of a part: images, labels."""
    if name == "QMNIST":
        return f"qmnist-{part}-images-idx3-ubyte", f"qmnist-{part}-labels-idx2-int"
    prefix = "train" if part == "train" else "t10k"
    return f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"


def paired(pixels: Tensor, labels: Tensor, classes: tuple[str, ...], where: Path) -> Images:
    """Return the images of both arrays; of labels [N, …] with further figures the first ones. Raises RunError."""
    shapes = f"{list(pixels.shape)} images and {list(labels.shape)} labels"
    labels = labels[:, 0] if labels.ndim == 2 else labels
    if pixels.ndim != 3 or labels.ndim != 1 or len(pixels) != len(labels) or pixels.dtype != torch.uint8:
        raise RunError(f"{where}: {shapes} do not belong together")
    low, high = (int(bound) for bound in labels.aminmax())
    if low < 0 or high >= len(classes):
        raise RunError(f"{where}: label {low if low < 0 else high}, where there are {len(classes)} classes")
    return Images(pixels.unsqueeze(1), labels.long(), classes)


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
    return gunzip(packed, packed, MAX_BYTES)


def gunzip(source: Path | IO[bytes], shown: Path, longest: int) -> bytes:
    """Return the content of a packed file. Raises RunError, with the path to show, if it has more than `longest` bytes.

    A small file may unpack to terabytes.
    """
    try:
        with gzip.open(source) as stream:
            content = stream.read(longest + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise RunError(f"{shown} cannot be unpacked: {reason_of(error)}") from None
    if len(content) > longest:
        raise RunError(f"{shown} unpacks to more than {longest} bytes")
    return content


def _damaged(path: Path, md5: str) -> RunError:
    return RunError(f"{path} is damaged or altered: its md5 is not {md5}. Delete it and start again")


def parse(content: bytes, path: Path) -> Tensor:
    """Return the array of an IDX file as a tensor, uint8 or int32. Raises RunError if it is damaged.

    IDX: two zero bytes, the type (8: uint8, 12: int32), the number of dimensions, their sizes (4 bytes, big-endian),
    the data, big-endian as well.
    """
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in TYPES or len(content) < 4 + 4 * content[3]:
        raise RunError(f"{path} is not an IDX file of bytes")
    kind, shape = np.dtype(TYPES[content[2]]), struct.unpack_from(f">{content[3]}I", content, 4)
    start = 4 + 4 * len(shape)
    expected = start + math.prod(shape) * kind.itemsize
    if 0 in shape or not shape:
        raise RunError(f"{path} is empty: its header says {'×'.join(map(str, shape)) or 'nothing'}")
    if len(content) != expected:
        raise RunError(f"{path} is damaged: {len(content)} bytes where its header asks for {expected}")
    values = np.frombuffer(content, kind, offset=start).reshape(shape)
    return torch.from_numpy(values.astype(kind.newbyteorder("=")))
