"""The files of a run, read for a report: its epochs, its best network, its environment. Imports no torch."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trainer.errors import RunError
from trainer.records.layout import JOB
from trainer.records.metrics import read_metrics
from trainer.records.outcome import Outcome, is_alive, read_outcome
from trainer.storage.untrusted import MAX_COUNT, Kind, parse_json_as, read_text
from trainer.training.early_stopping import EarlyStopping

NEAR_BEST = 0.95  # of a run's best validation accuracy: the epoch that reaches it is a measure of speed


@dataclass(frozen=True)
class Best:
    """The file `best.json`. confusion [K, K]: numbers of validation images, a row for each true class."""

    parameters: int
    classes: list[str]
    confusion: list[list[int]]

    def __post_init__(self) -> None:
        # Untrusted: a square matrix, and counts small enough to be summed.
        if {len(self.confusion), *map(len, self.confusion)} != {len(self.classes)}:
            raise ValueError("confusion: must have a row and a column for each class")
        if not all(0 <= count < MAX_COUNT for count in (self.parameters, *itertools.chain(*self.confusion))):
            raise ValueError("a count is out of range")


@dataclass(frozen=True)
class Environment:
    """The part of `environment.json` that a report shows."""

    trainer: str
    python: str
    platform: str
    packages: dict[str, str]
    git: dict[str, Any] | None
    device: str
    threads: int


@dataclass(frozen=True)
class Run:
    """A run on disk. `replicate` names it among the runs of its arm: "seed=0"."""

    folder: Path
    replicate: str
    outcome: Outcome
    epochs: list[dict[str, Any]]
    config: Mapping[str, Any]
    best: Best | None
    stamp: Environment | None  # of its last start

    @property
    def seconds(self) -> float:
        """The sum of the seconds of all epochs."""
        return sum(row["epoch_seconds"] or 0.0 for row in self.epochs)

    @property
    def epochs_to_near_best(self) -> int | None:
        """The first epoch with 95 % of the run's best validation accuracy; None without a validation."""
        reached = [(row["epoch"], row["validation_accuracy"]) for row in self.epochs if row["validation_accuracy"]]
        goal = NEAR_BEST * max((accuracy for _, accuracy in reached), default=math.inf)
        return next((epoch for epoch, accuracy in reached if accuracy >= goal), None)


@dataclass(frozen=True)
class RunLimits:
    """The settings that determine when a run ends."""

    epochs: int
    early_stop_patience: int | None = None
    early_stop_min_delta: float = 0.0


def run_of(folder: Path, replicate: str, config: Mapping[str, Any], planned: RunLimits | None = None) -> Run:
    """Return the run in the folder; `planned` if it belongs to no study. Raises RunError if a file is damaged."""
    alive = is_alive(folder)  # first: a run that ends in the meantime has then written its outcome
    rows, outcome = read_metrics(folder), read_outcome(folder)
    if planned and not (folder / JOB).is_file():
        outcome = _by_itself(outcome, rows, planned)
    if outcome.state == "running" and not alive:
        # It could not write how it ended.
        outcome = replace(outcome, state="interrupted", reason="its process was killed")
    best = _recorded(Best, folder / "best.json")
    stamps = _recorded(list[Environment], folder / "environment.json")
    return Run(folder, replicate, outcome, rows, config, best, stamps[-1] if stamps else None)


def _by_itself(noted: Outcome, rows: list[dict[str, Any]], planned: RunLimits) -> Outcome:
    """Return the outcome of a run that belongs to no study, with its best epoch from the metrics."""
    compared = [row for row in rows if row["validation_loss"] is not None]
    best = min(compared, key=lambda row: row["validation_loss"], default={"epoch": 0})["epoch"]
    state = noted.state
    if state == "queued":  # no recorded outcome: the metrics show whether it reached its end
        state = "finished" if len(rows) >= planned.epochs or _exhausted(rows, planned) else "running"
    return Outcome(state, noted.reason, epochs=len(rows), best_epoch=best or len(rows))


def _exhausted(rows: list[dict[str, Any]], planned: RunLimits) -> bool:
    """Return whether early stopping ended the run."""
    # Observe its validations again; a loss that was not finite is null in the file.
    stopping = EarlyStopping(planned.early_stop_patience, planned.early_stop_min_delta)
    for row in rows:
        if row["validation_accuracy"] is not None:
            loss = math.nan if row["validation_loss"] is None else row["validation_loss"]
            stopping.observe(row["epoch"], loss, row["validation_accuracy"])
    return stopping.exhausted


def _recorded(kind: type[Kind], path: Path) -> Kind | None:
    """Return the content of a file, None if there is none. Raises RunError if it is not of this kind."""
    try:
        return parse_json_as(kind, read_text(path)) if path.is_file() else None
    except ValueError:
        raise RunError(f"{path} is damaged") from None
