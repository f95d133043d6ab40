"""What a checkpoint from a stranger may hold: looked at before torch reads it, and once more afterwards."""

import itertools
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from trainer.runtime.memory import gigabytes, physical_memory
from trainer.storage.pickled import refuse_instructions
from trainer.storage.untrusted import refuse_pipe

if TYPE_CHECKING:
    pass

MOST_PICKLED = 32_000_000  # bytes of names and numbers beside the tensors; the largest network here has 40 000
MOST_VALUES = 1_000_000
MOST_LEVELS = 30
MOST_LETTERS = 500  # of a name


def refuse_giant(path: Path) -> None:
    """A file with holes may have a terabyte on a small disk: hours to read, and more than fits. Raises ValueError."""
    refuse_pipe(path)
    if (size := path.stat().st_size) > (memory := physical_memory()):
        raise ValueError(f"it has {gigabytes(size)}, the memory is {gigabytes(memory)}")


def refuse_bomb(path: Path) -> None:
    """A zip file whose parts, unpacked, are no larger than the file, with a pickle of tensors. Raises ValueError.

    torch would also read older forms, which say how much memory they want before anything can be checked, and parts
    that are compressed, of which a few megabytes may unpack to a terabyte.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _refuse_parts(archive.infolist(), path.stat().st_size)
            for part in archive.infolist():
                if _is_pickle(part):
                    refuse_instructions(archive.read(part))
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError) as error:
        raise ValueError(f"it is no zip file ({error})") from None


def _refuse_parts(parts: Sequence[zipfile.ZipInfo], size: int) -> None:
    if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
        raise ValueError("parts of it are compressed")
    if sum(part.file_size for part in parts) > size:
        raise ValueError("its parts are larger than itself")
    if any(part.filename.startswith("/") or ".." in part.filename.split("/") for part in parts):
        raise ValueError("it names files outside itself")
    if any(_is_pickle(part) and part.file_size > MOST_PICKLED for part in parts):
        raise ValueError("it holds far more than tensors")


def _is_pickle(part: zipfile.ZipInfo) -> bool:
    return part.filename.lower().endswith(".pkl")  # torch finds it by either case


def reason(error: Exception) -> str:
    """One line. torch's own advises to read the file without its guard; what the file asked for says more."""
    text = str(error).strip() or type(error).__name__
    asked = re.search(r"(?:GLOBAL|function) '?([\w.]+)'?", text) if isinstance(error, pickle.UnpicklingError) else None
    return f"it asks for {asked[1]}, and a checkpoint may run nothing" if asked else text.splitlines()[0]


def refuse_oddities(state: Any) -> None:
    """Only groups, lists, texts, numbers and whole, plain tensors, and not too many. Raises ValueError."""
    left = MOST_VALUES

    def visit(item: Any, where: str, level: int) -> None:
        nonlocal left
        left -= 1
        if left < 0 or level > MOST_LEVELS:
            raise ValueError(f"it holds far too many values, or nested far too deep, at {where[:60]}")
        if isinstance(item, Tensor):
            _refuse_tensor(item, where)
        elif type(item) in (dict, OrderedDict):
            _refuse_attributes(item, where)
            for key, each in item.items():
                if not isinstance(key, str | int) or len(str(key)) > MOST_LETTERS:
                    raise ValueError(f"{where} has a key that is neither a short text nor a number")
                visit(each, f"{where}.{key}" if where else str(key), level + 1)
        elif type(item) in (list, tuple):
            for number, each in enumerate(item):
                visit(each, f"{where}[{number}]", level + 1)
        elif item is not None and not isinstance(item, bool | int | float | str):
            raise ValueError(f"{where} is of type {type(item).__name__}")

    visit(state, "", 0)


def _refuse_attributes(item: Any, where: str) -> None:
    """A network's state has the versions of its layers beside it, {layer: {"version": number}}. Raises ValueError."""
    attributes = getattr(item, "__dict__", {})
    versions = attributes.get("_metadata", {})
    known = attributes.keys() <= {"_metadata"} and type(versions) in (dict, OrderedDict)
    if not known or getattr(versions, "__dict__", {}) or not all(itertools.starmap(_is_version, versions.items())):
        raise ValueError(f"{where or 'it'} has attributes that no group of values has")


def _is_version(layer: Any, numbers: Any) -> bool:
    plain = isinstance(layer, str) and type(numbers) is dict
    return plain and all(isinstance(key, str) and type(value) is int for key, value in numbers.items())


def _refuse_tensor(tensor: Tensor, where: str) -> None:
    plain = type(tensor) in (Tensor, torch.nn.Parameter) and not vars(tensor)
    if not plain or tensor.layout != torch.strided or tensor.is_quantized:
        raise ValueError(f"{where} is not a plain tensor")
    if tensor.device.type != "cpu":
        raise ValueError(f"{where} lies on {tensor.device}")
    # A stride of 0 makes a tensor of 10^12 elements out of one: the first copy of it would fill the memory.
    reach = 0
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size > 1 and stride <= reach:
            raise ValueError(f"{where} uses the same memory several times: {list(tensor.shape)} elements overlap")
        reach += stride * (size - 1)
