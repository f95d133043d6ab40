"""The manifest of a study, as it lies in its folder, and the outcomes of its runs. Imports no torch."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer.config.check import check_sweep
from trainer.config.own_record import words, yours
from trainer.config.run_config import SweepConfig
from trainer.config.settings import comparable
from trainer.config.shell import command
from trainer.errors import ConfigError, RunError
from trainer.records.layout import MANIFEST, SWEEPS
from trainer.records.outcome import MISSING, Outcome, outcome_or_damage, read_outcome
from trainer.records.scoring import scored
from trainer.records.target import timed
from trainer.runtime.files import realpath
from trainer.runtime.text import counted
from trainer.storage.places import output_root
from trainer.storage.untrusted import (
    MAX_COUNT,
    parse_json_as,
    read_json,
    run_folder,
    validate_file_name,
    validate_plain,
    validate_texts,
)
from trainer.study.ablation import Ablation
from trainer.study.axes import ARM, override_key, point_label
from trainer.study.taken_looks import TakenLook, read_looks


@dataclass(frozen=True)
class Change:
    """A change of a study after its first start, in words: "added seed=3,4". `runs`: the runs added or dropped; 0 for
    a change of something else, "sweep.score was changed from cross to last".

    `ended`: the runs whose results were known by then; a comparison that is changed in their light errs more often.
    """

    when: str
    text: str
    runs: int
    ended: int

    @property
    def sentence(self) -> str:
        """The change as the verdict tells it, "" if no result was known by then."""
        if not self.ended:
            return ""
        were = f"{counted(self.runs, 'run was', 'runs were')} " if self.runs else ""
        return f"{were}{self.text} on {self.when[:10]}, when the results of {counted(self.ended, 'run')} were known"

    @property
    def adds_seeds(self) -> bool:
        """True if seeds were added when results were known."""
        return bool(self.ended) and self.text.startswith("added (") and "seed=" in self.text


@dataclass(frozen=True, eq=False)  # compared and hashed by identity: entries are keys of sets and dictionaries
class Entry:
    """A run in the manifest. `folder` is relative to the study's folder; before 0.4.0 it may lead into another study's.

    `point` is the run's place on the axes in plain words, `texts` the same as overrides. `source`: the run of another
    study that it was taken from, as STUDY/RUN. `result`: its outcome, kept here as well once it has ended.
    """

    id: str
    slug: str
    folder: str
    point: dict[str, str]
    texts: dict[str, str]
    config: dict[str, Any] = field(repr=False)
    trial: int = 0
    stage: int = 1
    source: str | None = None
    result: Outcome | None = None

    @property
    def own_folder(self) -> str:
        """The name of its folder in the study itself, also where the run lies in another one."""
        return self.folder.rpartition("/")[2]

    @property
    def label(self) -> str:
        """The run in words, by what it varies."""
        return point_label(self.point) or self.slug


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
    settings: SweepConfig
    axes: tuple[str, ...]
    replicates: tuple[str, ...]
    stages: tuple[Mapping[str, Any], ...]
    entries: tuple[Entry, ...]
    points: int | None = None  # of a search, in its last stage; missing in records of earlier versions
    id: str = ""
    plans: tuple[str, ...] = ()  # the ids of its commands, the present one last; the first is that of the study
    changes: tuple[Change, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)  # names of arms, where they were renamed
    ablation: Ablation | None = None
    looks: tuple[TakenLook, ...] = ()  # of a study that trains seeds until it is decided
    tuned: tuple[str, ...] = ()  # the axes over which each arm was tuned; none before 0.4.0
    fairness: Mapping[str, Sequence[str]] = field(default_factory=dict)  # differences between arms: unfair, implied

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Read a study's manifest. Raises ConfigError if this is no study, RunError if it is damaged."""
        path = folder / MANIFEST
        if not path.is_file():
            raise ConfigError(f"{folder}: is not the folder of a study, {path} does not exist")
        try:
            tree = read_json(path)
            return cls(
                folder,
                validate_plain(str(tree["name"])),
                tuple(validate_texts(tree["command"])),
                validate_plain(str(tree["started"])),
                _git(tree["git"]),
                str(tree["code"]),
                _texts_by_name(tree["data"]),
                check_sweep(tree["sweep"]),
                tuple(validate_texts(tree["axes"])),
                tuple(validate_texts(tree["replicates"])),
                tuple(_stages(tree["stages"])),
                tuple(_entries(tree, folder)),
                _points(tree.get("points")),
                validate_plain(str(tree.get("id", ""))),
                tuple(validate_texts(tree.get("plans", [tree.get("id", "")]))),
                tuple(parse_json_as(Change, json.dumps(change)) for change in validate_plain(tree.get("changes", []))),
                _texts_by_name(validate_plain(tree.get("labels", {})), "labels"),
                _ablation(tree.get("ablation")),
                tuple(read_looks(tree.get("looks", []))),
                tuple(validate_texts(tree.get("tuned", []))),
                {
                    kind: tuple(validate_texts(texts))
                    for kind, texts in validate_plain(tree.get("fairness", {})).items()
                },
            )
        except OSError as error:
            raise RunError(f"{path} cannot be read: {error.strerror}") from None
        # Whatever is wrong with an untrusted file, the user gets one line.
        except (ValueError, LookupError, TypeError, AttributeError, ConfigError):
            raise RunError(
                f"{path} is damaged, or of another version. Remove it and give the study's command again: finished"
                " runs are found by their id"
            ) from None

    @property
    def arm_words(self) -> dict[str, tuple[str, ...]]:
        """The overrides of each arm that has a name in place of them, as those of an ablation."""
        return self.ablation.words if self.ablation else {}

    @property
    def compared(self) -> list[str]:
        """The axes in words; the settings of arms stand without the word "arm"."""
        return [text.removeprefix(f"{ARM}=") for text in self.axes]

    @property
    def varied(self) -> list[str]:
        """The keys of all axes: what is compared, what is tuned, and replicates."""
        return [*_keys(self.axes), *self.tuned_keys, *self.replicate_keys]

    @property
    def tuned_keys(self) -> list[str]:
        """The keys of the axes over which each arm was tuned."""
        return _keys(self.tuned)

    @property
    def replicate_keys(self) -> list[str]:
        """The keys of the axes that repeat points."""
        return _keys(self.replicates)

    @property
    def own_command(self) -> str:
        """The study's command, without retrain, which would train all again."""
        return command("-m", *(word for word in self.command if override_key(word) != "retrain"), *self.techniques)

    @property
    def techniques(self) -> list[str]:
        """The words that bring the own techniques of its runs, as their folders have recorded them."""
        return words(map(self.path, self.entries))

    @property
    def yours(self) -> dict[str, str]:
        """The own techniques of its runs with their files: {"optimizer=tiger": "mine/optimizer.py"}."""
        return yours(map(self.path, self.entries))

    @property
    def restart_command(self) -> str:
        """The command that continues the study where it lies now: its own, unless it was moved."""
        files = [word for word in self.command if word.startswith("--config-dir")]
        typed = dict(word.split("=", 1) for word in self.command if "=" in word)
        sweeps = output_root(typed.get("output_root")) / SWEEPS
        leads_here = realpath(self.folder) == realpath(Path(typed["output_dir"])) if "output_dir" in typed else None
        if leads_here is None:
            leads_here = realpath(self.folder.parent) == realpath(sweeps)
        # The command of a grid has points that were dropped by hand, too.
        values = {key: {entry.point.get(key) for entry in self.entries} for key in self.varied}
        whole = (
            self.settings.method != "grid"
            or self.tuned
            or self.settings.until is not None
            or len(self.entries) >= math.prod(map(len, values.values()))
        )
        return (
            self.own_command
            if leads_here and whole
            else command("study", self.folder, "continue", *files, *self.techniques)
        )

    def path(self, entry: Entry) -> Path:
        """Return the folder of a run."""
        return self.folder / entry.folder

    def outcome(self, entry: Entry, read: Callable[[Path], Outcome] = read_outcome) -> Outcome:
        """Return the state and figures of a run, those kept in the manifest if it is missing. Raises what `read` does.

        `read` reads the outcome in a run's folder; what it lacks of the study's score follows from the run's metrics.
        """
        if self.is_missing(entry):
            return entry.result or Outcome(MISSING)
        path, settings = self.path(entry), self.settings
        found = scored(read(path), path, [settings.score])
        return timed(found, path, settings.metric, settings.target, settings.score, entry.config)

    def told_outcome(self, entry: Entry) -> Outcome:
        """Return the outcome of a run; one whose state is DAMAGED if its record cannot be read."""
        return self.outcome(entry, outcome_or_damage)

    def is_missing(self, entry: Entry) -> bool:
        """Return whether the run had ended, or lay in another study, and its folder is gone."""
        return (entry.result is not None or entry.folder.startswith("../")) and not self.path(entry).is_dir()


def _keys(described: Iterable[str]) -> list[str]:
    """Return the keys of axes that are described as they would be typed."""
    return [text.partition("=")[0] for text in described]


def _entries(tree: Any, folder: Path) -> Iterator[Entry]:
    """Yield the runs of a manifest, in or beside its folder. Raises ValueError, LookupError or TypeError."""
    replicates = _keys(validate_texts(tree["replicates"]))
    for run in tree["runs"]:
        entry = parse_json_as(Entry, json.dumps(run))
        if not set(replicates) <= entry.point.keys():
            raise ValueError(f"a run does not say its {', '.join(replicates)}")
        # A command is made of them when the study grows.
        on_axes = all(key == ARM or comparable(key) for key in entry.texts)
        if not (on_axes and entry.texts.keys() <= entry.point.keys()):
            raise ValueError("a run lies on no axis of a study")
        run_folder(folder, entry.folder)  # raises for a path that leads elsewhere: the manifest may be untrusted
        validate_plain([entry.point, entry.texts, entry.config])
        yield entry


def _ablation(tree: Any) -> Ablation | None:
    return None if tree is None else parse_json_as(Ablation, json.dumps(validate_plain(tree)))


def _points(value: Any) -> int | None:
    if value is not None and (type(value) is not int or not 1 <= value < MAX_COUNT):
        raise ValueError("points: must be a whole number")
    return value


def _texts_by_name(tree: Any, what: str = "data") -> dict[str, str]:
    if not isinstance(tree, dict) or not all(isinstance(text, str) for text in tree.values()):
        raise ValueError(f"{what}: must hold texts")
    return dict(tree)


def _stages(tree: Any) -> Iterator[Mapping[str, Any]]:
    for stage in validate_plain(tree):
        if type(stage["stage"]) is not int or not isinstance(stage["text"], str):
            raise ValueError("stages: must hold a number and a text")
        yield stage


def _git(tree: Any) -> Mapping[str, Any] | None:
    return None if tree is None else {"commit": validate_file_name(tree["commit"]), "dirty": bool(tree["dirty"])}
