"""Calls of own techniques, whose mistakes are told in one line with the file, and whose results have the right type."""

import functools
from collections.abc import Callable
from importlib import import_module
from typing import Any

from trainer.config.own import OwnTechniques
from trainer.config.own_import import described, place_of
from trainer.errors import ConfigError, RunError

# Group → module and name of the type that its functions return. Those of the other groups are called in each step or
# change a layer in place: an error there is one of the training, and shown with its traceback.
RESULTS = {
    "dataset": ("trainer.data.images", "Images"),
    "model": ("torch.nn", "Module"),
    "activation": ("trainer.techniques.activation", "Activation"),
    "optimizer": ("torch.optim", "Optimizer"),
    "scheduler": ("collections.abc", "Callable"),
    "regularization": ("trainer.techniques.hooks", "StepHooks"),
}


def guarded(own: OwnTechniques, group: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with its errors as ConfigError: file and line, type and message.

    Errors that are such lines already pass, and those of a network that is too large, which are reported elsewhere.
    """
    if group not in RESULTS:
        return function
    module, name = RESULTS[group]

    @functools.wraps(function)
    def call(*values: Any, **options: Any) -> Any:
        try:
            result = function(*values, **options)
        except (ConfigError, RunError, MemoryError, OverflowError):
            raise
        except Exception as error:
            if any(word in str(error).lower() for word in ("overflow", "out of memory", "meta tensor")):
                raise
            place = place_of(error, own) or own.groups[group].shown
            raise ConfigError(f"{place}: {group}={function.__name__}: {described(error)}") from error
        if not isinstance(result, getattr(import_module(module), name)):
            raise ConfigError(
                f"{own.groups[group].shown}: {group}={function.__name__} returned {type(result).__name__}, which must"
                f" be {module}.{name}"
            )
        return result

    return call
