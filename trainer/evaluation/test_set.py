"""The test set. Only this module reads it, and returns no result before it is written in the ledger.

Nothing that trains or sweeps imports this module; a test checks that.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainer.config.run_config import RunConfig
from trainer.config.schema import techniques
from trainer.data.axes import of_classes
from trainer.data.download import refuse_download
from trainer.data.images import Images, Shape
from trainer.data.loader import read_part
from trainer.errors import ConfigError, reason_of
from trainer.evaluation.inference import TrainedNetwork, evaluation_batches
from trainer.evaluation.ledger import (
    Measurement,
    Network,
    Reading,
    append,
    ledger_of,
    read_ledger,
    refuse_unwritable,
    same_networks,
    study_of,
)
from trainer.runtime.console import warn
from trainer.runtime.files import expanded
from trainer.runtime.signals import defer_signals
from trainer.stats.scores import Scores, score
from trainer.training.measures import measure


@dataclass(frozen=True)
class Result:
    """The scores of each network, those of the ensemble if there is one, and the reading in the ledger.

    `metrics`: those that the run was measured by, of the ensemble or of the only network.
    """

    reading: Reading
    ledger: Path
    members: tuple[Scores, ...]
    ensemble: Scores | None
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def overall(self) -> Scores:
        """The scores of the ensemble, or of the only network."""
        return self.ensemble or self.members[0]


def read_test_set(
    snapshots: Sequence[TrainedNetwork],
    device: torch.device,
    data_dir: str | None,
    why: str | None,
    averaged: int,
    show: Callable[[Result], None] = lambda result: None,
) -> Result:
    """Score the networks on the test images, and the mean probabilities of the first `averaged` of them (0: none).

    All of it is one reading, which `show` prints: no signal parts the line in the ledger from its result. Raises
    RunError before the test images are read if the ledger was changed or cannot be written.
    """
    ledger = ledger_of(snapshots[0].path)
    refuse_unwritable(ledger)
    _warn_of_earlier_readings(ledger, snapshots)  # verifies the ledger as well, so it comes first
    for name in _unknown_metrics(snapshots[0].config):
        warn(f"metric={name} is an own one and left out: with --techniques it is measured in the same reading")
    images = _test_images(snapshots, data_dir)
    tables = [
        network.probabilities(evaluation_batches(images, f"Testing {network.name}"), device) for network in snapshots
    ]
    labels = images.labels.numpy()
    members = tuple(score(table.numpy(), labels) for table in tables)
    together = mean_probabilities(tables[:averaged]) if averaged else tables[0]
    ensemble = score(together.numpy(), labels) if averaged else None
    mean = sum(scores.accuracy for scores in members) / len(members)
    measurement = Measurement(
        networks=tuple(_network(snapshot, scores, ledger) for snapshot, scores in zip(snapshots, members, strict=True)),
        data=images.fingerprint,
        images=len(images),
        accuracy=ensemble.accuracy if ensemble else mean,
        ensemble={"members": averaged, "accuracy": ensemble.accuracy, "calibration_error": ensemble.calibration_error}
        if ensemble
        else None,
        why=why,
    )
    with defer_signals() as stop:
        # Written before anybody sees a figure: if the ledger cannot be written, there is no result.
        reading = append(ledger, measurement)
        result = Result(reading, ledger, members, ensemble, _metrics(snapshots[0].config, together, images.labels))
        show(result)
    if stop:
        raise stop.error()
    return result


def _unknown_metrics(config: RunConfig) -> list[str]:
    """Return the names of the metrics that this command was not given."""
    return [choice.name for choice in config.metric if choice.own is None and choice.name not in techniques("metric")]


def _metrics(config: RunConfig, probabilities: Tensor, labels: Tensor) -> dict[str, float]:
    """Return the metrics of a run for these probabilities [N, K], without those that are not known here or fail."""
    logits, found = probabilities.clamp_min(torch.finfo(torch.double).tiny).log().float(), dict[str, float]()
    unknown = _unknown_metrics(config)
    for choice in (each for each in config.metric if each.name not in unknown):
        try:
            found |= measure({choice.name: choice.function()}, [logits], labels)
        except Exception as error:  # the reading is written: its result must be shown
            warn(f"metric={choice.name} gives no value: {type(error).__name__}: {reason_of(error)}")
    return found


def mean_probabilities(tables: Sequence[Tensor]) -> Tensor:
    """Return the mean of the members' probabilities, each [N, K].

    Probabilities are averaged, not logits, whose scale is not limited: one overconfident member could outvote the rest.
    """
    return torch.stack(list(tables)).mean(0)


def _test_images(snapshots: Sequence[TrainedNetwork], data_dir: str | None) -> Images:
    """Return the test images of the first network's run, if all networks were trained on images of that kind."""
    first = snapshots[0]
    config: RunConfig = first.config
    place = expanded(data_dir or config.data_dir)
    if data_dir is None:  # the folder is then named by a checkpoint, which may be untrusted
        refuse_download(config.dataset.name, config.data_dir, first.path, "--data-dir DIR")
    for other in snapshots[1:]:
        if _kind(other) != _kind(first):
            raise ConfigError(f"{first.name} and {other.name} were not trained on the same kind of images")
    return _alike(config, place, (first.classes, first.shape, first.value_range is None), first.name)


def _kind(network: TrainedNetwork) -> tuple[Any, ...]:
    return network.config.dataset.name, network.classes, network.shape, network.value_range is None


def refuse_unreadable(config: RunConfig, training: Images) -> None:
    """Raise ConfigError or RunError before hours of training if the test images could not be read after it.

    They are opened and discarded: nothing is scored, so this is no reading.
    """
    classes = of_classes(training, config.dataset.shared["classes"]).classes
    _alike(config, expanded(config.data_dir), (classes, training.shape, training.are_bytes), "the winner")


def _alike(config: RunConfig, place: Path, trained_on: tuple[tuple[str, ...], Shape, bool], who: str) -> Images:
    """Return the test images.

    Raises ConfigError if (classes, shape, whether bytes) differ from those of the training images.
    """
    images = of_classes(read_part(config.dataset, place, "test"), config.dataset.shared["classes"])
    if (found := (images.classes, images.shape, images.are_bytes)) != trained_on:
        raise ConfigError(
            f"{who} was trained on {_described(*trained_on)}; the test images in data_dir={place} are"
            f" {_described(*found)}"
        )
    return images


def _described(classes: tuple[str, ...], shape: Shape, are_bytes: bool) -> str:
    names = ", ".join(classes[:3]) + (", …" if len(classes) > 3 else "")
    kind = "" if are_bytes else " with floats as pixels"
    return f"images {'×'.join(map(str, shape))}{kind} of {len(classes)} classes ({names})"


def _network(snapshot: TrainedNetwork, scores: Scores, ledger: Path) -> Network:
    """Return the network's entry; its run is named relative to the folder that contains `outputs`, if it lies there."""
    # So that the ledger still names the runs after the project was moved or copied.
    place, root = Path(snapshot.name).resolve(), ledger.resolve().parent.parent
    shown = str(place.relative_to(root)) if place.is_relative_to(root) else snapshot.name
    return Network(shown, snapshot.digest, study_of(snapshot.path), scores.accuracy, scores.calibration_error)


def _warn_of_earlier_readings(ledger: Path, snapshots: Sequence[TrainedNetwork]) -> None:
    """Warn if the test set was read before for a study of these networks, or for one of the networks."""
    earlier = read_ledger(ledger)
    studies = {study for network in snapshots if (study := study_of(network.path))}
    # All runs of a study count together: a choice among them by test accuracy is biased, though each was read once.
    for study in sorted(studies):
        same_study = [reading for reading in earlier if reading.concerns(study)]
        if same_study:
            _warn(same_study, f"study {study}")
    same = same_networks(earlier, [network.digest for network in snapshots])
    if same and not studies:
        _warn(same, "this run" if len(snapshots) == 1 else "one of these runs")


def _warn(earlier: Sequence[Reading], subject: str) -> None:
    results = ", ".join(f"{reading.accuracy:.2%} on {reading.when[:10]}" for reading in earlier[-3:])
    warn(
        f"this is reading {len(earlier) + 1} of the test set for {subject} (before: {results}). A choice made after a"
        " reading makes the next result too good: quote the first result, or report the number of readings"
    )
