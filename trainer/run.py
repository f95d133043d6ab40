"""The story of one run: data, network, techniques, training, record."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from trainer import memory, strangers
from trainer.build import build_trainer, pick_device
from trainer.config import RunConfig
from trainer.console import EpochDisplay, closing_table, duration, say, waiting, warn
from trainer.data.images import Images
from trainer.data.resident import load
from trainer.diagnosis.glance import glance
from trainer.diagnosis.replay import where_it_began
from trainer.epoch import EpochReport
from trainer.errors import Evicted, NonFiniteError, RunError, ran_out, within_memory
from trainer.files import expanded
from trainer.insight import observed
from trainer.invocation import command, resumed
from trainer.layout import BEST, DESCRIBED
from trainer.record import Record, note_end, planned_folder, restore, saved, settled, write_setting
from trainer.samples import samples
from trainer.signals import noted
from trainer.study.manifest import DONE, JOB, read_outcome
from trainer.tracking import WandbMirror, wandb_mirror
from trainer.training import ClassificationTrainer

ASKED = "no more were asked for"  # why a run that is complete has fewer epochs than its configuration
Data = tuple[Images, Images | None]  # to train and to validate on


@dataclass(frozen=True)
class Result:
    """What a run came to; the best epoch is the one with the lowest validation loss."""

    folder: Path
    epochs: int
    best_epoch: int
    best_validation_loss: float
    best_validation_accuracy: float
    training_images: int
    validation_images: int
    stopped: bool = False  # by `stop`
    interrupt: KeyboardInterrupt | None = None  # came too late to stop the run: what is around it is to stop


def train(
    config: RunConfig,
    folder: Path | None = None,
    stop: Callable[[int], bool] | None = None,
    until: int | None = None,
) -> Result:
    """Trains one checked run and leaves its record in a folder of its own, or goes on in `folder`, which is held.

    `stop` is asked after each epoch, of its number, and first of all on a resume: a kill may have come between the save
    and the answer. After epoch `until` it ends, though the schedule is made for all of
    `config.epochs`. Raises ConfigError before anything is written and RunError after that; Ctrl-C and a cluster's
    warning keep the last step, and are raised as KeyboardInterrupt and Evicted.
    """
    given, stopped = folder is not None, False
    folder = folder or planned_folder(config)
    device, goal = pick_device(config.device), until or config.epochs
    display = EpochDisplay(goal)
    _announce(config, device)
    with within_memory("Use fewer or smaller images, a smaller network, or another device"):
        images = load(config.dataset, expanded(config.data_dir), device)
        training, validation = config.dataset.shared_function()(images, config.split_seed)
        trainer = build_trainer(config, training, validation, device, display.watch)
    with settled(trainer, folder, config, given) as folder:
        further = until is None and not (folder / JOB).is_file()  # whether it may go on by itself
        if trainer.finished or trainer.epoch >= goal:
            _tell_complete(trainer, folder, goal, further)
            note_end(folder, "finished", None if trainer.early_stopping.exhausted else ASKED)
            return _result(trainer, folder)
        run_id = write_setting(config, device, folder)
        portrait = {"config": config.tree(), "classes": list(training.classes), "shape": list(training.shape)}
        record, started = Record(folder, portrait, trainer.epoch, config.checkpoint_minutes), time.perf_counter()
        _introduce(config, trainer, training, folder)
        with (
            _told(trainer, config, (training, validation), device, folder, goal, further),
            wandb_mirror(config.wandb, config.tree(), folder, run_id) as mirror,
            display,
            noted() as interrupt,
            record.kept(),
        ):
            stopped = bool(stop and trainer.epoch and stop(trainer.epoch))
            for report in () if stopped else trainer.train_loop(pause=lambda: bool(interrupt) or record.is_due()):
                report = observed(trainer, config, report)
                record.save(trainer, report)
                if report:
                    display.line(report)
                    _tell_skipped(report, len(trainer.train))
                    mirror.log(report)
                    stopped = bool(stop and stop(report.epoch))
                    if stopped or report.epoch == goal:
                        break
                if interrupt and not trainer.finished:
                    raise interrupt.error()
            mirror.summarize(_summary(trainer))
            record.close()
            note_end(folder, "finished", ASKED if until else None)
            _portray(mirror, trainer, folder, config.wandb.artifact)
        if not given:  # a study tells of its runs together
            glance(trainer, config, folder)
        _conclude(trainer, folder, time.perf_counter() - started, further)
        late = interrupt.error() if interrupt else None
        return replace(_result(trainer, folder), stopped=stopped, interrupt=late)


@contextlib.contextmanager
def _told(
    trainer: ClassificationTrainer,
    config: RunConfig,
    data: Data,
    device: torch.device,
    folder: Path,
    goal: int,
    further: bool,
) -> Iterator[None]:
    """Words what ends the training before its time: what happened, what is saved, how to go on."""
    closer = ""
    try:
        yield
        return
    except KeyboardInterrupt as error:
        by = f" by {error}" if isinstance(error, Evicted) else ""
        complete = read_outcome(folder).state in DONE  # it was stopped while W&B finished
        again = f". To go on: {resumed(folder)}" if further and not complete else ""
        say(f"Stopped{by}. Saved: {saved(folder, goal)}{again}", "yellow")
        vars(error)["told"] = True
        if not complete:
            note_end(folder, "interrupted", f"stopped{by or ' by the user'}")
        raise
    except NonFiniteError as error:
        vars(trainer).clear()  # lets go of the network and the optimizer: a second one is built
        note_end(folder, "failed", str(error))  # the search for where it began may be interrupted
        where = _first_not_finite(config, data, device, folder, str(error))
        hint = "A smaller lr, regularization=gradient_clipping or on_nonfinite=skip usually helps"
        reason = f"{error}{where}. {hint}"
        closer = f". What may be wrong: {command(folder, module='trainer.doctor')}"
    except RunError as error:
        reason = str(error)
    except Exception as error:
        if not ran_out(error):  # a technique's own mistake: its traceback is told
            note_end(folder, "failed", f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}")
            raise
        vars(trainer).clear()  # lets go of the network and the optimizer
        reason = memory.advice(config, *data, device)
    note_end(folder, "failed", reason)
    raise RunError(f"{reason}. Saved: {saved(folder, goal)}, in {folder}{closer}")


def _first_not_finite(config: RunConfig, data: Data, device: torch.device, folder: Path, known: str) -> str:
    """Trains from the last checkpoint once more, to the same bits, and looks at every layer. Empty if nothing is found.

    So that a run in which all goes well pays nothing for it. What is `known` is told when it is interrupted.
    """
    found = None
    try:
        with contextlib.suppress(RuntimeError, MemoryError), waiting("Looking for where it began"):
            trainer = build_trainer(config.model_copy(update={"compile": False}), *data, device)
            restore(trainer, folder, config)
            found = where_it_began(trainer)
    except KeyboardInterrupt as error:
        warn(known)
        vars(error)["told"] = True
        raise
    return f"; first not finite: {found.what}, in step {found.step}" if found else ""


def _tell_complete(trainer: ClassificationTrainer, folder: Path, goal: int, further: bool) -> None:
    again = f". To train on: {_longer(trainer, folder)}" if further else ""
    done = f"{trainer.epoch} of {goal} epochs" if trainer.epoch <= goal else f"it has {trainer.epoch} epochs already"
    say(f"{folder} is complete: {done}{again}")


def _announce(config: RunConfig, device: torch.device) -> None:
    count = torch.get_num_threads()
    threads = f" ({count} thread{'s' if count > 1 else ''})" if device.type == "cpu" else ""
    say(f"{config.model.name} on {config.dataset.name} with {config.optimizer.name}, on {device}{threads}", "bold")


def _introduce(config: RunConfig, trainer: ClassificationTrainer, images: Images, folder: Path) -> None:
    channels, height, width = images.shape
    say(
        f"{len(trainer.train.labels)} training and {_validation_images(trainer)} validation images"
        f" {channels}×{height}×{width}, {len(images.classes)} classes; {trainer.parameters} parameters;"
        f" {len(trainer.train)} steps an epoch of up to {config.batch_size} images"
    )
    within = f", step {trainer.progress.step} of the next" if trainer.progress else ""
    further = f", going on after epoch {trainer.epoch}{within}" if trainer.epoch or within else ""
    say(f"Folder: {folder}{further}")


def _tell_skipped(report: EpochReport, steps: int) -> None:
    if report.skipped_steps:
        which = f"{report.skipped_steps} of {steps} steps of epoch {report.epoch}"
        warn(f"{which} were left out: loss or gradient not finite (on_nonfinite)")


def _portray(mirror: WandbMirror, trainer: ClassificationTrainer, folder: Path, artifact: bool) -> None:
    """The run is trained: what is wanting for this, a file or memory, does not fail it."""
    try:
        with memory.spared():
            shown = samples(trainer, folder) if mirror.listening else []
            if shown:
                best = strangers.read_json(folder / DESCRIBED)
                mirror.portray(shown, best["confusion"], best["classes"])
    except (RunError, OSError, ValueError, LookupError) as error:
        warn(f"W&B gets no samples of this run: {error}")
    if artifact and mirror.listening:
        mirror.keep(folder / BEST)


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
    return Result(
        folder,
        trainer.epoch,
        **_summary(trainer),
        training_images=len(trainer.train.labels),
        validation_images=_validation_images(trainer),
    )


def _validation_images(trainer: ClassificationTrainer) -> int:
    return 0 if trainer.validation is None else len(trainer.validation.labels)


def _summary(trainer: ClassificationTrainer) -> dict[str, Any]:
    best = trainer.early_stopping
    return {
        "best_epoch": best.best_epoch,
        "best_validation_loss": best.best_loss,
        "best_validation_accuracy": best.best_accuracy,
    }


def _longer(trainer: ClassificationTrainer, folder: Path) -> str:
    whole = [f"epochs={2 * trainer.epoch}"] if trainer.epoch >= trainer.epochs else []
    return resumed(folder, *["early_stop_patience=null"] * trainer.early_stopping.exhausted, *whole)
