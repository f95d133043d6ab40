"""What makes two runs the same run: configuration, code and data. Imports no torch before data are read."""

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from trainer.config import RunConfig
from trainer.files import expanded
from trainer.schema import PACKAGE

# The code that decides a result, and the libraries it computes with; how a run is shown or stored does not.
DECIDING = (
    "build.py",
    "data",
    "networks.py",
    "nonfinite.py",
    "parameters.py",
    "progress.py",
    "randomness.py",
    "run.py",
    "schedule.py",
    "seams.py",
    "stopping.py",
    "techniques",
    "training.py",
)
LIBRARIES = ("torch", "numpy", "scikit-learn")
# Where data lie, where results go and how they are shown; the data themselves have a fingerprint.
BESIDE = ("checkpoint_minutes", "data_dir", "output_dir", "resume", "wandb")


def digest(value: Any, length: int = 10) -> str:
    """The first digits of the SHA-256 of plain values, whatever the order of their keys."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def code_fingerprint() -> str:
    files = sorted(file for name in DECIDING for file in _python_files(PACKAGE / name))
    contents = {file.relative_to(PACKAGE).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    return digest({"files": contents, "libraries": {name: version(name) for name in LIBRARIES}})


def _python_files(path: Path) -> list[Path]:
    return list(path.rglob("*.py")) if path.is_dir() else [path]


class DataFingerprints:
    """The SHA-256 of each data set's pixels, labels and classes, read once."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}

    def of(self, config: RunConfig) -> str:
        """Raises ConfigError or RunError as reading the data does."""
        place = expanded(config.data_dir)
        key = digest([config.dataset.name, config.dataset.options, str(place.absolute())])
        if key not in self.known:
            from trainer.build import pick_device
            from trainer.data.resident import load

            self.known[key] = load(config.dataset, place, pick_device(config.device)).fingerprint()
        return self.known[key]


def run_id(config: RunConfig, code: str, data: str) -> str:
    return digest({"config": significant(config.tree()), "code": code, "data": data})


def significant(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a configuration that decides the result."""
    return {key: value for key, value in tree.items() if key not in BESIDE}
