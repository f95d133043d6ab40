"""Training images for the demonstrations, of the data set that the settings name."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.demonstrations.descent import settings

if TYPE_CHECKING:
    from trainer.data.images import Images


def training_split(words: Sequence[str]) -> "Images":
    """Return the training images of a run with these settings."""
    import torch

    from trainer.data.loader import load

    run = settings(*words)
    images = load(run.dataset, Path(run.data_dir).expanduser(), torch.device("cpu"))
    training, _ = run.dataset.shared_function()(images, run.split_seed)
    return training


def of_each_class(images: "Images", most: int) -> "Images":
    """Return the first image of each class, then the second of each, and so on, at most `most`."""
    import torch

    places = [(images.labels == label).nonzero().flatten().tolist() for label in range(len(images.classes))]
    turns = [row[turn] for turn in range(most) for row in places if turn < len(row)]
    return images.select(torch.tensor(turns[:most]))


def as_pictures(images: "Images", value_range: tuple[float, float]) -> "Images":
    """Return images of any numbers and channels as bytes of one or three channels, which can be looked at."""
    from dataclasses import replace

    from trainer.records.samples import picture_of

    return replace(images, storage=picture_of(images.pixels, value_range), indices=None, mapping=None)
