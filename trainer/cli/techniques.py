"""The flags `--techniques` and `--strict`, which every command takes from the command line, and from nowhere else."""

import contextlib
from collections.abc import Iterator, Sequence

from trainer.errors import ConfigError

FLAG, STRICT = "--techniques", "--strict"
HELP = {
    FLAG: "own techniques that the run uses: a folder, a file such as optimizer.py, or pkg:NAME of a package",
    STRICT: "refuse own techniques that are not those that the run was trained with",
}


def taken(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return (the other arguments, the values of `--techniques`). Raises ConfigError for one without a value."""
    others, typed, rest = list[str](), list[str](), iter(arguments)
    for argument in rest:
        flag, equals, value = argument.partition("=")
        if flag != FLAG:
            others.append(argument)
        elif equals:
            typed.append(value)
        elif (following := next(rest, None)) is not None:
            typed.append(following)
        else:
            raise ConfigError(f"{FLAG} (command line): needs a folder, a file such as optimizer.py, or pkg:NAME")
    return others, list(dict.fromkeys(typed))


@contextlib.contextmanager
def brought(arguments: Sequence[str]) -> Iterator[list[str]]:
    """Make the typed techniques known in the block, and yield the other arguments. Raises ConfigError."""
    others, typed = taken(arguments)
    if others[:1] == ["new"]:  # writes into the folder, which need not exist
        yield [*others, *(f"{FLAG}={each}" for each in typed)]
        return
    if not typed:
        yield others
        return
    # Not at the top: a command without own techniques needs no schema for them.
    from trainer.config.own import read, using
    from trainer.config.own_record import strict
    from trainer.config.schema import GROUPS

    token = strict.set(STRICT in others)
    try:
        with using([read(value, [*GROUPS]) for value in typed]):
            yield [argument for argument in others if argument != STRICT]
    finally:
        strict.reset(token)
