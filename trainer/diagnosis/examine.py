"""Looks at a run with its data and its network at hand, and puts together what the rules ask for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainer.archive import refuse_misfit, refuse_unlike
from trainer.build import build_trainer
from trainer.config import RunConfig
from trainer.data.images import Images
from trainer.diagnosis.case import Case, HeldOut, Row
from trainer.diagnosis.replay import where_it_began
from trainer.insight import insight_of
from trainer.layout import BEST, LAST
from trainer.record import fitting
from trainer.training import ClassificationTrainer


@dataclass(frozen=True)
class Record:
    """A run with its data. `last`: the trainer's state after the last whole epoch, None before the first; `best`: the
    weights that were kept; `folder`: where both were read, to be named if they do not fit."""

    config: RunConfig
    training: Images
    validation: Images | None
    device: torch.device
    rows: Sequence[Row]
    last: Mapping[str, Any] | None
    best: Mapping[str, Tensor] | None
    folder: Path = Path()


def examine(record: Record) -> Case:
    """Looks into the network before training and after the last epoch; of a run that did not come to its end the next
    epoch is trained again. Raises RunError if a checkpoint is of another network."""
    config = record.config
    trainer = build_trainer(config, record.training, record.validation, record.device)
    initial, final, answered, divergence = insight_of(trainer, config), None, None, None
    if record.last is not None:
        with fitting(record.folder / LAST):
            refuse_misfit(trainer, record.last)
            trainer.load_state_dict(dict(record.last))
        final = insight_of(trainer, config)
    stopped_early = trainer.early_stopping.exhausted and trainer.epoch < trainer.epochs
    if not trainer.finished:
        divergence = where_it_began(trainer)
    if record.best is not None and trainer.validation is not None:
        with fitting(record.folder / BEST):
            refuse_unlike(trainer.evaluated.state_dict(), record.best, "model")
        answered = answers(trainer, record.best)
    counts = class_counts(record.training)
    images = 0 if record.validation is None else len(record.validation)
    return Case(config, record.rows, counts, images, initial, final, answered, divergence, stopped_early)


def class_counts(images: Images) -> dict[str, int]:
    counts = images.labels.bincount(minlength=len(images.classes)).tolist()
    return dict(zip(images.classes, counts, strict=True))


@torch.inference_mode()
def answers(trainer: ClassificationTrainer, weights: Mapping[str, Tensor]) -> HeldOut:
    """What the network with these weights says to the validation images."""
    assert trainer.validation is not None
    trainer.evaluated.load_state_dict(dict(weights))
    network = trainer.evaluated.eval()
    logits = torch.cat([network(images).float() for images, _ in trainer.validation.in_order()])
    images = trainer.validation.images
    places = torch.arange(len(images)) if images.rows is None else images.rows
    return held_out(logits.softmax(1), images.labels, places)


def held_out(probabilities: Tensor, labels: Tensor, places: Tensor) -> HeldOut:
    """`probabilities` [N, K], `labels` [N] as they are given, `places` [N] of the images in the data set."""
    order = probabilities.argsort(1, descending=True)
    place = (order == labels[:, None]).int().argmax(1)  # of the given label among the answers, from 0
    wrong = place > 0
    sure = probabilities.amax(1).argsort(descending=True, stable=True)[: max(1, len(labels) // 2)]
    # Of ten classes not even among the first three: what is confused with another class comes second or third.
    far = place[sure] >= max(1, min(3, probabilities.shape[1] // 3))
    suspects = tuple(places.to(sure.device)[sure[far]][:10].tolist())
    recalls = tuple(
        float((~wrong)[labels == label].float().mean()) if (labels == label).any() else float("nan")
        for label in range(probabilities.shape[1])
    )
    return HeldOut(len(labels), 1 - float(wrong.float().mean()), len(sure), int(far.sum()), recalls, suspects)
