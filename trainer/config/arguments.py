"""The arguments of a command line: each as Hydra takes it, and what is wrong with one that it cannot take."""

import re
import shlex
from collections.abc import Sequence
from typing import Any

from trainer.config.advice import meant, repaired, untypographic
from trainer.config.aliases import ALIASES, EXPLAINED, LETTERS
from trainer.config.schema import CONF, GROUPS, techniques
from trainer.config.settings import accepts, comparable, kinds_of, options_of, takes_list, takes_text, values_in
from trainer.config.shell import command, quoted
from trainer.config.suggestions import nearest, no_such_option, plain, root_keys, technique_names, unknown
from trainer.config.types import Switch, describe
from trainer.errors import ConfigError

# Hydra's own settings that are accepted; a run's folder and its log are the trainer's.
HYDRA_KEYS = ("hydra/launcher", "hydra.launcher")


def as_forced_override(argument: str, many: bool = False) -> str:
    """Return the argument with `++`, so that Hydra accepts an unknown key: the check that follows reports it better.

    A text such as 2024, "a, b" or it's is quoted for Hydra, unless it may stand for several, with `many`, as for `-m`.
    """
    key, equals, value = argument.partition("=")
    if argument.startswith("~") or not equals or not key:
        return argument
    key = key.lstrip("+")
    if key.startswith("hydra") and not key.startswith(HYDRA_KEYS):
        raise ConfigError(
            f"{key} (command line): of Hydra's own settings only {', '.join(HYDRA_KEYS)} are accepted;"
            " a run's folder is output_dir=FOLDER, a study is asked for by -m"
        )
    if many and value.startswith("~"):  # Hydra's grammar has no unquoted ~
        value = ",".join(quoted(path) if path.startswith("~") else path for path in value.split(","))
    elif takes_text(key) and not (many and comparable(key) and re.search(r"[,(]", value)):
        value = _as_text(key, value)
    group = key.partition("@")[0]
    if key.startswith("hydra."):
        return argument  # keeps the + of a new key in a dictionary, such as ray.init
    if "/" in key or (CONF / group).is_dir():
        if value in ("", "null") and group in GROUPS:
            options = ", ".join(options_of(group))
            raise ConfigError(f"{key}={value} (command line): must be one of {options}{meant(key, value)}")
        if "/" not in key:
            _refuse_no_choice(group, value)
        return f"{key}={value}"
    return f"++{key}={value}"


def _as_text(key: str, value: str) -> str:
    """Return the value quoted for Hydra if it would read it as something else than this text."""
    ready = value in ("", "null", "???") or value[0] in "\"'" or "${" in value
    return value if ready or values_in(key, value) == [value] else quoted(value)


def no_such_flag(argument: str, following: Sequence[str], flags: Sequence[str], accepted: str) -> str:
    """Return the line for an unknown flag, such as the --lr=0.1 or --lr 0.1 of other tools."""
    name, equals, value = argument.partition("=")
    if not equals:
        value = _following(argument, [argument, *following])
    word = name.lstrip("-")
    hint = word_meant(word if name.startswith("--") else LETTERS.get(word, word), value)
    near = nearest(name, [flag for flag in flags if len(flag) > 2]) if not hint else []
    hint = f" Did you mean {near[0]}?" if near else hint
    return f"{argument} (command line): there is no such flag.{hint} Accepted: {accepted}"


def given_twice(arguments: Sequence[str]) -> str | None:
    """Return the line for a setting that is given twice with different values, of which Hydra takes the last."""
    typed: dict[str, str] = {}
    for argument in (argument.lstrip("+") for argument in arguments):
        key, equals, value = argument.partition("=")
        if equals and typed.setdefault(key, argument) != argument:
            both = f"{key}=[{typed[key].partition('=')[2]},{value}]"
            listed = key in GROUPS and GROUPS[key].listed and accepts(*both.partition("=")[::2])
            hint = f". For both: {shlex.quote(both)}" if listed else ""
            return f"{key} (command line): is given twice, {typed[key]} and {argument}{hint}"
    return None


def refuse_typographic_dash(argument: str) -> None:
    """Raise ConfigError for –m or —help, as a slide or a word processor writes them."""
    if argument[:1] != "-" and untypographic(argument[:1]) == "-":
        word = untypographic(argument).lstrip("-")
        meant_by = f"{'-' if len(word) == 1 else '--'}{word}"
        raise ConfigError(f"{argument} (command line): begins with a dash of typography. Did you mean {meant_by}?")


def word_meant(word: str, value: str = "") -> str:
    """Return the suggestion for a word without `=`, or an empty text. `value` is what followed it.

    Some experiments have the name of the setting that they vary; the setting is suggested then.
    """
    if plain(word) in EXPLAINED:
        return f" {EXPLAINED[plain(word)]}."
    keys = sorted(root_keys() - {"experiment"})
    word = "usewandb" if word == "wandb" else word  # a group of settings here, the switch of other tools
    key = next((each for each in keys if plain(each) == plain(word)), None) or ALIASES.get(plain(word))
    if key is None and kinds_of(word):  # wandb.mode
        key = word
    if key is None and (found := technique_names(word)):
        return f" Did you mean {' or '.join(found)}?"
    if key is None:
        near = nearest(word, keys)
        key = near[0] if len(near) == 1 else None
    if key is None or "=" in key:
        return f" Did you mean {key}?" if key else ""
    if not value and kinds_of(key) == (Switch,):
        value = "true"
    if value and not accepts(key, value):
        value = repaired(key, value) or ""
    return f" Did you mean {shlex.quote(f'{key}={value}') if value else f'{key}=VALUE, without blanks'}?"


def unreadable(argument: str, arguments: Sequence[str]) -> str:
    """Return the line for an argument that is no key=value for Hydra. `arguments` are all that were typed."""
    key, equals, value = argument.partition("=")
    told = f"{argument} (command line): "
    own = "" if equals else word_meant(argument, _following(argument, arguments))
    if not own and (joined := _joined(argument, arguments)):
        return f"{told}the shell splits a setting at its blanks. In one piece: {shlex.quote(joined)}"
    if not equals:
        return f"{told}must be key=value.{own or ' See --help'}"
    if not (kinds := kinds_of(key)) and key not in (*GROUPS, "experiment"):
        return unknown(key, key, root_keys(), "command line", "there is no such key")
    accepted = describe(kinds[0]) if kinds else f"one of {', '.join(options_of(key))}"
    return f"{told}cannot be read; {key} must be {accepted}{meant(key, value)}"


def _following(argument: str, arguments: Sequence[str]) -> str:
    """Return the value behind a word without `=`, as in --lr 0.1 and lr = 0.1, or an empty text."""
    left = list(arguments[arguments.index(argument) + 1 :]) if argument in arguments else []
    left = left[1:] if left[:1] == ["="] else left
    word = left[0].removeprefix("=") if left else ""
    return "" if word.startswith("-") or "=" in word else word


def _joined(argument: str, arguments: Sequence[str]) -> str | None:
    """Return the setting that a blank has split: augmentation=[flip, crop], wandb.notes=two words, lr = 0.1, lr 0.1."""
    typed = [text.lstrip("+") for text in arguments]
    place = typed.index(argument) if argument in typed else 0
    for start in range(max(place - ("=" not in argument), 0), place + 1):
        end = start + 1
        while end < len(typed) and not typed[end].startswith("-") and "=" not in typed[end].lstrip("="):
            end += 1
        for stop in range(end, max(start + 1, place), -1):
            key, equals, value = " ".join(typed[start:stop]).partition("=")
            if not equals:
                key, _, value = key.partition(" ")
            key, value = key.strip(), value.strip()
            if found := value if accepts(key, value, many="-m" in arguments) else repaired(key, value):
                return f"{key}={found}"
    return None


def several(argument: str, arguments: Sequence[str]) -> str:
    """Return the line for several values of a setting without `-m`."""
    key, _, value = argument.partition("=")
    technique = _technique(key.partition(".")[0], arguments)
    told, one = f"{argument} (command line): ", repaired(key, value, technique)
    as_one = f". Did you mean {shlex.quote(f'{key}={one}')}?" if one else ""
    if comparable(key) and accepts(key, value, technique, many=True):
        also = (
            f"; as one value: {shlex.quote(f'{key}={one}')}"
            if one and (takes_list(key, technique) or value[:1] == "0")
            else ""
        )
        return f"{told}several values need -m, as in: {command('-m', *arguments)}{also}"
    if key in (*GROUPS, "experiment"):
        wrong = next((part for part in value.split(",") if part not in options_of(key)), value)
        return no_such_option(key, wrong, options_of(key), "command line")
    if not (kinds := kinds_of(key, technique) or kinds_of(key)):
        return unknown(key, key, root_keys(), "command line", "there is no such key")
    each = "each of several values" if comparable(key) else key
    return f"{told}{each} must be {describe(kinds[0])}{as_one}"


def _technique(group: str, arguments: Sequence[str]) -> str:
    """Return the technique of a group that the arguments choose, or the one of `conf/config.yaml`."""
    if group not in GROUPS or GROUPS[group].listed:
        return ""
    default = re.search(rf"^  - {group}: (\w+)", (CONF / "config.yaml").read_text(encoding="utf-8"), re.MULTILINE)
    typed = [
        text.lstrip("+").removeprefix(f"{group}=") for text in arguments if text.lstrip("+").startswith(f"{group}=")
    ]
    name = typed[-1] if typed else default[1] if default else ""
    return name if name in techniques(group) else ""


def _refuse_no_choice(group: str, value: str) -> None:
    """Raise ConfigError for a value of a config group that is no name, such as {l1:{strength:0.1}}, or 3."""
    listed = group in GROUPS and GROUPS[group].listed
    found = values_in(group, value) or []
    if all(isinstance(each, str) or (listed and _is_names(each)) for each in found):
        return
    settings = [] if len(found) != 1 else _as_settings(group, found[0])
    readable = settings and all(accepts(*setting.partition("=")[::2]) for setting in settings)
    hint = f". Did you mean {shlex.join(settings)}?" if readable else meant(group, value)
    several = f"a list such as [{options_of(group)[0]}]; items: " if listed else "one of "
    raise ConfigError(f"{group}={value} (command line): must be {several}{', '.join(options_of(group))}{hint}")


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, str) for item in value)


def _as_settings(group: str, value: Any) -> list[str]:
    """Return the settings that a nested value stands for: regularization=[l1] and regularization.l1.strength=0.1."""
    tree: dict[str, Any] = {}
    for item in value if isinstance(value, list) else [value]:
        tree |= item if isinstance(item, dict) else {item: None}
    settings = []
    if group in GROUPS and GROUPS[group].listed:
        settings.append(f"{group}=[{','.join(map(str, tree))}]")
    elif "name" in tree:
        settings.append(f"{group}={tree.pop('name')}")
    for name, options in tree.items():
        inner = options if isinstance(options, dict) else {"": options} if options is not None else {}
        settings += [f"{group}.{name}{key and '.'}{key}={_written(option)}" for key, option in inner.items()]
    return settings


def _written(value: Any) -> str:
    """Return a plain value as Hydra reads it."""
    if isinstance(value, list):
        return f"[{','.join(map(_written, value))}]"
    return {"None": "null", "True": "true", "False": "false"}.get(repr(value), str(value))
