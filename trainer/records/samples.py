"""A few validation images with the predictions of the best network."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from trainer.records.train_eval import best_network
from trainer.training.trainer import ClassificationTrainer

COUNT = 16  # images


@dataclass(frozen=True)
class Sample:
    """An image with its true and its predicted class. `pixels`: uint8 [C, H, W]."""

    pixels: Tensor
    true: str
    predicted: str
    probability: float

    @property
    def words(self) -> str:
        """The caption: "3, predicted 5 (97 %)"."""
        return f"{self.true}, predicted {self.predicted} ({100 * self.probability:.0f} %)"


@torch.inference_mode()
def samples(trainer: ClassificationTrainer, folder: Path, count: int = COUNT) -> list[Sample]:
    """Return predictions of the best checkpoint for images that are the same in all runs with the same split."""
    if trainer.validation is None or (network := best_network(trainer, folder)) is None:
        return []
    validation = trainer.validation.images
    positions = torch.arange(min(count, len(validation)), device=validation.labels.device)
    images, labels, classes = validation.at(positions), validation.labels[positions], validation.classes
    probabilities, predicted = network(images).float().softmax(1).max(1)
    return [
        Sample(pixels.cpu(), classes[true], classes[guess], probability)
        for pixels, true, guess, probability in zip(
            images, labels.tolist(), predicted.tolist(), probabilities.tolist(), strict=True
        )
    ]
