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
    """An image with its true and its predicted class. `pixels`: uint8 [1 or 3, H, W]."""

    pixels: Tensor
    true: str
    predicted: str
    probability: float

    @property
    def words(self) -> str:
        """The caption: "3, predicted 5 (97 %)"."""
        return f"{self.true}, predicted {self.predicted} ({100 * self.probability:.0f} %)"


def picture_of(pixels: Tensor, value_range: tuple[float, float]) -> Tensor:
    """Return images [N, C, H, W] of a range of values as bytes to look at, [N, 1 or 3, H, W].

    Channels that are no colours are shown by their mean, in grey.
    """
    low, high = value_range
    if pixels.shape[1] not in (1, 3):
        pixels = pixels.float().mean(1, keepdim=True)
    if pixels.dtype == torch.uint8:
        return pixels
    return ((pixels - low) / ((high - low) or 1.0) * 255).clamp(0, 255).round().to(torch.uint8)


@torch.inference_mode()
def samples(trainer: ClassificationTrainer, folder: Path, count: int = COUNT) -> list[Sample]:
    """Return predictions of the best checkpoint for images that are the same in all runs with the same split."""
    if trainer.validation is None or (network := best_network(trainer, folder)) is None:
        return []
    validation = trainer.validation.images
    positions = torch.arange(min(count, len(validation)), device=validation.labels.device)
    images, labels, classes = validation.at(positions), validation.labels[positions], validation.classes
    pictures = picture_of(images, trainer.train.images.value_range).cpu()
    probabilities, predicted = network(images).float().softmax(1).max(1)
    return [
        Sample(pixels, classes[true], classes[guess], probability)
        for pixels, true, guess, probability in zip(
            pictures, labels.tolist(), predicted.tolist(), probabilities.tolist(), strict=True
        )
    ]
