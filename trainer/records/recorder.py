"""The writing of a run's files while it is trained: metrics and checkpoints."""

import contextlib
import copy
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trainer.config.run_config import RunConfig
from trainer.data.images import Images
from trainer.errors import RunError
from trainer.records.hits import write_hits
from trainer.records.layout import BEST, DESCRIBED, JOB, LAST, RESULT
from trainer.records.metrics import MetricsFile
from trainer.runtime.console import say, warn
from trainer.storage import checkpoint
from trainer.storage.checkpoint import Checkpoint
from trainer.storage.checkpoint_state import Best, Last
from trainer.storage.checksums import write_record
from trainer.storage.encoding import UnstorableError
from trainer.training.epoch import EpochReport
from trainer.training.trainer import ClassificationTrainer


class Recorder:
    """The writer of `metrics.jsonl`, the best checkpoint, `best.json` and the last checkpoint, in this order.

    A run resumes from the last checkpoint, so that it is written when the files it belongs to are complete. Files that
    cannot be written are kept in memory and tried again at the next save while training continues.
    """

    def __init__(
        self, folder: Path, config: RunConfig, training: Images, provenance: dict[str, Any], epoch: int
    ) -> None:
        """`training`: the images whose classes, shape and range are stored in checkpoints.

        `provenance` is stored in the last of them. `epoch`: epochs done already.
        """
        self.folder, self.provenance = folder, provenance
        self.header: dict[str, Any] = {
            "config": config.tree(),
            "classes": list(training.classes),
            "shape": list(training.shape),
            "value_range": [] if training.are_bytes else list(training.value_range),
        }
        # Seconds between saves within an epoch; never with checkpoint_minutes=null.
        self.interval, self.last_attempt = 60 * (config.checkpoint_minutes or math.inf), time.monotonic()
        self.metrics = MetricsFile(folder, epoch)
        if not (folder / JOB).is_file():
            (folder / RESULT).unlink(missing_ok=True)  # of an earlier start
        self.pending: dict[str, Checkpoint | str] = {}  # by file name, in the order of writing: a checkpoint or a text
        self.failure: RunError | None = None

    def is_due(self) -> bool:
        """Return whether to save within the epoch. Called after every step."""
        return time.monotonic() - self.last_attempt > self.interval

    def save(self, trainer: ClassificationTrainer, report: EpochReport | None) -> None:
        """Save the state after an epoch, with its report, or between two steps, without one."""
        last = Last(**self.header, trainer=trainer.state_dict(), provenance=self.provenance)
        # Without validation the network of the last epoch counts as the best.
        if report and (report.improved or trainer.validation is None):
            weights = trainer.evaluated.state_dict()
            self.pending[BEST] = Best(**self.header, epoch=report.epoch, model=weights)
            self.pending[DESCRIBED] = _description(trainer, self.header["classes"])
        self.pending.pop(LAST, None)  # so that it is written after a new best checkpoint
        self.pending[LAST] = last
        try:
            if report:
                self.metrics.append(report)
            self._write()
        except UnstorableError:
            raise  # no later save would succeed
        except RunError as error:
            if BEST in self.pending:  # its tensors are the network's own, which training changes
                self.pending[BEST] = copy.deepcopy(self.pending[BEST])
            if not self.failure:
                warn(f"{error}. Training continues; the files are kept in memory and tried again at every save")
            self.failure = error
        self.last_attempt = time.monotonic()

    def _write(self) -> None:
        self.metrics.write()  # first: a resumed run drops lines of later epochs, and could not restore missing ones
        for name, content in list(self.pending.items()):
            if isinstance(content, str):
                write_record(self.folder / name, content)
            else:
                checkpoint.save(self.folder / name, content)
            del self.pending[name]
        if self.failure:
            say(f"{self.folder} can be written again: all is saved")
        self.failure = None

    @contextlib.contextmanager
    def retried(self) -> Iterator[None]:
        """Try pending files once more if the block fails, except for the last checkpoint.

        Its tensors have changed since the save, so that it is not a state to resume from.
        """
        try:
            yield
        except Exception:
            self.pending.pop(LAST, None)
            with contextlib.suppress(RunError):
                self.close()
            raise

    def finish(self, trainer: ClassificationTrainer) -> None:
        """Write what is pending, and `hits.json` of a run that has ended. Raises RunError if one cannot be written."""
        self.close()
        write_hits(self.folder, trainer)

    def close(self) -> None:
        """Try pending files for the last time. Raises RunError if one cannot be written."""
        if self.failure:
            self._write()


def _description(trainer: ClassificationTrainer, classes: list[str]) -> str:
    """Return `best.json`: the confusion matrix, for readers that do not load checkpoints."""
    counts = {"epoch": trainer.epoch, "parameters": trainer.parameters}
    none = [[0] * len(classes)] * len(classes)
    confusion = trainer.validator.confusion.tolist() if trainer.validator else none
    return json.dumps({**counts, "classes": classes, "confusion": confusion}) + "\n"
