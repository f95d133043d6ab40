"""The data set `arrays`: images and labels in an .npz, in .npy files, or in the tables of Hugging Face's `datasets`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from trainer.data.array_files import StoredArray, arrays_in, refuse_larger_than_memory
from trainer.data.images import Images, Part
from trainer.data.layout import channels_first
from trainer.data.parts import NAMES, TEST, TRAIN, VALIDATION, WHOLE, StoredPart, StoredSet, TableOptions
from trainer.data.splits import split
from trainer.data.values import column_of, kind_of, pixels_of
from trainer.errors import ConfigError, printable
from trainer.runtime.console import warn
from trainer.storage.places import absent

CLASSES = "classes.txt"  # a name in each line
DRAWN = 0.2  # of the images: the test part of a set that is not divided
LEAST = 5  # images of a class of such a set: one of each five is a test image
ACCEPTED = (
    "an .npz, or .npy files, with x_train and y_train (or train_images and train_labels; and x_test, y_test), or images"
    " and labels; a folder of Hugging Face's save_to_disk; Parquet files"
)
LISTED = 5  # names in a message


def read(data_dir: Path, part: Part, file: str | None, layout: str, validation: str, table: TableOptions) -> Images:
    """Return one part. `table`: what acts on tables only.

    Raises ConfigError or RunError with one line that names the file. Of the test part no pixel is read for "train",
    unless the set is not divided.
    """
    stored = _stored(data_dir, file, layout, table)
    for sentence in stored.warnings:
        warn(f"{data_dir}: {sentence}")
    if WHOLE in stored.parts and TRAIN not in stored.parts:
        return _drawn(_images(stored.parts[WHOLE], None, stored.classes), part, stored.parts[WHOLE].what)
    if TRAIN not in stored.parts:
        raise ConfigError(f"data_dir={data_dir} holds no training images. Accepted: {ACCEPTED}")
    train = stored.parts[TRAIN]
    if part == "test":
        if TEST not in stored.parts:
            raise ConfigError(f"data_dir={data_dir} has no test part, such as x_test and y_test beside {train.what}")
        return _images(stored.parts[TEST], train, stored.classes)
    own = stored.parts.get(VALIDATION)
    if validation == "own":
        if own is None:
            raise ConfigError(
                f"dataset.validation=own: data_dir={data_dir} has no validation part, such as x_val and y_val. Without"
                " one: dataset.validation=split"
            )
        return _together(_images(train, train, stored.classes), _images(own, train, stored.classes), own.what)
    if own:
        warn(
            f"{own.what}: {own.count} images are left out, as the validation images are drawn from the training"
            " images. To validate on these: dataset.validation=own"
        )
    return _images(train, train, stored.classes)


def _stored(data_dir: Path, file: str | None, layout: str, table: TableOptions) -> StoredSet:
    """Return what the folder, or the file or folder of this name in it, holds."""
    if not data_dir.exists():
        raise ConfigError(f"data_dir={data_dir}: {absent(data_dir)}")
    if data_dir.is_file():
        raise ConfigError(f"data_dir={data_dir} is a file: name its folder, and dataset.file={data_dir.name}")
    place = data_dir
    if file is not None:
        if Path(file).is_absolute() or ".." in Path(file).parts:
            raise ConfigError(f"dataset.file={file}: must be the name of a file or folder in data_dir={data_dir}")
        place = data_dir / file
        if not place.exists():
            raise ConfigError(f"dataset.file={file}: {absent(place)}")
    if place.is_dir():
        place = _only(place)
    if place.suffix == ".npz" or (place.is_dir() and any(place.glob("*.npy"))):
        if given := [f"dataset.{name}={value}" for name, value in table._asdict().items() if value is not None]:
            raise ConfigError(f"{given[0]} acts on tables, and {place} holds arrays, which are kept as they are")
        return StoredSet(_named(arrays := arrays_in(place), place, layout), _classes(arrays, data_dir))
    from trainer.data.hugging_face import TABLES, stored

    if not place.is_dir() and not (place.is_file() and place.suffix in TABLES):
        raise ConfigError(f"dataset.file={file}: must be an .npz, a table ({', '.join(TABLES)}) or a folder of files")
    if layout != "auto":
        raise ConfigError(f"dataset.layout={layout} acts on arrays, and {place} is a table")
    return stored(place, table)


def _only(folder: Path) -> Path:
    """Return the only .npz of a folder, or the folder itself. Raises ConfigError if it holds nothing or too much."""
    from trainer.data.hugging_face import is_saved, tables_in

    archives = sorted(folder.glob("*.npz"))
    tables = is_saved(folder) or bool(tables_in(folder))
    kinds: list[str] = [path.name for path in archives]
    kinds += ["*.npy"] if any(folder.glob("*.npy")) else []
    kinds += ["tables"] if tables else []
    if not kinds:
        raise ConfigError(f"data_dir={folder} holds no arrays. Accepted: {ACCEPTED}")
    if len(kinds) > 1:
        names = _listed(kinds)
        first = archives[0].name if archives else "NAME"
        raise ConfigError(
            f"data_dir={folder} holds {names}: say which by dataset.file={first}, or put it into a folder"
        )
    return archives[0] if archives else folder


def _named(arrays: Mapping[str, StoredArray], place: Path, layout: str) -> dict[str, StoredPart]:
    """Return the parts that the names of arrays tell. Raises ConfigError if an array of a pair is missing."""
    found = {}
    pairs = [(part, *_pair(name)) for name, part in NAMES.items()]
    pairs += [(WHOLE, ("images", "x"), ("labels", "y"))]
    for part, pixel_names, label_names in pairs:
        pixels, labels = ([arrays[name] for name in names if name in arrays] for names in (pixel_names, label_names))
        if pixels and labels and part not in found:
            found[part] = _pair_of(pixels[0], labels[0], layout)
        elif bool(pixels) != bool(labels):
            missing = (label_names if pixels else pixel_names)[0]
            raise ConfigError(f"{(pixels or labels)[0].what}: there is no {missing} beside it")
    if not found:
        names = ", ".join(list(arrays)[:LISTED]) + (", …" if len(arrays) > LISTED else "")
        raise ConfigError(f"{place} holds {printable(names) or 'nothing'}. Accepted: {ACCEPTED}")
    return found


def _pair(name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names that the images and the labels of a part may have, those of Keras first, then MedMNIST's."""
    return (f"x_{name}", f"{name}_images", f"{name}_x"), (f"y_{name}", f"{name}_labels", f"{name}_y")


def _pair_of(pixels: StoredArray, labels: StoredArray, layout: str) -> StoredPart:
    """Return the part of two arrays. Raises ConfigError if they are of different lengths, or empty."""
    count, labelled = ((array.shape or (0,))[0] for array in (pixels, labels))
    if count != labelled:
        raise ConfigError(f"{pixels.what} holds {count} images, {labels.what} {labelled} labels: they must be as many")
    if not count:
        raise ConfigError(f"{pixels.what} is empty: {list(pixels.shape)}")
    # Their order and type are judged by the header alone, before a large array is read.
    blank = np.broadcast_to(np.zeros((), pixels.dtype), pixels.shape)
    channels_first(blank, layout, pixels.what)
    pixels_of(np.zeros(0, pixels.dtype), pixels.what)

    def read_labels() -> np.ndarray:
        refuse_larger_than_memory(pixels.shape, pixels.dtype, pixels.what)  # before anything is read
        return column_of(labels.read(), labels.what)

    return StoredPart(
        pixels.what,
        count,
        lambda: pixels_of(channels_first(pixels.read(), layout, pixels.what), pixels.what),
        read_labels,
    )


def _classes(arrays: Mapping[str, StoredArray], data_dir: Path) -> tuple[str, ...] | None:
    """Return the names of the classes, from an array `classes` or the file classes.txt; None without them."""
    if "classes" in arrays:
        return tuple(_texts(arrays["classes"].read().reshape(-1), arrays["classes"].what).tolist())
    if not (path := data_dir / CLASSES).is_file():
        return None
    try:
        return tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    except UnicodeDecodeError:
        raise ConfigError(f"{path} must hold the name of a class in each line, as UTF-8") from None


def _images(stored: StoredPart, train: StoredPart | None, classes: tuple[str, ...] | None) -> Images:
    """Return the images of a part. The classes are those of the labels to train on, unless the files name them."""
    labels = stored.labels()
    if classes is None:
        known = labels if train is None or train is stored else train.labels()
        values = _values(known, (train or stored).what)
        classes = tuple(map(str, values.tolist()))
        indices = _positions(_values_of_kind(labels, values, stored.what), values, stored.what)
    elif labels.dtype.kind in "US":
        order = np.argsort(np.array(classes), kind="stable")
        indices = order[_positions(_texts(labels, stored.what), np.array(classes)[order], stored.what)]
    else:
        indices = _whole(labels, stored.what)
        if int(indices.max()) >= len(classes):
            raise ConfigError(f"{stored.what}: label {indices.max()}, where there are {len(classes)} classes")
    images = Images(stored.pixels(), torch.from_numpy(np.ascontiguousarray(indices, np.int64)), classes)
    if not all(map(math.isfinite, images.value_range)):
        raise ConfigError(f"{stored.what}: a pixel is NaN or infinite, as float32. Accepted: numbers up to 3.4e38")
    return images


def _values(labels: np.ndarray, what: str) -> np.ndarray:
    return np.unique(_texts(labels, what) if labels.dtype.kind in "US" else _whole(labels, what))


def _values_of_kind(labels: np.ndarray, values: np.ndarray, what: str) -> np.ndarray:
    """Return the labels as texts or whole numbers. Raises ConfigError if those of training are of the other kind."""
    if (labels.dtype.kind in "US") != (values.dtype.kind == "U"):
        raise ConfigError(f"{what}: labels are {kind_of(labels)}, those of the training images are {kind_of(values)}")
    return _texts(labels, what) if values.dtype.kind == "U" else _whole(labels, what)


def _positions(labels: np.ndarray, values: np.ndarray, what: str) -> np.ndarray:
    """Return the position of each label among the sorted values. Raises ConfigError for one that is not there."""
    positions = np.searchsorted(values, labels).clip(max=len(values) - 1)
    if (unknown := values[positions] != labels).any():
        name = labels[unknown][0]
        raise ConfigError(f"{what}: there are images of class {name}, which the training images do not have")
    return positions


def _whole(labels: np.ndarray, what: str) -> np.ndarray:
    if labels.dtype.kind not in "iub":
        raise ConfigError(f"{what}: labels are {kind_of(labels)}. Accepted: whole numbers and texts")
    numbers = labels.astype(np.int64)
    if int(numbers.min()) < 0:
        raise ConfigError(f"{what}: label {numbers.min()}: a label below 0 is no class. Leave these images out")
    return numbers


def _texts(labels: np.ndarray, what: str) -> np.ndarray:
    if labels.dtype.kind not in "US":
        raise ConfigError(f"{what}: names are {kind_of(labels)}. Accepted: texts")
    try:
        return np.char.decode(labels, "utf-8") if labels.dtype.kind == "S" else labels
    except UnicodeDecodeError:
        raise ConfigError(f"{what}: a name is no text in UTF-8") from None


def _together(training: Images, own: Images, what: str) -> Images:
    """Return both as one, the images to validate on last. Raises ConfigError if they are of another kind."""
    if (own.shape, own.are_bytes) != (training.shape, training.are_bytes):
        shapes = (f"{'×'.join(map(str, each.shape))} {each.storage.dtype}" for each in (own, training))
        raise ConfigError(f"{what}: images {next(shapes)}, those to train on are {next(shapes)}")
    pixels, labels = (torch.cat([getattr(each, key) for each in (training, own)]) for key in ("storage", "labels"))
    return Images(pixels, labels, training.classes, own_validation=len(own))


def _drawn(images: Images, part: Part, what: str) -> Images:
    """Return the part of a set that is not divided: a fifth of each class, the same for all runs, is for tests."""
    counts = images.class_counts()
    if few := [f"{name} ({count})" for name, count in counts.items() if count < LEAST]:
        raise ConfigError(
            f"{what}: there is no test part, so that it is drawn from these images, and there are too few of class"
            f" {_listed(few)}: at least {LEAST} of each, or a test part (x_test, y_test)"
        )
    train, test = split(images, split_seed=0, validation_size=DRAWN)
    assert test is not None
    chosen = train if part == "train" else test
    # A copy, so that the images of the other part are neither in the memory of the device nor in the fingerprint.
    return replace(chosen, storage=chosen.pixels, indices=None)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:LISTED]) + (", …" if len(names) > LISTED else "")
