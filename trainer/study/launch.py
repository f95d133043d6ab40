"""The training of a study's runs: one after the other in this process, or through one of Hydra's launchers.

Each launcher loses results in its own way when a worker dies, so its return value is not used. Every run writes how it
ended into its own folder; a run that has neither an outcome nor a recent heartbeat was killed.
"""

import contextlib
import functools
import itertools
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from trainer.config.own import active
from trainer.config.shell import quoted
from trainer.errors import ConfigError
from trainer.records.layout import HEARTBEAT
from trainer.records.outcome import BEAT_SECONDS, DONE, SILENT_SECONDS, Outcome, read_outcome, write_outcome
from trainer.runtime.console import warn
from trainer.runtime.gpus import VISIBLE, visible_gpus
from trainer.runtime.lock import holder_here
from trainer.runtime.stdio import stderr_dropped
from trainer.study.axes import corners
from trainer.study.folder import Study
from trainer.study.manifest import Entry
from trainer.study.plan import Plan
from trainer.study.worker import STOP_FILE, task, work

POLL_SECONDS = 0.3  # between two readings of the runs' outcomes
ANY_GPU = {"auto", "cuda"}  # settings of `device` that leave the choice of the GPU open
LOCAL = ("joblib", "submitit_local")  # launchers that train all runs of a group on this machine
MAX_STARTS = 2  # a run whose worker was killed is started once more, alone: another run may have used up the memory

OnEnd = Callable[[Entry, Outcome], None]


class Launch:
    """The launcher of prepared runs, `parallel` of them at a time. `on_end` is called with each run that has ended."""

    def __init__(self, plan: Plan, study: Study, on_end: OnEnd) -> None:
        self.plan, self.study, self.on_end = plan, study, on_end
        self.launched: dict[Entry, int] = {}  # number of starts
        self.here = plan.launcher == "basic"
        self.options = plan.sweep.config.hydra.launcher
        self.gpus = self._gpus() if plan.launcher in LOCAL else []
        # The number of runs that train at a time; a search knows nothing of them when it chooses their points.
        self.concurrent = plan.settings.concurrent
        self.parallel = (1 if self.concurrent == "auto" else self.concurrent) if self.here else self._parallel()

    def _gpus(self) -> list[str]:
        """Return the GPUs that the workers take in turn; none if the runs need none, or name theirs (cuda:N)."""
        # A search has no runs yet: its first corner stands for its settings.
        runs = self.plan.runs or self.plan.runs_at(next(corners(self.plan.space)))
        devices = {run.config.device for run in runs}
        # A worker that has taken a GPU sees no other one, so that a later cuda:1 would be missing there.
        if devices.isdisjoint(ANY_GPU) or any(device.startswith("cuda:") for device in devices):
            return []
        return visible_gpus()[: self.options.get("gpus_per_node")]

    def _parallel(self) -> int:
        # The name of this option depends on the launcher: n_jobs in joblib, array_parallelism in submitit.
        jobs = int(self.options.get("n_jobs") or self.options.get("array_parallelism") or -1)
        # joblib: -1 stands for all cores. A run that trains on a GPU has it alone, unless more are asked for.
        return jobs if jobs > 0 else len(self.gpus) or os.cpu_count() or 1

    def threads(self, count: int) -> int | None:
        """Return the number of torch threads of one of `count` runs; None leaves the choice to torch."""
        # On one machine the runs would compete for its cores.
        if self.plan.launcher not in LOCAL:
            return None
        return max(1, (os.cpu_count() or 1) // min(self.parallel, count))

    def run(self, entries: Sequence[Entry]) -> bool:
        """Train the runs that are not done. Return False if one failed and the study stops at a failure."""
        # A study that was stopped leaves this file, and no worker begins while it is there.
        (self.study.folder / STOP_FILE).unlink(missing_ok=True)
        waiting = [entry for entry in entries if self.study.outcome(entry).state not in DONE]
        for entry in waiting:
            # The outcome of an earlier attempt must not be taken for that of this one.
            outcome = self.study.outcome(entry)
            self.launched[entry] = 0
            if outcome.state != "queued":
                write_outcome(self.study.path(entry), replace(outcome, state="queued", reason=None))
        if self.here:
            return self._run_here(waiting)
        # In groups of as many as train at a time: after a failure no further group starts under on_error=stop.
        for start in range(0, len(waiting), self.parallel):
            group = waiting[start : start + self.parallel]
            self._launch(group)
            for entry in group:
                while self._was_killed(entry):
                    self._launch([entry])
            if any(self._stops_study(entry) for entry in group):
                return False
        return True

    def _run_here(self, waiting: Sequence[Entry]) -> bool:
        """Train the runs in this process, `sweep.concurrent` of them at a time."""
        stopped = list[Entry]()

        def train(entry: Entry) -> None:
            work(self.study.path(entry))
            self.on_end(entry, self.study.outcome(entry))
            if self._stops_study(entry):
                stopped.append(entry)

        # Made one by one, so that none begins after a failure under on_error=stop.
        tasks = itertools.takewhile(lambda _: not stopped, (functools.partial(train, entry) for entry in waiting))
        if self.concurrent == 1:
            for task in tasks:
                task()
        else:
            from trainer.training.turns import TurnTaking  # imports torch

            TurnTaking(None if self.concurrent == "auto" else self.concurrent).run(tasks)
        return not stopped

    def _stops_study(self, entry: Entry) -> bool:
        """Return whether the study stops because this run failed."""
        return self.plan.settings.on_error == "stop" and self.study.outcome(entry).state == "failed"

    def _was_killed(self, entry: Entry) -> bool:
        """Return whether a run lost its worker and is to be started again; record it as failed after MAX_STARTS."""
        folder = self.study.path(entry)
        outcome = read_outcome(folder)
        if outcome.state not in ("queued", "running", "interrupted"):
            return False
        if self.launched[entry] < MAX_STARTS:
            return True
        reason = "the launcher did not start it" if outcome.state == "queued" else "its worker was killed"
        write_outcome(folder, replace(outcome, state="failed", reason=reason))
        self.on_end(entry, read_outcome(folder))
        return False

    def _launch(self, entries: Sequence[Entry]) -> None:
        """Start the runs and wait until each has ended or lost its worker, even if the launcher waits for longer."""
        if self.plan.launcher == "ray":
            # In the main thread: Ray's servers end with the thread that started them, and each launch is a new one.
            _start_ray(self.plan.sweep.config.hydra.launcher.ray.init)
        folders = {entry: self.study.path(entry).absolute() for entry in entries}
        for entry, folder in folders.items():
            self.launched[entry] += 1
            # The file of a killed worker: its age would make the new worker look dead.
            (folder / HEARTBEAT).unlink(missing_ok=True)
        # A daemon thread does not keep this process alive if the launcher never returns.
        jobs = [self._job(entry, folder) for entry, folder in folders.items()]
        thread = threading.Thread(target=self._through_hydra, args=(jobs,), daemon=True)
        thread.start()
        try:
            self._wait(entries, folders, thread)
        except KeyboardInterrupt:
            self._stop(folders.values())
            thread.join(SILENT_SECONDS)  # the time in which the runs save their state
            raise

    def _stop(self, folders: Iterable[Path]) -> None:
        """Make the runs on this machine save and end, and let no other one begin."""
        # The file first: a worker that becomes free would otherwise begin the next run.
        (self.study.folder / STOP_FILE).touch()
        for folder in folders:
            process = holder_here(folder)
            if process and read_outcome(folder).state == "running":
                with contextlib.suppress(OSError):
                    os.kill(process, signal.SIGTERM)

    def _wait(self, entries: Sequence[Entry], folders: dict[Entry, Path], thread: threading.Thread) -> None:
        """Report each run that ends, until all have ended or neither the launcher nor a worker is left."""
        unseen = set(entries)
        # A launcher may have given up on a worker that still trains.
        while unseen and (thread.is_alive() or any(self._lives(folders[entry]) for entry in unseen)):
            thread.join(POLL_SECONDS)
            for entry in list(unseen):
                outcome = read_outcome(folders[entry])
                if outcome.state in (*DONE, "failed"):
                    self.on_end(entry, outcome)
                    unseen.discard(entry)
            if thread.is_alive() and unseen and all(self._died(folders[entry]) for entry in unseen):
                warn(f"{self.plan.launcher} has not noticed that its workers are gone: continuing without it")
                return

    @staticmethod
    def _lives(folder: Path) -> bool:
        """Return whether a worker has shown a heartbeat lately."""
        try:
            # Twice the period: a beat may be late on a busy machine.
            return time.time() - (folder / HEARTBEAT).stat().st_mtime < 2 * BEAT_SECONDS
        except OSError:
            return False

    @staticmethod
    def _died(folder: Path) -> bool:
        """Return whether the worker of a run that has begun shows no heartbeat any more."""
        if read_outcome(folder).state != "running":
            return False
        try:
            # Longer than in `_lives`: a shared file system shows a new time of a file late.
            return time.time() - (folder / HEARTBEAT).stat().st_mtime > SILENT_SECONDS
        except OSError:
            return False

    def _job(self, entry: Entry, folder: Path) -> list[str]:
        """Return what `worker.task` is told about a run, as overrides."""
        job, device = [f'++output_dir="{folder}"'], entry.config["device"]
        if self.plan.launcher == "submitit_local" and not self.options.get("gpus_per_node") and device != "cpu":
            # submitit hides all GPUs from a job that asks for none.
            visible = json.dumps(",".join(visible_gpus())) if VISIBLE in os.environ else "null"
            job.append(f"++visible_gpus={visible}")
        # joblib trains in this process if only one run trains at a time.
        if self.gpus and device in ANY_GPU and (self.plan.launcher != "joblib" or self.parallel > 1):
            job.append(f"++gpus={json.dumps(self.gpus)}")
        if words := [own.word for own in active()]:
            job.append(f"++techniques=[{','.join(map(quoted, words))}]")
        return job

    def _through_hydra(self, jobs: Sequence[Sequence[str]]) -> None:
        """Hand the jobs to Hydra's launcher and wait for it."""
        from hydra._internal.callbacks import Callbacks
        from hydra.core.plugins import Plugins
        from hydra.types import HydraContext

        context = HydraContext(self.plan.sweep.loader, Callbacks())  # no callbacks: a YAML file could name any function
        try:
            launcher: Any = Plugins.instance().instantiate_launcher(
                hydra_context=context, task_function=task, config=self._config()
            )
            if self.plan.launcher == "joblib":
                _start_tracker()
            launcher.launch(jobs, initial_job_idx=0)
        except Exception as error:  # the folders of the runs show which of them are missing
            lines = str(error).strip().splitlines() or [""]
            warn(f"{self.plan.launcher}: {type(error).__name__}: {lines[0]}")

    def _config(self) -> Any:
        """Return Hydra's configuration, changed so that the launcher's own files lie inside the study's folder."""
        import copy

        from omegaconf import OmegaConf, open_dict

        config = copy.deepcopy(self.plan.sweep.config)
        place = self.study.folder.absolute() / "launcher"
        OmegaConf.set_readonly(config.hydra, False)  # HydraConfig.set_config has made it read-only
        with open_dict(config):
            config.hydra.sweep.dir, config.hydra.sweep.subdir = str(place), "."
            # Launchers compose each job anew from the overrides, so the folder must be among them, too.
            config.hydra.overrides.hydra += [f'hydra.sweep.dir="{place}"', "hydra.sweep.subdir=."]
            if self.plan.launcher == "joblib":
                # In a larger pool the runs wander through all workers, each of which keeps memory of its GPU.
                config.hydra.launcher.n_jobs = self.parallel
            elif self.plan.launcher == "submitit_local":
                # An option of ours, which submitit refuses: it starts at once all jobs that it is given.
                options: Any = OmegaConf.to_container(config.hydra.launcher)
                options.pop("array_parallelism", None)
                config.hydra.launcher = options
        return config


def _start_tracker() -> None:
    """Start joblib's process that removes what dead workers leave, without a terminal for its messages.

    It prints a traceback of its own when a worker was killed: the folder that it is to forget was forgotten before.
    """
    with contextlib.suppress(ImportError, AttributeError), stderr_dropped():  # a part of joblib that is not documented
        import_module("joblib.externals.loky.backend.resource_tracker").ensure_running()


def _start_ray(options: Any) -> None:
    """Start Ray unless it runs. Raises ConfigError if it refuses the options."""
    import ray
    from omegaconf import OmegaConf

    if ray.is_initialized():
        return
    settings: Any = OmegaConf.to_container(options, resolve=True)
    if not settings.get("address") and "RAY_ADDRESS" not in os.environ:
        settings.setdefault("object_store_memory", 2**27)  # 128 MiB are enough: results are read from folders
    try:
        ray.init(**settings)
    except Exception as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfigError(f"hydra.launcher.ray.init: Ray does not start with these options: {first}") from None
