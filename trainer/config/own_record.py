"""The record of own techniques in the folder of a run: copies of their files, as data that nothing imports.

`techniques/index.json` names, for each own technique of the run, its file, the hash of the code that it reaches, and
the SHA-256 of each file. A run that is read again gets its techniques from the command line alone; the record tells
which it needs, and whether they are still the same.
"""

import contextlib
import difflib
import functools
import hashlib
import json
import shlex
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextvars import ContextVar
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import Any

from trainer.config.definitions import Reach
from trainer.config.own import FLAG, OwnModule, active
from trainer.config.run_config import RunConfig
from trainer.config.schema import GROUPS, Choice, own_functions, own_of, source_module
from trainer.errors import ConfigError, printable
from trainer.runtime.files import write_text
from trainer.runtime.text import complain, complain_once, counted
from trainer.storage.checksums import write_record
from trainer.storage.untrusted import read_json, refuse_pipe

COPIES = "techniques"  # the folder of the copies, in that of a run
INDEX = "index.json"
LONGEST = 2**20  # bytes of a copy that are compared

CORE = ("torch", "trainer")  # libraries that count for every run already

strict: ContextVar[bool] = ContextVar("strict", default=False)  # of --strict: an unequal technique is refused


def choices(config: RunConfig) -> Iterator[Choice]:
    """Yield all techniques of a run."""
    for group in GROUPS:
        value = getattr(config, group)
        yield from value if GROUPS[group].listed else (value,)


@functools.lru_cache(maxsize=256)
def _reached(module: str, name: str, own: object) -> str:
    reach = Reach()
    reach.add(module, name)
    counted_in = reach.outside if own else [each for each in reach.outside if each not in CORE and _version(each)]
    outside = sorted(f"{package} {_version(package)}" for package in counted_in)
    return hashlib.sha256(repr((sorted(reach.hashes().items()), outside)).encode()).hexdigest()[:10]


def libraries(config: RunConfig) -> dict[str, str]:
    """Return {package: version} of those that a run's techniques of this program import beside torch."""
    found = set[str]()
    for choice in choices(config):
        if not choice.own and choice.group != "dataset":
            reach = Reach()
            reach.add(source_module(choice.group, choice.name), choice.name)
            found |= reach.outside.difference(CORE)
    return {package: _version(package) for package in sorted(found) if _version(package)}


def technique_hash(group: str, name: str) -> str:
    """Return the hash of a technique's function and of all definitions that it reaches, to ten digits.

    The versions of the packages that it imports count as well.
    """
    own = own_of(group, name)
    return _reached(source_module(group, name), name, own.key if own else None)


@functools.cache
def _version(package: str) -> str:
    """Return the version of an installed package; "" for one of Python itself, and where it is unknown."""
    if package in sys.stdlib_module_names:
        return ""
    with contextlib.suppress(PackageNotFoundError):
        return version(package)
    with contextlib.suppress(PackageNotFoundError, LookupError):  # sklearn comes with scikit-learn
        return version(packages_distributions()[package][0])
    return ""


def described(config: RunConfig) -> dict[str, dict[str, Any]]:
    """Return the entry of each own technique of a run by its name, as in "optimizer.tiger"."""
    return {
        f"{choice.group}.{choice.name}": {
            "source": choice.own.groups[choice.group].shown,
            "techniques": choice.own.typed,
            "hash": technique_hash(choice.group, choice.name),
            **({"changes_network": True} if choice.changes_network else {}),
            "files": {_copy_of(key): _sha256(module.text) for key, module in _modules(choice).items()},
        }
        for choice in choices(config)
        if choice.own
    }


def keep(config: RunConfig, folder: Path) -> None:
    """Write the copies and their index into the folder of a run that uses own techniques."""
    if not (entries := described(config)):
        return
    place = folder / COPIES
    for choice in choices(config):
        for key, module in _modules(choice).items():
            file = place / _copy_of(key)
            file.parent.mkdir(parents=True, exist_ok=True)
            write_text(file, module.text)
    write_record(place / INDEX, json.dumps(entries, indent=1, ensure_ascii=False) + "\n")


def _modules(choice: Choice) -> dict[str, OwnModule]:
    """Return the own files that a technique reaches, by their names in records."""
    if not choice.own:
        return {}
    reach = Reach()
    reach.add(choice.own.groups[choice.group].name, choice.name)
    return {module.key: module for name, module in choice.own.modules.items() if name in reach.found}


def _copy_of(key: str) -> str:
    """Return the name of a file's copy, which does not end in .py: a tool that imports folders passes it over."""
    return f"{key.partition('/')[2]}.txt"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def recorded(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the entries that a run's folder holds; none where the file is missing, or with a warning damaged."""
    path = folder / COPIES / INDEX
    try:
        entries = read_json(path)
        texts = ("source", "techniques", "hash")
        return {
            printable(name): {
                **{key: printable(str(entry[key])) for key in texts},
                "changes_network": entry.get("changes_network") is True,
                "files": dict(entry["files"]),
            }
            for name, entry in entries.items()
        }
    except OSError:
        return {}
    except (ValueError, AttributeError, LookupError, TypeError):
        complain_once(f"{path} is damaged: whether the run's own techniques are the same is not known")
        return {}


def refuse_missing(folder: Path, tree: Mapping[str, Any], needed: Collection[str] | None = None) -> None:
    """Raise ConfigError if a recorded run uses an own technique that this command was not given.

    `needed`: the groups whose techniques are used, None for all. What changes the network is always used.
    """
    for group, technique, entry in _used(folder, tree):
        used = needed is None or group in needed or entry["changes_network"]
        if own_of(group, technique) is None and used:
            raise ConfigError(_missing(folder, f"{group}={technique}", entry))


def match(
    folder: Path, tree: Mapping[str, Any], needed: Collection[str] | None = None, refuse: bool | None = None
) -> None:
    """Compare the own techniques of a recorded run with those of this command.

    Raises ConfigError as `refuse_missing` does, and for one that is not the same any more where `refuse` is true, by
    default under `--strict`; else that is a warning.
    """
    refuse_missing(folder, tree, needed)
    for group, technique, entry in _used(folder, tree):
        own = own_of(group, technique)
        if own and technique_hash(group, technique) != entry["hash"]:
            files, lines = _differing(folder, Choice(group, technique, own=own))
            what = f"{' and '.join(files) or 'the code'} is not what {folder} was trained with{lines}"
            if strict.get() if refuse is None else refuse:
                raise ConfigError(f"{group}={technique}: {what}. The copy that was kept: {folder / COPIES}")
            complain(f"warning: {group}={technique}: {what}")


def words(folders: Iterable[Path]) -> list[str]:
    """Return the words of a command line that bring the own techniques of recorded runs."""
    typed = [entry["techniques"] for folder in folders for entry in recorded(folder).values()]
    return [f"{FLAG}={each}" for each in dict.fromkeys(typed) if each]


def yours(folders: Iterable[Path]) -> dict[str, str]:
    """Return {"optimizer=tiger": "mine/optimizer.py"} of the own techniques of recorded runs."""
    entries = [each for folder in folders for each in recorded(folder).items()]
    return {name.replace(".", "=", 1): entry["source"] for name, entry in entries}


def _used(folder: Path, tree: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield (group, technique, entry) of the recorded own techniques that a configuration uses."""
    for name, entry in recorded(folder).items():
        group, _, technique = name.partition(".")
        if group in GROUPS and _uses(tree, group, technique):
            yield group, technique, entry


def _uses(tree: Mapping[str, Any], group: str, technique: str) -> bool:
    value = tree.get(group)
    if not isinstance(value, Mapping):
        return False
    return technique in value if GROUPS[group].listed else value.get("name") == technique


def _missing(folder: Path, what: str, entry: Mapping[str, Any]) -> str:
    """Return the line for a technique that was not given: what to type, and where the kept copy can be read."""
    if not entry["techniques"]:
        return (
            f"{folder} uses {what}, a function that was given in Python: give it again (techniques=…), or read the copy"
            f" in {folder / COPIES}, copy its files without .txt to a folder of yours and add {FLAG} FOLDER"
        )
    if given := [each for each in active() if each.typed == entry["techniques"]]:
        group = what.partition("=")[0]
        names = ", ".join(name for name, (own, _) in own_functions(group).items() if own in given)
        return f"{folder} uses {what} of {entry['source']}, where it is not any more: there is {names or 'none'}"
    return (
        f"{folder} uses {what} of {entry['source']}, which is no technique of this program: add"
        f" {FLAG} {shlex.quote(entry['techniques'])}. Its folder {COPIES} holds a copy to read, which is not run"
    )


def changed(folders: Iterable[Path]) -> list[str]:
    """Return the own techniques of recorded runs that have changed since: "optimizer=tiger of mine/optimizer.py"."""
    found = dict[str, None]()
    for name, entry in (each for folder in folders for each in recorded(folder).items()):
        group, _, technique = name.partition(".")
        if group in GROUPS and own_of(group, technique) and technique_hash(group, technique) != entry["hash"]:
            found[f"{group}={technique} of {entry['source']}"] = None
    return list(found)


def _differing(folder: Path, choice: Choice) -> tuple[list[str], str]:
    """Return the files of an own technique that differ from the kept copies, and ": 3 lines differ"."""
    files, count = list[str](), 0
    for key, module in _modules(choice).items():
        copy = folder / COPIES / _copy_of(key)
        try:
            refuse_pipe(copy)  # the record may be a stranger's
            before = copy.read_text(encoding="utf-8") if copy.stat().st_size <= LONGEST else ""
        except (OSError, ValueError):
            continue
        pair = difflib.SequenceMatcher(None, before.splitlines(), module.text.splitlines(), autojunk=False)
        edits = [edit for edit in pair.get_opcodes() if edit[0] != "equal"]
        files += [module.shown] if edits else []
        count += sum(max(there - here, now - then) for _, here, there, then, now in edits)
    return files, f": {counted(count, 'line differs', 'lines differ')}" if count else ""
