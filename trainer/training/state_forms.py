"""The comparison of a saved value with one of its kind: names, types, shapes and ranges."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

MAX_COUNT = 10**15  # of a counter of steps: far above what any run reaches


def refuse_unlike(own: Any, saved: Any, where: str, signed: bool = False) -> None:
    """Compare names, types and shapes at every level; `where` names the value in the error. Raises ValueError.

    `signed`: a whole number may be negative.
    """
    if isinstance(own, Mapping):
        if not isinstance(saved, Mapping) or own.keys() != saved.keys():
            raise ValueError(f"{where} must hold {', '.join(map(str, own)) or 'nothing'}")
        for key in own:
            refuse_unlike(own[key], saved[key], f"{where}.{key}", signed)
    elif isinstance(own, list | tuple):
        if not isinstance(saved, list | tuple) or len(own) != len(saved):
            raise ValueError(f"{where} must be a list of {len(own)}")
        for number, (own_item, saved_item) in enumerate(zip(own, saved, strict=True)):
            refuse_unlike(own_item, saved_item, f"{where}[{number}]", signed)
    elif isinstance(own, Tensor):
        if not isinstance(saved, Tensor) or (own.shape, own.dtype) != (saved.shape, saved.dtype):
            raise ValueError(f"size mismatch for {where}: {_form(saved)} where {_form(own)} is expected")
    elif isinstance(own, bool | str) or own is None:
        if type(saved) is not type(own):
            raise ValueError(f"{where}={saved!r}, where {own!r} or its like is expected")
    # type() and not isinstance(): True is an int to Python. A whole number may stand for a fraction, as 1 for 1.0.
    elif type(saved) not in (int, float) or (type(own) is int and type(saved) is not int):
        raise ValueError(f"{where}={saved!r}, where a number is expected")
    elif type(saved) is int and not (-MAX_COUNT if signed else -1) < saved < MAX_COUNT:
        raise ValueError(f"{where}={saved!r} is out of range")


def refuse_other_memory(own: Any, saved: Any, where: str, tensors: bool = False) -> None:
    """Compare a memory with that at the start of a run, from which it grows. Raises ValueError.

    None may have become any plain value and a plain value None; a list or an empty group may hold any. `tensors`: they
    may also be, or hold, a tensor of any shape.
    """
    if isinstance(own, Mapping) and own:
        if not isinstance(saved, Mapping) or own.keys() != saved.keys():
            raise ValueError(f"{where} must hold {', '.join(map(str, own))}")
        for key in own:
            refuse_other_memory(own[key], saved[key], f"{where}.{key}", tensors)
    elif isinstance(own, Tensor) or (isinstance(own, bool | str) and saved is not None):
        refuse_unlike(own, saved, where)
    elif not _is_plain(saved, tensors):
        raise ValueError(f"{where} must be a plain value, or a list or group of them")
    elif isinstance(own, Mapping | list | tuple):
        if type(saved) is not type(own):
            raise ValueError(f"{where} must be a {type(own).__name__}")
    elif own is not None and saved is not None and (not is_number(saved) or isinstance(saved, Tensor)):
        raise ValueError(f"{where}={saved!r}, where a number is expected")


def _is_plain(value: Any, tensors: bool) -> bool:
    items = list(value.values()) if isinstance(value, Mapping) else value
    if isinstance(items, list | tuple):
        return all(_is_plain(item, tensors) for item in items)
    return value is None or isinstance(value, bool | int | float | str) or (tensors and isinstance(value, Tensor))


def refuse_other_setting(own: Any, saved: Any, where: str) -> None:
    """Raise ValueError if a setting has another value: the run would silently train with it."""
    # Versions of torch differ in how "off" is saved.
    if all(value is None or value is False for value in (own, saved)):
        return
    refuse_unlike(own, saved, where, signed=True)
    if saved != own:
        raise ValueError(f"{where}={saved!r}, where {own!r} is set")


def refuse_beyond(bound: float, saved: float, where: str) -> None:
    """Raise ValueError for a number below 0 or above the bound."""
    if not 0 <= saved <= bound:  # true for NaN as well
        raise ValueError(f"{where}={saved!r} is out of range: must be from 0 to {bound!r}")


def is_number(value: Any) -> bool:
    """Return whether a value is a number, or a tensor of a single one without axes."""
    if isinstance(value, Tensor):
        return value.ndim == 0
    return isinstance(value, int | float) and not isinstance(value, bool)


def _form(value: Any) -> str:
    """Return type and shape of a tensor as text; of anything else its type."""
    return f"{value.dtype} {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
