"""Commands that are printed for the user to paste: quoted for Hydra and for the shell. Imports no torch."""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer.config.own import FLAG, flags

PLAIN = re.compile(r"[\w./+:-]+", re.ASCII)  # texts that need no quotes, unless Hydra reads another type in them
KEYWORDS = ("null", "true", "false")  # in any case
READING = ("show", "list", "compare", "report", "export", "clean", "help")  # commands that need no technique


def command(*words: object) -> str:
    """Return the command line of this program with these words, quoted for the shell. A Path is never an option."""
    given = any(str(word).startswith(FLAG) for word in words)
    own = [] if given or (words and words[0] in READING) else flags()
    return shlex.join(["python", "-m", "trainer", *map(_word, words), *own])


def setting(key: str, value: Any) -> str:
    """Return "key=value" such that Hydra reads this value again: the text "1e5" stays a text, null stays null."""
    return f"{key}={_value(value)}"


def resume_command(folder: Path, *overrides: str) -> str:
    """Return the command that resumes a single run."""
    return command(setting("resume", str(folder)), *overrides)


def sync_command(folder: Path, runs: str = "") -> str:
    """Return the command that uploads an offline run of W&B, or those in `folder` that match the pattern `runs`."""
    return f"wandb sync {shlex.quote(_word(folder))}" + (f"/{runs}" if runs else "")


def quoted(text: str) -> str:
    """Return the text in quotes of Hydra's grammar, without an interpolation."""
    # Backslashes are doubled before a quote or `${`, and nowhere else: so Hydra and OmegaConf read them.
    text = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)
    text = re.sub(r'(\\*)("|$(?!\n))', lambda found: found[1] * 2 + ('\\"' if found[2] else ""), text)
    return f'"{text}"'


def _word(word: object) -> str:
    """Return a word of a command; a relative path that looks like an option or a setting begins with "./"."""
    text = str(word)
    return f"./{text}" if isinstance(word, Path) and (text.startswith("-") or "=" in text.partition("/")[0]) else text


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_value(key)}:{_value(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_value, value)) + "]"
    if isinstance(value, str):
        return value if _is_plain(value) else quoted(value)
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else "null" if value is None else str(value)


def _is_plain(text: str) -> bool:
    """Return whether Hydra reads the text as this text where it stands without quotes."""
    if not PLAIN.fullmatch(text) or text.lower() in KEYWORDS:
        return False
    try:
        float(text)  # also inf, nan and 1_000, as in Hydra's grammar
    except ValueError:
        return True
    return False
