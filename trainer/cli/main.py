"""The entry of the program: choose the command, run it, turn its outcome into an exit code."""

import difflib
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from trainer.cli.common import Parser, exit_code_of
from trainer.errors import ConfigError
from trainer.runtime.process import run_and_exit

# Each command and what it does, in the order of `--help`; its module has the same name.
COMMANDS = {
    "train": "train one run, or with -m a study; the same as no command",
    "find-lr": "find a learning rate before a run: the range test",
    "doctor": "find what may be wrong with a run, and the setting to try",
    "report": "write the verdict and the figures of a study or a run",
    "finalize": "train the best configuration of a study on all images and score it on the test set once",
    "evaluate": "score a run on the test set, and record that it was read",
    "predict": "classify pictures, or export the network",
    "reproduce": "train a recorded run again and compare every bit",
    "help": "print this text, or the --help of the command that follows",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what `arguments` (default: those of the process) ask for and return the exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    return exit_code_of(lambda: _chosen(arguments))


def _chosen(arguments: Sequence[str]) -> int:
    name, *rest = arguments or [""]
    if name in COMMANDS:
        return command_main(name)(rest)
    if _is_misspelt_command(name):
        raise no_such_command(name)
    return command_main("train")(arguments)


def command_main(name: str) -> Callable[[Sequence[str]], int]:
    """Return the function of a command; its module is imported here, and no other one."""
    main: Callable[[Sequence[str]], int] = import_module(f"trainer.cli.{name.replace('-', '_')}").main
    return main


def command_parser(name: str) -> Parser:
    """Return the parser of a command other than `train` and `help`."""
    parser: Parser = import_module(f"trainer.cli.{name.replace('-', '_')}").parser()
    return parser


def no_such_command(word: str) -> ConfigError:
    """Return the error for a word that stands in the place of a command."""
    near = _nearest_command(word)
    hint = f" Did you mean {near[0]}?" if near else ""
    return ConfigError(
        f"{word}: there is no such command.{hint} Commands: {', '.join(COMMANDS)}; without one,"
        " settings such as optimizer=adam train a run"
    )


def _nearest_command(word: str) -> list[str]:
    return difflib.get_close_matches(word.lower().replace("_", "-"), COMMANDS, n=1, cutoff=0.7)


def _is_misspelt_command(word: str) -> bool:
    """Return whether a first word is nearly a command; a setting has a `=`, a flag begins with a dash."""
    if "=" in word or word.startswith("-") or not _nearest_command(word):
        return False
    from trainer.config.suggestions import root_keys

    return word not in root_keys()  # `retrain` is near to `train`


def console_script() -> None:
    """Run the program as all that this process is for: `trainer …` and `python -m trainer …`."""
    run_and_exit(main)
