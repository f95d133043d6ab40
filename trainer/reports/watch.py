"""The page of a study that is running, written anew as its epochs and runs end. Imports no torch."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from trainer.errors import ConfigError
from trainer.records.layout import MANIFEST, RESULT
from trainer.records.metrics import METRICS
from trainer.records.outcome import is_alive
from trainer.reports import page
from trainer.reports.content import Content, of_study
from trainer.reports.progress import Progress, progress_of
from trainer.study.judging import arm_named
from trainer.study.manifest import Manifest
from trainer.study.results import results_of

POLL_SECONDS = 1.0
IDLE_SECONDS = 60.0  # without a process that trains, after which nobody is expected to continue: launchers take a while
REST = 4  # times as long as a page took, until the next one: a study of a thousand runs takes seconds to read


def watch(folder: Path, baseline: str | None, told: Callable[[Progress], None]) -> bool:
    """Write the page of a study until it ends, and call `told` with each progress. Return whether it came to its end.

    The study is only read. Raises ConfigError for a baseline that a grid does not have. After a KeyboardInterrupt,
    which is raised, the page no longer loads itself again.
    """
    study = Manifest.read(folder)
    if baseline and study.settings.method == "grid":  # the arms of a search are not known yet
        arm_named(results_of(study), baseline, f"--baseline={baseline}")
    before, last_alive = None, time.monotonic()
    content = _content(folder, baseline)
    try:
        while True:
            begun = time.monotonic()
            study = Manifest.read(folder)
            mark = _mark(study)
            if any(is_alive(study.path(entry)) for entry in study.entries):
                last_alive = time.monotonic()
            if mark != before:
                content = _content(folder, baseline)
                progress = progress_of(study, content)
                if progress.complete:
                    return True
                page.write(content, progress)
                told(progress)
                before = mark
            if time.monotonic() - last_alive > IDLE_SECONDS:
                return False
            time.sleep(max(POLL_SECONDS, REST * (time.monotonic() - begun)))
    except KeyboardInterrupt:
        page.write(content)
        raise


def _content(folder: Path, baseline: str | None) -> Content:
    """Return the content of the page; against the best arm until the baseline has a finished run."""
    if baseline:
        with contextlib.suppress(ConfigError):
            return of_study(folder, baseline, search=False)
    return of_study(folder, search=False)


def _mark(study: Manifest) -> list[tuple[str, int, int]]:
    """Return what changes as soon as an epoch or a run has ended."""
    files = [study.folder / MANIFEST]
    files += [study.path(entry) / name for entry in study.entries for name in (METRICS, RESULT)]
    found = []
    for file in files:
        with contextlib.suppress(OSError):
            stat = file.stat()
            found.append((str(file), stat.st_mtime_ns, stat.st_size))
    return found
