"""The training of one frozen run in its folder, in this process or a launcher's. `result.json` records how it ended."""

import contextlib
import os
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trainer.config.check import check
from trainer.config.own import read, using
from trainer.config.own_record import match
from trainer.config.schema import GROUPS
from trainer.errors import ConfigError, Preempted, RunError, TechniqueError
from trainer.records.layout import HEARTBEAT, JOB, TRACEBACK
from trainer.records.metrics import curve, read_metrics
from trainer.records.outcome import BEAT_SECONDS, DONE, Outcome, read_outcome, write_outcome
from trainer.records.scoring import ALWAYS, scored
from trainer.runtime import console
from trainer.runtime.gpus import VISIBLE, show_gpus, take_gpu
from trainer.runtime.lock import locked
from trainer.runtime.process import configure_process
from trainer.runtime.signals import defer_signals
from trainer.runtime.stdio import protect_streams
from trainer.storage.untrusted import parse_json_as, read_config, read_text, refuse_links, validate_threads
from trainer.study.search import Pruning

STOP_FILE = ".stopping"  # in the study's folder: the study was stopped, no further run begins


@dataclass(frozen=True)
class WorkerJob:
    """The settings of a run beside its configuration: torch's threads, and the rule that ends it early (`pruning`)."""

    threads: int | None
    pruning: Pruning | None


def task(config: Any) -> None:
    """Train the run in `config.output_dir`, in a launcher's worker; nothing else of Hydra's composition is used.

    No error leaves this function: some launchers kill the other runs after an exception. The folder records the error.
    """
    configure_process()
    protect_streams()
    folder = Path(config.output_dir)
    # Before torch is imported: CUDA reads the variable when it is initialized.
    if "visible_gpus" in config:
        show_gpus(config.visible_gpus)
    if "gpus" in config:
        take_gpu(list(config.gpus))
    if not (folder.parent / STOP_FILE).exists():
        try:
            with using([read(word, [*GROUPS]) for word in config.get("techniques", [])]):
                work(folder, launched=True)
        except Preempted:  # `work` has recorded it
            pass
        except (RunError, ConfigError, OSError) as error:  # of the folder: the study counts the run as not started
            console.fail(error)


def work(folder: Path, launched: bool = False) -> None:
    """Train the run in `folder/config.yaml`, from its last checkpoint if there is one, and record how it ended.

    Its output is in `log.txt`. Raises RunError or OSError if the folder cannot be written. An interrupt leaves this
    function, too; every other exception is recorded.
    """
    refuse_links(folder)  # before anything is written there: the study may be untrusted
    # The lock first: a worker that was believed dead may still be training this run. The outcome is read while it is
    # held.
    with locked(folder, wait=True), _heartbeat(folder, launched):
        before = read_outcome(folder)
        if before.state in DONE:
            return
        outcome = replace(before, state="running", reason=None, starts=before.starts + 1)
        earlier, started = _trained_seconds(folder, before), time.perf_counter()
        interrupt = None
        with console.logged_to(folder / "log.txt"):
            write_outcome(folder, outcome)
            if launched and os.environ.get(VISIBLE):
                console.say(f"{VISIBLE}={os.environ[VISIBLE]}")
            try:
                outcome, interrupt = _train(folder, outcome)
            except (KeyboardInterrupt, SystemExit) as error:
                by = str(error) if isinstance(error, Preempted) else "the user"
                seconds = earlier + time.perf_counter() - started
                outcome = replace(outcome, state="interrupted", reason=f"stopped by {by}", seconds=seconds)
                with defer_signals():
                    write_outcome(folder, outcome)
                raise
            except (RunError, ConfigError, OSError) as error:
                if isinstance(error, TechniqueError):
                    console.out.print((folder / TRACEBACK).read_text(encoding="utf-8"), markup=False)
                console.fail(error)
                outcome = replace(outcome, state="failed", reason=str(error))
            except Exception as error:  # a bug of this program: the other runs continue
                console.out.print(traceback.format_exc(), markup=False)
                lines = str(error).strip().splitlines() or [""]
                outcome = replace(outcome, state="failed", reason=f"{type(error).__name__}: {lines[0]}")
                from trainer.runtime.memory import release

                release()  # memory of the GPU, for the next run in this process
        with defer_signals() as late:  # the outcome is written whatever arrives now
            write_outcome(folder, replace(outcome, seconds=earlier + time.perf_counter() - started))
        interrupt = interrupt or (late.error() if late else None)
        if interrupt:  # it arrived after this run had ended: the next one must not start
            raise interrupt


def _trained_seconds(folder: Path, before: Outcome) -> float:
    """Return the seconds of the starts before this one."""
    # A killed run recorded no seconds at its end; the sum over its epochs is a lower bound.
    epochs = 0.0
    with contextlib.suppress(RunError):  # a damaged file is reported when the run reads it
        epochs = sum(row["epoch_seconds"] or 0.0 for row in read_metrics(folder))
    return max(before.seconds, epochs)


def _train(folder: Path, outcome: Outcome) -> tuple[Outcome, KeyboardInterrupt | None]:
    """Return the outcome of the training, and an interrupt that came after its last step."""
    from trainer.run import train

    tree = read_config(folder / "config.yaml")
    match(folder, tree, refuse=True)  # edited since the plan was made, it would be another technique
    config = check(tree, files=[folder / "config.yaml"])
    job = _job(folder / JOB)
    if job.threads:
        import torch

        torch.set_num_threads(job.threads)
    result = train(config, folder, stop=_stopper(folder, job.pruning) if job.pruning else None)
    ended = replace(
        outcome,
        state="pruned" if result.stopped else "finished",
        reason="fell behind the other points" if result.stopped else None,
        epochs=result.epochs,
        best_epoch=result.best_epoch,
        validation_loss=result.best_validation_loss,
        validation_accuracy=result.best_validation_accuracy,
        training_images=result.training_images,
        validation_images=result.validation_images,
        train_eval_accuracy=result.train_eval_accuracy,
        further=dict(result.further),
    )
    return scored(ended, folder, ALWAYS), result.interrupt


def _job(path: Path) -> WorkerJob:
    """Return the job in the file. Raises RunError if it is damaged, and removes it."""
    try:
        job = parse_json_as(WorkerJob, read_text(path))
        if job.threads is not None:
            validate_threads(job.threads)
        return job
    except ValueError as error:
        path.unlink()  # of a run that has begun, `Study.prepare` writes it only where it is missing
        raise RunError(f"{path} is damaged ({error}): give the study's command again") from None


def _stopper(folder: Path, pruning: Pruning) -> Callable[[int], bool]:
    """Return a function that says after an epoch whether the run has fallen behind the other points."""

    def stop(epoch: int) -> bool:
        """Return whether training ends after this epoch; never after an epoch without validation."""
        # From the file, which holds the epochs before a resume, too.
        validated = curve(folder, pruning.metric)
        return epoch in validated and pruning.falls_behind(validated)

    return stop


class _heartbeat:
    """Touch a file every few seconds while the block runs: a sign of life that the study sees from another machine."""

    def __init__(self, folder: Path, on: bool) -> None:
        self.path, self.on, self.over = folder / HEARTBEAT, on, threading.Event()

    def __enter__(self) -> None:
        if self.on:
            self.path.touch()
            threading.Thread(target=self._beat, daemon=True).start()

    def _beat(self) -> None:
        while not self.over.wait(BEAT_SECONDS):
            if self.path.exists():  # not after a study has removed it
                os.utime(self.path)

    def __exit__(self, *_: Any) -> None:
        self.over.set()
        if self.on:
            self.path.unlink(missing_ok=True)
