"""One run from its configuration to its record: data, network, techniques, training, files. Start at `train`."""

import contextlib
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from trainer.config.run_config import RunConfig
from trainer.config.shell import command
from trainer.data.identity import identity_of
from trainer.data.images import Images
from trainer.data.loader import load
from trainer.diagnosis.layer_stats import with_layer_stats
from trainer.diagnosis.replay import find_first_nonfinite
from trainer.diagnosis.summary import print_summary
from trainer.errors import NonFiniteError, RunError, TechniqueError, as_reported, reason_of
from trainer.records.code import code_files, code_hashes
from trainer.records.display import (
    EpochDisplay,
    announce,
    conclude,
    introduce,
    report_complete,
    warn_of_skipped,
)
from trainer.records.hits import write_hits
from trainer.records.interrupt import report_interrupt
from trainer.records.layout import BEST, DESCRIBED, TRACEBACK
from trainer.records.metrics import further_at
from trainer.records.outcome import outcome_or_damage, write_result
from trainer.records.recorder import Recorder
from trainer.records.run_folder import RunFolder, open_run_folder, planned_folder, restore, write_setting
from trainer.records.samples import samples
from trainer.records.tensorboard import event_file
from trainer.records.train_eval import train_eval_accuracy
from trainer.records.wandb_content import shown, told
from trainer.records.wandb_mirror import WandbMirror, wandb_mirror
from trainer.runtime.console import waiting, warn
from trainer.runtime.files import expanded, write_text
from trainer.runtime.memory import is_out_of_memory, release_frames, skip_on_oom, within_memory
from trainer.runtime.signals import defer_signals
from trainer.storage.untrusted import read_json
from trainer.training.blame import line_of
from trainer.training.build import build_trainer, pick_device
from trainer.training.forgotten import refuse_forgotten
from trainer.training.oom import batch_size_advice
from trainer.training.trainer import ClassificationTrainer
from trainer.training.turns import pass_turn

# The recorded reason why a finished run has fewer epochs than configured.
EPOCH_LIMIT_REACHED = "training was limited to this number of epochs"


@dataclass(frozen=True)
class Data:
    """The training and validation images, their device, and what checkpoints keep of their origin."""

    training: Images
    validation: Images | None
    device: torch.device
    provenance: dict[str, Any]


@dataclass(frozen=True)
class Result:
    """The outcome of a run; the best epoch is the one with the lowest validation loss."""

    folder: Path
    epochs: int
    best_epoch: int
    best_validation_loss: float
    best_validation_accuracy: float
    training_images: int
    validation_images: int
    train_eval_accuracy: float | None = None  # see records/train_eval.py
    further: Mapping[str, float | None] = field(default_factory=dict)  # figures of the best epoch beside these
    stopped: bool = False  # by `stop`, before its last epoch
    interrupt: KeyboardInterrupt | None = None  # arrived after the last step; the caller is to raise it


def train(
    config: RunConfig,
    folder: Path | None = None,
    stop: Callable[[int], bool] | None = None,
    stop_after: int | None = None,
) -> Result:
    """Train one checked run in a new folder, or continue it in `folder`, whose lock the caller holds.

    `stop` is called with the number of each completed epoch and ends the run if it returns true. A run that continues
    calls it first, because the process may have been killed between a save and the call. Training ends after epoch
    `stop_after`, while the schedule is made for all of `config.epochs`. Raises ConfigError before anything is written
    and RunError after that; Ctrl-C and a cluster's warning are raised as Interrupted and Preempted after a save.
    """
    caller_holds_lock, stopped = folder is not None, False
    planned = RunFolder(folder or planned_folder(config), stop_after or config.epochs, can_resume=stop_after is None)
    device, display = pick_device(config.device), EpochDisplay(planned.last_epoch, config.further)
    announce(config, device, chosen=not caller_holds_lock)
    with within_memory("Use fewer or smaller images, a smaller network, or another device"):
        images = load(config.dataset, expanded(config.data_dir), device)
        training, validation = config.dataset.shared_function()(images, config.split_seed)
        data = Data(
            training,
            validation,
            device,
            {"data": identity_of(images, training, validation), "code": code_hashes(config)},
        )
        trainer = build_trainer(config, training, validation, device, display.watch)
    refuse_forgotten(config, trainer.model)
    with (
        open_run_folder(trainer, planned, config, data.provenance, caller_holds_lock) as opened,
        report_interrupt(trainer, opened),
    ):
        if trainer.finished or trainer.epoch >= opened.last_epoch:
            return _complete(trainer, config, opened)
        run_id = write_setting(config, device, opened.path, images.fingerprint)
        recorder, started = Recorder(opened.path, config, training, data.provenance, trainer.epoch), time.perf_counter()
        introduce(config, trainer, opened)
        # The order matters: the contexts end from the last to the first. First the recorder retries failed saves, while
        # signals are still deferred. Then signals are raised again, the progress bar goes, W&B is closed with the exit
        # code, and at last a failure or an interrupt is reported, below all other output.
        with (
            report_failure(trainer, config, data, opened),
            wandb_mirror(shown(config), told(config), opened.path, run_id) as mirror,
            event_file(config.tensorboard, opened.path, trainer.epoch) as events,
            display,
            defer_signals() as interrupt,
            recorder.retried(),
        ):

            def pause() -> bool:
                pass_turn()  # to the other runs of `sweep.concurrent`
                return bool(interrupt) or recorder.is_due()

            stopped = bool(stop and trainer.epoch and stop(trainer.epoch))
            for report in () if stopped else trainer.train_loop(pause):
                report = with_layer_stats(trainer, config, report)
                recorder.save(trainer, report)
                if report:
                    display.line(report)
                    warn_of_skipped(report, len(trainer.train))
                    mirror.log(report, trainer.model if config.wandb.histograms else None)
                    events.log(report, trainer.model)
                    stopped = bool(stop and stop(report.epoch))
                    if stopped or report.epoch == opened.last_epoch:
                        break
                if interrupt and not trainer.finished:
                    raise interrupt.error()
            mirror.summarize(_best(trainer))
            recorder.finish(trainer)
            accuracy = _measured(mirror, trainer, config, opened.path)
            write_result(opened.path, "finished", EPOCH_LIMIT_REACHED if stop_after else None, accuracy)
            _log_results(mirror, trainer, opened.path, config)
        if not caller_holds_lock:  # a study reports on its runs together
            print_summary(trainer, config, opened.path)
        conclude(trainer, opened, time.perf_counter() - started, accuracy, _further(trainer, opened.path))
        return _result(trainer, opened.path, accuracy, stopped, interrupt.error() if interrupt else None)


@contextlib.contextmanager
def report_failure(trainer: ClassificationTrainer, config: RunConfig, data: Data, folder: RunFolder) -> Iterator[None]:
    """Report an error of the training: print what is saved and how to continue, and record the reason."""
    doctor_hint = ""
    (folder.path / TRACEBACK).unlink(missing_ok=True)  # of an earlier start
    try:
        yield
        return
    except NonFiniteError as error:
        trainer.release()  # the search for the layer builds a second trainer
        write_result(folder.path, "failed", str(error))  # before the search, which may be interrupted
        where = _locate_nonfinite(config, data, folder.path, str(error))
        hint = "A smaller lr, regularization=gradient_clipping or on_nonfinite=skip usually helps"
        reason = f"{error}{where}. {hint}"
        doctor_hint = f". What may be wrong: {command('doctor', folder.path)}"
    except Exception as error:
        if line := line_of(error, config):
            write_text(folder.path / TRACEBACK, "".join(traceback.format_exception(error)))
            write_result(folder.path, "failed", line)
            release_frames(error)
            saved = f"Saved: {folder.progress()}, in {folder.path}"
            raise TechniqueError(f"{line}. {saved}. Traceback: {folder.path / TRACEBACK}") from None
        if isinstance(error, RunError):
            reason = str(error)
        elif is_out_of_memory(error):
            release_frames(error)
            trainer.release()  # smaller batch sizes are tried with another trainer
            reason = batch_size_advice(config, data.training, data.validation, data.device)
        else:  # a bug of this program: its traceback is shown
            write_result(folder.path, "failed", f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}")
            raise
    write_result(folder.path, "failed", reason)
    raise RunError(f"{reason}. Saved: {folder.progress()}, in {folder.path}{doctor_hint}")


def _locate_nonfinite(config: RunConfig, data: Data, folder: Path, message: str) -> str:
    """Return the first value that is not finite, found by training again from the last checkpoint, or "".

    The replay computes the same bits and checks every layer, so that a healthy run pays nothing for the check.
    `message`: the error of the run, printed if the search is interrupted.
    """
    origin = None
    try:
        with (
            contextlib.suppress(RuntimeError, MemoryError),
            waiting("Searching for the first value that is not finite"),
        ):
            # Hooks on layers do not run in compiled code.
            trainer = build_trainer(config.eager, data.training, data.validation, data.device)
            restore(trainer, folder, config, data.provenance)
            origin = find_first_nonfinite(trainer)
    except KeyboardInterrupt as error:
        warn(message)
        raise as_reported(error) from None
    return f"; first not finite: {origin.what}, in step {origin.step}" if origin else ""


def _log_results(mirror: WandbMirror, trainer: ClassificationTrainer, folder: Path, config: RunConfig) -> None:
    """Send sample predictions to W&B, and the best network and the code if the settings say so.

    An error or lack of memory in the former is a warning, because the run itself is complete.
    """
    try:
        with skip_on_oom():
            predictions = samples(trainer, folder) if mirror.listening else []
            if predictions:
                best = read_json(folder / DESCRIBED)
                mirror.log_samples(predictions, best["confusion"], best["classes"])
    except (RunError, OSError, ValueError, LookupError) as error:
        warn(f"W&B gets no samples of this run: {reason_of(error)}")
    if config.wandb.log_model:
        mirror.log_artifact(folder / BEST)
    if config.wandb.log_code:
        mirror.log_code(code_files(config))


def _measured(mirror: WandbMirror, trainer: ClassificationTrainer, config: RunConfig, folder: Path) -> float | None:
    """Return `train_eval_accuracy`, which W&B gets as well, with what is recorded of the best epoch beside it."""
    mirror.summarize({f"best_{name}": value for name, value in _further(trainer, folder).items()})
    accuracy = train_eval_accuracy(trainer, folder, config.split_seed)
    mirror.summarize({} if accuracy is None else {"train_eval_accuracy": accuracy})
    return accuracy


def _complete(trainer: ClassificationTrainer, config: RunConfig, folder: RunFolder) -> Result:
    """Record a run in which nothing is left to train, as after a kill at its end."""
    report_complete(trainer, folder)
    accuracy = outcome_or_damage(folder.path).train_eval_accuracy
    if accuracy is None:  # the process was killed before, or was one of an earlier version
        accuracy = train_eval_accuracy(trainer, folder.path, config.split_seed)
    reason = None if trainer.early_stopping.exhausted else EPOCH_LIMIT_REACHED
    write_hits(folder.path, trainer)
    write_result(folder.path, "finished", reason, accuracy)
    return _result(trainer, folder.path, accuracy)


def _result(
    trainer: ClassificationTrainer,
    folder: Path,
    accuracy: float | None,
    stopped: bool = False,
    interrupt: KeyboardInterrupt | None = None,
) -> Result:
    return Result(
        folder,
        trainer.epoch,
        **_best(trainer),
        training_images=len(trainer.train.labels),
        validation_images=0 if trainer.validation is None else len(trainer.validation.labels),
        train_eval_accuracy=accuracy,
        further=_further(trainer, folder),
        stopped=stopped,
        interrupt=interrupt,
    )


def _further(trainer: ClassificationTrainer, folder: Path) -> dict[str, float | None]:
    """Return what is recorded of the best epoch beside loss and accuracy."""
    return further_at(folder, trainer.early_stopping.best_epoch)


def _best(trainer: ClassificationTrainer) -> dict[str, Any]:
    best = trainer.early_stopping
    return {
        "best_epoch": best.best_epoch,
        "best_validation_loss": best.best_loss,
        "best_validation_accuracy": best.best_accuracy,
    }
