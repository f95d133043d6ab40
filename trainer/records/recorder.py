"""A run's files: where they lie, how they are written as it goes, how a run is taken up from them."""

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
from trainer.records.layout import BEST, DESCRIBED, JOB, LAST, RESULT
from trainer.records.metrics import MetricsFile
from trainer.runtime.console import say, warn
from trainer.runtime.files import write_text
from trainer.storage import checkpoint
from trainer.storage.checkpoint import Checkpoint
from trainer.storage.checkpoint_state import Best, Last
from trainer.training.epoch import EpochReport
from trainer.training.trainer import ClassificationTrainer


class Recorder:
    """Writes `metrics.jsonl`, the best checkpoint, `best.json`, then the last one, which vouches for the others.

    What cannot be written is kept in memory and tried again at the next save, while training goes on: a disk that
    is full for an hour costs nothing.
    """

    def __init__(self, folder: Path, config: RunConfig, training: Images, epoch: int) -> None:
        """`training`: the images trained on, whose classes and shape every checkpoint names. `epoch`: those done."""
        self.folder = folder
        self.header: dict[str, Any] = {
            "config": config.tree(),
            "classes": list(training.classes),
            "shape": list(training.shape),
        }
        self.seconds, self.tried = 60 * (config.checkpoint_minutes or math.inf), time.monotonic()
        self.metrics = MetricsFile(folder, epoch)
        if not (folder / JOB).is_file():
            (folder / RESULT).unlink(missing_ok=True)  # how it ended before
        self.unsaved: dict[str, Checkpoint | str] = {}  # by file: a checkpoint, or a text
        self.trouble: RunError | None = None

    def is_due(self) -> bool:
        """Whether a save within the epoch is: asked in every step."""
        return time.monotonic() - self.tried > self.seconds

    def save(self, trainer: ClassificationTrainer, report: EpochReport | None) -> None:
        """After an epoch with its report, or between two steps."""
        last = Last(**self.header, trainer=trainer.state_dict())
        # Without validation the last epoch is kept.
        if report and (report.improved or trainer.validation is None):
            weights = trainer.evaluated.state_dict()
            self.unsaved[BEST] = Best(**self.header, epoch=report.epoch, model=weights)
            self.unsaved[DESCRIBED] = _described(trainer, self.header["classes"])
        self.unsaved.pop(LAST, None)
        self.unsaved[LAST] = last
        try:
            if report:
                self.metrics.append(report)
            self._write()
        except RunError as error:
            if BEST in self.unsaved:  # the network goes on changing, and the last checkpoint with it
                self.unsaved[BEST] = copy.deepcopy(self.unsaved[BEST])
            if not self.trouble:
                warn(f"{error}. Training goes on, its state is kept in memory and tried again at every save")
            self.trouble = error
        self.tried = time.monotonic()

    def _write(self) -> None:
        self.metrics.write()
        for name, content in list(self.unsaved.items()):
            if isinstance(content, str):
                write_text(self.folder / name, content)
            else:
                checkpoint.save(self.folder / name, content)
            del self.unsaved[name]
        if self.trouble:
            say(f"{self.folder} can be written again: all is saved")
        self.trouble = None

    @contextlib.contextmanager
    def retried(self) -> Iterator[None]:
        """Around the training: where it fails, what could not be written before is tried once more, but for the state.

        That has gone on since, and is none to go on from.
        """
        try:
            yield
        except Exception:
            self.unsaved.pop(LAST, None)
            with contextlib.suppress(RunError):
                self.close()
            raise

    def close(self) -> None:
        """The last attempt. Raises RunError if something is still not saved."""
        if self.trouble:
            self._write()


def _described(trainer: ClassificationTrainer, classes: list[str]) -> str:
    """`best.json`, for those who read no checkpoints: what the network takes for what."""
    about = {"epoch": trainer.epoch, "parameters": trainer.parameters}
    return json.dumps({**about, "classes": classes, "confusion": trainer.confusion.tolist()}) + "\n"
