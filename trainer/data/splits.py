"""Divides the training images into those to learn from and those to validate on."""

import numpy as np
import torch

from trainer.config.types import Count, CountOrZero, OpenFraction
from trainer.data.images import Images
from trainer.errors import ConfigError


def split(
    images: Images,
    split_seed: int,
    *,
    validation_size: CountOrZero | OpenFraction = 0.1,
    folds: Count | None = None,
    fold: CountOrZero | None = None,
) -> tuple[Images, Images | None]:
    """(training, validation): stratified, the same for every `seed`, so that arms are scored on the same images.

    `validation_size` is a number of images or a fraction of them; with `folds`, part `fold` of so many is
    validated on instead. With `validation_size=0`, which only the final training on everything has, there is no
    validation. Raises ConfigError where the images are too few for it.
    """
    if folds is None and validation_size == 0:
        return images, None
    labels = images.labels.cpu().numpy()
    count, classes = len(labels), len(images.classes)
    shuffled = np.random.default_rng(split_seed).permutation(count)
    by_class = shuffled[labels[shuffled].argsort(kind="stable")]
    # At even distances through the images sorted by class: of every class its share, to within one image.
    if folds is not None and fold is not None:
        _refuse_unless(folds <= int(np.bincount(labels, minlength=classes).min()), f"folds={folds}", images)
        held_out = np.arange(fold, count, folds)
    else:
        size = validation_size if isinstance(validation_size, int) else round(validation_size * count)
        _refuse_unless(classes <= size <= count - classes, f"validation_size={validation_size}", images)
        held_out = ((np.arange(size) + 0.5) * count / size).astype(np.int64)
    validation = np.zeros(count, bool)
    validation[by_class[held_out]] = True
    return tuple(images.select(torch.from_numpy(np.flatnonzero(part))) for part in (~validation, validation))  # type: ignore[return-value]


def _refuse_unless(fits: bool, wanted: str, images: Images) -> None:
    """Before anything of that size is made. Raises ConfigError."""
    if not fits:
        raise ConfigError(
            f"dataset.{wanted} does not suit these {len(images)} images: it must leave each of {len(images.classes)}"
            " classes a share"
        )
