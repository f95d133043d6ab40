"""The parts of a stored data set, as readers of files describe them before they read any pixel."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from torch import Tensor

TRAIN, TEST, VALIDATION, WHOLE = "train", "test", "validation", "whole"  # WHOLE: of a set that is not divided
# The names under which public sets keep their parts.
NAMES = {"train": TRAIN, "training": TRAIN, "test": TEST, "val": VALIDATION, "valid": VALIDATION}
NAMES |= {"validation": VALIDATION, "dev": VALIDATION}


@dataclass(frozen=True)
class StoredPart:
    """The images of a part: pixels [N, C, H, W] and labels [N], whole numbers or texts, each read when it is called.

    `what`: the file and the name of the images in it, for messages; `count`: the number of images.
    """

    what: str
    count: int
    pixels: Callable[[], Tensor]
    labels: Callable[[], np.ndarray]


@dataclass(frozen=True)
class StoredSet:
    """The parts of a data set by their names, and its class names if the files hold them."""

    parts: Mapping[str, StoredPart]
    classes: tuple[str, ...] | None = None
    warnings: tuple[str, ...] = ()


class TableOptions(NamedTuple):
    """The options of tables. `image_size`: side of the pictures, None: as they are; `label_column`: None: as told."""

    image_size: int | None
    label_column: str | None
