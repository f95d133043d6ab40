"""The test set. No other module reads it, no result leaves this one that is not written in the ledger first.

Nothing that trains or sweeps imports this module; a test holds that.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from trainer.config.run_config import RunConfig
from trainer.data.images import Images
from trainer.errors import ConfigError
from trainer.evaluation.inference import TrainedNetwork, evaluation_batches
from trainer.evaluation.ledger import Network, Reading, append, ledger_of, read_ledger, same_networks, study_of
from trainer.runtime.console import warn
from trainer.runtime.files import expanded
from trainer.stats.scores import Scores, score
from trainer.storage.untrusted import refuse_download


@dataclass(frozen=True)
class Result:
    """The scores of each network and, of several, those of their averaged probabilities; the line in the ledger."""

    reading: Reading
    ledger: Path
    members: tuple[Scores, ...]
    ensemble: Scores | None

    @property
    def whole(self) -> Scores:
        """Of the ensemble, or of the only network."""
        return self.ensemble or self.members[0]


def read_test_set(
    snapshots: Sequence[TrainedNetwork], device: torch.device, data_dir: str | None, why: str | None, averaged: int
) -> Result:
    """Scores the networks on the test images, and the first `averaged` of them (0: none) by their mean probabilities.

    Counts as one reading. Raises RunError before anything is read if the ledger is broken.
    """
    ledger = ledger_of(snapshots[0].path)
    _say_what_was_read(ledger, snapshots)
    images = _test_images(snapshots, data_dir)
    tables = [each.probabilities(evaluation_batches(images, f"Testing {each.name}"), device) for each in snapshots]
    labels = images.labels.numpy()
    members = tuple(score(table.numpy(), labels) for table in tables)
    ensemble = score(mean_probabilities(tables[:averaged]).numpy(), labels) if averaged else None
    mean = sum(each.accuracy for each in members) / len(members)
    reading = append(
        ledger,
        [_network(snapshot, scores, ledger) for snapshot, scores in zip(snapshots, members, strict=True)],
        images.fingerprint(),
        len(images),
        ensemble.accuracy if ensemble else mean,
        {"members": averaged, "accuracy": ensemble.accuracy, "calibration_error": ensemble.calibration_error}
        if ensemble
        else None,
        why,
    )
    return Result(reading, ledger, members, ensemble)


def mean_probabilities(tables: Sequence[Tensor]) -> Tensor:
    """[N, K] of each member → [N, K]; probabilities are averaged, not logits, so that an unsure one counts less."""
    return torch.stack(list(tables)).mean(0)


def _test_images(snapshots: Sequence[TrainedNetwork], data_dir: str | None) -> Images:
    first = snapshots[0]
    config: RunConfig = first.config
    place = expanded(data_dir or config.data_dir)
    if data_dir is None:
        refuse_download(config.dataset.name, config.data_dir, first.path, "--data-dir DIR")
    for other in snapshots[1:]:
        if (other.config.dataset.name, other.classes, other.shape) != (config.dataset.name, first.classes, first.shape):
            raise ConfigError(f"{first.name} and {other.name} were not trained on the same kind of images")
    return _alike(config, place, first.classes, first.shape, first.name)


def refuse_unreadable(config: RunConfig, training: Images) -> None:
    """Opens the test images before hours of training, and lets go of them: nothing is scored, no figure leaves here.

    Raises ConfigError or RunError where the reading after the training would.
    """
    _alike(config, expanded(config.data_dir), training.classes, training.shape, "the winner")


def _alike(config: RunConfig, place: Path, classes: tuple[str, ...], shape: tuple[int, int, int], who: str) -> Images:
    """The test images, if they are of the kind that was trained on."""
    images: Images = config.dataset.function()(place, "test")
    if (images.classes, images.shape) != (classes, shape):
        raise ConfigError(
            f"{who} was trained on {_described(classes, shape)}; the test images in"
            f" data_dir={place} are {_described(images.classes, images.shape)}"
        )
    return images


def _described(classes: tuple[str, ...], shape: tuple[int, int, int]) -> str:
    names = ", ".join(classes[:3]) + (", …" if len(classes) > 3 else "")
    return f"images {'×'.join(map(str, shape))} of {len(classes)} classes ({names})"


def _network(snapshot: TrainedNetwork, scores: Scores, ledger: Path) -> Network:
    """The run's place as seen from the folder that holds `outputs`, where it lies below it."""
    place, root = Path(snapshot.name).resolve(), ledger.resolve().parent.parent
    shown = str(place.relative_to(root)) if place.is_relative_to(root) else snapshot.name
    return Network(shown, snapshot.digest, study_of(snapshot.path), scores.accuracy, scores.calibration_error)


def _say_what_was_read(ledger: Path, snapshots: Sequence[TrainedNetwork]) -> None:
    known = read_ledger(ledger)
    studies = {study for each in snapshots if (study := study_of(each.path))}
    for study in sorted(studies):
        before = [reading for reading in known if reading.concerns(study)]
        if before:
            _warn(before, f"study {study}")
    again = same_networks(known, [each.digest for each in snapshots])
    if again and not studies:
        _warn(again, "this run" if len(snapshots) == 1 else "one of these runs")


def _warn(before: Sequence[Reading], whose: str) -> None:
    told = ", ".join(f"{reading.accuracy:.2%} on {reading.when[:10]}" for reading in before[-3:])
    warn(
        f"this is reading {len(before) + 1} of the test set for {whose} (before: {told}). What is chosen after a"
        " reading looks better than it is: quote the first, or say how many there were"
    )
