"""The accuracy on training images in evaluation mode, which can be held against the validation accuracy.

The training accuracy of an epoch is a mean over steps, in training mode, on augmented images: dropout and mixup lower
it below the validation accuracy of a network that overfits.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from trainer.data.loader import evaluation_batch_size
from trainer.errors import RunError, reason_of
from trainer.records.layout import BEST
from trainer.runtime.console import warn
from trainer.runtime.memory import skip_on_oom
from trainer.storage import checkpoint
from trainer.storage.checkpoint_state import Best
from trainer.training.copies import detached_copy
from trainer.training.determinism import deterministic_mode
from trainer.training.trainer import ClassificationTrainer

MAX_IMAGES = 5000  # known to 0.7 points or better, by two standard deviations at 95 %


def train_eval_accuracy(trainer: ClassificationTrainer, folder: Path, split_seed: int) -> float | None:
    """Return the share of a fixed part of the training images that the best checkpoint classifies correctly.

    The weights are those of the best epoch, as of the best validation accuracy. Return None without a checkpoint, and
    with a warning if it cannot be read or the memory does not suffice: the run itself is complete.
    """
    try:
        with skip_on_oom():
            network = best_network(trainer, folder)
            return None if network is None else _accuracy(trainer, network, chosen_positions(trainer, split_seed))
        warn("train_eval_accuracy is not measured: the memory does not suffice")
    except (RunError, OSError) as error:
        warn(f"train_eval_accuracy is not measured: {reason_of(error)}")
    return None


def best_network(trainer: ClassificationTrainer, folder: Path) -> nn.Module | None:
    """Return the network of the best checkpoint in evaluation mode, None if no epoch has been kept.

    It is a copy, because the trained network is of a later epoch and may still be used. Raises RunError if the
    checkpoint cannot be read.
    """
    kept = trainer.epoch if trainer.validation is None else trainer.early_stopping.best_epoch
    if not kept:
        return None
    (network,) = detached_copy((trainer.evaluated,))
    network.eval().load_state_dict(checkpoint.load_as(Best, folder / BEST).model)
    return network


def chosen_positions(trainer: ClassificationTrainer, split_seed: int) -> Tensor:
    """Return the positions of the training images that are measured, on the trainer's device."""
    count = len(trainer.train.labels)
    validated = count if trainer.validation is None else len(trainer.validation.labels)
    return chosen_of(count, validated, split_seed).to(trainer.device)


def chosen_of(count: int, validated: int, split_seed: int) -> Tensor:
    """Return the positions, among `count` training images, of as many as are validated, at most MAX_IMAGES.

    They depend on `split_seed` alone, so that all arms of a study are measured on the same images.
    """
    # A generator of its own, whose seed is not that of the split: no draw of the training changes.
    chosen = np.random.default_rng((split_seed, count)).permutation(count)[: min(MAX_IMAGES, validated)]
    return torch.from_numpy(np.sort(chosen))  # in order, as a mapped file is read fastest


@torch.inference_mode()
def _accuracy(trainer: ClassificationTrainer, network: nn.Module, positions: Tensor) -> float:
    """Return the share of the images at these positions that a network classifies correctly, as in validation."""
    correct = torch.zeros((), dtype=torch.long, device=trainer.device)
    with deterministic_mode(trainer.deterministic):
        for part in positions.split(evaluation_batch_size(trainer.train.images)):
            images, labels = trainer.train.at(part)
            with trainer.autocast:
                logits = network(images).float()
            correct += (logits.argmax(1) == labels).sum()
    return correct.item() / len(positions)
