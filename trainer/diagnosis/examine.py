"""The evidence of a run whose data and network are at hand."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainer.config.run_config import RunConfig
from trainer.data.images import Images
from trainer.diagnosis.inputs import Evidence, HeldOut, Row, by_cross_entropy
from trainer.diagnosis.layer_stats import layer_stats_of
from trainer.diagnosis.replay import find_first_nonfinite
from trainer.records.layout import BEST, LAST
from trainer.training.build import build_trainer
from trainer.training.resume_check import checkpoint_errors, refuse_misfit
from trainer.training.state_forms import refuse_unlike
from trainer.training.trainer import ClassificationTrainer

COMPARED = 256  # images


@dataclass(frozen=True)
class Record:
    """A run with its data.

    `last`: the trainer's state after the last whole epoch, None before the first; `best`: the weights that were saved;
    `folder`: the source of both, named in a message if they do not fit.
    """

    config: RunConfig
    training: Images
    validation: Images | None
    device: torch.device
    rows: Sequence[Row]
    last: Mapping[str, Any] | None
    best: Mapping[str, Tensor] | None
    folder: Path = Path()


def examine(record: Record) -> Evidence:
    """Collect layer statistics before training and after the last epoch, and the answers to the validation images.

    If the run did not reach its end, its next epoch is trained again. Raises RunError if a checkpoint is of another
    network.
    """
    config = record.config
    trainer = build_trainer(config, record.training, record.validation, record.device)
    # In this order: the replay of an epoch changes the trainer, and loading the best weights replaces the last ones.
    initial, final, answered, divergence = layer_stats_of(trainer, config), None, None, None
    if record.last is not None:
        with checkpoint_errors(record.folder / LAST):
            refuse_misfit(trainer, record.last)
            trainer.load_state_dict(dict(record.last))
        final = layer_stats_of(trainer, config)
    stopped_early = trainer.early_stopping.exhausted and trainer.epoch < trainer.epochs
    if not trainer.finished:
        divergence = find_first_nonfinite(trainer)
    if record.best is not None and trainer.validation is not None:
        with checkpoint_errors(record.folder / BEST):
            refuse_unlike(trainer.evaluated.state_dict(), record.best, "model")
        answered = answers(trainer, record.best)
    counts, alike = record.training.class_counts(), alike_share(record.training)
    images = 0 if record.validation is None else len(record.validation)
    rows = by_cross_entropy(record.rows)
    return Evidence(config, rows, counts, images, initial, final, answered, divergence, stopped_early, alike)


def alike_share(images: Images) -> float:
    """Return the share of the most frequent picture, to the last bit, among at most `COMPARED` evenly spaced images."""
    positions = images.spread(COMPARED)
    digests = Counter(
        hashlib.sha256(pixels.contiguous().numpy().data).digest()
        for part in positions.split(16)  # so that large images take little memory
        for pixels in images.at(part).cpu()
    )
    return max(digests.values()) / len(positions)


@torch.inference_mode()
def answers(trainer: ClassificationTrainer, weights: Mapping[str, Tensor]) -> HeldOut:
    """Return a summary of the network's answers to the validation images, with these weights."""
    assert trainer.validation is not None
    trainer.evaluated.load_state_dict(dict(weights))
    network = trainer.evaluated.eval()
    logits = torch.cat([network(images).float() for images, _ in trainer.validation.in_order()])
    images = trainer.validation.images
    places = torch.arange(len(images)) if images.indices is None else images.indices
    return held_out(logits.softmax(1), images.labels, places)


def held_out(probabilities: Tensor, labels: Tensor, places: Tensor) -> HeldOut:
    """Summarize `probabilities` [N, K] for `labels` [N]; `places` [N]: the images' positions in the data set."""
    order = probabilities.argsort(1, descending=True)
    rank = (order == labels[:, None]).int().argmax(1)  # of the label among the answers, from 0
    wrong = rank > 0
    # The more confident half: in the other one a contradiction to the label says little.
    sure = probabilities.amax(1).argsort(descending=True, stable=True)[: max(1, len(labels) // 2)]
    # With ten classes: not even among the first three, as a class that is merely confused comes second or third.
    far = rank[sure] >= max(1, min(3, probabilities.shape[1] // 3))
    suspects = tuple(places.to(sure.device)[sure[far]][:10].tolist())
    recalls = tuple(
        float((~wrong)[labels == label].float().mean()) if (labels == label).any() else float("nan")
        for label in range(probabilities.shape[1])
    )
    return HeldOut(len(labels), 1 - float(wrong.float().mean()), len(sure), int(far.sum()), recalls, suspects)
