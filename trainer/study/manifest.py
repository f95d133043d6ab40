"""What a study's folder holds: the manifest, what became of each run, the arms they make up. Imports no torch."""

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
    parse_json_as,
    read_json,
    run_folder,
    validate_file_name,
    validate_plain,
    validate_texts,
)
from trainer.study.axes import _key, arm_of


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
                validate_plain(str(found["name"])),
                tuple(validate_texts(found["command"])),
                validate_plain(str(found["started"])),
                _git(found["git"]),
                str(found["code"]),
                _named(found["data"]),
                check_sweep(found["sweep"]),
                tuple(validate_texts(found["axes"])),
                tuple(validate_texts(found["replicates"])),
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
    def restart_command(self) -> str:
        """The command that the study was started with, and goes on by: with retrain it would begin again."""
        return command("-m", *(word for word in self.command if _key(word) != "retrain"))

    def path(self, entry: Entry) -> Path:
        return self.folder / entry.folder

    def outcome(self, entry: Entry) -> Outcome:
        return read_outcome(self.path(entry))


def _entries(found: Any, folder: Path) -> Iterator[Entry]:
    """The runs of a manifest, each in or beside the study's folder. Raises ValueError, LookupError or TypeError."""
    replicates = [text.partition("=")[0] for text in validate_texts(found["replicates"])]
    for each in found["runs"]:
        entry = parse_json_as(Entry, json.dumps(each))
        if not set(replicates) <= entry.point.keys():
            raise ValueError(f"a run does not say its {', '.join(replicates)}")
        run_folder(folder, entry.folder)
        validate_plain([entry.point, entry.texts, entry.config])
        yield entry


def _named(found: Any) -> dict[str, str]:
    if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
        raise ValueError("data: must hold texts")
    return dict(found)


def _stages(found: Any) -> Iterator[Mapping[str, Any]]:
    for each in validate_plain(found):
        if type(each["stage"]) is not int or not isinstance(each["text"], str):
            raise ValueError("stages: must hold a number and a text")
        yield each


def _git(found: Any) -> Mapping[str, Any] | None:
    return None if found is None else {"commit": validate_file_name(found["commit"]), "dirty": bool(found["dirty"])}


def arms_of(entries: Iterable[Entry]) -> list[list[Entry]]:
    """The runs at each point without its replicates, point by point; of a search also stage by stage, try by try."""
    arms: dict[Any, list[Entry]] = {}
    for entry in entries:
        arms.setdefault((entry.stage, entry.trial, *sorted(arm_of(entry.point).items())), []).append(entry)
    return list(arms.values())
