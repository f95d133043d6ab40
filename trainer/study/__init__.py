"""A multirun as a study."""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class _Package(ModuleType):
    """This package, which can be called: `trainer.study(…)` is the function of the Python API, under the same name."""

    def __call__(self, *overrides: str, **options: Any) -> Any:
        """Train the runs of a study; see `trainer.api.study`."""
        return import_module("trainer.api").study(*overrides, **options)  # by name: it lies above this package


sys.modules[__name__].__class__ = _Package
