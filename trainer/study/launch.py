"""Trains the runs of a study: one after the other in this process, or through one of Hydra's launchers.

A launcher loses results each in its own way when a worker dies, so nothing is taken from what it returns: every run
writes how it ended into its own folder, and a run that neither did that nor shows a heartbeat was killed.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from trainer.errors import ConfigError
from trainer.records.layout import HEARTBEAT
from trainer.records.outcome import BEAT_SECONDS, DONE, SILENT_SECONDS, Outcome, read_outcome, write_outcome
from trainer.runtime.console import warn
from trainer.runtime.lock import holder_here
from trainer.study.folder import Study
from trainer.study.manifest import Entry
from trainer.study.plan import Plan
from trainer.study.worker import STOP_FILE, task, work

POLL_SECONDS = 0.3
STARTS = 2  # a run whose worker was killed is started once more, alone: its sibling may have been the cause

Seen = Callable[[Entry, Outcome], None]


class Launch:
    """`run` trains entries that are prepared; `parallel` says how many at once."""

    def __init__(self, plan: Plan, study: Study, seen: Seen) -> None:
        self.plan, self.study, self.seen = plan, study, seen
        self.launched: dict[Entry, int] = {}  # how often
        self.here = plan.launcher == "basic"
        self.parallel = 1 if self.here else self._parallel()

    def _parallel(self) -> int:
        cores = os.cpu_count() or 1
        options = self.plan.sweep.config.hydra.launcher
        jobs = options.get("n_jobs") or options.get("array_parallelism") or cores
        return cores if jobs < 0 else int(jobs)

    def threads(self, count: int) -> int | None:
        """Of a run, so that the runs at a time do not fight for this machine's cores; None: as torch chooses."""
        if self.here or self.plan.launcher not in ("joblib", "submitit_local"):
            return None
        return max(1, (os.cpu_count() or 1) // min(self.parallel, count))

    def run(self, entries: Sequence[Entry]) -> bool:
        """Trains what is not done among the entries; False if the study is to stop after a failure."""
        (self.study.folder / STOP_FILE).unlink(missing_ok=True)
        waiting = [entry for entry in entries if self.study.outcome(entry).state not in DONE]
        for entry in waiting:
            # What an earlier attempt left behind must not be taken for how this one ends.
            outcome = self.study.outcome(entry)
            self.launched[entry] = 0
            if outcome.state != "queued":
                write_outcome(self.study.path(entry), replace(outcome, state="queued", reason=None))
        if self.here:
            for entry in waiting:
                work(self.study.path(entry))
                self.seen(entry, self.study.outcome(entry))
                if self._is_over(entry):
                    return False
            return True
        for start in range(0, len(waiting), self.parallel):
            group = waiting[start : start + self.parallel]
            self._launch(group)
            for entry in group:
                while self._was_killed(entry):
                    self._launch([entry])
            if any(self._is_over(entry) for entry in group):
                return False
        return True

    def _is_over(self, entry: Entry) -> bool:
        return self.plan.settings.on_error == "stop" and self.study.outcome(entry).state == "failed"

    def _was_killed(self, entry: Entry) -> bool:
        """Whether a run neither ended nor failed, or was evicted; the second time it is recorded as failed."""
        folder = self.study.path(entry)
        outcome = read_outcome(folder)
        if outcome.state not in ("queued", "running", "interrupted"):
            return False
        if self.launched[entry] < STARTS:
            return True
        reason = "the launcher did not start it" if outcome.state == "queued" else "its worker was killed"
        write_outcome(folder, replace(outcome, state="failed", reason=reason))
        self.seen(entry, read_outcome(folder))
        return False

    def _launch(self, entries: Sequence[Entry]) -> None:
        """Returns when each run has ended or lost its worker, whether or not the launcher has noticed."""
        if self.plan.launcher == "ray":
            _start_ray(self.plan.sweep.config.hydra.launcher.ray.init)
        folders = {entry: self.study.path(entry).absolute() for entry in entries}
        for entry, folder in folders.items():
            self.launched[entry] += 1
            (folder / HEARTBEAT).unlink(missing_ok=True)
        thread = threading.Thread(target=self._through_hydra, args=(list(folders.values()),), daemon=True)
        thread.start()
        try:
            self._wait(entries, folders, thread)
        except KeyboardInterrupt:
            self._stop(folders.values())
            thread.join(SILENT_SECONDS)
            raise

    def _stop(self, folders: Iterable[Path]) -> None:
        """Lets runs on this machine save and end, and those behind them not begin: a launcher would wait for all."""
        (self.study.folder / STOP_FILE).touch()
        for folder in folders:
            process = holder_here(folder)
            if process and read_outcome(folder).state == "running":
                with contextlib.suppress(OSError):
                    os.kill(process, signal.SIGTERM)

    def _wait(self, entries: Sequence[Entry], folders: dict[Entry, Path], thread: threading.Thread) -> None:
        unseen = set(entries)
        while unseen and (thread.is_alive() or any(self._lives(folders[entry]) for entry in unseen)):
            thread.join(POLL_SECONDS)
            for entry in list(unseen):
                outcome = read_outcome(folders[entry])
                if outcome.state in (*DONE, "failed"):
                    self.seen(entry, outcome)
                    unseen.discard(entry)
            if thread.is_alive() and unseen and all(self._died(folders[entry]) for entry in unseen):
                warn(f"{self.plan.launcher} has not noticed that its workers are gone: going on without it")
                return

    @staticmethod
    def _lives(folder: Path) -> bool:
        """Whether a worker is at it: the launcher may have given up on one that goes on."""
        try:
            return time.time() - (folder / HEARTBEAT).stat().st_mtime < 2 * BEAT_SECONDS
        except OSError:
            return False

    @staticmethod
    def _died(folder: Path) -> bool:
        if read_outcome(folder).state != "running":
            return False
        try:
            return time.time() - (folder / HEARTBEAT).stat().st_mtime > SILENT_SECONDS
        except OSError:
            return False

    def _through_hydra(self, folders: Sequence[Path]) -> None:
        from hydra._internal.callbacks import Callbacks
        from hydra.core.plugins import Plugins
        from hydra.types import HydraContext

        context = HydraContext(self.plan.sweep.loader, Callbacks())  # none: a YAML file could name any function as one
        try:
            launcher: Any = Plugins.instance().instantiate_launcher(
                hydra_context=context, task_function=task, config=self._config()
            )
            launcher.launch([[f'++output_dir="{folder}"'] for folder in folders], initial_job_idx=0)
        except Exception as error:  # the folders say which runs it has cost
            lines = str(error).strip().splitlines() or [""]
            warn(f"{self.plan.launcher}: {type(error).__name__}: {lines[0]}")

    def _config(self) -> Any:
        """Hydra's configuration with its own files inside the study's folder."""
        import copy

        from omegaconf import OmegaConf, open_dict

        config = copy.deepcopy(self.plan.sweep.config)
        place = self.study.folder.absolute() / "launcher"
        OmegaConf.set_readonly(config.hydra, False)  # HydraConfig.set_config has made it read-only
        with open_dict(config):
            config.hydra.sweep.dir, config.hydra.sweep.subdir = str(place), "."
            config.hydra.overrides.hydra += [f'hydra.sweep.dir="{place}"', "hydra.sweep.subdir=."]
        return config


def _start_ray(options: Any) -> None:
    """In the main thread: Ray's servers end with the thread that started them, and every launch has one of its own."""
    import ray
    from omegaconf import OmegaConf

    if ray.is_initialized():
        return
    given: Any = OmegaConf.to_container(options, resolve=True)
    if not given.get("address") and "RAY_ADDRESS" not in os.environ:
        given.setdefault("object_store_memory", 2**27)  # results are read from folders
    try:
        ray.init(**given)
    except Exception as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfigError(f"hydra.launcher.ray.init: Ray does not start with it: {first}") from None
