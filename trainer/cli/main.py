"""The entry of the program: choose the command, run it, and turn its result into an exit code."""

import difflib
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from trainer.cli.common import Parser, exit_code_of
from trainer.cli.techniques import brought
from trainer.errors import ConfigError
from trainer.runtime.process import run_and_exit
from trainer.runtime.stdio import stdout_exit_code
from trainer.runtime.text import undecoded

# Command → its purpose, in the order of `--help`; the module of a command has the same name.
COMMANDS = {
    "train": "train one run, or with -m a study; the same as no command",
    "find-lr": "suggest a learning rate by the range test, before a run",
    "doctor": "diagnose a run: what may be wrong, and the setting to try",
    "show": "show a run: settings that differ from the default, data, command, result",
    "list": "list runs and studies under a folder, by date, setting or metric",
    "compare": "compare any runs, arms and studies: settings, table, verdict, learning curves",
    "lecture": "test the claims of the lecture, each by a study or a demonstration, and write the results as one book",
    "report": "write the report of a study or a run: the comparison, figures, tables",
    "export": "write results for other programs: CSV, Parquet, JSON, LaTeX, figures as SVG and PDF",
    "study": "show a study, continue it anywhere, add or drop values and runs, rename it",
    "clean": "show how much room runs and studies take, and delete what can be spared",
    "finalize": "train the best configuration of a study on all images and score it on the test set once",
    "evaluate": "score runs on the test set, and record in a ledger that it was read",
    "predict": "classify image files, or export the network",
    "reproduce": "train a recorded run again and compare the weights bit by bit",
    "demonstrate": "show a technique by figures: optimizers on surfaces, dropout masks, a loss landscape, …",
    "new": "write an own technique to fill in: its function and its settings",
    "check-techniques": "try own techniques in seconds: seeds, resuming, shapes, and what their group promises",
    "help": "print this text, or that of the command, group, option or setting that follows",
}

PRINTING = (
    "clean",
    "find-lr",
    "doctor",
    "show",
    "list",
    "export",
    "evaluate",
    "predict",
    "demonstrate",
    "check-techniques",
)  # commands whose result is what they print


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `arguments` (default: that of the process) and return the exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    return exit_code_of(lambda: _chosen(arguments))


def _chosen(arguments: Sequence[str]) -> int:
    if reason := next(filter(None, map(undecoded, arguments)), None):
        raise ConfigError(reason)
    with brought(arguments) as others:
        return _run(others)


def _run(arguments: Sequence[str]) -> int:
    name, *rest = arguments or [""]
    if name in COMMANDS:
        code = command_main(name)(rest)
        return code or stdout_exit_code() if name in PRINTING else code
    if _is_misspelt_command(name):
        raise no_such_command(name)
    return command_main("train")(arguments)


def command_main(name: str) -> Callable[[Sequence[str]], int]:
    """Return the function of a command. Its module is imported here, so that the others cost no start-up time."""
    main: Callable[[Sequence[str]], int] = import_module(f"trainer.cli.{name.replace('-', '_')}").main
    return main


def command_parser(name: str) -> Parser:
    """Return the parser of a command other than `train` and `help`."""
    parser: Parser = import_module(f"trainer.cli.{name.replace('-', '_')}").parser()
    return parser


def no_such_command(word: str) -> ConfigError:
    """Return the error for a word that stands in the place of a command."""
    near = nearest_command(word)
    hint = f" Did you mean {near[0]}?" if near else ""
    return ConfigError(
        f"{word}: there is no such command.{hint} Commands: {', '.join(COMMANDS)}; without one,"
        " settings such as optimizer=adam train a run"
    )


def nearest_command(word: str) -> list[str]:
    """Return the command that a misspelt word may stand for, [] if there is none."""
    return difflib.get_close_matches(word.lower().replace("_", "-"), COMMANDS, n=1, cutoff=0.7)


def _is_misspelt_command(word: str) -> bool:
    """Return whether a first word is nearly a command; a setting has a `=`, a flag begins with a dash."""
    if "=" in word or word.startswith("-") or not nearest_command(word):
        return False
    from trainer.config.aliases import ALIASES
    from trainer.config.suggestions import plain, root_keys, technique_names

    # `retrain` is near to `train`, `lecture_cnn` to `lecture`, and the preprocess of other programs to `reproduce`.
    return word not in root_keys() and plain(word) not in ALIASES and not technique_names(word)


def console_script() -> None:
    """Run the program as the only purpose of this process: `trainer …` and `python -m trainer …`."""
    run_and_exit(main)
