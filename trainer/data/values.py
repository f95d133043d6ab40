"""Arrays of other programs as tensors: pixels as bytes or float32 without loss, labels as indices."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainer.errors import ConfigError

EXACT = 2**24  # float32 holds every whole number up to this one
PIXELS = "uint8, float16, float32, float64 and whole numbers up to 16 777 216"


def pixels_of(values: Any, what: str = "pixels") -> Tensor:
    """Return uint8 as it is and every other kind of number as float32, in the same shape.

    Raises ConfigError, which begins with `what`, for other values and for whole numbers that float32 cannot hold.
    """
    array = _array(values)
    if array.dtype == np.uint8:
        return _tensor(array)
    if array.dtype.kind not in "iuf":
        raise ConfigError(f"{what}: {kind_of(array)} values are no pixels. Accepted: {PIXELS}")
    if array.dtype.kind in "iu" and array.dtype.itemsize > 2 and array.size:
        low, high = int(array.min()), int(array.max())
        if low < -EXACT or high > EXACT:
            raise ConfigError(f"{what}: values from {low} to {high} would be rounded. Accepted: {PIXELS}")
    with np.errstate(over="ignore"):  # a float64 above 3e38 becomes infinite, which is refused like any other
        return _tensor(array.astype(np.float32, copy=False))


def labels_of(values: Any, what: str = "labels") -> Tensor:
    """Return whole numbers [N] or [N, 1] as int64 [N]. Raises ConfigError, which begins with `what`, for others."""
    array = column_of(values, what)
    if array.dtype.kind not in "iu":
        raise ConfigError(f"{what}: {kind_of(array)} values, where whole numbers are expected, the indices of classes")
    return _tensor(array.astype(np.int64))


def column_of(values: Any, what: str) -> np.ndarray:
    """Return an array [N], from one of that shape or [N, 1]. Raises ConfigError, which begins with `what`."""
    array = _array(values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        hint = ". One-hot rows [N, K] become labels by argmax(1)" if array.ndim == 2 else ""
        raise ConfigError(f"{what}: an array {list(array.shape)}, where one label an image [N] is expected{hint}")
    return array


def kind_of(array: np.ndarray) -> str:
    """Return the words for the type of an array's elements."""
    named = {"O": "Python object", "U": "text", "S": "text", "V": "structured", "b": "bool"}
    return named.get(array.dtype.kind, str(array.dtype))


def _array(values: Any) -> np.ndarray:
    if not isinstance(values, Tensor):
        return np.asarray(values)
    # NumPy has no bfloat16.
    return (values.float() if values.dtype == torch.bfloat16 else values).detach().cpu().numpy()


def _tensor(array: np.ndarray) -> Tensor:
    # torch takes neither another byte order, nor negative strides, nor (without a warning) an array that is read-only.
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    fit = native.flags.writeable and min(native.strides, default=0) >= 0
    return torch.from_numpy(native if fit else native.copy())
