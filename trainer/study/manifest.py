"""What a study's folder holds: the manifest, what became of each run, the arms they make up. Imports no torch."""

import contextlib
import json
import math
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer.config import check_sweep
from trainer.errors import ConfigError, RunError
from trainer.invocation import command, resumed
from trainer.lock import is_held
from trainer.metrics import METRICS, row_of
from trainer.sections import SweepConfig
from trainer.strangers import (
    LARGEST,
    MOST_COUNT,
    file_name,
    harmless,
    read_json,
    read_text,
    run_folder,
    typed,
    whole_lines,
)
from trainer.strangers import texts as words_of
from trainer.study.space import ARM, arm_of, shown

MANIFEST = "study.json"
RESULT = "result.json"
JOB = "job.json"  # in the folder of a study's run: how its worker trains it
HEARTBEAT = ".heartbeat"  # touched by a launcher's worker
BEAT_SECONDS = 2.0
SILENT_SECONDS = 15 * BEAT_SECONDS  # without a heartbeat for so long a worker is taken for dead
DONE = ("finished", "pruned")
STATES = ("queued", "running", *DONE, "failed", "interrupted")
MOST_EPOCHS = 2_000_000  # of a run that is read as a whole: about a gigabyte


@dataclass(frozen=True, eq=False)
class Entry:
    """A run in the manifest. `folder` is relative to the study's; a run of another study is taken from there."""

    id: str
    slug: str
    folder: str
    point: dict[str, str]
    texts: dict[str, str]
    config: dict[str, Any] = field(repr=False)
    trial: int = 0
    stage: int = 1


@dataclass(frozen=True)
class Outcome:
    """What a run's folder says: state is queued, running, finished, pruned, failed or interrupted."""

    state: str = "queued"
    reason: str | None = None
    epochs: int = 0
    starts: int = 0
    seconds: float = 0.0
    best_epoch: int = 0
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    training_images: int | None = None  # not in what was recorded before the verdict asked for it
    validation_images: int | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for what would overflow in a sum: the file may be a stranger's."""
        counts = (self.epochs, self.starts, self.best_epoch, self.training_images, self.validation_images)
        metrics = (self.validation_loss, self.validation_accuracy)
        if not all(count is None or 0 <= count < MOST_COUNT for count in counts) or not 0 <= self.seconds < math.inf:
            raise ValueError("a count is out of range")
        if any(value is not None and math.isfinite(value) and abs(value) > LARGEST for value in metrics):
            raise ValueError("a metric is out of range")

    def value(self, metric: str) -> float | None:
        """The metric of the best epoch, None unless the run came to its end."""
        value: float | None = getattr(self, metric)
        return value if self.state == "finished" else None


@dataclass(frozen=True)
class Manifest:
    """A study as it was frozen. `axes` and `replicates` are described as they would be typed: "lr=0.1,0.01"."""

    folder: Path
    name: str
    command: tuple[str, ...]
    started: str
    git: Mapping[str, Any] | None
    code: str
    data: Mapping[str, str]
    sweep: SweepConfig
    axes: tuple[str, ...]
    replicates: tuple[str, ...]
    stages: tuple[Mapping[str, Any], ...]
    entries: tuple[Entry, ...]

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Raises ConfigError if this is no study, RunError if it is damaged."""
        path = folder / MANIFEST
        if not path.is_file():
            raise ConfigError(f"{folder}: is not the folder of a study, {path} does not exist")
        try:
            found = read_json(path)
            return cls(
                folder,
                harmless(str(found["name"])),
                tuple(words_of(found["command"])),
                harmless(str(found["started"])),
                _git(found["git"]),
                str(found["code"]),
                _named(found["data"]),
                check_sweep(found["sweep"]),
                tuple(words_of(found["axes"])),
                tuple(words_of(found["replicates"])),
                tuple(_stages(found["stages"])),
                tuple(_entries(found, folder)),
            )
        except OSError as error:
            raise RunError(f"{path} cannot be read: {error.strerror}") from None
        except (ValueError, LookupError, TypeError, AttributeError, ConfigError):
            raise RunError(
                f"{path} is damaged, or of another version. Remove it and give the study's command again: finished"
                " runs are found by their id"
            ) from None

    @property
    def varied(self) -> list[str]:
        """The keys of axes and replicates."""
        return [text.partition("=")[0] for text in (*self.axes, *self.replicates)]

    @property
    def again(self) -> str:
        """The command that the study was started with, and goes on by: with force it would begin anew."""
        return command("-m", *(word for word in self.command if _key(word) != "force"))

    def path(self, entry: Entry) -> Path:
        return self.folder / entry.folder

    def outcome(self, entry: Entry) -> Outcome:
        return read_outcome(self.path(entry))


def _entries(found: Any, folder: Path) -> Iterator[Entry]:
    """The runs of a manifest, each in or beside the study's folder. Raises ValueError, LookupError or TypeError."""
    replicates = [text.partition("=")[0] for text in words_of(found["replicates"])]
    for each in found["runs"]:
        entry = typed(Entry, json.dumps(each))
        if not set(replicates) <= entry.point.keys():
            raise ValueError(f"a run does not say its {', '.join(replicates)}")
        run_folder(folder, entry.folder)
        harmless([entry.point, entry.texts, entry.config])
        yield entry


def _named(found: Any) -> dict[str, str]:
    if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
        raise ValueError("data: must hold texts")
    return dict(found)


def _stages(found: Any) -> Iterator[Mapping[str, Any]]:
    for each in harmless(found):
        if type(each["stage"]) is not int or not isinstance(each["text"], str):
            raise ValueError("stages: must hold a number and a text")
        yield each


def _git(found: Any) -> Mapping[str, Any] | None:
    return None if found is None else {"commit": file_name(found["commit"]), "dirty": bool(found["dirty"])}


def read_outcome(folder: Path) -> Outcome:
    path = folder / RESULT
    try:
        outcome = typed(Outcome, read_text(path)) if path.is_file() else Outcome()
        if outcome.state not in STATES:
            raise ValueError(f"state={outcome.state!r}")
        return outcome
    except ValueError:
        raise RunError(f"{path} is damaged. Remove it: the run is then taken up from its last epoch") from None


def is_alive(folder: Path) -> bool:
    """Whether the run is being trained, here or by a worker elsewhere that shows a heartbeat."""
    with contextlib.suppress(OSError):
        if time.time() - (folder / HEARTBEAT).stat().st_mtime < SILENT_SECONDS:
            return True
    return is_held(folder)


def to_go_on(folder: Path) -> str:
    """How a run that was stopped goes on: resume= refuses those of a study, and those that a command repeats."""
    place = folder.resolve().parent
    if (folder / JOB).is_file():
        with contextlib.suppress(ConfigError, RunError):
            return f"To go on: {Manifest.read(place).again}"
        return "It goes on by its study's command"
    if place.name == "final" and (place.parent / MANIFEST).is_file():
        return "It goes on by the same trainer.finalize"
    if place.name == "reproduced":
        return "The same trainer.reproduce begins it again"
    return f"To go on: {resumed(folder)}"


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The epochs of a run that is done or still running; a line that is just being written is left out."""
    path, rows = folder / METRICS, list[dict[str, Any]]()
    try:
        for line in whole_lines(path):
            rows.append(row_of(line))
            if len(rows) > MOST_EPOCHS:
                raise ValueError(f"more than {MOST_EPOCHS} epochs")
    except ValueError:
        raise RunError(f"{path} is damaged") from None
    return rows


def curve(folder: Path, metric: str) -> dict[int, float]:
    """The metric after each validated epoch."""
    return {row["epoch"]: row[metric] for row in read_metrics(folder) if row[metric] is not None}


def arms_of(entries: Iterable[Entry]) -> list[list[Entry]]:
    """The runs at each point without its replicates, point by point; of a search also stage by stage, try by try."""
    arms: dict[Any, list[Entry]] = {}
    for entry in entries:
        arms.setdefault((entry.stage, entry.trial, *sorted(arm_of(entry.point).items())), []).append(entry)
    return list(arms.values())


def command_at(arguments: Sequence[str], varied: Collection[str], texts: Mapping[str, str]) -> str:
    """The command that trains one point of a study alone, as a person types it.

    `arguments` are the study's, `texts` the point's overrides, in place of what they say of the keys `varied`.
    """
    # Alone `dataset.folds` asks for a fold: a point without one is trained on the usual split.
    left_out = {*varied, *(["dataset.folds"] if "dataset.fold" in varied and "dataset.fold" not in texts else [])}
    own = [text for text in arguments if _key(text) not in left_out]
    own = [text for text in own if _key(text).split(".")[0] not in ("sweep", "force", "hydra", "hydra/launcher")]
    words = [word for key, text in texts.items() for word in (shown(text).split(" ") if key == ARM else [shown(text)])]
    return command(*map(shown, own), *words)


def _key(text: str) -> str:
    return text.lstrip("+").partition("=")[0]
