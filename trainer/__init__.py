"""Compare how neural networks are trained: named techniques, one visible loop, honest comparisons.

From Python: `compose`, `train`, `study` and `load` (docs/python.md).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainer.api import Run, Study, Verdict, compose, load, study, train

__version__ = "0.3.0"
__all__ = ["Run", "Study", "Verdict", "__version__", "compose", "load", "study", "train"]


def __getattr__(name: str) -> Any:
    """Return a name of the Python API, which is imported when it is first used: no command waits for it."""
    if name not in __all__:
        raise AttributeError(f"module 'trainer' has no attribute {name!r}")
    # `study` is a package as well, which can be called.
    return import_module("trainer.study") if name == "study" else getattr(import_module("trainer.api"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
