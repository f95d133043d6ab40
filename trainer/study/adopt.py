"""Finished runs of other studies, taken into a study's own folder, so that it is whole wherever it is moved."""

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from trainer.errors import ConfigError, RunError
from trainer.records.disk_usage import SET_ASIDE
from trainer.records.layout import BEST, DESCRIBED, HITS, JOB, LAST, MANIFEST, RESULT
from trainer.records.metrics import METRICS
from trainer.records.outcome import read_outcome
from trainer.runtime.files import WRITING, open_regular
from trainer.storage.checksums import write_record
from trainer.storage.untrusted import read_config
from trainer.study.fingerprint import significant

WEIGHTS = (LAST, BEST)
# W&B's files stay where they are: the run is sent anew, into the group of the study that it now belongs to.
RECORDS = (METRICS, RESULT, DESCRIBED, HITS, "environment.json", "log.txt", JOB)


def is_finished(folder: Path) -> bool:
    """Return whether the folder holds a finished run."""
    try:
        return read_outcome(folder).state == "finished"
    except RunError:  # damaged, which the study it belongs to reports
        return False


def finished_elsewhere(sweeps: Path, study: Path, identity: str, config: Mapping[str, Any]) -> Path | None:
    """Return the folder of a finished run of this identity in another study below `sweeps`; None without one."""
    # Sorted, so that every start finds the same one.
    for folder in sorted(sweeps.glob(f"*/*-{identity}")):
        if folder.parent == study or folder.name.startswith(SET_ASIDE) or not (folder.parent / MANIFEST).is_file():
            continue
        if is_finished(folder) and _has_config(folder, config):
            return folder
    return None


def adopt(source: Path, target: Path, config: Mapping[str, Any]) -> bool:
    """Take a finished run into the folder `target` with `config`, its configuration there.

    Weights are hard links, which take no room; copies where the file system has no links. Return False if the run
    vanished meanwhile or cannot be read. Raises RunError if `target` cannot be written; it is then not there at all.
    """
    made = target.with_name(f".{target.name}.{os.getpid()}.{WRITING}")
    try:
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir()
        for name in _present(source):
            _take(source / name, made / name, link=name in WEIGHTS)
        write_record(made / "config.yaml", yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))
        if not is_finished(made):  # the other study has begun it anew
            return False
        made.replace(target)
        return True
    except FileNotFoundError:
        return False
    except OSError as error:
        raise RunError(f"{target} could not be written: {error.strerror}") from None
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _has_config(folder: Path, config: Mapping[str, Any]) -> bool:
    """Return whether the run was trained with these settings: the name of its folder may be wrong."""
    with contextlib.suppress(RunError, ConfigError, OSError, ValueError):
        recorded = read_config(folder / "config.yaml")
        # A setting that an earlier version did not record has the value of its default here.
        return all(recorded.get(key, value) == value for key, value in significant(config).items())
    return False


def _present(source: Path) -> Iterator[str]:
    yield from (name for name in (*RECORDS, *WEIGHTS) if os.path.lexists(source / name))


def _take(source: Path, target: Path, link: bool) -> None:
    """Link or copy a regular file. Raises FileNotFoundError if the source is none or cannot be read, else OSError."""
    try:
        descriptor = open_regular(source, os.O_RDONLY)
    except OSError as error:
        raise FileNotFoundError(error.errno, error.strerror) from None
    # Files of a run are replaced as a whole and never changed in place, so that both studies keep theirs.
    with os.fdopen(descriptor, "rb") as file:
        if link:
            with contextlib.suppress(OSError):  # another file system, or one without hard links
                os.link(source, target, follow_symlinks=False)
                return
        with target.open("xb") as copy:
            shutil.copyfileobj(file, copy)
    shutil.copystat(source, target)
