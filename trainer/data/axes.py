"""Properties of a data set that a study may vary: its classes, the number, balance and labels of its training images.

All of it is drawn from `split_seed`, so that every arm that asks for the same gets the same.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch

from trainer.config.suggestions import nearest
from trainer.data.images import Images
from trainer.errors import ConfigError

NAMES = 20  # classes that a message lists
ROUNDING = 1e-9  # 0.29·100 is 28.999…

Chosen = Sequence[str | int] | int | None  # classes: names, a number of the first ones, all


def of_classes(images: Images, classes: Chosen) -> Images:
    """Return the images of these classes, names or a number of the first ones, in the order of the data set.

    Raises ConfigError for a name that the data set does not have, and for less than two classes.
    """
    if classes is None:
        return images
    places = places_of(images.classes, classes)
    if len(places) == len(images.classes):
        return images
    number = torch.full((len(images.classes),), -1, dtype=torch.int64)
    number[places] = torch.arange(len(places))
    labels = number[images.labels.cpu()]
    positions = (labels >= 0).nonzero().flatten()
    if not len(positions):
        raise ConfigError(f"dataset.classes={_shown(classes)}: there is no image of these classes")
    own = int((positions >= len(images) - images.own_validation).sum())
    if images.own_validation and not own:
        raise ConfigError(f"dataset.classes={_shown(classes)}: there is no validation image of these classes")
    labels = labels[positions].to(images.labels.device)
    names = tuple(images.classes[place] for place in places)
    return replace(images.select(positions), labels=labels, classes=names, own_validation=own)


def places_of(known: Sequence[str], classes: Chosen) -> list[int]:
    """Return the places of the chosen classes among those that are known. Raises ConfigError."""
    if classes is None:
        return list(range(len(known)))
    count, has = len(known), f"this data set has {len(known)}"
    if isinstance(classes, int):
        if not 2 <= classes <= count:
            raise ConfigError(f"dataset.classes={classes}: {has} classes, so that it must be from 2 to {count}")
        return list(range(classes))
    wanted = [str(name) for name in classes]
    for name in wanted:
        if name not in known:
            near = nearest(name, known)
            hint = f" Did you mean {near[0]}?" if near else ""
            accepted = ", ".join(known[:NAMES]) + (", …" if count > NAMES else "")
            raise ConfigError(f"dataset.classes: there is no class {name}.{hint} Accepted: {accepted}")
        if wanted.count(name) > 1:
            raise ConfigError(f"dataset.classes lists {name} twice")
    if len(wanted) < 2:
        raise ConfigError(f"dataset.classes={_shown(classes)}: at least two classes are needed")
    return sorted(known.index(name) for name in wanted)


def _shown(classes: Sequence[str | int] | int) -> str:
    return str(classes) if isinstance(classes, int) else f"[{','.join(map(str, classes))}]"


def altered(
    training: Images,
    split_seed: int,
    train_size: int | float | None,
    imbalance: float | None,
    label_noise: float,
    kind: Literal["symmetric", "pair"],
) -> Images:
    """Return a part of the training images, long-tailed, with wrong labels, in the order of the data set.

    A smaller part of the same split lies in a larger one, with the same labels. Raises ConfigError if a class is left
    without images.
    """
    if train_size is None and imbalance is None and not label_noise:
        return training
    labels, classes = training.labels.cpu().numpy(), len(training.classes)
    # A generator of its own: the split stays as it is. Everything is drawn for all images, whatever is asked for.
    draw = np.random.default_rng((split_seed, len(labels), 1))
    order, place, other = draw.permutation(len(labels)), draw.random(len(labels)), draw.random(len(labels))
    counts = np.bincount(labels, minlength=classes)
    by_class = order[labels[order].argsort(kind="stable")]
    rank = np.empty(len(labels), np.int64)  # of an image among those of its class
    rank[by_class] = np.arange(len(labels)) - (np.cumsum(counts) - counts)[labels[by_class]]
    kept = counts if imbalance is None else _long_tailed(counts, imbalance, training.classes)
    # Each class is spread evenly over the sequence, so that every beginning of it has the same shares of classes.
    key = (rank + place) / kept.clip(min=1)[labels]
    sequence = key.argsort(kind="stable")
    sequence = sequence[rank[sequence] < kept[labels[sequence]]]
    if train_size is not None:
        sequence = sequence[: _size(train_size, labels[sequence], training.classes)]
    # Every 1/share-th image of the sequence, so that each beginning has the share to within one image.
    steps = np.floor(np.arange(len(sequence) + 1) * label_noise + ROUNDING)
    wrong = sequence[np.diff(steps) > 0]
    if label_noise and not len(wrong):
        raise ConfigError(f"dataset.label_noise={label_noise:g} changes no label of {len(sequence)} training images")
    shift = 1 if kind == "pair" else 1 + (other[wrong] * (classes - 1)).astype(np.int64)
    labels = labels.copy()
    labels[wrong] = (labels[wrong] + shift) % classes
    positions = torch.from_numpy(np.sort(sequence))
    chosen = training.select(positions)
    return replace(chosen, labels=torch.from_numpy(labels)[positions].to(training.labels.device))


def _long_tailed(counts: np.ndarray, imbalance: float, classes: Sequence[str]) -> np.ndarray:
    """Return the images of each class: from the largest of all down by the same factor. Cui et al. 2019."""
    largest = int(counts.max())
    wanted = largest * imbalance ** (-np.arange(len(counts)) / (len(counts) - 1))
    kept: np.ndarray = np.minimum(counts, np.floor(wanted + ROUNDING).astype(np.int64))
    if empty := [name for name, count, before in zip(classes, kept, counts, strict=True) if before and not count]:
        raise ConfigError(
            f"dataset.imbalance={imbalance:g} leaves no training image of class {empty[0]}: at most {largest}, the"
            " number of images of the largest class"
        )
    return kept


def _size(train_size: int | float, labels: np.ndarray, classes: Sequence[str]) -> int:
    """Return the length of the beginning of a sequence with these labels."""
    count = train_size if isinstance(train_size, int) else round(train_size * len(labels))
    if count > len(labels):
        raise ConfigError(f"dataset.train_size={train_size}: there are {len(labels)} training images")
    present, first = np.unique(labels, return_index=True)
    if count <= (last := int(first.max())):
        name = classes[int(present[first.argmax()])]
        raise ConfigError(
            f"dataset.train_size={train_size} leaves no training image of class {name}: at least {last + 1}"
        )
    return count
