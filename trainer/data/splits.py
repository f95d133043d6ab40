"""Divides the training images into those to learn from and those to validate on."""

import numpy as np
import torch

from trainer.data.images import Images
from trainer.errors import ConfigError
from trainer.kinds import Count, CountOrZero, OpenFraction


def split(
    images: Images,
    split_seed: int,
    *,
    validation_size: Count | OpenFraction = 0.1,
    folds: Count | None = None,
    fold: CountOrZero | None = None,
) -> tuple[Images, Images]:
    """(training, validation): stratified, the same for every `seed`, so that arms are scored on the same images.

    `validation_size` is a number of images or a fraction of them; with `folds`, part `fold` of so many is
    validated on instead. Raises ConfigError where the classes are too small for it.
    """
    from sklearn.model_selection import StratifiedKFold, train_test_split

    labels = images.labels.cpu().numpy()
    everything = np.arange(len(labels))
    try:
        if folds is not None and fold is not None:
            parts = StratifiedKFold(folds, shuffle=True, random_state=split_seed).split(everything, labels)
            training, validation = list(parts)[fold]
        else:
            training, validation = train_test_split(
                everything, test_size=validation_size, stratify=labels, random_state=split_seed
            )
    except ValueError as error:
        wanted = f"dataset.folds={folds}" if folds else f"dataset.validation_size={validation_size}"
        raise ConfigError(f"{wanted} does not suit these {len(labels)} images: {error}") from None
    return tuple(images.select(torch.from_numpy(np.sort(part))) for part in (training, validation))  # type: ignore[return-value]
