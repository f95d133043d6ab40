"""The story of one run: data, network, techniques, training, record."""

import contextlib
import itertools
import json
import os
import re
import shlex
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
import yaml

from trainer import checkpoint
from trainer.build import build_trainer, pick_device
from trainer.config import RunConfig
from trainer.console import EpochDisplay, closing_table, duration, say
from trainer.data.images import Images
from trainer.data.resident import load
from trainer.diagnosis.glance import glance
from trainer.environment import stamp
from trainer.epoch import EpochReport
from trainer.errors import ConfigError, RunError
from trainer.insight import observed
from trainer.tracking import MetricsFile, wandb_mirror
from trainer.training import ClassificationTrainer

OUTPUTS = Path("outputs")


@dataclass(frozen=True)
class Result:
    """What a run came to; the best epoch is the one with the lowest validation loss."""

    folder: Path
    epochs: int
    best_epoch: int
    best_validation_loss: float
    best_validation_accuracy: float
    validation_images: int
    stopped: bool = False  # by `stop`


def train(
    config: RunConfig,
    folder: Path | None = None,
    stop: Callable[[EpochReport], bool] | None = None,
    until: int | None = None,
) -> Result:
    """Trains one checked run and leaves its record in a folder of its own, or in `folder`, going on with what is there.

    `stop` is asked after each epoch. After epoch `until` it ends, though the schedule is made for all of
    `config.epochs`. Raises ConfigError before anything is written and RunError after that; Ctrl-C
    keeps the last whole epoch.
    """
    given, stopped = folder is not None, False
    folder = folder or _planned_folder(config)
    device, goal = pick_device(config.device), until or config.epochs
    display = EpochDisplay(goal)
    _announce(config, device)
    images = load(config.dataset, Path(config.data_dir).expanduser(), device)
    training, validation = config.dataset.shared_function()(images, config.split_seed)
    trainer = build_trainer(config, training, validation, device, display.watch)
    folder = _restore(trainer, folder, config) if config.resume or given else _create(folder, config)
    if trainer.finished or trainer.epoch >= goal:
        further = "" if until else f". To train on: {_longer(trainer, folder)}"
        say(f"{folder} is complete: {trainer.epoch} of {goal} epochs{further}")
        return _result(trainer, folder)
    run_id = _write_setting(config, device, folder)
    metrics, started = MetricsFile(folder, trainer.epoch), time.perf_counter()
    portrait = {"config": config.tree(), "classes": list(training.classes), "shape": list(training.shape)}
    _introduce(config, trainer, training, folder)
    try:
        with wandb_mirror(config.wandb, config.tree(), folder, run_id) as mirror, display:
            for report in trainer.train_loop():
                metrics.append(report := observed(trainer, config, report))
                if report.improved or trainer.validation is None:  # without validation the last epoch is kept
                    best = trainer.evaluated.state_dict()
                    checkpoint.save(folder / "best.pt", {**portrait, "epoch": report.epoch, "model": best})
                checkpoint.save(folder / "last.pt", {**portrait, "trainer": trainer.state_dict()})
                display.line(report)
                mirror.log(report)
                stopped = bool(stop and stop(report))
                if stopped or report.epoch == goal:
                    break
            mirror.summarize(_summary(trainer))
    except KeyboardInterrupt:
        further = "" if until else f". To go on: {_again(folder)}"
        say(f"Stopped. Saved: {_saved(folder)} of {goal} epochs{further}", "yellow")
        raise
    except RunError as error:
        raise RunError(f"{error}. Saved: {_saved(folder)} of {goal} epochs, in {folder}") from None
    if not given:  # a study tells of its runs together
        glance(trainer, config, folder)
    _conclude(trainer, folder, time.perf_counter() - started, further=until is None)
    return replace(_result(trainer, folder), stopped=stopped)


def _planned_folder(config: RunConfig) -> Path:
    """Where the run is or will be, looked at before any data is read. Raises ConfigError if it cannot go there."""
    if config.resume:
        return Path(config.resume)
    folder = Path(config.output_dir).expanduser() if config.output_dir else OUTPUTS
    parent = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise ConfigError(f"{folder} cannot be written: {parent} is {'read-only' if parent.is_dir() else 'a file'}")
    if config.output_dir:
        if folder.is_dir() and any(folder.iterdir()):
            raise ConfigError(f"output_dir={folder}: is not empty. Name another folder, or go on with resume={folder}")
        return folder
    moment = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    return OUTPUTS / f"{moment}_{config.dataset.name}_{config.model.name}_{config.optimizer.name}"


def _create(folder: Path, config: RunConfig) -> Path:
    """A folder that no other run has, also when several start in the same second."""
    if config.output_dir:
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    for suffix in itertools.chain([""], (f"_{number}" for number in itertools.count(2))):
        with contextlib.suppress(FileExistsError):
            candidate = folder.with_name(folder.name + suffix)
            candidate.mkdir()
            return candidate
    raise AssertionError("unreachable")


def _restore(trainer: ClassificationTrainer, folder: Path, config: RunConfig) -> Path:
    """Puts the state of `last.pt` back; a run that was stopped before its first epoch ended begins again."""
    if (folder / "last.pt").is_file():
        state = checkpoint.load(folder / "last.pt")
        changed = _changed(state.get("config"), config)
        if changed:
            raise RunError(f"{folder / 'config.yaml'} was changed since {folder / 'last.pt'}: {', '.join(changed)}")
        try:
            trainer.load_state_dict(state["trainer"])
        except (KeyError, RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise RunError(f"{folder / 'last.pt'} does not fit {folder / 'config.yaml'}: {reason}") from None
    return folder


def _changed(saved: Any, config: RunConfig) -> list[str]:
    """The settings that the checkpoint was written with otherwise, but for those that may change."""
    free = {"epochs", "early_stop_patience", "insight_every", "device", "data_dir", "wandb", "resume", "output_dir"}
    saved = saved if isinstance(saved, dict) else {}
    return [key for key, value in config.tree().items() if key not in free and saved.get(key) != value]


def _write_setting(config: RunConfig, device: torch.device, folder: Path) -> str:
    """Writes `config.yaml` and the environment stamp; returns the run's id, which a resumed run keeps."""
    path = folder / "environment.json"
    try:
        stamps = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
        run_id = stamps[0]["run_id"] if stamps else uuid.uuid4().hex[:8]
    except (ValueError, LookupError, TypeError):
        raise RunError(f"{path} is damaged. Remove it and start again: it holds what the run ran on") from None
    stamps.append(stamp(config, device, run_id))  # one for each time the run was started
    checkpoint.write_text(path, json.dumps(stamps, indent=2) + "\n")
    tree = config.tree() | {"resume": None}
    checkpoint.write_text(folder / "config.yaml", yaml.safe_dump(tree, sort_keys=False, allow_unicode=True))
    return run_id


def _announce(config: RunConfig, device: torch.device) -> None:
    threads = f" ({torch.get_num_threads()} threads)" if device.type == "cpu" else ""
    say(f"{config.model.name} on {config.dataset.name} with {config.optimizer.name}, on {device}{threads}", "bold")


def _introduce(config: RunConfig, trainer: ClassificationTrainer, images: Images, folder: Path) -> None:
    channels, height, width = images.shape
    parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    say(
        f"{len(trainer.train.labels)} training and {_validation_images(trainer)} validation images"
        f" {channels}×{height}×{width}, {len(images.classes)} classes; {parameters} parameters;"
        f" {len(trainer.train)} steps an epoch of up to {config.batch_size} images"
    )
    say(f"Folder: {folder}" + (f", going on after epoch {trainer.epoch}" if trainer.epoch else ""))


def _conclude(trainer: ClassificationTrainer, folder: Path, seconds: float, further: bool) -> None:
    result = _result(trainer, folder)
    if trainer.early_stopping.exhausted and trainer.epoch < trainer.epochs:
        say(f"Stopped early: {trainer.early_stopping.waited} validations without progress.")
    validated = [
        ("Best epoch", f"{result.best_epoch} of {trainer.epoch}"),
        ("Validation accuracy", f"{result.best_validation_accuracy:.2%}"),
        ("Validation loss", f"{result.best_validation_loss:.4f}"),
    ]
    again = [("To train on", _longer(trainer, folder))] if further else []
    before = [] if trainer.validation is None else validated
    closing_table([*before, ("Time", duration(seconds)), ("Folder", str(folder)), *again])


def _result(trainer: ClassificationTrainer, folder: Path) -> Result:
    return Result(folder, trainer.epoch, **_summary(trainer), validation_images=_validation_images(trainer))


def _validation_images(trainer: ClassificationTrainer) -> int:
    return 0 if trainer.validation is None else len(trainer.validation.labels)


def _summary(trainer: ClassificationTrainer) -> dict[str, Any]:
    best = trainer.early_stopping
    return {
        "best_epoch": best.best_epoch,
        "best_validation_loss": best.best_loss,
        "best_validation_accuracy": best.best_accuracy,
    }


def _saved(folder: Path) -> int:
    """The epochs in `last.pt`: asked of the file itself, as an interrupt may come at any moment."""
    path = folder / "last.pt"
    return int(checkpoint.load(path)["trainer"]["epoch"]) if path.is_file() else 0


def _longer(trainer: ClassificationTrainer, folder: Path) -> str:
    stopped = trainer.early_stopping.exhausted
    return _again(folder, "early_stop_patience=null" if stopped else f"epochs={2 * trainer.epochs}")


def _again(folder: Path, *overrides: str) -> str:
    plain = re.fullmatch(r"[\w./+-]+", str(folder), re.ASCII)
    resume = f"resume={folder}" if plain else f'resume="{folder}"'  # quoted for Hydra, then for the shell
    return shlex.join(["python", "-m", "trainer", resume, *overrides])
