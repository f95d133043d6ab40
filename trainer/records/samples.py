"""A few validation images and what the best network takes them for."""

import copy
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from trainer.records.layout import BEST
from trainer.storage import checkpoint
from trainer.storage.checkpoint_state import Best
from trainer.training.trainer import ClassificationTrainer

COUNT = 16


@dataclass(frozen=True)
class Sample:
    """`pixels` [C, H, W] uint8."""

    pixels: Tensor
    true: str
    predicted: str
    probability: float


@torch.inference_mode()
def samples(trainer: ClassificationTrainer, folder: Path, count: int = COUNT) -> list[Sample]:
    """Of the best checkpoint, on the same images for every run with the same split."""
    if trainer.validation is None or trainer.early_stopping.best_epoch == 0:
        return []
    network = copy.deepcopy(trainer.evaluated).eval()
    network.load_state_dict(checkpoint.load_as(Best, folder / BEST).model)
    whole = trainer.validation.images
    positions = torch.arange(min(count, len(whole)), device=whole.labels.device)
    images, labels, classes = whole.at(positions), whole.labels[positions], whole.classes
    probabilities, predicted = network(images).float().softmax(1).max(1)
    return [
        Sample(pixels.cpu(), classes[true], classes[found], probability)
        for pixels, true, found, probability in zip(
            images, labels.tolist(), predicted.tolist(), probabilities.tolist(), strict=True
        )
    ]
