""" "Did you mean …?": suggestions for names that do not exist. Imports no torch."""

import difflib
import re
import unicodedata
from collections.abc import Iterable, Mapping

from trainer.config.aliases import ALIASES, ELSEWHERE, EXPLAINED
from trainer.config.option_files import option_files
from trainer.config.schema import CONF, GROUPS, shared_parameters, techniques

LISTED = 10  # names in an error; `--help` lists all


def unknown(
    what: str,
    name: str,
    accepted: Iterable[str],
    where: str,
    reason: str,
    root: Iterable[str] = (),
    chosen: Mapping[str, str] | None = None,
) -> str:
    """Return the line for a name that does not exist: "optimizer=adm (command line): there is no such optimizer. …".

    `root`: for an option of a technique, the settings at the root that may have been meant. `chosen`: the techniques of
    the run, {group: name}.
    """
    names = sorted(accepted)
    hint = _hint(what, name, names, sorted(root), chosen or {})
    return f"{what} ({where}): {reason}.{hint} Accepted: {_listed(name, names)}"


def no_such_option(group: str, name: str, accepted: Iterable[str], where: str) -> str:
    """Return the line for a technique that does not exist."""
    return unknown(f"{group}={name}", name, accepted, where, f"there is no such {group}")


def _hint(what: str, name: str, names: list[str], root: list[str], chosen: Mapping[str, str]) -> str:
    start = what.removesuffix(name)  # "optimizer=", "optimizer.", or "" for a key at the root
    if start + plain(name) in EXPLAINED:
        return f" {EXPLAINED[start + plain(name)]}."
    renamed = ALIASES.get(start + plain(name), "")
    # An option helps only where the technique has it.
    known = not start.endswith(".") or re.split("[.=]", renamed)[-1] in names
    found = _same(name, names) or [renamed] * (known and renamed != "")
    if "=" in start:
        group = start.partition("=")[0]
        found = found or nearest(name, names, group) or _same(name, root_keys())
        found = found or [other for other in technique_names(name) if other != what]
    elif start:
        found = found or nearest(name, names)
        if not found and (above := _same(name, root) or nearest(name, root) or _root_alias(name, root)):
            return f" Did you mean {above[0]}, which stands at the root?"
    else:
        found = found or technique_names(name) or nearest(name, names)
    if start == "model=" and not found:
        return f" timm has more networks: model=timm model.architecture={name}."
    return f" Did you mean {' or '.join(found)}?" if found else _owner_hint(start.partition(".")[0], name, chosen)


def _root_alias(name: str, root: Iterable[str]) -> list[str]:
    return [renamed for renamed in [ALIASES.get(plain(name), "")] if renamed in root]


def _owner_hint(group: str, name: str, chosen: Mapping[str, str]) -> str:
    """Return the hint for an option that another technique or group has."""
    owners = [each for each in _owners(name) if not group or each[0] == group]
    if not group and (own := [f"{each}.{name}" for each, owner in owners if owner in ("", chosen.get(each))]):
        return f" Did you mean {' or '.join(dict.fromkeys(own))}?"
    belongs = list(dict.fromkeys(f"{each}={owner}" for each, owner in owners if owner))
    return f" It belongs to {' or '.join(belongs)}." if belongs else ""


def _owners(option: str) -> list[tuple[str, str]]:
    """Return (group, technique) for every technique that has an option; the technique is "" if all of a group do."""
    found = [(group, "") for group in GROUPS if option in shared_parameters(group)]
    return found + [
        (group, technique)
        for group in GROUPS
        if not GROUPS[group].listed
        for technique, options in techniques(group).items()
        if option in options
    ]


def _listed(name: str, names: list[str]) -> str:
    """Return all names, or of many the nearest and the number of the others."""
    if len(names) <= LISTED:
        return ", ".join(names) or "none"
    near = sorted(names, key=lambda each: -difflib.SequenceMatcher(None, plain(name), plain(each)).ratio())[:LISTED]
    return f"{', '.join(sorted(near))} and {len(names) - LISTED} more: python -m trainer --help"


def plain(name: str) -> str:
    """Return a name without what other tools write otherwise: case, dashes, underscores, blanks."""
    return re.sub(r"[^\w.=]|_", "", unicodedata.normalize("NFKC", name)).lower()


def _same(name: str, names: Iterable[str]) -> list[str]:
    return [each for each in names if plain(each) == plain(name)][:1]


def nearest(name: str, names: Iterable[str], group: str = "") -> list[str]:
    """Return the names that may have been meant: one with a typing error or, without one, up to three that begin so.

    None for a technique that exists elsewhere, and none whose figures differ: cifar20 is not cifar10.
    """
    wanted = plain(name)
    if wanted in ELSEWHERE.get(group, "").split():
        return []
    figures = re.findall(r"\d+", wanted)
    possible = [each for each in names if not figures or re.findall(r"\d+", each) == figures]
    allowed = 1 + (len(wanted) > 5) + (len(wanted) > 9)
    by_edits = sorted((edits(wanted, plain(each)), each) for each in possible if len(wanted) > 1)
    if by_edits and by_edits[0][0] <= allowed:
        return [by_edits[0][1]]
    begun = [each for each in possible if len(wanted) > 2 and plain(each).startswith(wanted)]
    return begun if len(begun) <= 3 else []


def edits(one: str, other: str) -> int:
    """Return how many letters must be inserted, left out, replaced or exchanged with the next to get the other text."""
    before, last = [0] * (len(other) + 1), list(range(len(other) + 1))
    for row, letter in enumerate(one, 1):
        line = [row]
        for column, wanted in enumerate(other, 1):
            best = min(last[column] + 1, line[-1] + 1, last[column - 1] + (letter != wanted))
            if row > 1 and column > 1 and letter == other[column - 2] and one[row - 2] == wanted:
                best = min(best, before[column - 2] + 1)
            line.append(best)
        before, last = last, line
    return last[-1]


def technique_names(name: str) -> list[str]:
    """Return the settings that choose a YAML file of this name: "dataset=digits", "-m experiment=optimizers_tuned"."""
    found = []
    for group in (*GROUPS, "experiment"):
        found += [f"{'-m ' * (group == 'experiment')}{group}={same}" for same in _same(name, option_files(group))]
    return found[:3]


def root_keys() -> set[str]:
    """Return the keys that a command line may set: the config groups and the keys of config.yaml."""
    lines = (CONF / "config.yaml").read_text(encoding="utf-8").splitlines()
    keys = {line.partition(":")[0] for line in lines if line[:1].isalpha()}
    return {*GROUPS, "experiment"} | keys - {"defaults", "hydra"}
