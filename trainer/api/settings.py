"""Settings to a checked run: `trainer.compose`. Imports no torch."""

from collections.abc import Sequence

from trainer.api.given import Techniques, own_techniques
from trainer.api.guest import composing
from trainer.config.compose import interpret
from trainer.config.own import OwnTechniques
from trainer.config.run_config import RunConfig
from trainer.errors import ConfigError


def compose(*overrides: str, techniques: Techniques = None) -> RunConfig:
    """Return one checked run, as the command line with these settings would train it. Nothing is read or written.

    `overrides`: settings as they are typed, "optimizer=adam" or "lr=0.01". `techniques`: own ones, by a path as after
    `--techniques`, as {group: function or functions} of the calling program, or a list of both. A function is taken as
    the text that it has now, with all that it uses.

    Raises ConfigError with one line for the first mistake: what is wrong, where, and what is accepted.

    >>> config = trainer.compose("dataset=digits", "optimizer=momentum", "lr=0.05")
    >>> config.optimizer.name, config.lr
    ('momentum', 0.05)
    """
    return composed(own_techniques(techniques), settings(overrides, "compose"))


def composed(own: Sequence[OwnTechniques], overrides: Sequence[str]) -> RunConfig:
    """Return the checked run for these settings and own techniques."""
    with composing(own):
        config = interpret(overrides)
    assert isinstance(config, RunConfig)
    return config


def settings(overrides: tuple[str, ...], name: str) -> list[str]:
    """Return the overrides. Raises ConfigError for a flag other than `--config-dir`, which would print or mean -m."""
    for text in overrides:
        if not isinstance(text, str):
            raise ConfigError(f'{name}({text!r}): takes settings as texts: {name}("optimizer=adam", "lr=0.01")')
        if text.startswith("-") and not text.startswith("--config-dir="):
            hint = {"-m": ": call trainer.study"}.get(text, "")
            raise ConfigError(f"{name}({text!r}): takes settings and --config-dir=DIR, no other flag{hint}")
    return list(overrides)
