"""`python -m trainer demonstrate NAME`: a page of figures for one of the demonstrations, and what they show."""

import argparse
import difflib
import inspect
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from trainer.cli.common import Parser, count
from trainer.demonstrations import shown
from trainer.demonstrations.figures import Shown
from trainer.demonstrations.options import POSITIONAL
from trainer.errors import ConfigError
from trainer.runtime.stdio import stdout_exit_code

DESCRIPTION = """\
Show a technique by figures, without a study: write a page that needs no network, and print what can be read off it.

Each demonstration has options of its own: python -m trainer demonstrate NAME --help

demonstrations:"""

EPILOG = """\
examples:
  python -m trainer demonstrate optimizer_paths
  python -m trainer demonstrate gradient_descent --rate 0.6 --output descent.png

exit code 0: done. 1: it failed. 2: the command is wrong."""

EXAMPLES: Mapping[str, Sequence[str]] = {
    "gradient_descent": ["--start 10 --rate 0.2 --count 10", "--others 0.4 0.6 1.0"],
    "optimizer_paths": ["--surface ravine --steps 100 --lr sgd=0.3 adam=0.1", "--output paths.png"],
    "loss_landscape": ["outputs/RUN", "outputs/RUN --resolution 41 --radius 0.5 --images 1000"],
    "augmentations": [
        "dataset=mnist data_dir=data augmentation.rotation.degrees=30",
        "dataset=image_folder data_dir=PICTURES --images 6 --seed 3",
    ],
    "dropout": ["dropout=0.2 --layer 1", "dataset=mnist data_dir=data model=mlp"],
    "normalization": ["init=normal init.std=0.2", "dataset=mnist data_dir=data model=lecture_cnn activation=sigmoid"],
    "moving_average": ["--values 1 1 1 1 0 0 0 0 --alpha 0.5 0.9"],
    "ravine_momentum": ["--rate 0.2", "--faster 0.9"],
    "local_minimum_noise": ["--noise 6"],
    "dropout_expectation": ["--p 0.5 --units 2"],
    "bias_variance": ["--examples 20 --degree 6"],
    "cross_validation": ["--images 50 --folds 10"],
    "grid_cost": ["--values 5 --dimensions 4 --minutes 30"],
}


def demonstrations() -> dict[str, Callable[..., Shown]]:
    """Return {name: function} in the order of their text."""
    return {name: each for name, each in vars(shown).items() if inspect.isfunction(each)}


def parser() -> Parser:
    """Return the parser of the command without a name."""
    titles = {name: _text(each)[0] for name, each in demonstrations().items()}
    column = max(map(len, titles))
    listed = "\n".join(f"  {name:<{column}}  {title}" for name, title in titles.items())
    options = Parser("demonstrate", f"{DESCRIPTION}\n{listed}", EPILOG)
    options.add_argument("name", nargs="?", metavar="NAME", help="one of these; none: print this text")
    return options


def parser_of(name: str) -> Parser:
    """Return the parser of one demonstration: an option for each keyword-only parameter of its function."""
    function = demonstrations()[name]
    title, lead, helps = _text(function)
    command = f"python -m trainer demonstrate {name}"
    lines = "\n".join(f"  {command} {example}".rstrip() for example in ("", *EXAMPLES.get(name, ())))
    epilog = f"examples:\n{lines}\n\nexit code 0: done. 1: it failed. 2: the command is wrong."
    made = Parser(command, f"{title}.\n\n{_filled(lead)}", epilog)
    kinds = get_type_hints(function)
    for option, parameter in inspect.signature(function).parameters.items():
        _add(made, option, kinds[option], parameter.default, helps.get(option, ""))
    default = Path("outputs", "figures", f"{name}.html")
    made.add_argument(
        "--output", type=_output, default=default, metavar="PATH", help=f"an .html or .png file; default: {default}"
    )
    made.add_argument("--width", type=count, default=1200, metavar="PX", help="of a .png in pixels; default: 1200")
    return made


def main(arguments: Sequence[str]) -> int:
    """Write the page of a demonstration, print its facts and the path. Return 0."""
    known = demonstrations()
    name = next(iter(arguments), "")
    if name.startswith("-") or not name:
        parser().read(arguments)  # prints the help, or refuses what follows
        parser().print_help()
        return stdout_exit_code()
    if name not in known:
        near = difflib.get_close_matches(name.replace("-", "_"), known, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ConfigError(f"{name}: there is no such demonstration.{hint} Accepted: {', '.join(known)}")
    request = vars(parser_of(name).read(arguments[1:]))
    path, width = request.pop("output"), request.pop("width")
    title, lead, _ = _text(known[name])
    given = {option: tuple(value) if isinstance(value, list) else value for option, value in request.items()}
    result = known[name](**given)
    from trainer.demonstrations.page import write
    from trainer.runtime.console import say

    write(path, title, lead, result, width)
    for fact in result.facts:
        say(f"{'✓' if fact.holds else '✗'} {fact.sentence}")
    print(path)
    return stdout_exit_code()


def _text(function: Callable[..., Shown]) -> tuple[str, str, dict[str, str]]:
    """Return (title, introduction, {option: help}) of a demonstration's docstring."""
    title, _, rest = (inspect.getdoc(function) or "").partition("\n\n")
    lead, mark, options = rest.partition("\n\n`") if "\n\n`" in rest else ("", *rest.partition("`")[1:])
    pieces = re.split(r"`(\w+)`: ", mark.strip() + " ".join(options.split()))
    helps = {name: text.strip().removesuffix(".") for name, text in zip(pieces[1::2], pieces[2::2], strict=True)}
    return title.removesuffix("."), " ".join(lead.split()), helps


def _filled(text: str) -> str:
    return textwrap.fill(text, 110)


def _add(made: Parser, option: str, kind: Any, default: Any, help_: str) -> None:
    """Add an option to the parser, by the type of its parameter."""
    several = get_origin(kind) is tuple
    parts = [each for each in get_args(kind) if each not in (NoneType, Ellipsis)] or [kind]
    read = {int: _whole, float: _number}.get(parts[0], str)
    usual = " ".join(map(_typed, default)) if several else _typed(default)
    told = help_ if default in (None, ()) else f"{help_}; default: {usual}"
    look: dict[str, Any] = {"type": read, "default": default, "help": told}
    if option in POSITIONAL:
        made.add_argument(option, nargs="*" if several else "?", metavar=POSITIONAL[option], **look)
    else:
        letter = {int: "N", float: "X"}.get(parts[0], "TEXT")
        many: dict[str, Any] = {"nargs": "+"} if several else {}
        made.add_argument(f"--{option.replace('_', '-')}", metavar=letter, **look, **many)


def _typed(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text}: must be a number") from None


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text}: must be a whole number") from None


def _output(text: str) -> Path:
    path = Path(text).expanduser()
    if path.suffix not in (".html", ".png") or path.is_dir():
        raise argparse.ArgumentTypeError(f"{text}: must be a file that ends in .html or .png")
    return path
