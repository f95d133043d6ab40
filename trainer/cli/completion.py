"""`--shell-completion`: the script for a shell, and the candidates that this script requests. Imports no torch."""

import contextlib
import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from trainer.cli.main import COMMANDS, command_parser
from trainer.cli.techniques import STRICT, brought
from trainer.config.directions import USUAL
from trainer.config.own import FLAG
from trainer.config.schema import GROUPS
from trainer.config.types import DEVICES
from trainer.errors import ConfigError
from trainer.runtime.files import expanded

UNINSTALL = {
    "bash": "complete -r trainer python python3; unset -f _trainer_complete",
    "zsh": "compdef -d trainer python python3; unfunction _trainer_complete",
    "fish": "complete -e -c trainer; complete -e -c python; complete -e -c python3; functions -e __trainer_complete",
}
FOLDERS = ("data_dir", "output_dir", "resume")  # settings whose value is a folder
FLAG_VALUES = {
    "--cfg": ["job", "hydra", "all"],
    "--info": ["all", "config", "defaults", "defaults-tree", "plugins", "searchpath"],
    "--shell-completion": [f"{action}={shell}" for action in ("install", "uninstall") for shell in UNINSTALL],
}


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
    if words and words[-1] == FLAG:  # the shell completes folders and files
        return []
    with brought(words) as others:
        return _candidates(others, word)


def _candidates(words: Sequence[str], word: str) -> list[str]:
    command, *before = words if words and words[0] in COMMANDS else ("train", *words)
    if command == "help" or {"-h", "--help"} & set(before):
        choices = [*COMMANDS, *GROUPS, *(_of_train([], word) if re.search("[=.]", word) else [])]
        choices = [] if set(before) - {"-h", "--help"} else choices
    elif command == "train":
        choices = _of_train(before, word) + ([] if words else [*COMMANDS])
    else:
        choices = _of_command(command, before, word)
    return sorted({choice for choice in choices if choice.startswith(word)})


def _of_train(before: Sequence[str], word: str) -> list[str]:
    from trainer.config.compose import FLAGS, TAKES_VALUE

    flags = (*FLAGS, "--help", "--version", "--shell-completion", FLAG)
    if before and before[-1] in (*TAKES_VALUE, "--shell-completion"):
        return FLAG_VALUES.get(before[-1], [])  # none: the shell completes folders
    flag, equals, value = word.partition("=")
    if word.startswith("-") and equals:
        values = FLAG_VALUES.get(flag, []) if flag not in ("--config-dir", FLAG) else _folders(value)
        return [f"{flag}={choice}" for choice in values]
    if word.startswith("-"):
        return [flag for flag in flags if flag.startswith("--")]
    return _of_setting(before, word)


def _of_setting(before: Sequence[str], word: str) -> list[str]:
    from trainer.config.compose import completions
    from trainer.config.settings import named_values, takes_list

    # The last of several values is completed, as in `optimizer=sgd,ad` and `augmentation=[flip,cr`.
    several = re.fullmatch(r"([\w./]+=)(\[?(?:[^\[\],]+,)*)([^\[\],]*)", word)
    key, first, last = several.groups() if several else ("", "", word)
    setting = key.removesuffix("=")
    if setting in FOLDERS:
        return [f"{key}{first}{folder}" for folder in _folders(last)]
    found = [choice.removeprefix(key) for choice in completions(before, key + last)]
    found = found if setting else [f"{name[:-1]}=" if takes_list(name[:-1]) else name for name in found]
    listed = first.lstrip("[").split(",")
    return [key + first + choice for choice in (*found, *named_values(setting)) if not choice or choice not in listed]


def _folders(typed: str) -> list[str]:
    """Return the folders that begin with a typed path, each with a slash at its end."""
    parent = f"{typed.rpartition('/')[0]}/" if "/" in typed else ""
    try:
        return [f"{parent}{path.name}/" for path in expanded(parent or ".").iterdir() if path.is_dir()]
    except OSError:  # not there, or not readable
        return []


def _of_command(command: str, before: Sequence[str], word: str) -> list[str]:
    from trainer.reports.listing import METRICS  # not at the top: other words need not wait for it

    options = command_parser(command)._option_string_actions
    name, equals, value = word.partition("=")
    asked = name if equals else before[-1] if before else ""
    option = f"--{asked.removeprefix('--')}" if equals else asked
    if option in options and options[option].nargs != 0:
        start = f"{name}=" if equals else ""
        folders = _folders(value) if equals and option in ("--config-dir", "--data-dir", "--figures", FLAG) else []
        listed = {"--device": [*DEVICES], "--sort": [*METRICS], "--metric": [*USUAL]}
        named = listed.get(option) or list(options[option].choices or ())
        values = named or folders
        return [start + choice for choice in values]
    if word.startswith("-"):
        return [option for option in options if option.startswith("--")]
    if command == "demonstrate" and not before:
        return _demonstrations()
    if command == "new":
        return [] if before else [*GROUPS]
    if command == "check-techniques" and before:
        return [*_own_names(before[0]), *_of_train([text for text in before[1:] if "=" in text], word)]
    if command not in ("find-lr", "list"):  # the commands that take settings
        return []
    names = [f"{option.removeprefix('--')}=" for option in options if option not in ("-h", "--help", FLAG, STRICT)]
    settings = [text for text in before if "=" in text and f"{text.partition('=')[0]}=" not in names]
    if "--config-dir" in before[:-1]:
        settings += before[before.index("--config-dir") :][:2]
    return names + _of_train(settings, word)


def _demonstrations() -> list[str]:
    from trainer.cli.demonstrate import demonstrations

    return [*demonstrations()]


def _own_names(path: str) -> list[str]:
    """Return the names of the functions of own techniques."""
    from trainer.config.own import read, using
    from trainer.config.schema import own_functions

    own = read(path, [*GROUPS])
    with using([own]):
        return [name for group in own.groups for name in own_functions(group)]
