"""`--help`: what can be asked for, read from the comments in `conf/`."""

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from shutil import get_terminal_size

from trainer import __version__
from trainer.schema import CONF, GROUPS

USAGE = """\
Compare how neural networks are trained.

  python -m trainer dataset=digits                         train on the built-in data set, no download
  python -m trainer optimizer=adam weight_decay=0.002      the lecture's network on CIFAR-10
  python -m trainer 'augmentation=[flip,crop]' optimizer.betas='[0.9,0.99]'
  python -m trainer -m optimizer=sgd,adam seed=0,1,2       a study: every combination, then a table; the same
                                                           command goes on after a stop, and trains nothing twice
  python -m trainer -m sweep.method=tpe 'lr=tag(log,interval(1e-5,1e-1))'     a search
  python -m trainer resume=outputs/RUN epochs=60         go on with a run

  -m, --multirun          several values for a setting: a,b,c, range(0,5), interval(0.1,0.9), int(interval(8,64))
  --cfg job               print the whole run with every option's value, and stop
  --help, --version       this text; the version
  --hydra-help            Hydra's own flags
  --shell-completion install=bash   (or zsh, fish) prints what to eval for completion

Other commands, each with --help of its own:
  python -m trainer.report STUDY     what its runs can tell     python -m trainer.finalize STUDY   the test set, once
  python -m trainer.evaluate RUN     a reading of the test set  python -m trainer.predict RUN image.png
  python -m trainer.reproduce RUN    the same bits again?       python -m trainer.doctor RUN    what may be wrong
  python -m trainer.find_lr SETTING … before a run: which learning rate

Exit code 0: done. 1: a run failed. 2: the command or the configuration is wrong.
75: stopped by SIGTERM or SIGUSR1, its state saved. 130: Ctrl-C."""


def show(arguments: Sequence[str]) -> None:
    """Prints the help, or under `--version` the version."""
    if "--version" in arguments:
        print(f"ablation-trainer {__version__}")
        return
    print(USAGE)
    print("\nSettings, as NAME=VALUE")
    _print_rows(settings())
    for group in (*GROUPS, "experiment"):
        rows = list(options(group))
        print(f"\n{group} — {_note(group, [name for name, _ in rows if name != 'none *'])}")
        _print_rows(rows)


def options(group: str) -> Iterator[tuple[str, str]]:
    """(option, what it does) for every YAML file of the group, from its first comment line."""
    default = f"- {group}: "
    chosen = [line.partition(default)[2] for line in _lines(CONF / "config.yaml") if default in line]
    for file in sorted((CONF / group).glob("*.yaml")):
        yield file.stem + (" *" if file.stem in chosen else ""), first_comment(file)


def first_comment(file: Path) -> str:
    """The first comment that is not one of Hydra's headers."""
    return next((line[1:].strip() for line in _lines(file) if re.match(r"#\s*[^@\s]", line)), "")


def settings() -> Iterator[tuple[str, str]]:
    """(name=default, what it does) for every scalar of config.yaml."""
    parent = ""
    for line in _lines(CONF / "config.yaml"):
        if line.startswith(("defaults:", "hydra:")):
            parent = "-"
        elif match := re.fullmatch(r"(\s*)(\w+):\s*([^#]*?)\s*(?:#\s*(.*))?", line):
            indent, name, value, comment = match.groups()
            if not indent:
                parent = "" if value else f"{name}."
            if value and parent != "-":
                yield f"{parent if indent else ''}{name}={value}", comment or ""


def _note(group: str, names: Sequence[str]) -> str:
    if group not in GROUPS:
        return f"settings and sweep axes of a comparison: python -m trainer -m {group}=NAME"
    if GROUPS[group].listed:
        first, second = names[:2]
        return f"none, one or several: {group}='[{first},{second}]'; {group}.{first}.KEY=VALUE sets an option"
    return f"one of these, * if none is named; {group}.KEY=VALUE sets an option"


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines()


def _print_rows(rows: Iterable[tuple[str, str]]) -> None:
    rows = list(rows)
    column = max(len(name) for name, _ in rows) + 4
    width = max(get_terminal_size((120, 24)).columns - column, 40)
    for name, text in rows:
        first, *more = textwrap.wrap(text, width) or [""]
        print(f"  {name:<{column - 2}}{first}".rstrip())
        for line in more:
            print(" " * column + line)
