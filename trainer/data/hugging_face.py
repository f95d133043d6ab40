"""The tables of Hugging Face's `datasets`: folders of `save_to_disk`, and Parquet files. Read by pyarrow alone."""

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from trainer.data.array_files import refuse_larger_than_memory
from trainer.data.parts import NAMES, WHOLE, StoredPart, StoredSet, TableOptions
from trainer.data.table_pictures import decoded
from trainer.data.values import pixels_of
from trainer.errors import ConfigError, RunError, printable, reason_of
from trainer.runtime.extras import require
from trainer.storage.untrusted import parse_json, read_json, refuse_pipe

PICTURES, GRIDS = ("Image",), ("Array2D", "Array3D")  # the features of `datasets` that hold an image
IMAGE_NAMES, LABEL_NAMES = ("image", "img", "picture"), ("label", "labels", "class", "target")  # in files without them
ARROW_FILE = b"ARROW1"  # the start of a file that is no stream
TABLES = (".parquet", ".arrow")
SAVED = ("dataset_dict.json", "state.json")


def is_saved(folder: Path) -> bool:
    """Return whether `save_to_disk` wrote this folder."""
    return any((folder / name).is_file() for name in SAVED)


def tables_in(folder: Path) -> list[Path]:
    """Return the tables of a folder, or if it has none, of those one or two levels below it; of one kind."""
    for level in ("", "*/", "*/*/"):
        for suffix in TABLES:
            paths = folder.glob(f"{level}*{suffix}")
            if found := sorted(path for path in paths if path.is_file() and ".cache" not in path.parts):
                return found
    return []


def stored(place: Path, options: TableOptions) -> StoredSet:
    """Return the parts that a folder or a Parquet file holds.

    Raises ConfigError if pyarrow is missing or the columns are not told, and RunError naming a damaged file.
    """
    require(f"{place}: a table", "hf", "pyarrow")
    files, warnings = _files(place)
    if not files:
        raise ConfigError(f"{place} holds no part of a name that tells what it is for: {', '.join(NAMES)}")
    tables = {part: _Table(tuple(paths), place if place.is_dir() else place.parent) for part, paths in files.items()}
    parts = {part: _part(table, options) for part, table in tables.items()}
    # All parts have the same features.
    first = next(iter(tables.values()))
    names = first.features.get(first.label_column(options), {}).get("names")
    return StoredSet(parts, tuple(map(str, names)) if isinstance(names, list) else None, tuple(warnings))


def _files(place: Path) -> tuple[dict[str, list[Path]], list[str]]:
    """Return {part: its files} and warnings of files that belong to none."""
    if place.is_file():
        return {_part_named(place.name) or WHOLE: [place]}, []
    if (place / SAVED[0]).is_file():
        folders = {NAMES[name]: place / name for name in _plain_names(place / SAVED[0], "splits") if name in NAMES}
        return {part: _shards(folder) for part, folder in folders.items()}, []
    if (place / SAVED[1]).is_file():
        return {WHOLE: _shards(place)}, []
    found: dict[str, list[Path]] = {}
    for path in tables_in(place):
        found.setdefault(_part_named(str(path.relative_to(place))) or WHOLE, []).append(path)
    lone = found.pop(WHOLE) if len(found) > 1 and WHOLE in found else []
    return found, [f"{path.name} is left out: its name tells no part (train, test, validation)" for path in lone]


def _part_named(path: str) -> str | None:
    """Return the part that a word of a path names: "data/train-00000-of-00001.parquet" is of the training part."""
    return next((NAMES[word] for word in re.split(r"[-_./\\]", path.lower()) if word in NAMES), None)


def _shards(folder: Path) -> list[Path]:
    """Return the files of a part that `save_to_disk` wrote."""
    return [folder / name for name in _plain_names(folder / SAVED[1], "_data_files")]


def _plain_names(path: Path, key: str) -> list[str]:
    """Return a list of names of files or folders in a JSON file. Raises RunError for anything else, such as a path."""
    try:
        names = [each["filename"] if isinstance(each, dict) else each for each in read_json(path)[key]]
    except (LookupError, TypeError, ValueError, OSError) as error:
        raise RunError(f"{path} is damaged: {reason_of(error)}") from None
    if not names or not all(isinstance(name, str) and Path(name).name == name for name in names):
        raise RunError(f"{path} is damaged: {key} must be names of files beside it")
    return names


def _part(table: "_Table", options: TableOptions) -> StoredPart:
    """Return the part that a table is."""
    image, label, what = table.image_column(), table.label_column(options), table.what

    def pixels() -> Any:
        column, feature = table.column(image), table.features.get(image, {})
        with _damage_told(what):
            if feature.get("_type") in GRIDS or _is_list(column.type):
                return _grid(column, feature.get("shape"), what)
            return decoded(column, table.folder, options.image_size, what)

    return StoredPart(f"{what} ({image})", table.count, pixels, lambda: _labels(table.column(label), what))


@dataclass(frozen=True)
class _Table:
    """One or more files with the same columns. `folder`: the place that paths in them may not lead out of."""

    paths: tuple[Path, ...]
    folder: Path

    @property
    def what(self) -> str:
        return str(self.paths[0])

    @cached_property
    def schema(self) -> Any:
        """The names and types of the columns."""
        from pyarrow import parquet

        with _damage_told(self.what):
            path = self.paths[0]
            return parquet.read_schema(path) if path.suffix == ".parquet" else _arrow(path).schema

    @cached_property
    def features(self) -> dict[str, dict[str, Any]]:
        """The features that `datasets` has written beside the columns; none of another program's files."""
        with _damage_told(self.what):
            text = (self.schema.metadata or {}).get(b"huggingface", b"{}")
            features = parse_json(text).get("info", {}).get("features", {})
            return {name: each for name, each in features.items() if isinstance(each, dict)}

    @cached_property
    def count(self) -> int:
        """The number of rows."""
        from pyarrow import parquet

        with _damage_told(self.what):
            files = [parquet.read_metadata(path) if path.suffix == ".parquet" else _arrow(path) for path in self.paths]
            return sum(file.num_rows for file in files)

    def column(self, name: str) -> Any:
        """Return a column of all files, as pyarrow's chunks."""
        import pyarrow
        from pyarrow import parquet

        with _damage_told(self.what):
            tables = [
                parquet.read_table(path, columns=[name], partitioning=None)
                if path.suffix == ".parquet"
                else _arrow(path).select([name])
                for path in self.paths
            ]
            return pyarrow.concat_tables(tables).column(0)

    def image_column(self) -> str:
        """Return the name of the column with the images. Raises ConfigError if none, or more than one, may be it."""
        marked = [name for name, each in self.features.items() if each.get("_type") in (*PICTURES, *GRIDS)]
        found = marked or [each.name for each in self.schema if each.name in IMAGE_NAMES or _is_picture(each.type)]
        usual = [name for name in found if name in IMAGE_NAMES]
        return self._one(usual if len(usual) == 1 else found, "the images: named image, or of bytes of pictures")

    def label_column(self, options: TableOptions) -> str:
        """Return the name of the column with the labels. Raises ConfigError if it is not told."""
        if options.label_column is not None:
            return self._one([name for name in self.schema.names if name == options.label_column], "that name")
        marked = [name for name, each in self.features.items() if each.get("_type") == "ClassLabel"]
        found = marked or [name for name in self.schema.names if name in LABEL_NAMES]
        if not found and len(self.schema.names) == 2:
            found = [name for name in self.schema.names if name != self.image_column()]
        return self._one(found, "the labels: name it by dataset.label_column=NAME")

    def _one(self, found: Sequence[str], purpose: str) -> str:
        if len(found) == 1:
            return found[0]
        number = "several columns" if found else "no column"
        names = printable(", ".join(found or self.schema.names))
        raise ConfigError(f"{self.what}: {number} for {purpose} ({'they are' if found else 'it has'} {names})")


def _arrow(path: Path) -> Any:
    """Return the table in a file of the Arrow format, a stream as `datasets` writes it, or not; mapped, not read."""
    import pyarrow

    refuse_pipe(path)
    with pyarrow.memory_map(str(path)) as source:
        is_stream = source.read(len(ARROW_FILE)) != ARROW_FILE
        source.seek(0)
        return (pyarrow.ipc.open_stream if is_stream else pyarrow.ipc.open_file)(source).read_all()


def _is_list(kind: Any) -> bool:
    import pyarrow

    storage = kind.storage_type if isinstance(kind, pyarrow.BaseExtensionType) else kind
    return bool(
        pyarrow.types.is_list(storage)
        or pyarrow.types.is_large_list(storage)
        or pyarrow.types.is_fixed_size_list(storage)
    )


def _is_picture(kind: Any) -> bool:
    import pyarrow

    return bool(pyarrow.types.is_struct(kind) and kind.get_field_index("bytes") >= 0)


def _grid(column: Any, shape: Any, what: str) -> Any:
    """Return the pixels [N, C, H, W] of nested lists whose shape the features of `datasets` name."""
    import pyarrow

    sides = [side for side in shape if type(side) is int and side > 0] if isinstance(shape, list) else []
    if len(sides) not in (2, 3) or len(sides) != len(shape):
        raise ConfigError(f"{what}: lists as images need a feature Array2D or Array3D with their shape")
    parts = []
    for values in column.chunks:
        values = values.storage if isinstance(values, pyarrow.ExtensionArray) else values
        for _ in sides:
            values = values.flatten()
        parts.append(values.to_numpy(zero_copy_only=False))
    array = np.concatenate(parts)
    refuse_larger_than_memory(array.shape, array.dtype, what)
    return pixels_of(array.reshape(-1, *([1] if len(sides) == 2 else []), *sides), what)


def _labels(column: Any, what: str) -> np.ndarray:
    """Return whole numbers or texts [N]. Raises ConfigError for others, and if one is missing."""
    if column.null_count:
        raise ConfigError(f"{what}: {column.null_count} of {len(column)} images have no label")
    values = np.array(column.to_pylist())
    if values.ndim != 1 or values.dtype.kind not in "iubU":
        raise ConfigError(f"{what}: labels of type {column.type}. Accepted: whole numbers and texts")
    return values


@contextlib.contextmanager
def _damage_told(what: str) -> Iterator[None]:
    """Turn what pyarrow raises for a damaged file into RunError with one line."""
    import pyarrow

    try:
        yield
    except (RunError, ConfigError):
        raise
    except (pyarrow.ArrowException, ValueError, LookupError, TypeError, AttributeError, EOFError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise RunError(f"{what} is damaged or no table ({first})") from None
