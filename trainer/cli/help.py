"""The texts of `--help` and `--version`."""

import difflib
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from shutil import get_terminal_size
from typing import NoReturn

from trainer import __version__
from trainer.cli.main import COMMANDS, command_main, nearest_command, no_such_command
from trainer.config.help import Section, options, sections, settings
from trainer.config.option_files import option_files
from trainer.config.schema import GROUPS, own_folder
from trainer.config.suggestions import unknown
from trainer.errors import ConfigError

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
  --help, --version       this text; the version. --help optimizer=adam, --help lr: what can be set there
  --hydra-help            Hydra's own flags
  --config-dir DIR        a folder with YAML files of your own, beside those of conf/
  --techniques PATH       techniques of your own: a folder with optimizer.py, model.py, …, one such file, or pkg:NAME
  --shell-completion install=bash   (or zsh, fish) print a script for eval that completes commands and settings

Commands, as in: python -m trainer report outputs/sweeps/STUDY. Each has its own --help"""

EXIT_CODES = """\
Exit code 0: done. 1: a run failed. 2: the command or the configuration is wrong.
75: stopped by SIGTERM or SIGUSR1, its state saved. 130: Ctrl-C."""


def main(arguments: Sequence[str]) -> int:
    """Print the help of the program, of a command, or of the groups and settings that are named. Return 0."""
    show(arguments)
    return 0


def show(arguments: Sequence[str]) -> None:
    """Print the help, that of the words among the arguments, or for `--version` the version. Raises ConfigError."""
    if "--version" in arguments:
        print(f"ablation-trainer {__version__}")
        return
    own, words = _own_folder(arguments)
    words = [word for word in words if word not in ("help", "train")]
    if words and words[0] in COMMANDS:
        command_main(words[0])(["--help"])
    if words:
        # All are looked up before the first is printed: a mistake is all that is printed.
        for section in [each for word in words for each in sections(word, own) or _refuse(word, own)]:
            _print_section(section)
        print("All groups and settings: python -m trainer --help")
        return
    print(USAGE)
    _print_rows(COMMANDS.items())
    print(f"\n{EXIT_CODES}\n\nSettings, as NAME=VALUE")
    _print_rows(settings())
    for group in (*GROUPS, "experiment"):
        rows = list(options(group, own))
        print(f"\n{group} — {_note(group, [name for name, _ in rows if name != 'none *'])}")
        _print_rows(rows)


def _own_folder(arguments: Sequence[str]) -> tuple[Path | None, list[str]]:
    """Return (the folder of `--config-dir`, the words that are no flags)."""
    own, words, rest = None, list[str](), iter(arguments)
    for argument in rest:
        flag, equals, value = argument.partition("=")
        if flag in ("--config-dir", "-cd"):
            own = own_folder(value if equals else next(rest, ""))
        elif not argument.startswith("-"):
            words.append(argument)
    return own, words


def _refuse(word: str, own: Path | None) -> NoReturn:
    """Raise ConfigError for a word that names no group, option, setting or command."""
    group, equals, name = word.partition("=")
    if equals and group in (*GROUPS, "experiment"):
        raise ConfigError(unknown(word, name, option_files(group, own), "command line", f"there is no such {group}"))
    if nearest_command(word):
        raise no_such_command(word)
    known = [*GROUPS, "experiment", *(text.partition("=")[0] for text, _ in settings())]
    known += [option for group in (*GROUPS, "experiment") for option in option_files(group, own)]
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.7)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise ConfigError(f"{word}: there is no such group, option, setting or command.{hint} See python -m trainer --help")


def _print_section(section: Section) -> None:
    print(section.title)
    width = max(get_terminal_size((120, 24)).columns - 2, 40)
    for note in section.notes:
        print(textwrap.indent(textwrap.fill(note, width), "  "))
    _print_rows((f"{each.name}={each.default}", "; ".join(filter(None, each[2:]))) for each in section.settings)
    for line in section.lines:
        print(f"  {line}")
    print()


def _note(group: str, names: Sequence[str]) -> str:
    if group not in GROUPS:
        return f"settings and sweep axes of a comparison: python -m trainer -m {group}=NAME"
    if GROUPS[group].listed:
        first, second = names[:2]
        return f"none, one or several: {group}='[{first},{second}]'; {group}.{first}.KEY=VALUE sets an option"
    return f"one of these, * if none is named; {group}.KEY=VALUE sets an option"


def _print_rows(rows: Iterable[tuple[str, str]]) -> None:
    rows = list(rows)
    column = max((len(name) for name, _ in rows), default=0) + 4
    width = max(get_terminal_size((120, 24)).columns - column, 40)
    for name, text in rows:
        first, *more = textwrap.wrap(text, width) or [""]
        print(f"  {name:<{column - 2}}{first}".rstrip())
        for line in more:
            print(" " * column + line)
