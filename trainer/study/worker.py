"""Trains one frozen run in its folder, in this process or in a launcher's; whatever happens stands in `result.json`."""

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
from trainer.errors import ConfigError, Preempted, RunError
from trainer.records.layout import HEARTBEAT, JOB
from trainer.records.metrics import curve, read_metrics
from trainer.records.outcome import BEAT_SECONDS, DONE, Outcome, read_outcome, write_outcome
from trainer.runtime import console
from trainer.runtime.lock import locked
from trainer.runtime.process import configure_process
from trainer.storage.untrusted import parse_json_as, read_config, read_text, refuse_links, validate_threads
from trainer.study.search import Pruning

STOP_FILE = ".stopping"  # in the study's folder: its conductor was stopped, no further run begins


@dataclass(frozen=True)
class WorkerJob:
    """What a worker is told beside the configuration: torch's threads, and when the run has fallen behind."""

    threads: int | None
    pruning: Pruning | None


def task(config: Any) -> None:
    """What a launcher runs: Hydra's own composition only says where the frozen run lies.

    Launchers treat an exception each in its own way, one by killing the other runs: the folder says what happened.
    """
    configure_process()
    folder = Path(config.output_dir)
    if not (folder.parent / STOP_FILE).exists():
        try:
            work(folder, launched=True)
        except Preempted:
            pass
        except (RunError, OSError) as error:  # its folder cannot be written: the study finds it untrained
            console.fail(error)


def work(folder: Path, launched: bool = False) -> None:
    """Trains the run in `folder/config.yaml`, from its last epoch if there is one, and records how it ended.

    Its output is in `log.txt`. Raises RunError or OSError if it may not write there; otherwise only an interrupt leaves
    this function as an exception.
    """
    refuse_links(folder)  # before anything is written there: the study may be a stranger's
    with locked(folder, wait=True), _beating(folder, launched):
        before = read_outcome(folder)
        if before.state in DONE:
            return
        outcome = replace(before, state="running", reason=None, starts=before.starts + 1)
        earlier, started = _trained_seconds(folder, before), time.perf_counter()
        interrupt = None
        with console.logged_to(folder / "log.txt"):
            write_outcome(folder, outcome)
            try:
                outcome, interrupt = _train(folder, outcome)
            except (KeyboardInterrupt, SystemExit) as error:
                by = str(error) if isinstance(error, Preempted) else "the user"
                seconds = earlier + time.perf_counter() - started
                outcome = replace(outcome, state="interrupted", reason=f"stopped by {by}", seconds=seconds)
                write_outcome(folder, outcome)
                raise
            except (RunError, ConfigError, OSError) as error:
                console.fail(error)
                outcome = replace(outcome, state="failed", reason=str(error))
            except Exception as error:  # a technique's own error: the other runs go on
                console.out.print(traceback.format_exc(), markup=False)
                lines = str(error).strip().splitlines() or [""]
                outcome = replace(outcome, state="failed", reason=f"{type(error).__name__}: {lines[0]}")
                from trainer.runtime.memory import release

                release()
        write_outcome(folder, replace(outcome, seconds=earlier + time.perf_counter() - started))
        if interrupt:  # it came too late for this run, and not for the next one
            raise interrupt


def _trained_seconds(folder: Path, before: Outcome) -> float:
    """Of the starts before this one. One that was killed wrote nothing at its end: its epochs tell."""
    epochs = 0.0
    with contextlib.suppress(RunError):  # a damaged file is told by the run
        epochs = sum(row["epoch_seconds"] or 0.0 for row in read_metrics(folder))
    return max(before.seconds, epochs)


def _train(folder: Path, outcome: Outcome) -> tuple[Outcome, KeyboardInterrupt | None]:
    from trainer.run import train

    config = check(read_config(folder / "config.yaml"), (), [str(folder)])
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
    )
    return ended, result.interrupt


def _job(path: Path) -> WorkerJob:
    try:
        job = parse_json_as(WorkerJob, read_text(path))
        if job.threads is not None:
            validate_threads(job.threads)
        return job
    except ValueError as error:
        path.unlink()  # a run that has begun keeps the one it has
        raise RunError(f"{path} is damaged ({error}): give the study's command again") from None


def _stopper(folder: Path, pruning: Pruning) -> Callable[[int], bool]:
    """Asked after each epoch, it decides after each validation; what came before a resume is in the metrics file."""

    def stop(epoch: int) -> bool:
        validated = curve(folder, pruning.metric)
        return epoch in validated and pruning.falls_behind(validated)

    return stop


class _beating:
    """Touches a file while the work is going on, so that the study sees from afar that its worker lives."""

    def __init__(self, folder: Path, on: bool) -> None:
        self.path, self.on, self.over = folder / HEARTBEAT, on, threading.Event()

    def __enter__(self) -> None:
        if self.on:
            self.path.touch()
            threading.Thread(target=self._beat, daemon=True).start()

    def _beat(self) -> None:
        while not self.over.wait(BEAT_SECONDS):
            if self.path.exists():
                os.utime(self.path)

    def __exit__(self, *_: Any) -> None:
        self.over.set()
        if self.on:
            self.path.unlink(missing_ok=True)
