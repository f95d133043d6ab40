"""The values of a trainer's state in the form that JSON and named tensors can hold, and back.

Groups with texts as keys, and lists of plain values, stay as they are. All else is a group under the tag "$": its
numbered members are the items of a list or tuple, or the values of a group whose keys are listed by the tag.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from trainer.errors import RunError

TAG = "$"
# The sequences under a tag; the size of a tensor counts as a tuple.
SEQUENCES: dict[type, str] = {list: "list", tuple: "tuple", torch.Size: "tuple"}
BUILDERS = {"list": list, "tuple": tuple}
PLAIN = (str, int, float, bool, type(None))


class UnstorableError(RunError):
    """A value of a state that a checkpoint has no form for: the run cannot be saved, however often it is tried."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where} cannot be saved: {reason}")


def encode(value: Any, where: str) -> Any:
    """Return the value as groups, lists of plain values, and tensors; `where` is its path, for the message.

    Raises UnstorableError for a value of another kind.
    """
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, Tensor):
        if value.layout is not torch.strided or value.is_meta:
            raise UnstorableError(where, "it is a tensor without plain values in memory")
        return value
    if isinstance(value, Mapping):
        return _encode_group({key: encode(item, f"{where}.{key}") for key, item in value.items()}, where)
    if type(value) not in SEQUENCES:
        accepted = "tensors, numbers, texts, switches, None, and lists, tuples and groups of these"
        raise UnstorableError(where, f"it is of type {type(value).__name__}. What can be: {accepted}")
    items = [encode(item, f"{where}[{number}]") for number, item in enumerate(value)]
    if type(value) is list and not any(isinstance(item, Tensor | Mapping) for item in items):
        return items
    return {TAG: SEQUENCES[type(value)], **_numbered(items)}


def _encode_group(group: Mapping[Any, Any], where: str) -> Mapping[str, Any]:
    """Return a group of encoded values, as it is or with its keys listed."""
    if all(_is_plain_key(key, group) for key in group):
        return group
    if wrong := [key for key in group if type(key) not in PLAIN]:
        raise UnstorableError(where, f"it has a key of type {type(wrong[0]).__name__}, where a text is expected")
    return {TAG: list(group), **_numbered(list(group.values()))}


def _is_plain_key(key: Any, group: Mapping[Any, Any]) -> bool:
    """Return whether the name of a tensor leads through this key to one place."""
    if type(key) is not str or key.startswith(TAG) or not key.isprintable():
        return False
    # As in the state of a network, "1.weight", a dot may come before a tensor.
    first, dot, _ = key.partition(".")
    return not dot or (isinstance(group[key], Tensor) and not isinstance(group.get(first), Mapping))


def encode_optimizer(state: Any, where: str) -> Any:
    """Return the encoded state of an optimizer; what `decode_optimizer` understands is without a tag.

    That is how all checkpoints were written before there were tags.
    """
    encoded = encode(state, where)
    if not isinstance(state, Mapping) or TAG in encoded:
        return encoded
    encoded = dict(encoded)
    memory, groups = state.get("state"), state.get("param_groups")
    if isinstance(memory, Mapping) and all(type(key) is int and key >= 0 for key in memory):
        encoded["state"] = {str(key): encode(value, f"{where}.state.{key}") for key, value in memory.items()}
    # Tensors are stored by names, none of which can lead through a list.
    if isinstance(groups, list) and not _holds_tensor(groups):
        encoded["param_groups"] = [_encode_settings(group, f"{where}.param_groups") for group in groups]
    return encoded


def _encode_settings(group: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    settings = {key: encode(value, f"{where}.{key}") for key, value in group.items()}
    for key, value in group.items():
        if type(value) is tuple and all(isinstance(item, PLAIN) for item in value):
            settings[key] = list(value)
        elif type(value) is list and key != "params":
            settings[key] = {TAG: "list", **_numbered([encode(item, f"{where}.{key}") for item in value])}
    return _encode_group(settings, where)


def _holds_tensor(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_holds_tensor, value.values()))
    return isinstance(value, Tensor) or (isinstance(value, list | tuple) and any(map(_holds_tensor, value)))


def decode(value: Any) -> Any:
    """Return what `encode` was given. Raises ValueError for what it cannot have returned."""
    if isinstance(value, list | tuple):
        return type(value)(decode(item) for item in value)
    if not isinstance(value, dict):
        return value
    if TAG not in value:
        return {key: decode(item) for key, item in value.items()}
    kind, count = value[TAG], len(value) - 1
    if value.keys() != {TAG, *map(str, range(count))}:
        raise ValueError(f"the members of a list are not numbered from 0 to {count - 1}")
    items = [decode(value[str(number)]) for number in range(count)]
    if isinstance(kind, str) and kind in BUILDERS:
        return BUILDERS[kind](items)
    if not isinstance(kind, list) or not all(isinstance(key, PLAIN) for key in kind) or len({*kind}) != count:
        raise ValueError("the keys of a group are not those of its values")
    return dict(zip(kind, items, strict=True))


def decode_optimizer(optimizer: Any) -> None:
    """Restore the numbers of parameters, which are texts in JSON, and the tuples of settings, which are lists in it."""
    if not isinstance(optimizer, dict):
        return
    state, groups = optimizer.get("state"), optimizer.get("param_groups")
    if isinstance(state, dict) and TAG not in state:
        # "03" is refused as well: it would become the same number as "3".
        if wrong := [key for key in state if not key.isdecimal() or str(int(key)) != key]:
            raise ValueError(f"optimizer.state has the key {wrong[0]!r}, where the number of a parameter is expected")
        optimizer["state"] = {int(key): value for key, value in state.items()}
    if isinstance(groups, list) and all(isinstance(group, dict) for group in groups):
        # "params" is a list in torch, too; betas and the like are tuples.
        for group in groups:
            if TAG not in group:
                tuples = {key: tuple(value) for key, value in group.items() if type(value) is list and key != "params"}
                group.update(tuples)


def _numbered(items: Sequence[Any]) -> dict[str, Any]:
    return {str(number): item for number, item in enumerate(items)}
