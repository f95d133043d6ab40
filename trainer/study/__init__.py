"""A multirun as a study. Called, it trains one: `trainer.study("optimizer=sgd,adam", "seed=0,1,2")`."""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class _Package(ModuleType):
    """This package, which can be called: `trainer.study(…)` is the function of the Python API, under the same name."""

    def __call__(self, *overrides: str, techniques: Any = None, progress: bool = True) -> Any:
        """Train the runs of a study, or the rest of it, and return it; see `trainer.api.study`."""
        study = import_module("trainer.api").study  # by name: it lies above this package
        return study(*overrides, techniques=techniques, progress=progress)


sys.modules[__name__].__class__ = _Package
