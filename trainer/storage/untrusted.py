"""Reading and validation of untrusted files: run and study folders and the values in them. Imports no torch.

The command line is trusted. A file is not, as someone else may have sent it: it is data and can run no code.
"""

import json
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from trainer.errors import ConfigError, RunError, printable
from trainer.runtime.files import realpath
from trainer.storage.checksums import JOINED, without_checksum, without_comment

Kind = TypeVar("Kind")

# Far above the size of any file written here, and far below the memory of any machine.
MAX_BYTES = {".yaml": 200_000, ".json": 200_000_000}
MAX_LINE = 20_000_000  # bytes of a line: with layer statistics of ten thousand layers it has 5 million
MAX_VALUES = 20_000  # in a configuration: YAML aliases can make 2^60 values of sixty lines
MAX_LEVELS = 20  # of nested groups and lists
MAX_BRACKETS = 500
MAX_THREADS = 1024  # of torch on the CPU
MAX_COUNT = 10**15  # of images, epochs, weights
MAX_SECONDS = 10**9  # of an epoch: 30 years
MAX_METRIC = 1e39  # of a metric: single precision ends at 3.4e38
EARLIER_VERSION = "was written by an earlier version (format 2), which this one does not read: train the run again"


def validate_plain(value: Any) -> Any:
    """Return the value if it can be that of a configuration: texts, numbers, switches, lists and named groups.

    Raises ValueError for other types, interpolations, control characters, and too many or too deeply nested values.
    """
    left = MAX_VALUES

    def visit(item: Any, where: str, level: int) -> None:
        """Check a value and those inside it; `where` is its path from the root, for the message."""
        nonlocal left
        left -= 1
        if left < 0:
            raise ValueError(f"more than {MAX_VALUES} values")
        if level > MAX_LEVELS:
            raise ValueError(f"values nested more than {MAX_LEVELS} deep")
        if isinstance(item, str):
            if "${" in item:  # ${oc.env:NAME} would read an environment variable, which may be a secret
                raise ValueError(f"{where} holds an interpolation, ${{…}}: a file's values are taken as they stand")
            if printable(item, keep="\n\t") != item:
                raise ValueError(f"{where} holds control characters")
        elif isinstance(item, dict):
            for key, member in item.items():
                if not isinstance(key, str):
                    raise ValueError(f"{where} has a key that is no text")
                visit(key, f"a key of {where}", level)
                visit(member, f"{where}.{key}" if level else key, level + 1)
        elif isinstance(item, list | tuple):
            for index, member in enumerate(item):
                visit(member, f"{where}[{index}]", level + 1)
        elif item is not None and not isinstance(item, bool | int | float):
            raise ValueError(f"{where} is of type {type(item).__name__}, which no setting is")

    visit(value, "it", 0)
    return value


def validate_texts(value: Any) -> list[str]:
    """Return a list of texts, such as the words of a command. Raises ValueError."""
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise ValueError("a list of texts is expected")
    return [printable(text) for text in value]


def refuse_pipe(path: Path) -> None:
    """Raise ValueError for a pipe or device, which could block the reader for ever. Raises OSError without a file."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("it is no plain file")


def refuse_earlier_version(path: Path) -> None:
    """Raise RunError if a file of an earlier version lies in place of this checkpoint."""
    if not path.exists() and path.with_suffix(".pt").is_file():
        raise RunError(f"{path.with_suffix('.pt')} {EARLIER_VERSION}")


def read_text(path: Path) -> str:
    """Return the text of a record without its checksum.

    Raises ValueError if it is larger than any of its kind, no text, or not as its checksum says.
    """
    refuse_pipe(path)  # before the size, which a pipe does not have
    most = MAX_BYTES[path.suffix]
    if path.stat().st_size > most:
        raise ValueError(f"{path.stat().st_size} bytes, where at most {most} are expected")
    text = path.read_bytes().decode()
    return without_checksum(text) if path.suffix == ".json" else without_comment(text)


def whole_lines(path: Path) -> Iterator[bytes]:
    """Yield the complete lines of a growing file; a last one without a newline is still being written.

    Yields nothing without a file. Raises ValueError for a line that is longer than any written here, and for a last
    one of which only the newline is damaged.
    """
    if not path.is_file():
        return
    with path.open("rb") as file:
        # The limit is passed to `readline`, so that a file without newlines is not read into memory as one line.
        while (line := file.readline(MAX_LINE)).endswith(b"\n"):
            yield line
    if len(line) == MAX_LINE:
        raise ValueError(f"a line of more than {MAX_LINE} bytes")
    if JOINED.search(line):
        raise ValueError("its last line is damaged")


def parse_line(line: bytes) -> Any:
    """Return the content of a line of JSON. Raises ValueError, also if it is not as its checksum says."""
    return parse_json(without_checksum(line.removesuffix(b"\n").decode()))


def read_json(path: Path) -> Any:
    """Return the content of a JSON file. Raises ValueError, or OSError if the file cannot be read."""
    return parse_json(read_text(path))


def parse_json(text: str | bytes, group: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """Return the content of JSON. `group` builds each object from its names and values. Raises ValueError."""
    try:
        return json.loads(text.decode() if isinstance(text, bytes) else text, object_pairs_hook=group)
    except RecursionError:
        raise ValueError("values nested too deep") from None


def read_config(path: Path) -> dict[str, Any]:
    """Return the settings in a `config.yaml`. Raises ConfigError with one line, also for a tag like !!python/object."""
    try:
        text = read_text(path)
        if text.count("[") + text.count("{") > MAX_BRACKETS:  # PyYAML's time grows with the square of the open ones
            raise ConfigError(f"{path}: more than {MAX_BRACKETS} brackets")
        tree = yaml.safe_load(text)  # builds plain values only; `yaml.load` could construct any Python object
        if not isinstance(tree, dict):
            raise ConfigError(f"{path} does not hold the settings of a run")
        return dict(validate_plain(tree))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(f"{path}{where}: {getattr(error, 'problem', None) or 'is not YAML'}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not a text file: {error}") from None
    except RecursionError:
        raise ConfigError(f"{path}: values nested too deep") from None
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None


@cache  # to build an adapter takes longer than to read a line with it
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def parse_json_as(kind: type[Kind], text: str) -> Kind:
    """Return JSON as this dataclass. Raises ValueError naming the first field that is not of its declared type."""
    # Strict: a text "1" or a switch is no number, and is not converted.
    try:
        value: Kind = _adapter(kind).validate_json(text, strict=True)  # type: ignore[arg-type]  # classes are hashable
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{where}: {first['msg']}" if where else first["msg"]) from None
    return value


def run_folder(study: Path, named: Any) -> Path:
    """Return the folder of a run that a study's manifest names: in the study, or `../STUDY/RUN` beside it.

    Raises ValueError if it lies elsewhere, also through a link.
    """
    # No part may begin with a dot, which excludes ".." and hidden folders.
    if not isinstance(named, str) or not re.fullmatch(r"(\.\./(?!\.)[^/]+/)?(?!\.)[^/]+", named):
        raise ValueError(f"{named!r} is not the folder of a run")
    folder = study / named
    if not realpath(folder).is_relative_to(realpath(study).parent):
        raise ValueError(f"{named!r} is a link to a place outside {study.parent}")
    return folder


def refuse_links(folder: Path) -> None:
    """Raise RunError if a link leads out of a folder, before files are written there."""
    root = realpath(folder)  # resolved, as the folder itself may be reached by a link of the user
    for path in root.rglob("*"):
        # Links of W&B to its logs remain after a kill; nothing is written again to the folder of an earlier W&B run.
        if not path.is_symlink() or path.match("wandb/*run-*/logs/*.log"):
            continue
        if not realpath(path).is_relative_to(root):
            raise RunError(f"{path} is a link to {realpath(path)}, outside {folder}: remove it and start again")


def validate_threads(value: Any) -> int:
    """Return the number of threads in a recorded environment. Raises ValueError."""
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_THREADS:
        raise ValueError(f"threads={value!r}: must be a whole number from 1 to {MAX_THREADS}")
    return value


def validate_run_id(value: Any) -> str:
    """Return the id of a run, which names its W&B folder. Raises ValueError."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", value):
        raise ValueError("run_id: must be of letters, digits, dash and underscore")
    return value


def validate_file_name(value: str) -> str:
    """Return a text that can be part of a file name. Raises ValueError."""
    # Neither a dot nor a dash comes first: no "..", no hidden file, and no option of a command.
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}", value):
        raise ValueError(f"{value!r} is no name of letters, digits, dot, dash and underscore")
    return value


def finite_metric(row: Mapping[str, Any], name: str) -> float | None:
    """Return a metric of a row in `metrics.jsonl`, or None if the row has none. Raises ValueError."""
    value = row.get(name)
    if value is None:
        return None
    most = MAX_SECONDS if name.endswith("seconds") else MAX_METRIC
    # An own loss or metric may be negative, a share, a rate and a time may not.
    least = 0.0 if name.endswith(("seconds", "_accuracy", "per_second", "_cross_entropy")) or name == "lr" else -most
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:  # nor is NaN
        raise ValueError(f"{name}: must be a number from {least:g} to {most:g}")
    return float(value)
