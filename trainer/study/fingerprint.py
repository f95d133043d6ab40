"""The identity of a run: its configuration, the code that decides its result, and its data."""

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from trainer.config.run_config import RunConfig, SweepConfig, Tag, tagged
from trainer.records.code import code_hashes, core_hashes
from trainer.runtime.files import expanded

LIBRARIES = ("torch", "numpy", "scikit-learn")


def digest(value: Any, length: int = 10) -> str:
    """Return the first digits of the SHA-256 of plain values, whatever the order of their keys."""
    # 10 hexadecimal digits: among 10 000 runs two collide with a probability of 5e-5.
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def core_fingerprint() -> str:
    """Return the hash of the code that every run uses (`records/code.py`) and of the libraries' versions."""
    return _fingerprint(core_hashes())


def code_fingerprint(config: RunConfig) -> str:
    """Return the hash of the code that decides a run, with that of its techniques, and of the libraries' versions."""
    return _fingerprint(code_hashes(config))


def _fingerprint(hashes: Mapping[str, str]) -> str:
    return digest({"files": dict(hashes), "libraries": {name: version(name) for name in LIBRARIES}})


class DataFingerprints:
    """The SHA-256 of each data set's pixels, labels and classes, computed once."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}

    def of(self, config: RunConfig) -> str:
        """Return the fingerprint of a run's data. Raises ConfigError or RunError as reading the data does."""
        place = expanded(config.data_dir)
        key = digest([config.dataset.name, config.dataset.options, str(place.absolute())])
        # Imported here, so that this module needs no torch.
        if key not in self.known:
            from trainer.data.loader import load
            from trainer.training.build import pick_device

            self.known[key] = load(config.dataset, place, pick_device(config.device)).fingerprint
        return self.known[key]


def run_id(config: RunConfig, data: str) -> str:
    """Return the id of a run; two runs with the same id give the same result."""
    return digest({"config": significant(config.tree()), "code": code_fingerprint(config), "data": data})


def significant(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a configuration that decides the result."""
    return {key: value for key, value in tree.items() if key not in tagged(Tag.NO_EFFECT)}


def free_settings(settings: SweepConfig) -> set[str]:
    """Return the settings of a study that decide neither its runs nor their results."""
    free = {*tagged(Tag.NO_EFFECT, model=SweepConfig)}
    if settings.until is not None:  # these decide which arms get more seeds; the maximum may be raised
        return free - {"margin", "score"}
    # The next point of a search, and the settings that an arm is tuned to, depend on how the points were scored.
    return free if settings.method == "grid" and settings.tune is None else free - {"score"}
