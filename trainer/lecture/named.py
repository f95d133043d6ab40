"""A function that a claim names, with its options: a measure, a reduction or a demonstration. Imports no torch.

The functions of one module are the options, their keyword-only parameters the schema, as for techniques.
"""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, model_validator

from trainer.config.schema import REQUIRED, parameters_of
from trainer.config.types import describe
from trainer.errors import ConfigError

PROBES = "trainer.lecture.measuring.probes"  # those that take a trained network instead of a record
# Kind → the modules whose public functions are its options; read as text, because some of them import torch.
MODULES = {
    "measure": (
        "trainer.lecture.measuring.measures",
        "trainer.lecture.measuring.weights",
        "trainer.lecture.measuring.layers",
        PROBES,
    ),
    "reduction": ("trainer.lecture.measuring.reductions", "trainer.lecture.measuring.searches"),
    "demonstration": ("trainer.demonstrations.shown",),
}


class Named(BaseModel):
    """The name of a function and its options: `score`, or `{take: epochs_to, target: 0.5}` in YAML."""

    model_config = ConfigDict(extra="allow", frozen=True)

    take: str

    @model_validator(mode="before")
    @classmethod
    def _from_word(cls, value: Any) -> Any:
        return {"take": value} if isinstance(value, str) else value

    @property
    def options(self) -> dict[str, Any]:
        """The options of the function."""
        return dict(self.model_extra or {})

    def check(self, kind: str, path: Path) -> None:
        """Raise ConfigError if there is no such function, or if one of its options is missing, unknown or no value."""
        known = functions(kind)
        if self.take not in known:
            raise ConfigError(f"{path}: {kind}={self.take}: there is none of this name. Accepted: {', '.join(known)}")
        accepted = known[self.take][1]
        if unknown := sorted(self.options.keys() - accepted.keys()):
            told = ", ".join(accepted) or "none"
            raise ConfigError(f"{path}: {kind} {self.take}: {unknown[0]} is no option of it. Accepted: {told}")
        if missing := [key for key, needed in accepted.items() if needed and key not in self.options]:
            raise ConfigError(f"{path}: {kind} {self.take}: needs {', '.join(missing)}")
        for key, (form, _) in parameters_of(known[self.take][0])[self.take].items():
            try:
                TypeAdapter(form).validate_python(self.options[key]) if key in self.options else None
            except ValidationError:
                told = f"{key}={self.options[key]!r}: must be {describe(form)}"
                raise ConfigError(f"{path}: {kind} {self.take}: {told}") from None

    def call(self, kind: str, *arguments: Any) -> Any:
        """Call the function with these arguments and the options."""
        module = functions(kind)[self.take][0]
        return getattr(import_module(module), self.take)(*arguments, **self.options)

    @property
    def label(self) -> str:
        """The function and its options as a short text."""
        options = ", ".join(f"{key}={value}" for key, value in self.options.items())
        return f"{self.take}({options})" if options else self.take


@cache
def functions(kind: str) -> dict[str, tuple[str, Mapping[str, bool]]]:
    """Return {function: (module, {option: whether it must be given})} of a kind."""
    return {
        name: (module, {option: default is REQUIRED for option, (_, default) in options.items()})
        for module in MODULES[kind]
        for name, options in parameters_of(module).items()
    }


@cache
def measures_of(reduction: str) -> int:
    """Return the number of measures that a reduction takes: 1, or 2 as of `optimism`."""
    module = functions("reduction")[reduction][0]
    parameters = signature(getattr(import_module(module), reduction)).parameters.values()
    return sum(each.kind is each.POSITIONAL_OR_KEYWORD for each in parameters)


def unit_of(kind: str, name: str) -> str:
    """Return the unit of a measure or a reduction: the text after `Unit: ` in its docstring, "" without one."""
    module = functions(kind)[name][0]
    document = getattr(import_module(module), name).__doc__ or ""
    return document.partition("Unit: ")[2].partition(".")[0].strip() if "Unit: " in document else ""
