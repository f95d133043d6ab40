"""The outcome of a run, `result.json` in its folder. Imports no torch."""

import contextlib
import json
import math
import re
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from trainer.errors import RunError
from trainer.records.layout import HEARTBEAT, JOB, RESULT
from trainer.records.metrics import FURTHER, figure_of
from trainer.runtime.lock import is_held
from trainer.storage.checksums import write_record
from trainer.storage.untrusted import MAX_COUNT, MAX_METRIC, parse_json_as, read_text

BEAT_SECONDS = 2.0  # between the heartbeats of a worker
SILENT_SECONDS = 15 * BEAT_SECONDS  # without a heartbeat, after which a worker counts as dead
DONE = ("finished", "pruned")
SCORE = re.compile(r"[a-z][a-z0-9_]{0,40}(:[a-z0-9_.+-]{1,40})?")  # the name of a score: cross, mean:5
MAX_SCORES = 100
STATES = ("queued", "running", *DONE, "failed", "interrupted")
# States that stand in no file: the record cannot be read; the run had ended and its folder is gone.
DAMAGED, MISSING = "damaged", "missing"


@dataclass(frozen=True)
class Outcome:
    """The state of a run (one of STATES), its reason, and the results of its best epoch."""

    state: str = "queued"
    reason: str | None = None
    epochs: int = 0
    starts: int = 0
    seconds: float = 0.0
    best_epoch: int = 0
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    training_images: int | None = None  # missing in records of earlier versions
    validation_images: int | None = None
    train_eval_accuracy: float | None = None  # in evaluation mode, with the weights of the best epoch
    # Of the best epoch, by name: the metrics of the run, and the cross-entropy beside another loss.
    further: dict[str, float | None] = field(default_factory=dict)
    # The figures of the validation by the rule of each score (`scoring.py`); missing in records of earlier versions.
    scores: dict[str, dict[str, float | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise ValueError for values of an untrusted file that would overflow in a sum."""
        counts = (self.epochs, self.starts, self.best_epoch, self.training_images, self.validation_images)
        groups = [self.further, *self.scores.values()]
        named = (self.validation_loss, self.validation_accuracy, self.train_eval_accuracy)
        metrics = (*named, *(value for group in groups for value in group.values()))
        if not all(FURTHER.fullmatch(name) for group in groups for name in group):
            raise ValueError("further, scores: must hold metrics by their names")
        if len(self.scores) > MAX_SCORES or not all(map(SCORE.fullmatch, self.scores)):
            raise ValueError("scores: must be metrics by the name of a score")
        if not all(count is None or 0 <= count < MAX_COUNT for count in counts) or not 0 <= self.seconds < math.inf:
            raise ValueError("a count is out of range")
        if any(value is not None and math.isfinite(value) and abs(value) > MAX_METRIC for value in metrics):
            raise ValueError("a metric is out of range")

    @property
    def gap(self) -> float | None:
        """The training accuracy in evaluation mode minus the validation accuracy, both of the best epoch."""
        if self.train_eval_accuracy is None or self.validation_accuracy is None:
            return None
        return self.train_eval_accuracy - self.validation_accuracy

    def figure(self, metric: str) -> float | None:
        """Return a metric of the best epoch, None if there is none."""
        usual = {
            name: getattr(self, name) for name in ("validation_loss", "validation_accuracy", "train_eval_accuracy")
        }
        return figure_of({**usual, **self.further}, metric)

    def value(self, metric: str, rule: str = "best") -> float | None:
        """Return a metric by the rule of a score, None unless the run has finished and has it."""
        if self.state != "finished":
            return None
        return self.figure(metric) if rule == "best" else figure_of(self.scores.get(rule, {}), metric)


def read_outcome(folder: Path) -> Outcome:
    """Return the recorded outcome, "queued" if there is none. Raises RunError if it is damaged."""
    path = folder / RESULT
    try:
        outcome = parse_json_as(Outcome, read_text(path)) if path.is_file() else Outcome()
        if outcome.state not in STATES:
            raise ValueError(f"state={outcome.state!r}")
        return outcome
    except ValueError:
        raise RunError(f"{path} is damaged. Remove it: the run then continues from its last epoch") from None


def outcome_or_damage(folder: Path) -> Outcome:
    """Return the recorded outcome; one whose state is DAMAGED, with the reason, if it cannot be read."""
    try:
        return read_outcome(folder)
    except RunError as error:
        return Outcome(DAMAGED, str(error))


def is_alive(folder: Path) -> bool:
    """Return whether a run is being trained, here or by a worker on another machine."""
    # A lock may not be visible from another machine; a heartbeat on a shared file system is.
    with contextlib.suppress(OSError):  # no heartbeat: not a launcher's worker
        if time.time() - (folder / HEARTBEAT).stat().st_mtime < SILENT_SECONDS:
            return True
    return is_held(folder)


def write_outcome(folder: Path, outcome: Outcome) -> None:
    """Write the outcome of a study's run."""
    write_record(folder / RESULT, json.dumps(asdict(outcome), indent=2) + "\n")


def write_result(folder: Path, state: str, reason: str | None = None, train_eval_accuracy: float | None = None) -> None:
    """Record whether a run finished, failed or was interrupted. For a study's run its worker calls `write_outcome`."""
    measured = {} if train_eval_accuracy is None else {"train_eval_accuracy": train_eval_accuracy}
    if not (folder / JOB).is_file():
        with contextlib.suppress(RunError):  # a full disk has been reported already
            write_record(folder / RESULT, json.dumps({"state": state, "reason": reason, **measured}) + "\n")
