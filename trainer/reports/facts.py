"""The lines on what a study or a run consists of: its data, its time, its own techniques, its software. No torch."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from trainer.config.recorded import typed_settings
from trainer.records.outcome import Outcome
from trainer.reports.run_files import Run
from trainer.runtime.text import counted
from trainer.storage.checksums import unchecked
from trainer.study.manifest import Manifest


def moment(started: str) -> str:
    """Return a recorded time as a person reads it: "2026-11-21 08:00 UTC"; "—" for none."""
    return f"{started.replace('T', ' ')[:16]} UTC" if started else "—"


def data_text(config: Mapping[str, Any], outcome: Outcome, fingerprints: Iterable[str] = ()) -> str:
    """Return "digits, 1200 training images, 300 validation images, fingerprint 0cb2c094", with what is recorded."""
    counts = {"training": outcome.training_images, "validation": outcome.validation_images}
    images = [counted(count, f"{part} image") for part, count in counts.items() if count]
    marks = [text[:8] for text in dict.fromkeys(fingerprints)]
    several = f"{'fingerprints' if len(marks) > 1 else 'fingerprint'} {', '.join(marks)}"
    return ", ".join([str(typed_settings(config).get("dataset", "?")), *images, *([several] if marks else [])])


def own_techniques(yours: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the row that names the techniques that are no part of this program, with their files."""
    return [("Own techniques", ", ".join(f"{name} of {file}" for name, file in yours.items()))] if yours else []


def without_checksum(folders: Iterable[Path]) -> list[tuple[str, str]]:
    """Return the row that tells of records in which damage is not noticed, as those of an earlier version."""
    count = sum(len(unchecked(folder)) for folder in folders)
    told = f"{counted(count, 'record')} of an earlier version, or edited by hand: damage to them is not noticed"
    return [("Without checksum", told)] if count else []


def environment_rows(runs: Iterable[Run], study: Manifest | None = None) -> list[tuple[str, str]]:
    """Return the software and devices of the runs; where versions differ between runs, all of them."""
    starts = [run.environment for run in runs if run.environment]
    if not starts:
        return []
    first = starts[0]
    git = study.git if study else first.git  # a study records the commit once, when it is frozen
    rows = [("trainer", first.trainer), ("Python", first.python), ("Platform", first.platform)]
    for name in first.packages:
        rows.append((name, ", ".join(dict.fromkeys(str(start.packages.get(name)) for start in starts))))
    devices = [f"{start.device}, {counted(start.threads, 'thread')}" for start in starts]
    rows.append(("Device", "; ".join(dict.fromkeys(devices))))
    if git:
        rows.append(
            ("Commit", f"{git.get('commit')}{', with changes that are not committed' if git.get('dirty') else ''}")
        )
    return rows
