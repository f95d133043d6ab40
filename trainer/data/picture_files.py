"""The pictures in a user's folder, `<data_dir>/<part>/<class>/…`, and a warning for each kind of file left out."""

import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from trainer.data.decode import SUFFIXES
from trainer.errors import ConfigError
from trainer.runtime.console import warn
from trainer.runtime.files import realpath
from trainer.runtime.text import counted, undecoded

VALIDATION_FOLDERS = ("val", "valid", "validation")  # in which public sets keep their validation part
# What systems and file managers leave beside pictures, besides names that begin with a dot.
HIDDEN = frozenset({"thumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin", "lost+found"})
CLOCK_NS = 2 * 10**9  # the longest step of a file system's clock, that of FAT
NAMES = 5  # names in a warning


class Picture(NamedTuple):
    """A picture with the index of its class. `name`: its path in data_dir."""

    path: str
    label: int
    name: str
    stamp: str  # known without opening the file, and different once it has other content
    changed_ns: int  # when it was changed, in nanoseconds since 1970


def stamp_of(path: str, state: os.stat_result) -> str:
    """Return the stamp of a file in this state.

    The time of modification may be set to any value, as unpacking an archive does; the time of the change of the file's
    entry may not, and a file that takes the place of another has a number (inode) of its own.
    """
    values = (state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino, state.st_dev)
    return f"{path} {' '.join(map(str, values))}"


def class_names(folder: Path) -> tuple[str, ...]:
    """Return the names of the class folders, sorted. Raises ConfigError unless there are two or more."""
    if not folder.is_dir():
        raise ConfigError(f"data_dir={folder.parent}: must hold train/<class>/ with pictures; {folder} does not exist")
    entries = [entry for entry in folder.iterdir() if entry.is_dir() and not is_hidden(entry.name)]
    for entry in entries:
        _refuse_link(entry, folder.parent)
        if reason := undecoded(entry.name):
            raise ConfigError(f"{folder}/{reason}")
        if not entry.name.isprintable():
            raise ConfigError(
                f"{entry}: the name of a class must be printable, {entry.name!r} is not. Rename the folder"
            )
    classes = tuple(sorted(entry.name for entry in entries))
    if len(classes) < 2:
        raise ConfigError(f"{folder}: must hold a folder for each of at least two classes, it holds {len(classes)}")
    return classes


def pictures_in(data_dir: Path, part: str, classes: Sequence[str], all_classes: bool = True) -> list[Picture]:
    """Return the pictures of the classes in a folder of data_dir, sorted by class and path; warn of those left out.

    Raises ConfigError for a class without any if `all_classes`, else if there is no picture at all.
    """
    folder, pictures, beside = data_dir / part, list[Picture](), Found()
    if not folder.is_dir():
        raise ConfigError(f"data_dir={data_dir}: has no {part} part, {folder}/<class>/ with pictures")
    for label, name in enumerate(classes):
        class_folder = (folder / name).absolute()
        _refuse_link(class_folder, data_dir)
        found = find(class_folder)
        if all_classes and not found.pictures:
            raise ConfigError(f"{folder / name}: holds no picture ({', '.join(SUFFIXES)})")
        for entry in found.pictures:
            if entry.is_symlink():
                _refuse_link(Path(entry.path), data_dir)
            below, state = entry.path[len(str(class_folder)) :], entry.stat()
            stamp = stamp_of(entry.path, state)
            pictures.append(Picture(entry.path, label, f"{part}/{name}{below}", stamp, state.st_ctime_ns))
        beside.suffixes.update(found.suffixes)
        beside.links += found.links
    if not pictures:
        raise ConfigError(f"{folder}: holds no picture of the classes in train/ ({', '.join(SUFFIXES)})")
    for sentence in _left_out(folder, set(classes), beside):
        warn(f"{folder}: {sentence}")
    return pictures


def validation_folder(data_dir: Path, wanted: bool) -> str | None:
    """Return the name of the folder with validation pictures if it is `wanted`, and warn of one that is not read.

    Raises ConfigError if it is wanted and there is none.
    """
    there = [name for name in VALIDATION_FOLDERS if (data_dir / name).is_dir()]
    if wanted and not there:
        raise ConfigError(
            f"dataset.validation=folder: data_dir={data_dir} holds no folder val/ (nor valid/, validation/). Without"
            " one: dataset.validation=split"
        )
    for name in there[wanted:]:
        if count := len(find(data_dir / name).pictures):
            used = (
                f"in {there[0]}/"
                if wanted
                else "drawn from train/. To validate on this folder: dataset.validation=folder"
            )
            what = counted(count, "picture is", "pictures are")
            warn(f"{data_dir / name}: {what} left out, as the validation images are {used}")
    return there[0] if wanted else None


@dataclass
class Found:
    """The files below a folder: pictures, sorted by their path, and the numbers of those that are none.

    `suffixes`: files by their suffix; `links`: links to folders, to nothing or outside, and whatever is no file.
    """

    pictures: list[os.DirEntry[str]] = field(default_factory=list)
    suffixes: Counter[str] = field(default_factory=Counter)
    links: int = 0

    def left_out(self) -> Iterator[str]:
        """Yield a sentence for the files of other suffixes and one for the links."""
        if count := self.suffixes.total():
            what = counted(count, "file is", "files are")
            yield f"{what} left out because of the suffix: {_listed(self.suffixes)}. Read are {', '.join(SUFFIXES)}"
        if self.links:
            what = counted(self.links, "link is", "links are")
            yield f"{what} left out, to a folder, to nothing or to a place outside"


def find(folder: Path) -> Found:
    """Return what lies in a folder and in those below it, without hidden files. Links to folders are not followed."""
    found, folders = Found(), [str(folder)] if folder.is_dir() else []
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if is_hidden(entry.name):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif not _is_file(entry):
                    found.links += 1
                elif entry.name.lower().endswith(SUFFIXES):
                    found.pictures.append(entry)
                else:
                    found.suffixes[Path(entry.name).suffix.lower() or "no suffix"] += 1
    found.pictures.sort(key=lambda entry: entry.path)
    return found


def _is_file(entry: os.DirEntry[str]) -> bool:
    # `is_file` asks the system for links alone, and raises OSError for a link to itself.
    return entry.is_file(follow_symlinks=False) or Path(entry.path).is_file()


def is_hidden(name: str) -> bool:
    """Return whether a file or folder of this name is passed over."""
    return name.startswith(".") or name.lower() in HIDDEN


def recently_changed(pictures: Sequence[Picture]) -> bool:
    """Return whether a picture was changed so recently that its next change might leave its stamp as it is."""
    return max(picture.changed_ns for picture in pictures) > time.time_ns() - CLOCK_NS


def _left_out(folder: Path, classes: set[str], beside: Found) -> Iterator[str]:
    """Yield a sentence for each kind of file that is not read; `beside`: what else lies in the folders of classes."""
    others, lone, links = Counter[str](), 0, beside.links
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_hidden(entry.name) or entry.name in classes:
                continue
            if entry.is_dir(follow_symlinks=False):
                others[entry.name] = len(find(Path(entry.path)).pictures)
            elif _is_file(entry):
                lone += entry.name.lower().endswith(SUFFIXES)
            else:
                links += 1
    if count := others.total():
        what = counted(count, "picture is", "pictures are")
        yield f"{what} left out, of classes that train/ does not have: {_listed(+others)}"
    if lone:
        yield f"{counted(lone, 'picture is', 'pictures are')} left out, in no class folder"
    yield from Found([], beside.suffixes, links).left_out()


def _listed(counts: Counter[str]) -> str:
    """Return the names with their numbers, the most frequent first: ".heic (10), .txt (2)"."""
    names = [f"{name} ({count})" for name, count in counts.most_common(NAMES)]
    return ", ".join(names) + (", …" if len(counts) > NAMES else "")


def _refuse_link(path: Path, data_dir: Path) -> None:
    """Raise ConfigError for a link out of data_dir, or to a folder that holds the link.

    The author of the folder would choose which files are read.
    """
    if not (target := realpath(path)).is_relative_to(realpath(data_dir)):
        raise ConfigError(f"{path} is a link to {target}, outside data_dir={data_dir}: put the pictures there")
    if realpath(path.parent).is_relative_to(target):
        raise ConfigError(f"{path} is a link to {target}, which holds it: put the pictures there")
