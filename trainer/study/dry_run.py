"""`sweep.dry_run=true`: list the runs, train two steps of each and estimate how long all would take."""

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
from trainer.study.axes import corners
from trainer.study.folder import Study
from trainer.study.plan import Plan, PlannedRun, plain
from trainer.training.build import build_trainer, pick_device


def dry_run(plan: Plan, study: Study) -> int:
    """List the runs and their estimated times, write no file, and return the exit code: 1 if a step failed."""
    exists = study.open()
    finished = {entry.id for entry in study.entries if study.outcome(entry).state in DONE} if exists else set()
    # A search has no list of runs: one step at each corner of its space stands for all.
    runs = list(plan.runs) or [run for point in corners(plan.axes) for run in plan.runs_at(point)]
    seconds, failed = list[float](), 0
    for run in progress(runs, "Two steps of each run"):
        name = " ".join(f"{key}={value}" for key, value in plain(run.point).items())
        try:
            total = epoch_seconds(run.config) * run.config.epochs
            seconds.append(total)
            say(f"{name}: {run.config.epochs} epochs, at most {duration(total)}")  # at most: it may stop early
        except (RunError, ConfigError, RuntimeError) as error:
            failed += 1
            fail(RunError(f"{name}: {str(error).splitlines()[0]}"))
    count = len(plan.runs) or _searched(plan, runs)
    # The mean of the runs that were timed, for those of a search as well.
    total = sum(seconds) / max(len(seconds), 1) * count
    done = f" ({len(finished)} of them finished already)" if finished else ""
    say(f"{count} runs{done}, at most {duration(total)} one after the other; no file was written", "bold")
    say(f"They would go to {study.folder}")
    return 1 if failed else 0


def _searched(plan: Plan, runs: list[PlannedRun]) -> int:
    """Return the number of runs of a search: its trials in all stages, each with all its replicates."""
    replicates = len(runs) // max(1, len(list(corners(plan.axes))))
    return replicates * sum(plan.stage(number)[0] for number in range(1, plan.settings.stages + 1))


def epoch_seconds(config: RunConfig) -> float:
    """Return the seconds of an epoch, estimated from its second step: the first one is slower, as it warms up."""
    device = pick_device(config.device)
    images = load(config.dataset, expanded(config.data_dir), device)
    training, validation = config.dataset.shared_function()(images, config.split_seed)
    ticks: list[float] = []

    def two(batches: Iterable[Any], epoch: int, steps: int, done: int) -> Iterator[Any]:
        """Yield two batches, in place of the progress bar, and note when each was requested."""
        for batch in itertools.islice(batches, 2):
            ticks.append(time.perf_counter())
            yield batch

    trainer = build_trainer(config, training, validation, device, two)
    trainer.do_train()
    ticks.append(time.perf_counter())
    # From the second batch to the end of the epoch: one step, times the steps of an epoch.
    return (ticks[-1] - ticks[-2]) * len(trainer.train)
