"""What a checkpoint from a stranger may hold: looked at before torch reads it, and once more afterwards."""

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from trainer.data.decode import Shape

if TYPE_CHECKING:
    from trainer.training import ClassificationTrainer

MOST_PICKLED = 32_000_000  # bytes of names and numbers beside the tensors; the largest network here has 40 000
MOST_VALUES = 1_000_000
MOST_LEVELS = 30
MOST_PIXELS = 4096  # a side
MOST_STEPS = 10**15  # of a counter
# The parts of a trainer's state that are compared with its own before they are taken up.
TAKEN_UP = ("epoch", "model", "optimizer", "schedule", "scaler", "seams", "early_stopping")


def refuse_bomb(path: Path) -> None:
    """A zip file whose parts, unpacked, are no larger than the file. Raises ValueError.

    torch would also read older forms, which say how much memory they want before anything can be checked, and parts
    that are compressed, of which a few megabytes may unpack to a terabyte.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError) as error:
        raise ValueError(f"it is no zip file ({error})") from None
    if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
        raise ValueError("parts of it are compressed")
    if sum(part.file_size for part in parts) > path.stat().st_size:
        raise ValueError("its parts are larger than itself")
    if any(part.filename.startswith("/") or ".." in part.filename.split("/") for part in parts):
        raise ValueError("it names files outside itself")
    if any(part.filename.endswith(".pkl") and part.file_size > MOST_PICKLED for part in parts):
        raise ValueError("it holds far more than tensors")


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
        elif isinstance(item, Mapping):
            for key, each in item.items():
                if not isinstance(key, str | int):
                    raise ValueError(f"{where} has a key that is neither a text nor a number")
                visit(each, f"{where}.{key}" if where else str(key), level + 1)
        elif isinstance(item, list | tuple):
            for number, each in enumerate(item):
                visit(each, f"{where}[{number}]", level + 1)
        elif item is not None and not isinstance(item, bool | int | float | str):
            raise ValueError(f"{where} is of type {type(item).__name__}")

    visit(state, "", 0)


def _refuse_tensor(tensor: Tensor, where: str) -> None:
    if type(tensor) not in (Tensor, torch.nn.Parameter) or tensor.layout != torch.strided or tensor.is_quantized:
        raise ValueError(f"{where} is not a plain tensor")
    if tensor.device.type != "cpu":
        raise ValueError(f"{where} lies on {tensor.device}")
    # A stride of 0 makes a tensor of 10^12 elements out of one: the first copy of it would fill the memory.
    reach = 0
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size > 1 and stride <= reach:
            raise ValueError(f"{where} uses the same memory several times: {list(tensor.shape)} elements overlap")
        reach += stride * (size - 1)


def shape_of(value: Any) -> Shape:
    """(C, H, W) of the images that a network was trained on. Raises ValueError."""
    try:
        channels, height, width = value
    except TypeError:
        raise ValueError(f"shape={value!r}: must be [1 or 3, height, width]") from None
    if any(type(each) is not int or each < 1 for each in value) or channels not in (1, 3):
        raise ValueError(f"shape={value!r}: must be [1 or 3, height, width]")
    if max(height, width) > MOST_PIXELS:
        raise ValueError(f"shape={value!r}: at most {MOST_PIXELS}×{MOST_PIXELS} pixels are read")
    return channels, height, width


def refuse_misfit(trainer: "ClassificationTrainer", given: Any) -> None:
    """What a run would take up must be built as its own state is: names, kinds and shapes. Raises ValueError."""
    own = trainer.state_dict()
    if not isinstance(given, Mapping) or not set(TAKEN_UP) <= given.keys():
        raise ValueError(f"it must hold {', '.join(TAKEN_UP)}")
    for name in TAKEN_UP:
        if name == "optimizer":
            _refuse_other_optimizer(trainer.optimizer, own[name], given[name])
        elif name != "scaler" or given[name] != {}:  # without half precision there is nothing to scale
            refuse_unlike(own[name], given[name], name)


def refuse_unlike(own: Any, given: Any, where: str) -> None:
    """The same names, kinds and shapes all the way down. Raises ValueError."""
    if isinstance(own, Mapping):
        if not isinstance(given, Mapping) or own.keys() != given.keys():
            raise ValueError(f"{where} must hold {', '.join(map(str, own))}")
        for key in own:
            refuse_unlike(own[key], given[key], f"{where}.{key}")
    elif isinstance(own, list | tuple):
        if not isinstance(given, list | tuple) or len(own) != len(given):
            raise ValueError(f"{where} must be a list of {len(own)}")
        for number, (each, other) in enumerate(zip(own, given, strict=True)):
            refuse_unlike(each, other, f"{where}[{number}]")
    elif isinstance(own, Tensor):
        if not isinstance(given, Tensor) or (own.shape, own.dtype) != (given.shape, given.dtype):
            raise ValueError(f"size mismatch for {where}: {_described(given)} where {_described(own)} is expected")
    elif isinstance(own, bool | str) or own is None:
        if type(given) is not type(own):
            raise ValueError(f"{where}={given!r}, where {own!r} or its like is expected")
    elif type(given) not in (int, float) or (type(own) is int and type(given) is not int):
        raise ValueError(f"{where}={given!r}, where a number is expected")
    elif type(given) is int and not 0 <= given < MOST_STEPS:
        raise ValueError(f"{where}={given!r} is out of range")


def _refuse_other_optimizer(optimizer: Optimizer, own: Mapping[str, Any], given: Any) -> None:
    """Its settings as they are now, and of each parameter a memory of the parameter's own shape."""
    if not isinstance(given, Mapping) or not isinstance(given.get("state"), Mapping):
        raise ValueError("optimizer must hold state, param_groups")
    groups, expected = given.get("param_groups"), own["param_groups"]
    if not isinstance(groups, list) or len(groups) != len(expected):
        raise ValueError(f"optimizer.param_groups must be a list of {len(expected)}")
    for number, (group, other) in enumerate(zip(expected, groups, strict=True)):
        # What is off by default may be missing: later versions of torch have more such switches.
        needed = {key for key, value in group.items() if value not in (None, False)}
        if not isinstance(other, Mapping) or not needed <= other.keys():
            raise ValueError(f"optimizer.param_groups[{number}] must hold {', '.join(sorted(needed))}")
        for key in needed:
            refuse_unlike(group[key], other[key], f"optimizer.param_groups[{number}].{key}")
    shapes = [parameter.shape for group in optimizer.param_groups for parameter in group["params"]]
    for index, memory in given["state"].items():
        if type(index) is not int or not 0 <= index < len(shapes) or not isinstance(memory, Mapping):
            raise ValueError("optimizer.state must hold a group for each parameter")
        for name, value in memory.items():
            where = f"optimizer.state.{index}.{name}"
            if not isinstance(value, Tensor):
                refuse_unlike(1.0 if value is not None else None, value, where)
            elif value.shape not in (shapes[index], torch.Size([])) or not value.is_floating_point():
                wanted = f"{list(shapes[index])} of floating point"
                raise ValueError(f"size mismatch for {where}: {_described(value)} where {wanted} is expected")


def _described(value: Any) -> str:
    return f"{value.dtype} {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
