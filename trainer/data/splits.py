"""The split of the training images into training and validation images."""

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
    """Return (training, validation) images, stratified by class.

    The split depends on `split_seed` and not on `seed`, so that all arms are scored on the same images.
    `validation_size` is a number or a fraction of images; with `folds`, part `fold` (from 0) of that many is the
    validation set instead. With `validation_size=0`, as in the final training on all images, it is None. Raises
    ConfigError if the images are too few.
    """
    if folds is None and validation_size == 0:
        return images, None
    labels = images.labels.cpu().numpy()
    count, classes = len(labels), len(images.classes)
    shuffled = np.random.default_rng(split_seed).permutation(count)
    by_class = shuffled[labels[shuffled].argsort(kind="stable")]
    # Positions at even distances in the images sorted by class: every class gets its share, to within one image.
    if folds is not None and fold is not None:
        # A fold with an image of each class needs as many images of each as there are folds.
        _refuse_unless(folds <= int(np.bincount(labels, minlength=classes).min()), f"folds={folds}", images)
        held_out = np.arange(fold, count, folds)
    else:
        size = validation_size if isinstance(validation_size, int) else round(validation_size * count)
        _refuse_unless(classes <= size <= count - classes, f"validation_size={validation_size}", images)
        held_out = ((np.arange(size) + 0.5) * count / size).astype(np.int64)
    validation = np.zeros(count, bool)
    validation[by_class[held_out]] = True
    return tuple(images.select(torch.from_numpy(np.flatnonzero(part))) for part in (~validation, validation))  # type: ignore[return-value]


def _refuse_unless(fits: bool, setting: str, images: Images) -> None:
    """Raise ConfigError unless the setting suits the images. Called before an array of that size is made."""
    if not fits:
        raise ConfigError(
            f"dataset.{setting} does not suit these {len(images)} images: it must leave each of {len(images.classes)}"
            " classes a share"
        )
