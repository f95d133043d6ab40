"""The record of a trained run as the measures read it. Imports no torch before a network is loaded."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.errors import ConfigError, RunError, reason_of
from trainer.records.layout import BEST, DESCRIBED, LAST
from trainer.records.metrics import METRICS, damage_of, row_of
from trainer.records.outcome import Outcome, outcome_or_damage
from trainer.storage.untrusted import parse_line, read_config, read_json, whole_lines

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

STOPPED = ("the training loss is ", "a weight is not finite", "a running statistic is not finite")
TEN = ("digits", "mnist", "fashion_mnist", "kmnist", "qmnist", "usps", "svhn", "cifar10", "stl10", "imagenette")


@dataclass(frozen=True)
class RunRecord:
    """A run's settings, outcome, epochs and weights. `epochs`: the lines of its metrics, None for what is not finite.

    A line holds epoch, lr, train_loss, train_accuracy, validation_loss, validation_accuracy, epoch_seconds,
    images_per_second, the figures of both halves of the validation images, and where they were recorded layer_stats,
    else None.
    """

    folder: Path
    config: Mapping[str, Any]
    outcome: Outcome
    epochs: Sequence[Mapping[str, Any]]

    @classmethod
    def read(cls, folder: Path) -> "RunRecord":
        """Read the folder of a run. Raises RunError with one line if settings or epochs are missing or damaged."""
        try:
            config = read_config(folder / "config.yaml")
        except (ConfigError, OSError) as error:
            raise RunError(f"the run cannot be measured: {reason_of(error)}") from None
        return cls(folder, config, outcome_or_damage(folder), list(_epochs(folder)))

    @cached_property
    def best(self) -> "Mapping[str, NDArray[np.generic]]":
        """The parameters and buffers of the best epoch, by name. Raises RunError if they are missing or damaged."""
        return tensors_of(self.folder / BEST)

    @cached_property
    def last(self) -> "Mapping[str, NDArray[np.generic]]":
        """All tensors of the last checkpoint by name: weights, optimizer state, generators. Raises RunError."""
        return tensors_of(self.folder / LAST)

    @property
    def stopped_as_not_finite(self) -> bool:
        """True if the run failed because its loss or a weight was NaN or infinite (`on_nonfinite=stop`)."""
        return self.outcome.state == "failed" and (self.outcome.reason or "").startswith(STOPPED)

    @property
    def best_epoch(self) -> int:
        """The number of the epoch of the lowest validation loss, whose weights are `best`; 0 without one."""
        improved = [row["epoch"] for row in self.epochs if row["improved"]]
        return self.outcome.best_epoch or (improved[-1] if improved else 0)

    @cached_property
    def classes(self) -> int | None:
        """The number of classes, None if no record says it, as of own data in a run that failed in its first epoch."""
        dataset = self.config.get("dataset")
        dataset = dataset if isinstance(dataset, Mapping) else {}
        chosen = dataset.get("classes")
        try:
            names: Any = read_json(self.folder / DESCRIBED)["classes"]
        except (OSError, ValueError, LookupError, TypeError):
            names = chosen
        if isinstance(names, list | tuple):
            return len(names)
        if isinstance(names, int):
            return names
        return 10 if dataset.get("name") in TEN else None


def _epochs(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the epochs of a run with their layer statistics. Raises RunError with the number of a damaged line."""
    lines = whole_lines(folder / METRICS)
    for number in itertools.count(1):
        try:
            line = next(lines, None)
            if line is None:
                return
            row, stats = row_of(line, halves=True), parse_line(line).get("layer_stats")
        except ValueError:
            raise RunError(damage_of(folder, (number,))) from None
        yield {**row, "layer_stats": stats if isinstance(stats, dict) else None}


def tensors_of(path: Path) -> "dict[str, NDArray[np.generic]]":
    """Return the tensors of a safetensors file by name, bfloat16 as float32. Raises RunError with one line."""
    import numpy as np
    from safetensors import SafetensorError, deserialize

    types = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
    types |= {"I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1", "BOOL": "?"}
    found = {}
    try:
        for name, part in deserialize(path.read_bytes()):
            values = np.frombuffer(part["data"], types[part["dtype"]]).reshape(part["shape"])
            if part["dtype"] == "BF16":  # the upper half of a float32: NumPy has no such type
                values = (values.astype(np.uint32) << 16).view(np.float32)
            found[name] = values
    except OSError as error:
        raise RunError(f"the run cannot be measured: {reason_of(error)}") from None
    except (SafetensorError, KeyError, ValueError) as error:
        raise RunError(f"{path} cannot be read as weights: {(str(error).splitlines() or ['?'])[0]}") from None
    return found
