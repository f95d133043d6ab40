"""The check of what a function of `dataset` returns, the same for the built-in data sets and for own ones."""

from typing import Any

import torch
from torch import Tensor

from trainer.data.images import Images, Part
from trainer.errors import ConfigError

HELP = "Images.of(pixels, labels, classes) converts arrays"


def refuse_malformed(images: Any, dataset: str, part: Part) -> Images:
    """Return the images if they are as `Images` promises. Raises ConfigError with the first deviation.

    Reads labels, and of the pixels only floats: a pass over the bytes of a large set would take longer than its check.
    """
    if not isinstance(images, Images):
        raise ConfigError(f"dataset={dataset} returns {type(images).__name__} for part {part}, not Images: {HELP}")
    wrong = _pixels(images) or _labels(images) or _classes(images.classes) or _values(images, part)
    if wrong:
        raise ConfigError(f"dataset={dataset}, part {part}: {wrong}")
    return images


def _pixels(images: Images) -> str:
    storage = images.storage
    if not isinstance(storage, Tensor) or storage.dtype not in (torch.uint8, torch.float32) or storage.ndim != 4:
        return f"pixels are {_described(storage)}, where uint8 or float32 [N, C, H, W] is expected: {HELP}"
    if 0 in storage.shape:
        return f"pixels are {_described(storage)}: no image, or none with a pixel"
    return ""


def _labels(images: Images) -> str:
    labels, indices = images.labels, images.indices
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64 or labels.ndim != 1:
        return f"labels are {_described(labels)}, where int64 [N] is expected: {HELP}"
    if not len(labels):
        return "no image"
    if indices is not None and (not isinstance(indices, Tensor) or indices.dtype != torch.int64 or indices.ndim != 1):
        return f"indices are {_described(indices)}, where int64 [N] or None is expected"
    count = len(images.storage) if indices is None else len(indices)
    return "" if count == len(labels) else f"{count} images and {len(labels)} labels do not belong together"


def _classes(classes: Any) -> str:
    if not isinstance(classes, tuple) or not all(isinstance(name, str) for name in classes):
        return f"classes are {type(classes).__name__}, where a tuple of texts is expected: {HELP}"
    if len(classes) < 2:
        return f"{len(classes)} class, where at least two are needed: {', '.join(classes)}"
    for name in classes:
        if not name.isprintable() or not name:
            return f"the class {name!r} needs a printable name"
    if twice := [name for place, name in enumerate(classes) if name in classes[:place]] if len(classes) < 1000 else []:
        return f"the class {twice[0]} is named twice"
    return ""


def _values(images: Images, part: Part) -> str:
    low, high = (int(bound) for bound in images.labels.aminmax())
    if low < 0 or high >= len(images.classes):
        wrong = low if low < 0 else high
        return f"label {wrong}, where there are {len(images.classes)} classes: 0 to {len(images.classes) - 1}"
    if images.indices is not None:
        first, last = (int(bound) for bound in images.indices.aminmax())
        if first < 0 or last >= len(images.storage):
            return f"index {first if first < 0 else last}, where there are {len(images.storage)} images"
    kept = images.own_validation
    if type(kept) is not int or not 0 <= kept < len(images) or (kept and part == "test"):
        return f"own_validation={kept} of {len(images)} images, where some must be left to train on"
    if not all(map(torch.isfinite, map(torch.tensor, images.value_range))):
        return "a pixel is NaN or infinite"
    return ""


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    return type(value).__name__
