"""`--shell-completion`: the script for a shell, and the candidates that this script requests. Imports no torch."""

import contextlib
import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from trainer.cli.main import COMMANDS, command_parser
from trainer.config.schema import GROUPS
from trainer.errors import ConfigError

UNINSTALL = {
    "bash": "complete -r trainer python python3; unset -f _trainer_complete",
    "zsh": "compdef -d trainer python python3; unfunction _trainer_complete",
    "fish": "complete -e -c trainer; complete -e -c python; complete -e -c python3; functions -e __trainer_complete",
}
FOLDERS = ("data_dir", "output_dir", "resume")  # settings whose value is a folder


def main(arguments: Sequence[str]) -> int:
    """Print the script of `install=SHELL` or `uninstall=SHELL`, or the candidates of `query=SHELL`, one a line."""
    action, _, shell = " ".join(text for text in arguments if not text.startswith("-")).partition("=")
    if action not in ("install", "uninstall", "query") or shell not in UNINSTALL:
        raise ConfigError(
            "--shell-completion (command line): must be followed by install=SHELL, uninstall=SHELL or query=SHELL,"
            f" where SHELL is one of {', '.join(UNINSTALL)}"
        )
    if action == "install":
        print(Path(__file__).with_name(f"completion.{shell}").read_text(encoding="utf-8"), end="")
    elif action == "uninstall":
        print(UNINSTALL[shell])
    else:
        with contextlib.suppress(ConfigError):  # a line with a mistake in it has no candidates
            print("".join(f"{word}\n" for word in candidates(os.environ.get("COMP_LINE", ""))), end="")
    return 0


def candidates(line: str) -> list[str]:
    """Return the words that may stand at the end of a command line; none where the shell is to complete files.

    `line` ends at the cursor, and its first word is the program. Raises ConfigError where a setting in it is wrong.
    """
    try:
        words = shlex.split(line)[1:]
    except ValueError:  # a quotation that is still open
        words = line.split()[1:]
    word = words.pop() if words and not line[-1:].isspace() else ""
    command, *before = words if words and words[0] in COMMANDS else ("train", *words)
    if command == "help":
        choices = [] if before else [*COMMANDS, *GROUPS]
    elif command == "train":
        choices = _of_train(before, word) + ([] if words else [*COMMANDS])
    else:
        choices = _of_command(command, before, word)
    return sorted({choice for choice in choices if choice.startswith(word)})


def _of_train(before: Sequence[str], word: str) -> list[str]:
    from trainer.config.compose import FLAGS, TAKES_VALUE, completions

    if before and before[-1] in TAKES_VALUE:
        return []
    if word.startswith("-"):
        return [flag for flag in (*FLAGS, "--help", "--version", "--shell-completion") if flag.startswith("--")]
    key, equals, value = word.partition("=")
    if equals and key in FOLDERS:
        folder = value.rpartition("/")[0] + "/" if "/" in value else ""
        return [f"{key}={folder}{path.name}/" for path in _folders(Path(folder or "."))]
    # The last of several values is completed, as in `optimizer=sgd,ad` and `augmentation=[flip,cr`.
    if several := re.fullmatch(r"([\w/]+=)(\[?(?:[^\[\],]+,)*)([^\[\],]*)", word):
        key, first, last = several.groups()
        return [key + first + choice.removeprefix(key) for choice in completions(before, key + last)]
    return completions(before, word)


def _folders(parent: Path) -> list[Path]:
    try:
        return [path for path in parent.iterdir() if path.is_dir()]
    except OSError:  # not there, or not readable
        return []


def _of_command(command: str, before: Sequence[str], word: str) -> list[str]:
    options = command_parser(command)._option_string_actions
    if before and before[-1] in options and options[before[-1]].nargs != 0:
        return []
    if word.startswith("-"):
        return [option for option in options if option.startswith("--")]
    if command != "find-lr":
        return []
    names = [f"{option.removeprefix('--')}=" for option in options if option not in ("-h", "--help")]
    settings = [text for text in before if "=" in text and f"{text.partition('=')[0]}=" not in names]
    return names + _of_train(settings, word)
