"""The techniques of a recipe: what its composed settings have beside the defaults. Imports no torch."""

import copy
import difflib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.config.option_files import option_files
from trainer.config.run_config import RunConfig
from trainer.config.schema import GROUPS, shared_parameters
from trainer.errors import ConfigError

Tree = Mapping[str, Any]  # a composed run as plain values, {group: {name: …, option: …}, setting: value}

# Settings of the root that are techniques; weight_decay_scope says only which weights decay.
SCOPE, SETTINGS = "weight_decay_scope", ("weight_decay", "dropout")
# Groups that say what is trained, with which data or what is recorded: their choice is no technique.
NO_TECHNIQUE = ("dataset", "metric")
# What a recipe cannot do without: another one takes its place, with settings that may not suit it.
IF_LISTED = ("model", "optimizer", "lr")
# Options that do nothing. Where one is the default, a technique has the name of its group: "without normalization".
OFF = ("none", "constant")
MISSING = object()


@dataclass(frozen=True)
class Technique:
    """A part of a recipe that can be taken out. `paths`: its settings, as "augmentation.flip"; `names`: typed ones."""

    name: str
    paths: tuple[str, ...]
    names: tuple[str, ...]
    listed_only: bool = False

    @property
    def areas(self) -> set[str]:
        """The settings of the root and the groups that the technique belongs to."""
        return {path.partition(".")[0] for path in self.paths}

    def taken_out(self, tree: Tree, defaults: Tree) -> dict[str, Any]:
        """Return a copy of the settings in which those of the technique have their defaults, or are gone."""
        changed: dict[str, Any] = copy.deepcopy(dict(tree))
        for path in self.paths:
            root, _, below = path.partition(".")
            place, key = (changed[root], below) if below else (changed, root)
            value = _at(defaults, path)
            if value is MISSING:
                place.pop(key, None)
            else:
                place[key] = copy.deepcopy(value)
        return changed


def techniques_of(recipe: Tree, defaults: Tree) -> list[Technique]:
    """Return every technique that the recipe has and the defaults have not, those that are taken if listed as well."""
    found = list(_techniques(recipe, defaults))
    names = [technique.name for technique in found]
    # An option may have the name of another group's: both are told apart as they are typed.
    return [
        each if names.count(each.name) == 1 else Technique(each.names[-1], each.paths, each.names, each.listed_only)
        for each in found
    ]


def chosen(kind: str, techniques: Sequence[Technique], listed: Sequence[str] | None, recipe: Tree) -> list[Technique]:
    """Return the techniques to ablate: all that need not be listed, or the listed ones. Raises ConfigError."""
    taken = [each for each in techniques if not each.listed_only]
    if listed is not None:
        taken = list(dict.fromkeys(_named(name, techniques, recipe) for name in listed))
        for one, other in itertools.permutations(taken, 2):
            if other.areas.intersection(one.paths):
                raise ConfigError(f"ablate_only: {other.name} is a part of {one.name}: list one of them")
    if not taken:
        names = ",".join(each.names[0] for each in techniques)
        more = f". Only if it is listed: 'ablate_only=[{names}]'" if techniques else ""
        raise ConfigError(
            f"ablate={kind}: the recipe has no technique beside the defaults. Choose some, as in"
            f" experiment=recommended_full or normalization=batch dropout=0.3{more}"
        )
    if kind == "pairs" and len(taken) < 2:
        raise ConfigError(f"ablate=pairs needs two techniques, and there is {taken[0].name} alone: ablate=each")
    return taken


def _techniques(recipe: Tree, defaults: Tree) -> Iterator[Technique]:
    for group, kind in GROUPS.items():
        if group in NO_TECHNIQUE:
            continue
        if kind.listed:
            members = [name for name in recipe[group] if recipe[group][name] != defaults[group].get(name, MISSING)]
            yield from (Technique(name, (f"{group}.{name}",), (name, f"{group}.{name}")) for name in members)
            if members:
                yield Technique(group, (group,), (group,), listed_only=True)
        else:
            yield from _single(group, recipe, defaults)
    for key in SETTINGS:
        if recipe[key] != defaults[key]:
            scope = (SCOPE,) if key == "weight_decay" and recipe[SCOPE] != defaults[SCOPE] else ()
            yield Technique(key, (key, *scope), (key,))
    if recipe["lr"] != defaults["lr"]:
        yield Technique("lr", ("lr",), ("lr",), listed_only=True)


def _single(group: str, recipe: Tree, defaults: Tree) -> Iterator[Technique]:
    """Yield the technique of a group that has one, and the settings that all of its options share, as a warm-up."""
    shared = shared_parameters(group)
    paths = [f"{group}.{key}" for key in dict.fromkeys([*recipe[group], *defaults[group]]) if key not in shared]
    if any(_at(recipe, path) != _at(defaults, path) for path in paths):
        name, usual = recipe[group]["name"], defaults[group]["name"]
        names = (group, name, f"{group}={name}")
        shown = f"the settings of {group}" if name == usual else group if usual in OFF else name
        # The learning rate that suits an optimizer does not suit another one.
        rate = ("lr",) if group == "optimizer" else ()
        yield Technique(shown, (*paths, *rate), names, group in IF_LISTED)
    common = tuple(f"{group}.{key}" for key in shared)
    if any(_at(recipe, path) != _at(defaults, path) for path in common):
        yield Technique("warm-up", common, ("warmup", "warm-up", *common))


def _named(typed: str, techniques: Sequence[Technique], recipe: Tree) -> Technique:
    """Return the technique that is meant. Raises ConfigError if there is none, or if the recipe has it not."""
    if known := [each for each in techniques if typed in (each.name, *each.names)]:
        return known[0]
    start, accepted = f"ablate_only: {typed}", ", ".join(each.names[0] for each in techniques) or "none"
    root, groups = typed.partition(".")[0], {*GROUPS} - {*NO_TECHNIQUE}
    if root in RunConfig.model_fields and root not in (*groups, *SETTINGS, *IF_LISTED):
        raise ConfigError(f"{start} is no technique. In this recipe there are: {accepted}")
    options = ((group, name) for group in groups for name in option_files(group))
    if typed in (*groups, *SETTINGS, *IF_LISTED) or any(
        typed in (name, f"{group}.{name}", f"{group}={name}") for group, name in options
    ):
        usual = f" ({typed}={recipe[typed]})" if typed in (*SETTINGS, "lr") else ""
        raise ConfigError(f"{start} is off in this recipe, or the default{usual}. In this recipe there are: {accepted}")
    near = difflib.get_close_matches(typed, [name for each in techniques for name in each.names], n=1, cutoff=0.6)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise ConfigError(f"{start}: there is no such technique.{hint} In this recipe there are: {accepted}")


def _at(tree: Tree, path: str) -> Any:
    root, _, below = path.partition(".")
    return tree[root].get(below, MISSING) if below else tree[root]


def differing(areas: Iterable[str], wanted: Tree, composed: Tree) -> Iterator[tuple[str, Any]]:
    """Yield (setting, wanted value) where the composed settings of these areas differ, MISSING for one to remove."""
    for area in areas:
        yield from _differing(area, wanted[area], composed[area])


def _differing(path: str, wanted: Any, composed: Any) -> Iterator[tuple[str, Any]]:
    if not (isinstance(wanted, Mapping) and isinstance(composed, Mapping)):
        if wanted != composed:
            yield path, wanted
        return
    for key in dict.fromkeys([*composed, *wanted]):
        if key not in wanted:
            yield f"{path}.{key}", MISSING
        elif key not in composed:
            yield f"{path}.{key}", wanted[key]
        else:
            yield from _differing(f"{path}.{key}", wanted[key], composed[key])
