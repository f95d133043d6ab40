"""The code that decides a result: its files and their hashes, and those that differ from a recorded run's."""

import ast
import contextlib
import functools
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from trainer.config.definitions import FOLLOWED, PACKAGE, Reach, dumped
from trainer.config.own import KEY
from trainer.config.own_record import choices, technique_hash
from trainer.config.run_config import RunConfig
from trainer.config.schema import GROUPS, Choice
from trainer.errors import ConfigError, printable
from trainer.runtime.console import warn
from trainer.storage.untrusted import read_json

# The code that decides the result of every run; how a run is checked, shown or stored does not. A test holds that
# nothing else that these packages import decides one. Of the techniques those count that a run uses.
CORE = ("data", "training", "runtime/seeding.py")
# The groups that decide what a trained network computes, and the files of which they share a part.
NETWORK = ("activation", "model", "normalization", "preprocessing")
SHARED = ("techniques/activation.py", "techniques/layers.py")
NAMED = 3  # changed files at most that a sentence lists


@functools.cache  # once in a process, which runs what it has imported: the files may be edited meanwhile
def core_hashes() -> Mapping[str, str]:
    """Return the SHA-256 of each file that every run uses, without its wording, to ten digits.

    Of a file in `techniques/` those definitions count that the others import, such as the hooks of a step.
    """
    paths = [PACKAGE / name for name in CORE]
    files = sorted(file for path in paths for file in (path.rglob("*.py") if path.is_dir() else [path]))
    hashes, shared = dict[str, str](), Reach()
    for file in files:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        hashes[file.relative_to(PACKAGE).as_posix()] = hashlib.sha256(dumped(tree).encode()).hexdigest()[:10]
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(FOLLOWED):
                for alias in node.names:
                    shared.add(str(node.module), alias.name)
    return MappingProxyType({**hashes, **shared.hashes()})


def code_hashes(config: RunConfig) -> dict[str, str]:
    """Return the hashes of the code that decides the result of a run: of the core, and of each technique that it uses.

    A technique is named with its file, as in "techniques/optimizer.py:adam", and hashed with all definitions that it
    reaches, also in other files.
    """
    return {**core_hashes(), **{_key(choice): technique_hash(choice.group, choice.name) for choice in chosen(config)}}


def chosen(config: RunConfig) -> Iterator[Choice]:
    """Yield the techniques of a run but the data sets of this program, all of which are part of the core."""
    for choice in choices(config):
        if choice.own or GROUPS[choice.group].module.startswith(FOLLOWED):
            yield choice


def code_files(config: RunConfig) -> dict[str, str]:
    """Return {name: text} of the files whose code decides the result of a run."""
    names = {name for name in (key.partition(":")[0] for key in code_hashes(config)) if not name.startswith(f"{KEY}/")}
    own = {file.key: file.text for choice in chosen(config) if choice.own for file in choice.own.modules.values()}
    return {**{name: (PACKAGE / name).read_text(encoding="utf-8") for name in sorted(names)}, **own}


def _key(choice: Choice) -> str:
    folder = KEY if choice.own else "techniques"
    return f"{folder}/{choice.group}.py:{choice.name}"


def changed_files(then: Any, now: Any) -> str:
    """Return the code whose hashes differ, in words: "techniques/activation.py"; "" if none does.

    Both are entries of an `environment.json`, which may be untrusted or of a version that recorded no hashes: "" then.
    Techniques that only one of two runs uses are not compared.
    """
    before, after = (entry.get("code") if isinstance(entry, Mapping) else None for entry in (then, now))
    if not isinstance(before, Mapping) or not isinstance(after, Mapping):
        return ""
    compared = [name for name in {*before, *after} if ":" not in str(name) or (name in before and name in after)]
    names = sorted(_told(printable(str(name))) for name in compared if before.get(name) != after.get(name))
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _told(name: str) -> str:
    """Return the name of code as a person finds it; an own technique by its setting: "your optimizer=tiger"."""
    folder, _, rest = name.partition("/")
    return f"your {rest.replace('.py:', '=')}" if folder == KEY else name


def without_own(entry: Any) -> dict[str, Any]:
    """Return an entry of the code without own techniques, of which `own_record.match` tells."""
    code = entry.get("code") if isinstance(entry, Mapping) else None
    return (
        {"code": {name: value for name, value in code.items() if not str(name).startswith(f"{KEY}/")}}
        if isinstance(code, Mapping)
        else {}
    )


def warn_of_other_network(folder: Path, config: RunConfig) -> None:
    """Warn if the code of the networks is not what the run in a folder was trained with; nothing without a record."""
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError, ConfigError):
        decides = [choice for choice in chosen(config) if choice.group in NETWORK or choice.changes_network]
        network = [choice for choice in decides if not choice.own]
        now = {_key(choice): technique_hash(choice.group, choice.name) for choice in network}
        now |= {name: value for name, value in core_hashes().items() if name in SHARED}
        before = read_json(folder / "environment.json")[-1]["code"]
        if files := changed_files({"code": {name: before[name] for name in now if name in before}}, {"code": now}):
            warn(f"{folder} was trained with other code ({files}): with today's its network may give other answers")
