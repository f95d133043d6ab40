"""The folder of a run or a study that a person names, and what is wrong with another path. Imports no torch."""

import difflib
import os
from collections.abc import Iterable
from pathlib import Path

from trainer.errors import ConfigError
from trainer.runtime.files import expanded

RUN, STUDY = "config.yaml", "study.json"  # the file by which each is recognized
EMPTY = "the name of the folder is empty; the current folder is ."
ROOT_VARIABLE = "TRAINER_OUTPUTS"


def output_root(typed: str | None = None) -> Path:
    """Return the folder of all runs and studies: the typed one, else that of TRAINER_OUTPUTS, else `outputs`."""
    told = os.environ.get(ROOT_VARIABLE, "")
    return expanded(typed or (told if told.strip() else "outputs"))


def picture_place() -> Path:
    """Return the folder of decoded pictures. Raises ConfigError if the home folder is unknown."""
    return expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "ablation-trainer" / "images"


def named_run(text: str, prefix: str = "") -> Path:
    """Return the folder of the run that is named. Raises ConfigError that says what the path is, and what was meant.

    `prefix`: what stands before the name on the command line, such as "resume=".
    """
    path = named_folder(text, prefix)
    if (path / RUN).is_file():
        return path
    if path.is_dir():
        runs = _newest(path, RUN)
        if (path / STUDY).is_file():
            raise ConfigError(f"{prefix}{text}: is a study. Name one of its runs{_such_as(runs, prefix)}")
        if runs:
            raise ConfigError(f"{prefix}{text}: holds several runs. Name one of them{_such_as(runs, prefix)}")
        raise ConfigError(f"{prefix}{text}: is not the folder of a run, {path / RUN} does not exist")
    raise _no_folder(text, path, prefix)


def named_study(text: str) -> Path:
    """Return the folder of the study that is named. Raises ConfigError as `named_run` does."""
    path = named_folder(text)
    if (path / STUDY).is_file():
        return path
    if path.is_dir():
        if (path.parent / STUDY).is_file():
            raise ConfigError(f"{text}: is a run of a study. Name the study: {path.parent}")
        if (path / RUN).is_file():
            raise ConfigError(f"{text}: is a single run, not a study")
        if studies := _newest(path, STUDY):
            raise ConfigError(f"{text}: holds several studies. Name one of them{_such_as(studies, '')}")
        raise ConfigError(f"{text}: is not the folder of a study, {path / STUDY} does not exist")
    raise _no_folder(text, path)


def named_place(text: str) -> Path:
    """Return the folder that is named, whatever it holds. Raises ConfigError as `named_run` does."""
    path = named_folder(text)
    if not path.is_dir():
        raise _no_folder(text, path)
    return path


def named_folder(text: str, prefix: str = "") -> Path:
    """Return the path that is named. Raises ConfigError for an empty name, which would be the current folder."""
    if not text.strip():
        raise ConfigError(f"{prefix or repr(text)}: {EMPTY}")
    return expanded(text)


def _no_folder(text: str, path: Path, prefix: str = "") -> ConfigError:
    """Return the error for a path that is no folder; a file of a run, there or not, stands for the run."""
    for file, what in ((RUN, "run"), (STUDY, "study")):
        if (path.parent / file).is_file():
            return ConfigError(f"{prefix}{text}: is no folder. Name that of the {what}: {prefix}{path.parent}")
    return ConfigError(f"{prefix}{text}: {absent(path, 'folder', prefix)}")


def absent(path: Path, what: str = "folder", prefix: str = "") -> str:
    """Return the reason why a path is no folder, with the nearest name that exists."""
    if path.exists():
        return "is a file, not a folder"
    near = [found for found, sure in ((path.parent, RUN), (output_root() / path, "")) if (found / sure).exists()]
    if not near and path.parent.is_dir():
        names = [each.name for each in path.parent.iterdir() if each.is_dir()]
        near = [path.with_name(name) for name in difflib.get_close_matches(path.name, names, n=1, cutoff=0.75)]
    return f"there is no such {what}" + (f". Did you mean {prefix}{near[0]}?" if near else "")


def _newest(path: Path, file: str) -> list[Path]:
    """Return the folders below this one that hold such a file, the newest first."""
    return sorted((each.parent for each in path.glob(f"*/{file}")), key=lambda each: -each.stat().st_mtime)


def _such_as(folders: Iterable[Path], prefix: str) -> str:
    return "".join(f", such as {prefix}{folder}" for folder in list(folders)[:1])
