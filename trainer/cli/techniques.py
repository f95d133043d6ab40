"""The flags `--techniques` and `--strict`, which every command takes from the command line, and from nowhere else."""

import contextlib
from collections.abc import Iterator, Sequence

from trainer.config.own import FLAG, taken

STRICT = "--strict"
HELP = {
    FLAG: "own techniques that the run uses: a folder, a file such as optimizer.py, or pkg:NAME of a package",
    STRICT: "refuse own techniques that are not those that the run was trained with",
}


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
        found = [read(value, [*GROUPS]) for value in typed]
        with using([*{each.package: each for each in found}.values()]):  # one folder may have two spellings
            yield [argument for argument in others if argument != STRICT]
    finally:
        strict.reset(token)
