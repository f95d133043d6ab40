"""A run's files: where they lie, how they are written as it goes, how a run is taken up from them."""

import contextlib
import copy
import itertools
import json
import math
import os
import time
import uuid
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
import yaml

from trainer import archive, checkpoint, strangers
from trainer.checkpoint import Checkpoint, DamagedError
from trainer.checkpoint_state import Best, Last
from trainer.config import RunConfig
from trainer.console import say, warn
from trainer.environment import stamp
from trainer.epoch import EpochReport
from trainer.errors import ConfigError, RunError, ran_out
from trainer.files import WRITING, expanded, write_text
from trainer.layout import BEST, DESCRIBED, LAST
from trainer.lock import LOCK, held
from trainer.metrics import METRICS, MetricsFile, count_of
from trainer.study.manifest import JOB, RESULT
from trainer.training import ClassificationTrainer

OUTPUTS = Path("outputs")


class Record:
    """`metrics.jsonl`, the best checkpoint, `best.json`, and behind them the last one, which vouches for the others.

    What cannot be written is kept in memory and tried again at the next save, while training goes on: a disk that
    is full for an hour costs nothing. `portrait` is what every checkpoint tells of the run.
    """

    def __init__(self, folder: Path, portrait: dict[str, Any], epoch: int, checkpoint_minutes: float | None) -> None:
        self.folder, self.portrait = folder, portrait
        self.seconds, self.tried = 60 * (checkpoint_minutes or math.inf), time.monotonic()
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
        last = Last(**self.portrait, trainer=trainer.state_dict())
        # Without validation the last epoch is kept.
        if report and (report.improved or trainer.validation is None):
            weights = trainer.evaluated.state_dict()
            self.unsaved[BEST] = Best(**self.portrait, epoch=report.epoch, model=weights)
            self.unsaved[DESCRIBED] = _described(trainer, self.portrait["classes"])
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
    def kept(self) -> Iterator[None]:
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


def planned_folder(config: RunConfig) -> Path:
    """Where the run is or will be, looked at before any data is read. Raises ConfigError if it cannot go there."""
    if config.resume:
        if (Path(config.resume) / JOB).is_file():
            raise ConfigError(
                f"resume={config.resume}: is a run of a study, which goes on by the study's own command. To train it on"
                f" by itself, resume a copy of the folder without {JOB}"
            )
        return Path(config.resume)
    folder = expanded(config.output_dir) if config.output_dir else OUTPUTS
    parent = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise ConfigError(f"{folder} cannot be written: {parent} is {'read-only' if parent.is_dir() else 'a file'}")
    if config.output_dir:
        _refuse_used(folder)
        return folder
    moment = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    return OUTPUTS / f"{moment}_{config.dataset.name}_{config.model.name}_{config.optimizer.name}"


def _refuse_used(folder: Path) -> None:
    """What a kill before the first file leaves is nothing."""
    if folder.is_dir() and any(path.name != LOCK and path.suffix != f".{WRITING}" for path in folder.iterdir()):
        raise ConfigError(f"output_dir={folder}: is not empty. Name another folder, or go on with resume={folder}")


def create(folder: Path, config: RunConfig) -> Path:
    """A folder that no other run has, also when several start in the same second."""
    if config.output_dir:
        folder.mkdir(parents=True, exist_ok=True)
        _refuse_used(folder)  # once more: another run may have been given it while the data were read
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    for suffix in itertools.chain([""], (f"_{number}" for number in itertools.count(2))):
        with contextlib.suppress(FileExistsError):
            candidate = folder.with_name(folder.name + suffix)
            candidate.mkdir()
            return candidate
    raise AssertionError("unreachable")


@contextlib.contextmanager
def settled(trainer: ClassificationTrainer, folder: Path, config: RunConfig, given: bool) -> Iterator[Path]:
    """The run's folder, for this process alone, with the state that lies there put back.

    `given`: by a caller who holds it already. Raises RunError if another process trains there.
    """
    folder = folder if config.resume or given else create(folder, config)
    with contextlib.nullcontext() if given else held(folder):
        if config.resume or given:
            restore(trainer, folder, config)
        yield folder


def restore(trainer: ClassificationTrainer, folder: Path, config: RunConfig) -> None:
    """Puts the state of the last checkpoint back; a run that was stopped before its first save begins again.

    Where that file is damaged or gone, the one before it takes its place: from there the run comes to the same bits,
    and a job that was requeued has nobody to ask.
    """
    strangers.refuse_links(folder)
    for torn in folder.glob(f".*.{WRITING}"):  # left by a kill
        torn.unlink()
    path = folder / LAST
    if not path.is_file() and checkpoint.previous(path).is_file():
        warn(f"{path} is gone. Going on from the one before it, {checkpoint.previous(path)}")
        checkpoint.previous(path).replace(path)
    strangers.refuse_earlier_version(path)
    if not path.is_file():
        # Of a run that was killed in its first save there is one.
        if (epochs := count_of(folder)) > 1:
            raise RunError(
                f"{path} is gone: of the {epochs} epochs in {METRICS} nothing is left to go on from. Begin anew in"
                f" another folder, or here without {METRICS}"
            )
        return
    try:
        state = checkpoint.load_as(Last, path)
    except DamagedError as error:
        if not error.before:
            raise
        warn(f"{error}. Going on from there")
        error.before.replace(path)
        state = checkpoint.load_as(Last, path)
    with fitting(path):
        changed = _changed(strangers.harmless(state.config), config)
    if changed:
        raise RunError(f"{folder / 'config.yaml'} was changed since {path}: {', '.join(changed)}")
    with fitting(path):
        archive.refuse_misfit(trainer, state.trainer)
        trainer.load_state_dict(state.trainer)


@contextlib.contextmanager
def fitting(path: Path) -> Iterator[None]:
    """Around what takes a checkpoint up. Raises RunError with one line if it is of another network or optimizer."""
    try:
        yield
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if ran_out(error):
            raise RunError(f"{path} needs more memory than is free") from None
        reason = archive.reason(error)
        raise RunError(f"{path} does not fit {path.with_name('config.yaml')}: {reason}") from None


def _changed(saved: Any, config: RunConfig) -> list[str]:
    """The settings that the checkpoint was written with otherwise, but for those that may change."""
    free = {
        "epochs",
        "early_stop_patience",
        "checkpoint_minutes",
        "insight_every",
        "device",
        "data_dir",
        "wandb",
        "resume",
        "output_dir",
    }
    # What was added since the run was recorded is missing in it, and meant as it is by default.
    added = {key: field.default for key, field in RunConfig.model_fields.items() if not field.is_required()}
    saved = added | (saved if isinstance(saved, dict) else {})
    return [key for key, value in config.tree().items() if key not in free and saved.get(key) != value]


def write_setting(config: RunConfig, device: torch.device, folder: Path) -> str:
    """Writes `config.yaml` and the environment stamp; returns the run's id, which a resumed run keeps."""
    path = folder / "environment.json"
    try:
        stamps = strangers.read_json(path) if path.is_file() else []
        run_id = strangers.run_identity(stamps[0]["run_id"]) if stamps else uuid.uuid4().hex[:8]
    except (ValueError, LookupError, TypeError, AttributeError):
        raise RunError(f"{path} is damaged. Remove it and start again: it holds what the run ran on") from None
    tree = config.tree() | {"resume": None}
    # First: with it the run can go on, wherever it is killed.
    write_text(folder / "config.yaml", yaml.safe_dump(tree, sort_keys=False, allow_unicode=True))
    now = stamp(config, device, run_id)
    if stamps and _grounds(stamps[-1]) != _grounds(now):
        warn(
            f"it goes on with torch {torch.__version__} on {now['device']} (threads: {now['threads']}), which is"
            " not what it ran on before: the last bits may become others than those of a run that was not stopped"
        )
    stamps.append(now)  # one for each time the run was started
    write_text(path, json.dumps(stamps, indent=2) + "\n")
    return run_id


def _grounds(known: Any) -> list[Any]:
    """Of a stamp what decides the last bits of sums; the file may be a stranger's, or of an earlier version."""
    if not isinstance(known, dict):
        return []
    packages, device = known.get("packages"), known.get("device")
    version = packages.get("torch") if isinstance(packages, dict) else None
    return [version, device, known.get("threads") if device == "cpu" else None]


def note_end(folder: Path, state: str, reason: str | None = None) -> None:
    """Leaves for the report how a run ended: finished, failed or interrupted. A study's worker does it itself."""
    if not (folder / JOB).is_file():
        with contextlib.suppress(RunError):  # of a disk that is full the person has been told
            write_text(folder / RESULT, json.dumps({"state": state, "reason": reason}) + "\n")


def saved(folder: Path, goal: int) -> str:
    """ "3 of 10 epochs and 7 steps": asked of the file itself, as an interrupt may come at any moment."""
    epoch, step = 0, 0
    with contextlib.suppress(RunError):
        trained = checkpoint.load_as(Last, folder / LAST).trainer
        epoch, step = trained["epoch"], (trained["progress"] or {"step": 0})["step"]
    return f"{epoch} of {goal} epochs" + (f" and {step} step{'s' if step > 1 else ''}" if step else "")
