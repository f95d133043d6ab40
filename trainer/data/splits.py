"""The split of the training images into training and validation images."""

from typing import Literal

import numpy as np
import torch

from trainer.config.types import Count, CountOrZero, Fraction, OpenFraction, Positive
from trainer.data.axes import Chosen, altered, of_classes, places_of
from trainer.data.images import Images
from trainer.errors import ConfigError
from trainer.runtime.console import warn
from trainer.runtime.text import counted

NAMES = 5  # classes that a message lists


def split(
    images: Images,
    split_seed: int,
    *,
    validation_size: CountOrZero | OpenFraction = 0.1,
    folds: Count | None = None,
    fold: CountOrZero | None = None,
    classes: tuple[str | int, ...] | Count | None = None,
    train_size: Count | OpenFraction | None = None,
    imbalance: Positive | None = None,
    label_noise: Fraction = 0.0,
    label_noise_kind: Literal["symmetric", "pair"] = "symmetric",
) -> tuple[Images, Images | None]:
    """Return (training, validation) images, stratified by class.

    The split depends on `split_seed` and not on `seed`, so that all arms are scored on the same images.
    `validation_size` is a number or a fraction of images; with `folds`, part `fold` (from 0) of that many is the
    validation set instead. Images that a data set itself keeps for validation are that set. With `validation_size=0`,
    as in the final training on all images, it is None. `classes`: those of the others are left out of both. The
    settings after it change the training images alone (`axes.py`). Warns of classes without validation images. Raises
    ConfigError if the images are too few, or those of a class.
    """
    training, validation, setting = _divided(images, split_seed, validation_size, folds, fold, classes)
    training = of_classes(training, classes)
    if validation is not None:
        validation = of_classes(validation, classes)
        _check(training, validation, setting)
    return altered(training, split_seed, train_size, imbalance, label_noise, label_noise_kind), validation


def _divided(
    images: Images,
    split_seed: int,
    validation_size: int | float,
    folds: int | None,
    fold: int | None,
    chosen: Chosen,
) -> tuple[Images, Images | None, str]:
    """Return (training, validation) images of all classes, and the setting that divides them."""
    if folds is None and validation_size == 0:
        return images, None, ""
    if images.own_validation:
        return *_parts(images, np.arange(len(images)) >= len(images) - images.own_validation), "validation"
    labels = images.labels.cpu().numpy()
    count, classes = len(labels), len(images.classes)
    shuffled = np.random.default_rng(split_seed).permutation(count)
    by_class = shuffled[labels[shuffled].argsort(kind="stable")]
    # Positions at even distances in the images sorted by class: every class gets its share, to within one image.
    if folds is not None and fold is not None:
        setting = f"folds={folds}"
        # A fold with an image of each class needs as many images of each as there are folds.
        counts = np.bincount(labels, minlength=classes)[places_of(images.classes, chosen)]
        _refuse_unless(folds <= int(counts.min()), setting, images)
        held_out = np.arange(fold, count, folds)
    else:
        size = validation_size if isinstance(validation_size, int) else round(validation_size * count)
        setting = f"validation_size={validation_size}"
        _refuse_unless(classes <= size <= count - classes, setting, images)
        held_out = ((np.arange(size) + 0.5) * count / size).astype(np.int64)
    validation = np.zeros(count, bool)
    validation[by_class[held_out]] = True
    return *_parts(images, validation), setting


def _parts(images: Images, validation: np.ndarray) -> tuple[Images, Images]:
    """Return (training, validation) images; `validation`: a Boolean for each image."""
    training, held_out = (images.select(torch.from_numpy(np.flatnonzero(part))) for part in (~validation, validation))
    return training, held_out


def _check(training: Images, validation: Images, setting: str) -> None:
    """Raise ConfigError if a class has no training image, and warn if one has no validation image."""
    trained, validated = training.class_counts(), validation.class_counts()
    # A class of one image would be trained or validated on, as the seed of the split has it.
    if short := [name for name, count in trained.items() if not count or count + validated[name] < 2]:
        has = ", ".join(f"{name} ({trained[name] + validated[name]})" for name in short[:NAMES])
        raise ConfigError(
            f"dataset.{setting} must leave each class images to train and to validate on, and there are too few of"
            f" {has}{', …' if len(short) > NAMES else ''}: add images, or leave the class out (dataset.classes)"
        )
    if unseen := [name for name, count in validated.items() if not count]:
        names = ", ".join(unseen[:NAMES]) + (", …" if len(unseen) > NAMES else "")
        warn(
            f"{counted(len(unseen), 'class has', 'classes have')} no validation images, so that the validation accuracy"
            f" says nothing about {'it' if len(unseen) == 1 else 'them'}: {names}"
        )


def _refuse_unless(fits: bool, setting: str, images: Images) -> None:
    """Raise ConfigError unless the setting suits the images. Called before an array of that size is made."""
    if not fits:
        raise ConfigError(
            f"dataset.{setting} does not suit these {len(images)} images: it must leave each of {len(images.classes)}"
            " classes a share"
        )
