"""The story of one run: data, network, techniques, training, record."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from trainer.config.run_config import RunConfig
from trainer.config.shell import command, resume_command
from trainer.data.images import Images
from trainer.data.loader import load
from trainer.diagnosis.layer_stats import with_layer_stats
from trainer.diagnosis.replay import find_first_nonfinite
from trainer.diagnosis.summary import print_summary
from trainer.errors import NonFiniteError, Preempted, RunError, as_reported
from trainer.records.display import EpochDisplay, announce, conclude, introduce, report_complete, warn_of_skipped
from trainer.records.layout import BEST, DESCRIBED
from trainer.records.outcome import DONE, read_outcome, write_result
from trainer.records.recorder import Recorder
from trainer.records.run_folder import RunFolder, open_run_folder, planned_folder, restore, write_setting
from trainer.records.samples import samples
from trainer.records.wandb_mirror import WandbMirror, wandb_mirror
from trainer.runtime.console import say, waiting, warn
from trainer.runtime.files import expanded
from trainer.runtime.memory import is_out_of_memory, release_frames, skip_on_oom, within_memory
from trainer.runtime.signals import defer_signals
from trainer.storage.untrusted import read_json
from trainer.training.build import build_trainer, pick_device
from trainer.training.oom import batch_size_advice
from trainer.training.trainer import ClassificationTrainer

NO_MORE_EPOCHS = "no more were asked for"  # why a complete run has fewer epochs than its configuration


@dataclass(frozen=True)
class Data:
    """The images to train and to validate on, and the device that they lie on."""

    training: Images
    validation: Images | None
    device: torch.device


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
    stopped: bool = False  # by `stop`
    interrupt: KeyboardInterrupt | None = None  # came too late for this run; the caller is to stop


def train(
    config: RunConfig,
    folder: Path | None = None,
    stop: Callable[[int], bool] | None = None,
    stop_after: int | None = None,
) -> Result:
    """Train one checked run and leave its record in a folder of its own, or continue in `folder`, which is locked.

    `stop` is asked after each epoch, with its number, and first of all when a run continues: the process may have been
    killed between the save and the answer. Training ends after epoch `stop_after`, though the schedule is made for all
    of `config.epochs`. Raises ConfigError before anything is written and RunError after that; Ctrl-C and a cluster's
    warning are raised as Interrupted and Preempted once the last step is saved.
    """
    caller_holds_lock, stopped = folder is not None, False
    planned = RunFolder(folder or planned_folder(config), stop_after or config.epochs, can_resume=stop_after is None)
    device, display = pick_device(config.device), EpochDisplay(planned.last_epoch)
    announce(config, device)
    with within_memory("Use fewer or smaller images, a smaller network, or another device"):
        images = load(config.dataset, expanded(config.data_dir), device)
        training, validation = config.dataset.shared_function()(images, config.split_seed)
        data = Data(training, validation, device)
        trainer = build_trainer(config, data.training, data.validation, device, display.watch)
    with open_run_folder(trainer, planned, config, caller_holds_lock) as opened:
        if trainer.finished or trainer.epoch >= opened.last_epoch:
            report_complete(trainer, opened)
            write_result(opened.path, "finished", None if trainer.early_stopping.exhausted else NO_MORE_EPOCHS)
            return _result(trainer, opened.path)
        run_id = write_setting(config, device, opened.path)
        recorder, started = Recorder(opened.path, config, data.training, trainer.epoch), time.perf_counter()
        introduce(config, trainer, opened)
        # The order matters. Failures are reported last, when W&B has been told and the progress bar is gone; signals
        # are deferred inside of both, so that W&B closes undisturbed; `retried` is innermost, as it saves once more.
        with (
            report_failure(trainer, config, data, opened),
            wandb_mirror(config.wandb, config.tree(), opened.path, run_id) as mirror,
            display,
            defer_signals() as interrupt,
            recorder.retried(),
        ):
            stopped = bool(stop and trainer.epoch and stop(trainer.epoch))
            for report in () if stopped else trainer.train_loop(pause=lambda: bool(interrupt) or recorder.is_due()):
                report = with_layer_stats(trainer, config, report)
                recorder.save(trainer, report)
                if report:
                    display.line(report)
                    warn_of_skipped(report, len(trainer.train))
                    mirror.log(report)
                    stopped = bool(stop and stop(report.epoch))
                    if stopped or report.epoch == opened.last_epoch:
                        break
                if interrupt and not trainer.finished:
                    raise interrupt.error()
            mirror.summarize(_best(trainer))
            recorder.close()
            write_result(opened.path, "finished", NO_MORE_EPOCHS if stop_after else None)
            _log_samples(mirror, trainer, opened.path)
            if config.wandb.log_model and mirror.listening:
                mirror.log_artifact(opened.path / BEST)
        if not caller_holds_lock:  # a study reports on its runs together
            print_summary(trainer, config, opened.path)
        conclude(trainer, opened, time.perf_counter() - started)
        return _result(trainer, opened.path, stopped, interrupt.error() if interrupt else None)


@contextlib.contextmanager
def report_failure(trainer: ClassificationTrainer, config: RunConfig, data: Data, folder: RunFolder) -> Iterator[None]:
    """Around the training: say what ended it early, what is saved and how to continue; note it in the run's folder."""
    closer = ""
    try:
        yield
        return
    except KeyboardInterrupt as error:
        by = f" by {error}" if isinstance(error, Preempted) else ""
        complete = read_outcome(folder.path).state in DONE  # interrupted while W&B finished
        again = f". To go on: {resume_command(folder.path)}" if folder.can_resume and not complete else ""
        say(f"Stopped{by}. Saved: {folder.progress()}{again}", "yellow")
        if not complete:
            write_result(folder.path, "interrupted", f"stopped{by or ' by the user'}")
        raise as_reported(error) from None
    except NonFiniteError as error:
        trainer.release()  # a second one is built to find the layer
        write_result(folder.path, "failed", str(error))  # the search for the layer may be interrupted
        where = _locate_nonfinite(config, data, folder.path, str(error))
        hint = "A smaller lr, regularization=gradient_clipping or on_nonfinite=skip usually helps"
        reason = f"{error}{where}. {hint}"
        closer = f". What may be wrong: {command('doctor', folder.path)}"
    except RunError as error:
        reason = str(error)
    except Exception as error:
        if not is_out_of_memory(error):  # a technique's own mistake: its traceback is shown
            write_result(folder.path, "failed", f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}")
            raise
        release_frames(error)
        trainer.release()  # smaller batches are tried with another one
        reason = batch_size_advice(config, data.training, data.validation, data.device)
    write_result(folder.path, "failed", reason)
    raise RunError(f"{reason}. Saved: {folder.progress()}, in {folder.path}{closer}")


def _locate_nonfinite(config: RunConfig, data: Data, folder: Path, message: str) -> str:
    """Train again from the last checkpoint, to the same bits, and look at every layer. Empty if nothing is found.

    A run in which all goes well pays nothing for it. `message` is what an interrupt of the search reports.
    """
    found = None
    try:
        with contextlib.suppress(RuntimeError, MemoryError), waiting("Looking for where it began"):
            uncompiled = config.model_copy(update={"compile": False})
            trainer = build_trainer(uncompiled, data.training, data.validation, data.device)
            restore(trainer, folder, config)
            found = find_first_nonfinite(trainer)
    except KeyboardInterrupt as error:
        warn(message)
        raise as_reported(error) from None
    return f"; first not finite: {found.what}, in step {found.step}" if found else ""


def _log_samples(mirror: WandbMirror, trainer: ClassificationTrainer, folder: Path) -> None:
    """Send sample predictions to W&B. The run is trained: without a file or memory for this it has not failed."""
    try:
        with skip_on_oom():
            shown = samples(trainer, folder) if mirror.listening else []
            if shown:
                best = read_json(folder / DESCRIBED)
                mirror.log_samples(shown, best["confusion"], best["classes"])
    except (RunError, OSError, ValueError, LookupError) as error:
        warn(f"W&B gets no samples of this run: {error}")


def _result(
    trainer: ClassificationTrainer, folder: Path, stopped: bool = False, interrupt: KeyboardInterrupt | None = None
) -> Result:
    return Result(
        folder,
        trainer.epoch,
        **_best(trainer),
        training_images=len(trainer.train.labels),
        validation_images=0 if trainer.validation is None else len(trainer.validation.labels),
        stopped=stopped,
        interrupt=interrupt,
    )


def _best(trainer: ClassificationTrainer) -> dict[str, Any]:
    best = trainer.early_stopping
    return {
        "best_epoch": best.best_epoch,
        "best_validation_loss": best.best_loss,
        "best_validation_accuracy": best.best_accuracy,
    }
