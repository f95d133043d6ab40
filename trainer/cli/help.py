"""The texts of `--help` and `--version`."""

import textwrap
from collections.abc import Iterable, Sequence
from shutil import get_terminal_size

from trainer import __version__
from trainer.cli.main import COMMANDS, command_main, no_such_command
from trainer.config.help import options, settings
from trainer.config.schema import GROUPS

USAGE = """\
Compare how neural networks are trained.

  python -m trainer dataset=digits                         train on the built-in data set, no download
  python -m trainer optimizer=adam weight_decay=0.002      the lecture's network on CIFAR-10
  python -m trainer 'augmentation=[flip,crop]' optimizer.betas='[0.9,0.99]'
  python -m trainer -m optimizer=sgd,adam seed=0,1,2       a study: every combination, then a table; after a stop
                                                           the same command continues and trains no run twice
  python -m trainer -m sweep.method=tpe 'lr=tag(log,interval(1e-5,1e-1))'     a search
  python -m trainer resume=outputs/RUN epochs=60           continue a run

  -m, --multirun          several values for a setting: a,b,c, range(0,5), interval(0.1,0.9), int(interval(8,64))
  --cfg job               print every setting of the run with its value, and stop
  --help, --version       this text; the version
  --hydra-help            Hydra's own flags
  --config-dir DIR        a folder with YAML files of your own, beside those of conf/
  --shell-completion install=bash   (or zsh, fish) print a script for eval that completes commands and settings

Commands, as in: python -m trainer report outputs/sweeps/STUDY. Each has its own --help"""

EXIT_CODES = """\
Exit code 0: done. 1: a run failed. 2: the command or the configuration is wrong.
75: stopped by SIGTERM or SIGUSR1, its state saved. 130: Ctrl-C."""


def main(arguments: Sequence[str]) -> int:
    """Print the help of the program, or of the command that the first argument names. Return 0."""
    name = next((text for text in arguments if not text.startswith("-")), "help")
    if name == "help":
        show(())
        return 0
    if name not in COMMANDS:
        raise no_such_command(name)
    return command_main(name)(["--help"])


def show(arguments: Sequence[str]) -> None:
    """Print the help, or for `--version` the version."""
    if "--version" in arguments:
        print(f"ablation-trainer {__version__}")
        return
    print(USAGE)
    _print_rows(COMMANDS.items())
    print(f"\n{EXIT_CODES}\n\nSettings, as NAME=VALUE")
    _print_rows(settings())
    for group in (*GROUPS, "experiment"):
        rows = list(options(group))
        print(f"\n{group} — {_note(group, [name for name, _ in rows if name != 'none *'])}")
        _print_rows(rows)


def _note(group: str, names: Sequence[str]) -> str:
    if group not in GROUPS:
        return f"settings and sweep axes of a comparison: python -m trainer -m {group}=NAME"
    if GROUPS[group].listed:
        first, second = names[:2]
        return f"none, one or several: {group}='[{first},{second}]'; {group}.{first}.KEY=VALUE sets an option"
    return f"one of these, * if none is named; {group}.KEY=VALUE sets an option"


def _print_rows(rows: Iterable[tuple[str, str]]) -> None:
    rows = list(rows)
    column = max(len(name) for name, _ in rows) + 4
    width = max(get_terminal_size((120, 24)).columns - column, 40)
    for name, text in rows:
        first, *more = textwrap.wrap(text, width) or [""]
        print(f"  {name:<{column - 2}}{first}".rstrip())
        for line in more:
            print(" " * column + line)
