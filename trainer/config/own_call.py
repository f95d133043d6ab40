"""Calls of own techniques, whose mistakes are told in one line with the file, and whose results have the right type."""

import functools
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Any

from trainer.config.own import OwnTechniques
from trainer.config.own_import import described, place_of
from trainer.errors import ConfigError, OneLineError, RunError, TechniqueError
from trainer.runtime.memory import is_out_of_memory

# Group → module and name of the type that its functions return, where they must return one.
RESULTS = {
    "dataset": ("trainer.data.images", "Images"),
    "model": ("torch.nn", "Module"),
    "activation": ("trainer.techniques.activation", "Activation"),
    "optimizer": ("torch.optim", "Optimizer"),
    "scheduler": ("collections.abc", "Callable"),
    "regularization": ("trainer.techniques.hooks", "StepHooks"),
}
IN_TRAINING = ("loss", "metric", "augmentation")  # their functions are called in a step or validation
HOOKS = ("augment", "penalty", "limit_gradients", "after_step", "after_epoch")


def guarded(own: OwnTechniques, group: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with its errors as one line: file and line, type and message.

    While the run is built the line is a ConfigError, later a TechniqueError. Errors that are such lines already pass,
    and those of a network that is too large, which are reported elsewhere.
    """
    if group in IN_TRAINING:
        return _guarded_in_training(own, group, function.__name__, function)

    @functools.wraps(function)
    def call(*values: Any, **options: Any) -> Any:
        try:
            result = function(*values, **options)
        except (ConfigError, RunError, MemoryError, OverflowError):
            raise
        except (Exception, SystemExit) as error:
            if any(word in str(error).lower() for word in ("overflow", "out of memory", "meta tensor")):
                raise
            place = place_of(error, own) or own.groups[group].shown
            raise ConfigError(f"{place}: {group}={function.__name__}: {described(error)}") from error
        changes_network = group == "regularization" and function.__annotations__.get("return", "") in (None, "None")
        if changes_network:
            if result is not None:
                raise ConfigError(
                    f"{own.groups[group].shown}: {group}={function.__name__} returned {type(result).__name__}; with the"
                    " annotation -> None it changes the network and returns nothing"
                )
            return None
        module, name = RESULTS.get(group, ("builtins", "object"))
        if not isinstance(result, getattr(import_module(module), name)):
            raise ConfigError(
                f"{own.groups[group].shown}: {group}={function.__name__} returned {type(result).__name__}, which must"
                f" be {module}.{name}"
            )
        if group == "regularization":
            hooks = {hook: action for hook in HOOKS if (action := getattr(result, hook))}
            watched = {
                hook: _guarded_in_training(own, group, function.__name__, action) for hook, action in hooks.items()
            }
            return replace(result, **watched)
        return result

    return call


def _guarded_in_training(own: OwnTechniques, group: str, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*values: Any, **options: Any) -> Any:
        try:
            return function(*values, **options)
        except OneLineError:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise
            place = place_of(error, own) or own.groups[group].shown
            raise TechniqueError(f"{place}: {group}={name}: {described(error)}") from error

    return call
