"""The folder of a run or a study that a person names, and what is wrong with another path. Imports no torch."""

import difflib
from collections.abc import Iterable
from pathlib import Path

from trainer.errors import ConfigError
from trainer.runtime.files import expanded

RUN, STUDY = "config.yaml", "study.json"  # the file by which each is recognized
USUAL = Path("outputs")  # a name is looked for there as well, for a hint


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
    if (path.parent / RUN).is_file():
        raise ConfigError(f"{prefix}{text}: is no folder. Name that of the run: {prefix}{path.parent}")
    raise ConfigError(f"{prefix}{text}: {no_folder(path, prefix)}")


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
    raise ConfigError(f"{text}: {no_folder(path)}")


def named_folder(text: str, prefix: str = "") -> Path:
    """Return the path that is named. Raises ConfigError for an empty name, which would be the current folder."""
    if not text.strip():
        raise ConfigError(f"{prefix or 'FOLDER'}{text}: the name of the folder is empty; the current folder is .")
    return expanded(text)


def no_folder(path: Path, prefix: str = "") -> str:
    """Return the reason why a path is no folder, with the nearest name that exists."""
    if path.exists():
        return "is a file, not a folder"
    near = [USUAL / path] if (USUAL / path).is_dir() else []
    if not near and path.parent.is_dir():
        names = [each.name for each in path.parent.iterdir() if each.is_dir()]
        near = [path.with_name(name) for name in difflib.get_close_matches(path.name, names, n=1, cutoff=0.8)]
    return "there is no such folder" + (f". Did you mean {prefix}{near[0]}?" if near else "")


def _newest(path: Path, file: str) -> list[Path]:
    """Return the folders below this one that hold such a file, the newest first."""
    return sorted((each.parent for each in path.glob(f"*/{file}")), key=lambda each: -each.stat().st_mtime)


def _such_as(folders: Iterable[Path], prefix: str) -> str:
    return "".join(f", such as {prefix}{folder}" for folder in list(folders)[:1])
