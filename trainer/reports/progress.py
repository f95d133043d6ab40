"""The progress of a study that is running, read from its folder: what is trained and how long it takes at most."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from trainer.records.outcome import DAMAGED, DONE, MISSING, is_alive
from trainer.reports.content import Content
from trainer.reports.run_files import Run
from trainer.runtime.console import duration
from trainer.runtime.text import counted
from trainer.study.axes import axis_of
from trainer.study.looks import open_looks
from trainer.study.manifest import Manifest
from trainer.study.tunable import trials_of, unique_values

ENDED = (*DONE, "failed", DAMAGED, MISSING)


@dataclass(frozen=True)
class Progress:
    """The rest of a study. `running`: (run, epochs trained, epochs planned, seconds left) of what is trained now.

    `seconds`: an upper bound of the time that is left, None before the first epoch has ended.
    """

    total: int
    ended: int
    failed: int
    running: tuple[tuple[str, int, int, float | None], ...]
    seconds: float | None
    open: str = ""  # of a study that trains seeds until it is decided: how far its looks are, "" once it has ended

    @property
    def complete(self) -> bool:
        """True if no run is left."""
        return self.ended >= self.total and not self.open

    @property
    def sentence(self) -> str:
        """The progress in words: "5 of 12 runs ended, 1 failed; at most 3 min left"."""
        failed = f", {self.failed} failed" if self.failed else ""
        left = "" if self.seconds is None or self.complete else f"; at most {duration(self.seconds)} left"
        return f"{self.ended} of {counted(self.total, 'run')} ended{failed}{left}{self.open and '; ' + self.open}"

    @property
    def rows(self) -> list[tuple[str, str, str]]:
        """The runs that are trained, as (run, epoch, time left)."""
        return [
            (name, f"{trained} of {planned}", "—" if left is None else duration(left))
            for name, trained, planned, left in self.running
        ]


def progress_of(study: Manifest, content: Content) -> Progress:
    """Return the progress of a study whose content has been read."""
    read = {run.folder: (arm.name, run) for arm in content.arms for run in arm.runs}
    outcomes = [(entry, study.told_outcome(entry)) for entry in study.entries]
    ended = sum(outcome.state in ENDED for _, outcome in outcomes)
    runs = [(name, run) for name, run in read.values() if run.outcome.state not in ENDED]
    alive = [(name, run) for name, run in runs if is_alive(run.folder)]
    pace = _seconds_per_epoch([run for _, run in read.values()])
    running = []
    for name, run in alive:
        trained, planned = run.last_epoch, _planned(run)
        own = _seconds_per_epoch([run]) or pace
        left = None if own is None else own * max(0, planned - trained)
        running.append((" ".join(filter(None, (name, run.replicate))), trained, planned, left))
    total = _total(study)
    # Points of a search that are not drawn yet are as long as a run of the present stage.
    usual = max((_planned(run) for _, run in read.values()), default=0)
    epochs = sum(max(0, _planned(run) - run.last_epoch) for _, run in runs) + (total - len(study.entries)) * usual
    seconds = None if pace is None else pace * epochs / max(1, len(alive))
    failed = sum(each.state == "failed" for _, each in outcomes)
    return Progress(total, ended, failed, tuple(running), seconds, open_looks(study))


def _total(study: Manifest) -> int:
    """Return the number of runs that the study will have; a search adds its points one after the other."""
    if study.settings.tune:
        arms, repeated = (unique_values([*map(axis_of, texts)]) for texts in (study.axes, study.replicates))
        trials = trials_of(study.settings, [*map(axis_of, study.tuned)]) * study.settings.tune.seeds
        return max(len(study.entries), arms * (trials + repeated))
    if study.settings.method == "grid" or study.settings.stages > 1 or study.points is None:
        return len(study.entries)
    points = len({(entry.stage, entry.trial) for entry in study.entries})
    repeats = len(study.entries) // max(1, points)
    return max(len(study.entries), repeats * study.points)


def _seconds_per_epoch(runs: Sequence[Run]) -> float | None:
    seconds = [row["epoch_seconds"] for run in runs for row in run.epochs if row["epoch_seconds"] is not None]
    return statistics.median(seconds) if seconds else None


def _planned(run: Run) -> int:
    epochs = run.config.get("epochs")
    return epochs if isinstance(epochs, int) else 0
