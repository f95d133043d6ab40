"""The folder of a run: its path, its lock, and the state that a run continues from."""

import contextlib
import itertools
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
import yaml

from trainer.config.check import check
from trainer.config.own_record import COPIES, keep
from trainer.config.run_config import RunConfig, Tag, tagged
from trainer.config.shell import resume_command
from trainer.data.identity import data_differences
from trainer.errors import ConfigError, RunError
from trainer.records.code import changed_files, without_own
from trainer.records.environment import stamp, uncommitted_changes
from trainer.records.layout import JOB, LAST, PATCH
from trainer.records.metrics import METRICS, count_of
from trainer.runtime.console import say, warn
from trainer.runtime.files import WRITING, expanded, make_folder, write_text
from trainer.runtime.lock import LOCK, locked
from trainer.runtime.text import counted
from trainer.storage import checkpoint, untrusted
from trainer.storage.checkpoint import DamagedError
from trainer.storage.checkpoint_state import Last
from trainer.storage.checksums import unchecked, write_record
from trainer.storage.places import output_root
from trainer.training.resume_check import checkpoint_errors, refuse_misfit
from trainer.training.trainer import ClassificationTrainer


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run that is being trained.

    `last_epoch`: training ends after this epoch, which may be earlier than the configuration's last one.
    `can_resume`: the user may continue the run by `resume=`; a study continues its runs itself.
    """

    path: Path
    last_epoch: int
    can_resume: bool

    def progress(self) -> str:
        """Return "3 of 10 epochs and 7 steps", the progress in the last checkpoint."""
        # From the file, because an interrupt may have come before the trainer's state was saved.
        epoch, step = 0, 0
        with contextlib.suppress(RunError):
            trained = checkpoint.load_as(Last, self.path / LAST).trainer
            epoch, step = trained["epoch"], (trained["progress"] or {"step": 0})["step"]
        steps = f" and {counted(step, 'step')}" if step else ""
        return f"{epoch} of {counted(self.last_epoch, 'epoch')}{steps}"


def planned_folder(config: RunConfig) -> Path:
    """Return the folder that the run has or will have, before data are read. Raises ConfigError if it is unusable."""
    if config.resume:
        if (Path(config.resume) / JOB).is_file():
            raise ConfigError(
                f"resume={config.resume}: is a run of a study, which is continued by the study's command. To train it"
                f" on its own, resume a copy of the folder without {JOB}"
            )
        return Path(config.resume)
    root = output_root(config.output_root)
    folder = expanded(config.output_dir) if config.output_dir else root
    # The nearest folder that exists, in which the others will be created.
    parent = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(path))
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        hint = "" if config.output_dir else ". Name another folder: output_dir=FOLDER"
        raise ConfigError(
            f"{folder} cannot be written: {parent} is {'read-only' if parent.is_dir() else 'a file'}{hint}"
        )
    if config.output_dir:
        _refuse_used(folder)
        return folder
    moment = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    return root / f"{moment}_{config.dataset.name}_{config.model.name}_{config.optimizer.name}"


def _refuse_used(folder: Path) -> None:
    """Raise ConfigError if the folder holds more than the lock and temporary files of a killed process."""
    if folder.is_dir() and any(path.name != LOCK and path.suffix != f".{WRITING}" for path in folder.iterdir()):
        begun = f", or continue its run: {resume_command(folder)}" if (folder / "config.yaml").is_file() else ""
        raise ConfigError(f"output_dir={folder}: is not empty. Name another folder{begun}")


def create_folder(folder: Path, config: RunConfig) -> Path:
    """Create the folder of a new run; append a number to its name if other runs start in the same second."""
    if config.output_dir:
        _made(folder)
        _refuse_used(folder)  # again: another run may have started in it while the data were read
        return folder
    _made(folder.parent)
    for suffix in itertools.chain([""], (f"_{number}" for number in itertools.count(2))):
        with contextlib.suppress(FileExistsError):
            candidate = folder.with_name(folder.name + suffix)
            candidate.mkdir()  # atomic: of two processes one gets FileExistsError
            return candidate
    raise AssertionError("unreachable")


def _made(folder: Path) -> None:
    try:
        make_folder(folder)
    except RunError as error:
        raise ConfigError(f"{error}. Name another folder: output_dir=DIR") from None


@contextlib.contextmanager
def open_run_folder(
    trainer: ClassificationTrainer,
    planned: RunFolder,
    config: RunConfig,
    provenance: Mapping[str, Any],
    caller_holds_lock: bool,
) -> Iterator[RunFolder]:
    """Lock the run's folder for this process, restore the state in it, and yield the folder.

    `provenance`: what this process trains on, compared with that in the checkpoint. `caller_holds_lock`: the folder
    exists and is locked already. Raises RunError if another process trains there.
    """
    continues = bool(config.resume) or caller_holds_lock
    path = planned.path if continues else create_folder(planned.path, config)
    with contextlib.nullcontext() if caller_holds_lock else locked(path):
        if continues:
            restore(trainer, path, config, provenance)
        yield replace(planned, path=path, can_resume=planned.can_resume and not (path / JOB).is_file())


def restore(trainer: ClassificationTrainer, folder: Path, config: RunConfig, provenance: Mapping[str, Any]) -> None:
    """Restore the state of the last checkpoint; a run that was stopped before its first save starts again.

    If that file is damaged or missing, the previous one is used, from which the run computes the same bits. It is used
    without a question, because a requeued job has no user to answer. Raises RunError if neither can be used, or if the
    run was trained on other data.
    """
    untrusted.refuse_links(folder)
    for torn in folder.glob(f".*.{WRITING}"):  # left by a kill
        torn.unlink()
    path = folder / LAST
    if not path.is_file() and checkpoint.previous(path).is_file():
        warn(f"{path} is missing. Continuing from the previous one, {checkpoint.previous(path)}")
        checkpoint.previous(path).replace(path)
    untrusted.refuse_earlier_version(path)
    if not path.is_file():
        # One epoch may be recorded without a checkpoint: metrics are written first, and a kill may follow.
        if (epochs := count_of(folder)) > 1:
            raise RunError(
                f"{path} is missing: there are {epochs} epochs in {METRICS} and no state to continue from. Start again"
                f" in another folder, or here without {METRICS}"
            )
        return
    try:
        state = checkpoint.load_as(Last, path)
    except DamagedError as error:
        if not error.before:
            raise
        warn(f"{error}. Continuing from it")
        error.before.replace(path)
        state = checkpoint.load_as(Last, path)
    with checkpoint_errors(path):
        changed = _changed(check(untrusted.validate_plain(state.config)), config)
        others = data_differences(state.provenance["data"], provenance["data"]) if "data" in state.provenance else []
    if changed:
        raise RunError(f"{folder / 'config.yaml'} was changed since {path}: {', '.join(changed)}")
    if others:
        raise RunError(
            f"{folder}: the data in data_dir={config.data_dir} are not those that it was trained on:"
            f" {', '.join(others)}. Continue it with the former data, or train these in another folder"
        )
    # All is compared before anything is loaded, so that an error leaves no half-loaded trainer.
    with checkpoint_errors(path):
        refuse_misfit(trainer, state.trainer)
        trainer.load_state_dict(state.trainer)
    if names := unchecked(folder):
        say(f"Note: {', '.join(names)} in {folder} without checksum, of an earlier version or edited by hand")
    if files := changed_files(without_own(state.provenance), without_own(provenance)):
        warn(
            f"the run continues with other code of the trainer than before ({files}): its next epochs are not those of"
            " a run that was not stopped"
        )


def _changed(saved: RunConfig, config: RunConfig) -> list[str]:
    """Return the settings that differ from the checkpoint's, except for those that may change in a resumed run.

    Settings that are newer than the checkpoint had the effect of their defaults, which checking it has filled in.
    """
    free, former = tagged(Tag.RESUMABLE, Tag.ONE_RUN), saved.tree()
    return [key for key, value in config.tree().items() if key not in free and former[key] != value]


def write_setting(config: RunConfig, device: torch.device, folder: Path, data: str) -> str:
    """Write `config.yaml` and `environment.json`; return the run's id, which a resumed run keeps.

    `data`: the fingerprint of all images.
    """
    path = folder / "environment.json"
    try:
        stamps = untrusted.read_json(path) if path.is_file() else []
        run_id = untrusted.validate_run_id(stamps[0]["run_id"]) if stamps else uuid.uuid4().hex[:8]
    except (ValueError, LookupError, TypeError, AttributeError):
        raise RunError(
            f"{path} is damaged. Remove it and start again: it only describes where the run was trained"
        ) from None
    tree = config.tree() | {"resume": None}
    if not (folder / COPIES).exists():
        keep(config, folder)
    # With this file the run can be resumed after a kill at any later moment.
    write_record(folder / "config.yaml", yaml.safe_dump(tree, sort_keys=False, allow_unicode=True))
    now = stamp(config, device, run_id, data)
    if stamps and _platform(stamps[-1]) != _platform(now):
        warn(
            f"the run continues with torch {torch.__version__} on {now['device']} (threads: {now['threads']}), unlike"
            " before: the last bits may differ from those of a run that was not stopped"
        )
    if patch := uncommitted_changes():
        write_text(folder / PATCH, patch)
    stamps.append(now)  # one entry per start
    write_record(path, json.dumps(stamps, indent=2) + "\n")
    return run_id


def _platform(entry: Any) -> list[Any]:
    """Return what decides the last bits of sums, from an entry of a file that is untrusted or of an earlier version."""
    if not isinstance(entry, dict):
        return []
    packages, device = entry.get("packages"), entry.get("device")
    version = packages.get("torch") if isinstance(packages, dict) else None
    return [version, device, entry.get("threads") if device == "cpu" else None]
