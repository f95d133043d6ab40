"""The manifest of a study, as it lies in its folder, and the outcomes of its runs. Imports no torch."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer.config.check import check_sweep
from trainer.config.run_config import SweepConfig
from trainer.config.shell import command
from trainer.errors import ConfigError, RunError
from trainer.records.layout import MANIFEST
from trainer.records.outcome import Outcome, read_outcome
from trainer.storage.untrusted import (
    MAX_COUNT,
    parse_json_as,
    read_json,
    run_folder,
    validate_file_name,
    validate_plain,
    validate_texts,
)
from trainer.study.axes import ARM, override_key, point_label


@dataclass(frozen=True, eq=False)  # compared and hashed by identity: entries are keys of sets and dictionaries
class Entry:
    """A run in the manifest. `folder` is relative to the study's folder and may lead into another study's.

    `point` is the run's place on the axes in plain words, `texts` the same as overrides.
    """

    id: str
    slug: str
    folder: str
    point: dict[str, str]
    texts: dict[str, str]
    config: dict[str, Any] = field(repr=False)
    trial: int = 0
    stage: int = 1

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
    def compared(self) -> list[str]:
        """The axes in words; the settings of arms stand without the word "arm"."""
        return [text.removeprefix(f"{ARM}=") for text in self.axes]

    @property
    def varied(self) -> list[str]:
        """The keys of axes and replicates."""
        return [*_keys(self.axes), *self.replicate_keys]

    @property
    def replicate_keys(self) -> list[str]:
        """The keys of the axes that repeat points."""
        return _keys(self.replicates)

    @property
    def restart_command(self) -> str:
        """The command that continues the study: its own, without retrain, which would train all again."""
        return command("-m", *(word for word in self.command if override_key(word) != "retrain"))

    def path(self, entry: Entry) -> Path:
        """Return the folder of a run."""
        return self.folder / entry.folder

    def outcome(self, entry: Entry) -> Outcome:
        """Return the state and figures of a run. Raises RunError if its folder is damaged."""
        return read_outcome(self.path(entry))


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
        run_folder(folder, entry.folder)  # raises for a path that leads elsewhere: the manifest may be untrusted
        validate_plain([entry.point, entry.texts, entry.config])
        yield entry


def _points(value: Any) -> int | None:
    if value is not None and (type(value) is not int or not 1 <= value < MAX_COUNT):
        raise ValueError("points: must be a whole number")
    return value


def _texts_by_name(tree: Any) -> dict[str, str]:
    if not isinstance(tree, dict) or not all(isinstance(text, str) for text in tree.values()):
        raise ValueError("data: must hold texts")
    return dict(tree)


def _stages(tree: Any) -> Iterator[Mapping[str, Any]]:
    for stage in validate_plain(tree):
        if type(stage["stage"]) is not int or not isinstance(stage["text"], str):
            raise ValueError("stages: must hold a number and a text")
        yield stage


def _git(tree: Any) -> Mapping[str, Any] | None:
    return None if tree is None else {"commit": validate_file_name(tree["commit"]), "dirty": bool(tree["dirty"])}
