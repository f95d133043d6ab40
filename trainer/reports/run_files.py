"""The files of a run, read for a report: its epochs, its best network, its environment. Imports no torch."""

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from trainer.errors import RunError
from trainer.records.hits import read_hits
from trainer.records.layout import JOB
from trainer.records.metrics import damage_of, further_of, intact_metrics
from trainer.records.outcome import DAMAGED, Outcome, is_alive, read_outcome
from trainer.storage.untrusted import MAX_COUNT, Kind, parse_json_as, read_text
from trainer.training.early_stopping import EarlyStopping

Part = TypeVar("Part")

NEAR_BEST = 0.95  # of a run's best validation accuracy: the first epoch that reaches it shows how fast it learned


@dataclass(frozen=True)
class Best:
    """The content of `best.json`; confusion [K, K] counts the validation images, a row for each true class."""

    parameters: int
    classes: list[str]
    confusion: list[list[int]]

    def __post_init__(self) -> None:
        # The file may be untrusted: these are the properties that the figures rely on.
        if {len(self.confusion), *map(len, self.confusion)} != {len(self.classes)}:
            raise ValueError("confusion: must have a row and a column for each class")
        counts = [*itertools.chain(*self.confusion)]
        if not all(0 <= count < MAX_COUNT for count in (self.parameters, *counts, sum(counts))):
            raise ValueError("a count is out of range")


@dataclass(frozen=True)
class Environment:
    """The part of `environment.json` that is shown."""

    trainer: str
    python: str
    platform: str
    packages: dict[str, str]
    git: dict[str, Any] | None
    device: str
    threads: int
    started: str = ""
    code: dict[str, str] = field(default_factory=dict)  # the hash of each file that decides a result
    data: str | None = None  # the fingerprint of all images; missing in records before 0.4.0


@dataclass(frozen=True)
class Run:
    """A run as it lies on disk. `replicate` distinguishes it from the others of its arm: "seed=0"."""

    folder: Path
    replicate: str
    outcome: Outcome
    epochs: list[dict[str, Any]]
    config: Mapping[str, Any]
    best: Best | None
    environment: Environment | None  # of its last start
    damage: tuple[str, ...] = ()  # a sentence for each file that cannot be read
    damaged_lines: tuple[int, ...] = ()  # of its metrics, whose epochs are missing in `epochs`

    @property
    def last_epoch(self) -> int:
        """The number of epochs that were trained."""
        return last_epoch(self.epochs)

    @property
    def seconds(self) -> float:
        """The seconds of all epochs."""
        return sum(row["epoch_seconds"] or 0.0 for row in self.epochs)

    @property
    def epochs_to_near_best(self) -> int | None:
        """The first epoch with 95 % of the run's best validation accuracy."""
        reached = [(row["epoch"], row["validation_accuracy"]) for row in self.epochs if row["validation_accuracy"]]
        # inf if there was no validation: no epoch reaches it.
        goal = NEAR_BEST * max((accuracy for _, accuracy in reached), default=math.inf)
        return next((epoch for epoch, accuracy in reached if accuracy >= goal), None)


@dataclass(frozen=True)
class RunLimits:
    """The part of a configuration that limits a run's length."""

    epochs: int
    early_stop_patience: int | None = None
    early_stop_min_delta: float = 0.0


def run_of(folder: Path, replicate: str, config: Mapping[str, Any], limits: RunLimits | None = None) -> Run:
    """Read a run. `limits`: those of a run outside a study, whose outcome may have to follow from its metrics.

    Raises RunError if a file of a run outside a study is damaged; one of many runs keeps what can be read. Of metrics
    with damaged lines the others are used.
    """
    damage = list[str]()

    def read(part: Callable[[], Part], without: Part) -> Part:
        try:
            return part()
        except RunError as error:
            if limits:
                raise
            damage.append(str(error))
            return without

    alive = is_alive(folder)  # before the outcome is read: a run that ends in between has written how it ended
    nothing: tuple[list[dict[str, Any]], tuple[int, ...]] = ([], ())
    rows, lines = read(lambda: intact_metrics(folder), nothing)
    if lines and limits and not rows:
        raise RunError(damage_of(folder, lines))
    left_out = f": what {'it holds' if len(lines) == 1 else 'they hold'} is left out"
    if lines:
        damage.append(f"{damage_of(folder, lines)}{left_out if rows else ''}")
    outcome = read(lambda: read_outcome(folder), Outcome(DAMAGED))
    best = read(lambda: _read_as(Best, folder / "best.json"), None)
    if limits and not (folder / JOB).is_file():
        outcome = _lone_outcome(outcome, rows, limits, sum(map(sum, best.confusion)) if best else 0)
    if outcome.state == "running" and not alive:
        # No process trains it, and it could not record how it ended.
        outcome = replace(outcome, state="interrupted", reason="its process was killed")
    if not limits:  # of a study, whose verdict then knows nothing of other images
        read(lambda: read_hits(folder, "best"), None)
    starts = read(lambda: _read_as(list[Environment], folder / "environment.json"), None)
    return Run(folder, replicate, outcome, rows, config, best, starts[-1] if starts else None, tuple(damage), lines)


def _lone_outcome(recorded: Outcome, rows: list[dict[str, Any]], limits: RunLimits, images: int) -> Outcome:
    """Return the outcome of a run outside a study, with the results of its best epoch on so many validation images.

    If it recorded no state, its metrics show whether it is complete.
    """
    compared = [row for row in rows if row["validation_loss"] is not None]
    best = min(compared, key=lambda row: row["validation_loss"], default={"epoch": 0})["epoch"]
    state = recorded.state
    if state == "queued":  # nothing is recorded, as by a run that was killed
        state = "finished" if last_epoch(rows) >= limits.epochs or _stopped_early(rows, limits) else "running"
    at_best = next((row for row in compared if row["epoch"] == best), {})
    return Outcome(
        state,
        recorded.reason,
        epochs=last_epoch(rows),
        best_epoch=best or last_epoch(rows),
        validation_loss=at_best.get("validation_loss"),
        validation_accuracy=at_best.get("validation_accuracy"),
        validation_images=images or None,
        further=further_of(at_best, "validation"),
        train_eval_accuracy=recorded.train_eval_accuracy if state == "finished" else None,
    )


def last_epoch(rows: list[dict[str, Any]]) -> int:
    """Return the number of the last epoch: more than there are rows if some lines are damaged."""
    return int(rows[-1]["epoch"]) if rows else 0


def _stopped_early(rows: list[dict[str, Any]], limits: RunLimits) -> bool:
    """Return whether early stopping ended the run. A loss that was not finite is null in the file."""
    stopping = EarlyStopping(limits.early_stop_patience, limits.early_stop_min_delta)
    for row in rows:
        if row["validation_accuracy"] is not None:  # an epoch with a validation
            loss = math.nan if row["validation_loss"] is None else row["validation_loss"]
            stopping.observe(row["epoch"], loss, row["validation_accuracy"])
    return stopping.exhausted


def _read_as(kind: type[Kind], path: Path) -> Kind | None:
    """Return the content of a JSON file as this type, None if there is no file. Raises RunError if it does not fit."""
    try:
        return parse_json_as(kind, read_text(path)) if path.is_file() else None
    except ValueError:
        raise RunError(f"{path} is damaged") from None
