"""`sweep.dry_run=true`: list the runs, train two steps of each and estimate how long all of them would take."""

import itertools
import time
from collections.abc import Iterable, Iterator
from typing import Any

from trainer.config.run_config import RunConfig
from trainer.data.loader import load
from trainer.errors import ConfigError, RunError
from trainer.records.outcome import DONE
from trainer.runtime.console import duration, fail, progress, say
from trainer.runtime.files import expanded
from trainer.runtime.text import counted
from trainer.study.axes import corners, point_label
from trainer.study.folder import Study
from trainer.study.plan import Plan, plain
from trainer.study.tuning import described, total_runs, tuned_arms
from trainer.study.until_decided import expectations, first_seeds
from trainer.training.blame import line_of
from trainer.training.build import build_trainer, pick_device


def dry_run(plan: Plan, study: Study) -> int:
    """Print the estimate and return the exit code, 1 if a step failed. Nothing is written."""
    existed = study.open()
    finished = {entry.id for entry in study.entries if study.outcome(entry).state in DONE} if existed else set()
    # For a search, the ends of its ranges, where runs take longest or fail first.
    points = tuned_arms(plan) if plan.sweep.tuned else list(corners(plan.axes))
    runs = list(plan.runs) or [run for point in points for run in plan.runs_at(point)]
    if plan.settings.until is not None:  # the seeds of an arm take as long as each other
        runs = first_seeds(plan)
    seconds, failed = list[float](), 0
    for run in progress(runs, "Two steps of each run"):
        name = point_label(plain(run.point)) or "the only one"
        try:
            seconds.append(epoch_seconds(run.config) * run.config.epochs)
            say(f"{name}: {counted(run.config.epochs, 'epoch')}, at most {duration(seconds[-1])}")
        except Exception as error:
            line = line_of(error, run.config)
            if line is None and not isinstance(error, RuntimeError | ConfigError):  # RuntimeError: torch's own
                raise
            failed += 1
            fail(RunError(f"{name}: {line or str(error).splitlines()[0]}"))
    count = total_runs(plan)
    # The mean of the tried runs stands for the others.
    total = sum(seconds) / max(len(seconds), 1) * count
    if plan.sweep.tuned:
        say(described(plan))
    done = f" ({len(finished)} of them finished already)" if finished else ""
    most = "At most " if plan.settings.until is not None else ""
    say(
        f"{most}{counted(count, 'run')}{done}, at most {duration(total)} one after the other; no file was written",
        "bold",
    )
    if plan.settings.until is not None:
        for line in expectations(plan, total / max(1, count)):
            say(line)
    say(f"They would go to {study.folder}")
    return 1 if failed else 0


def epoch_seconds(config: RunConfig) -> float:
    """Return the seconds of an epoch, estimated from its second step; the first one also warms up."""
    device = pick_device(config.device)
    images = load(config.dataset, expanded(config.data_dir), device)
    training, validation = config.dataset.shared_function()(images, config.split_seed)
    ticks: list[float] = []

    def two_batches(batches: Iterable[Any], epoch: int, steps: int, done: int) -> Iterator[Any]:
        for batch in itertools.islice(batches, 2):  # the trainer calls this in place of its progress bar
            ticks.append(time.perf_counter())
            yield batch

    trainer = build_trainer(config, training, validation, device, two_batches)
    trainer.do_train()  # returns after synchronizing with the device, so the last tick includes the step
    ticks.append(time.perf_counter())
    return (ticks[-1] - ticks[-2]) * len(trainer.train)
