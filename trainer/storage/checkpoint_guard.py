"""The limits of an untrusted checkpoint: its size, header and description."""

import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from trainer.errors import printable
from trainer.runtime.memory import gigabytes, physical_memory
from trainer.storage.untrusted import parse_json, refuse_pipe

MAX_HEADER = 32_000_000  # bytes of names and offsets before the tensors; the largest built-in network needs 14 000
# The names of safetensors; no network here has quantized or complex numbers.
TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
MAX_VALUES = 1_000_000  # of the description
MAX_LEVELS = 30  # of nested groups and lists
MAX_NAME = 500  # letters


def refuse_oversized(path: Path) -> None:
    """Raise ValueError for a file larger than the memory: a sparse file may claim a terabyte on a small disk."""
    refuse_pipe(path)  # first: a pipe has no size, and reading it may wait for ever
    if (size := path.stat().st_size) > (memory := physical_memory()):
        raise ValueError(f"it has {gigabytes(size)}, the memory is {gigabytes(memory)}")


def metadata_of(content: bytes) -> dict[str, Any]:
    """Return the metadata in the header of a safetensors file; check the names and types. Raises ValueError.

    The library itself checks, when it reads the tensors, that sizes and offsets fit each other and the file.
    """
    length = int.from_bytes(content[:8], "little")  # https://github.com/huggingface/safetensors#format
    if not 0 < length <= min(len(content) - 8, MAX_HEADER):
        raise ValueError(f"its header has {length} bytes, where at most {min(len(content), MAX_HEADER)} are expected")
    header = parse_json(content[8 : 8 + length], _unique_names)
    if not isinstance(header, dict):
        raise ValueError("its header is not a group of names")
    metadata = header.pop("__metadata__", None)
    validate_names(header)
    for name, entry in header.items():
        dtype = entry.get("dtype") if isinstance(entry, dict) else None
        if not isinstance(dtype, str) or dtype not in TYPES:
            raise ValueError(f"{name} is not of a type that is read: {', '.join(TYPES)}")
    return metadata if isinstance(metadata, dict) else {}


def validate_names(names: Iterable[str]) -> None:
    """Check the names of tensors. Raises ValueError."""
    for name in names:
        # Messages show the names on a terminal, where control characters could overwrite lines.
        if not 0 < len(name) <= MAX_NAME or not name.isprintable():
            raise ValueError(f"{printable(name[:60])!r} cannot be the name of a tensor")


def description_of(text: Any) -> dict[str, Any]:
    """Return the values that are stored beside the tensors as JSON. Raises ValueError."""
    description = parse_json(text, _unique_names) if isinstance(text, str) else None
    if not isinstance(description, dict):
        raise ValueError("it holds no description of a run")
    validate_description(description)
    return description


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object as a dict. Raises ValueError for a duplicate name: readers differ in the value they take."""
    if len(group := dict(pairs)) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"it has the name {printable(twice[:60])!r} twice")
    return group


def reason(error: Exception) -> str:
    """Return the first line of an error's message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def validate_description(description: Any) -> None:
    """Check the length of names, the number of values, their depth, and that settings are finite. Raises ValueError."""
    left = MAX_VALUES

    def visit(item: Any, where: str, level: int) -> None:
        """Check a value and those inside it; `where` is its path from the root, for the message."""
        nonlocal left
        left -= 1
        if left < 0 or level > MAX_LEVELS:
            raise ValueError(f"it holds far too many values, or nested far too deep, at {where[:60]}")
        if isinstance(item, dict):
            for key, value in item.items():
                if len(key) > MAX_NAME:
                    raise ValueError(f"{where or 'it'} has a name of {len(key)} letters")
                visit(value, f"{where}.{key}" if where else key, level + 1)
        elif isinstance(item, list):
            for index, value in enumerate(item):
                visit(value, f"{where}[{index}]", level + 1)
        # Python reads NaN and Infinity from JSON. The trainer's state may hold them: before the first validation the
        # lowest loss is infinite.
        elif isinstance(item, float) and not math.isfinite(item) and not where.startswith("trainer."):
            raise ValueError(f"{where} is {item}, where a finite number is expected")

    visit(description, "", 0)
