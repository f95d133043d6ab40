"""The room that runs and studies take on the disk, and the files that can be spared. Imports no torch."""

import os
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from trainer.errors import RunError
from trainer.records.layout import BEST, LAST, MANIFEST
from trainer.records.outcome import DONE, is_alive, read_outcome
from trainer.runtime.files import WRITING
from trainer.runtime.text import complain_once

DAY = 24 * 3600.0  # seconds after which nobody is writing a file any more
SET_ASIDE = ("before_", "dropped_")  # first part of the name of a folder whose run is no part of its study any more


@dataclass(frozen=True)
class Kind:
    """A kind of files that can be spared: its contents, and the consequence of deleting them."""

    name: str
    what: str
    lost: str


KINDS = (
    Kind("previous", "the checkpoint before the last, of finished runs", "nothing: it repairs a damaged last one"),
    Kind("torn", "files that a killed process left incomplete", "nothing"),
    Kind("pictures", "decoded pictures, kept for all folders", "they are decoded again at the next start"),
    Kind("uploaded", "offline W&B files that are uploaded already", "nothing that W&B has not"),
    Kind(
        "states",
        "last.safetensors of finished runs: weights and optimizer after the last epoch",
        "no more epochs, no doctor and no reproduce for these runs; their best network stays",
    ),
    Kind("aside", "runs that retrain=true or trainer study drop has put aside", "their results"),
)


@dataclass(frozen=True)
class Spare:
    """A file or folder that can be spared, and its kind."""

    kind: str
    path: Path


@dataclass(frozen=True)
class Usage:
    """The folders of studies and of runs outside them below a root, their sizes in bytes, and what can be spared."""

    sizes: dict[Path, int]
    total: int
    spares: tuple[Spare, ...]


def usage_of(root: Path, pictures: Path) -> Usage:
    """Measure a folder. `pictures`: the folder of decoded pictures, which lies elsewhere and is not in the total."""
    sizes, spares = dict[Path, int](), list[Spare]()
    for folder in _owners(root):
        sizes[folder] = size_of([folder])
        spares += _spares_below(folder)
    if pictures.is_dir():
        spares.append(Spare("pictures", pictures))
    return Usage(sizes, size_of([root]), tuple(spares))


def size_of(paths: Iterable[Path]) -> int:
    """Return the bytes of files and folders; a file with several names, as in two studies, counts once."""
    return sum({(each.st_dev, each.st_ino): each.st_size for each in _stats(paths)}.values())


def freed_by(paths: Iterable[Path]) -> int:
    """Return the bytes that are free once these are deleted: a file that has a name elsewhere stays."""
    names: dict[tuple[int, int], list[os.stat_result]] = {}
    for each in _stats(paths):
        names.setdefault((each.st_dev, each.st_ino), []).append(each)
    return sum(found[0].st_size for found in names.values() if len(found) >= found[0].st_nlink)


def delete(spare: Spare) -> None:
    """Delete a file or folder; a link is removed and not followed. Raises RunError."""
    try:
        if spare.path.is_dir() and not spare.path.is_symlink():
            shutil.rmtree(spare.path)
        else:
            spare.path.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(f"{error.filename or spare.path} cannot be deleted: {error.strerror}") from None


def _owners(root: Path) -> Iterator[Path]:
    """Yield the folders of studies, and of runs that belong to none."""
    for parent, names, files in os.walk(root):
        if MANIFEST in files or "config.yaml" in files:
            names[:] = []  # os.walk goes no deeper
            yield Path(parent)
        else:
            names.sort()


def _spares_below(folder: Path) -> Iterator[Spare]:
    for parent, names, files in os.walk(folder):
        path = Path(parent)
        for name in (*names, *files):
            if name.endswith(f".{WRITING}") and time.time() - (path / name).lstat().st_mtime > DAY:
                yield Spare("torn", path / name)
        aside = [name for name in names if name.startswith(SET_ASIDE) and (path / MANIFEST).is_file()]
        yield from (Spare("aside", path / name) for name in aside)
        names[:] = sorted(set(names) - set(aside))
        if path.name.startswith("offline-run-") and any(name.endswith(".wandb.synced") for name in files):
            yield Spare("uploaded", path)
        elif "config.yaml" in files and _is_over(path):
            yield from (Spare("previous", path / name) for name in files if name.endswith(".previous.safetensors"))
            if LAST in files and BEST in files:
                yield Spare("states", path / LAST)


def _is_over(run: Path) -> bool:
    try:
        return read_outcome(run).state in DONE and not is_alive(run)
    except RunError as error:  # a damaged run may still need its files
        complain_once(str(error))
        return False


def _stats(paths: Iterable[Path]) -> Iterator[os.stat_result]:
    for path in paths:
        if not path.is_dir() or path.is_symlink():
            if os.path.lexists(path):
                yield path.lstat()
            continue
        for parent, _, files in os.walk(path):
            yield from (os.lstat(Path(parent, name)) for name in files)
