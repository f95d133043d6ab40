"""The order of an array's axes: which of them holds the channels."""

import numpy as np

from trainer.data.images import Shape
from trainer.errors import ConfigError

LONGEST = 4  # times the shorter side: a longer side is rather one of features, or of images in a row
ORDERS = {"nhwc": (0, 3, 1, 2), "nchw": (0, 1, 2, 3)}


def channels_first(array: np.ndarray, layout: str, what: str) -> np.ndarray:
    """Return a view [N, C, H, W] of an array of that order, or of [N, H, W, C], or of grey images [N, H, W].

    With layout="auto" the channels are the axis with fewer entries than rows and columns, of which none has over four
    times those of the other. Raises ConfigError, which begins with `what`, if that is not so.
    """
    shape = list(array.shape)
    if array.ndim not in (3, 4):
        raise ConfigError(f"{what}: an array {shape}, where [N, H, W, C], [N, C, H, W] or [N, H, W] is expected")
    if layout == "auto":
        fitting = [name for name in (ORDERS if array.ndim == 4 else ("nhw",)) if _fits(name, array.shape)]
        if len(fitting) != 1:
            choices = "nhwc or dataset.layout=nchw" if array.ndim == 4 else "nhw if these are grey images [N, H, W]"
            raise ConfigError(
                f"{what}: an array {shape} may be in more than one order. Say which: dataset.layout={choices}"
            )
        layout = fitting[0]
    if len(layout) != array.ndim:
        raise ConfigError(f"{what}: an array {shape} has {array.ndim} axes, dataset.layout={layout} has {len(layout)}")
    return array[:, None] if layout == "nhw" else array.transpose(ORDERS[layout])


def as_trained(array: np.ndarray, shape: Shape, what: str) -> np.ndarray:
    """Return a view [N, C, H, W] of one or several images of `shape` (C, H, W), whose channels may be the last axis.

    Raises ConfigError, which begins with `what`, for images of another shape, or if both orders fit.
    """
    channels, height, width = shape
    several = (
        array
        if array.ndim == 4 or (channels == 1 and array.ndim == 3 and array.shape[1:] == shape[1:])
        else array[None]
    )
    if several.ndim == 3 and channels == 1:
        several = several[:, None]
    first, last = several.shape[1:] == shape, several.shape[1:] == (height, width, channels)
    expected = f"[{channels}, {height}, {width}] or [{height}, {width}, {channels}]"
    if not (first or last) or not several.size:
        raise ConfigError(f"{what}: an array {list(array.shape)}, where the network takes images {expected}")
    if first and last and channels > 1:
        raise ConfigError(f"{what}: an array {list(array.shape)} may be in either order: {expected}")
    return several if first else several.transpose(ORDERS["nhwc"])


def _fits(layout: str, shape: tuple[int, ...]) -> bool:
    channels, height, width = (1, *shape[1:]) if layout == "nhw" else (shape[axis] for axis in ORDERS[layout][1:])
    smaller = channels < min(height, width) or layout == "nhw"
    return smaller and max(height, width) <= LONGEST * min(height, width)
