"""The two kinds of checkpoint, and their conversion to named tensors and a JSON description and back."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from trainer.storage.encoding import decode, decode_optimizer, encode, encode_optimizer

# The fields of each description, with the type that JSON gives them.
RUN_FIELDS = {"config": dict, "classes": list, "shape": list, "value_range": list}
BEST_FIELDS = {**RUN_FIELDS, "epoch": int}
LAST_FIELDS = {**RUN_FIELDS, "trainer": dict, "provenance": dict}
# Those that a file may lack: it was written before 0.4.0, or for images of bytes.
OPTIONAL: dict[str, Any] = {"provenance": {}, "value_range": []}
TYPE_NAMES = {dict: "a group of values", list: "a list", int: "a whole number"}


@dataclass(frozen=True)
class Best:
    """The network of one epoch. `shape`: (C, H, W) of the images; `model`: the weights under their plain names.

    `value_range`: [lowest, highest] of the training images, if their pixels are floats; empty for bytes.
    """

    config: dict[str, Any]
    classes: list[str]
    shape: list[int]
    epoch: int
    model: dict[str, Tensor]
    value_range: list[float] = field(default_factory=list)

    content = "the network of an epoch"

    def to_parts(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return (tensors by name, description)."""
        # Without a prefix, so that other programs can load the weights.
        return self.model, _described(self, BEST_FIELDS)


@dataclass(frozen=True)
class Last:
    """The complete state from which a run continues. `trainer`: the state of its ClassificationTrainer.

    `provenance`: what the run was made of, such as its data; empty in checkpoints that were written before 0.4.0.
    """

    config: dict[str, Any]
    classes: list[str]
    shape: list[int]
    trainer: dict[str, Any]
    provenance: dict[str, Any] = field(default_factory=dict)
    value_range: list[float] = field(default_factory=list)

    content = "the state of a run"

    @property
    def epoch(self) -> int:
        """The number of completed epochs."""
        return int(self.trainer["epoch"])

    def to_parts(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return (tensors, named by the keys that lead to them: "optimizer.state.3.exp_avg"; description)."""
        encoded = {
            key: encode_optimizer(value, key) if key == "optimizer" else encode(value, key)
            for key, value in self.trainer.items()
        }
        tensors, trainer = _split(encoded)
        return tensors, {**_described(self, (*RUN_FIELDS, "provenance")), "trainer": trainer}


def _described(state: Any, names: Iterable[str]) -> dict[str, Any]:
    """Return the fields of these names, without a range that is none: such a file is as those of earlier versions."""
    fields = {name: getattr(state, name) for name in names}
    return {name: value for name, value in fields.items() if name != "value_range" or value}


def from_parts(tensors: dict[str, Tensor], description: dict[str, Any]) -> Best | Last:
    """Return the checkpoint of these parts. Raises ValueError if they form no checkpoint."""
    # Only Best has an epoch of its own; that of Last is part of its trainer's state.
    fields = BEST_FIELDS if "epoch" in description else LAST_FIELDS
    description = {**{name: value for name, value in OPTIONAL.items() if name in fields}, **description}
    if description.keys() != fields.keys():
        raise ValueError(f"it must hold {', '.join(name for name in fields if name != 'value_range')}")
    for name, kind in fields.items():
        _refuse_other_type(name, description[name], kind)
    if not all(isinstance(name, str) for name in description["classes"]):
        raise ValueError("classes: must be a list of names")
    if not all(type(side) is int for side in description["shape"]):
        raise ValueError(f"shape={description['shape']!r}: must be a list of whole numbers")
    _refuse_no_range(description["value_range"])
    if fields is BEST_FIELDS:
        return Best(**description, model=tensors)
    trainer = description["trainer"]
    _refuse_other_type("trainer.epoch", trainer.get("epoch"), int)
    _join(trainer, tensors)
    decode_optimizer(trainer.get("optimizer"))
    return Last(**{**description, "trainer": {key: decode(value) for key, value in trainer.items()}})


def _refuse_no_range(values: list[Any]) -> None:
    if values and (len(values) != 2 or any(type(value) is not float or not math.isfinite(value) for value in values)):
        raise ValueError(f"value_range={values!r}: must be two numbers, or empty for images of bytes")


def _refuse_other_type(name: str, value: Any, kind: type) -> None:
    if type(value) is not kind:  # not isinstance: True is an int to Python
        raise ValueError(f"{name} is of type {type(value).__name__}, where {TYPE_NAMES[kind]} is expected")


def _split(tree: Mapping[Any, Any], prefix: str = "") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return (the tensors by their path, the groups without them). A group of tensors only is kept, empty."""
    tensors: dict[str, Tensor] = {}
    plain: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Tensor):
            tensors[f"{prefix}{key}"] = value
        elif isinstance(value, Mapping):
            inner, plain[key] = _split(value, f"{prefix}{key}.")
            tensors |= inner
        else:
            plain[key] = value
    return tensors, plain


def _join(tree: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Put each tensor into the innermost group that its name leads to; the rest of the name is its key there."""
    # Keys contain dots themselves ("model.0.weight"). The empty groups that `_split` leaves show where a key begins.
    for name, tensor in tensors.items():
        group, key = tree, name
        first, dot, rest = key.partition(".")
        while dot and isinstance(group.get(first), dict):
            group, key = group[first], rest
            first, dot, rest = key.partition(".")
        if group is tree or key in group:
            raise ValueError(f"the tensor {name} belongs to no part of a trainer")
        group[key] = tensor
