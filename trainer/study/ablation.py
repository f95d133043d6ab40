"""`ablate=each|add|pairs`: the arms of a recipe without each technique, with one alone, or without pairs of them.

Imports no torch.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.config.schema import GROUPS
from trainer.config.shell import setting
from trainer.errors import ConfigError
from trainer.runtime.text import counted
from trainer.study.axes import override_key
from trainer.study.recipe import MISSING, Technique, Tree, chosen, differing, techniques_of

FULL, PLAIN = "full", "plain"  # the arms that the others are compared with


@dataclass(frozen=True)
class AblationArm:
    """An arm of an ablation: the techniques that it lacks, or the one that it adds, and its settings as overrides."""

    techniques: tuple[str, ...]
    words: tuple[str, ...]


@dataclass(frozen=True)
class Ablation:
    """The arms of an ablation by their names. `kind`: each, add or pairs."""

    kind: str
    arms: Mapping[str, AblationArm]

    @property
    def baseline(self) -> str:
        """The arm that all others are compared with."""
        return PLAIN if self.kind == "add" else FULL

    @property
    def techniques(self) -> tuple[str, ...]:
        """The techniques, in the order of the configuration."""
        return tuple(dict.fromkeys(name for arm in self.arms.values() for name in arm.techniques))

    @property
    def words(self) -> dict[str, tuple[str, ...]]:
        """The overrides that make each arm."""
        return {name: arm.words for name, arm in self.arms.items()}

    @property
    def sentence(self) -> str:
        """The arms in words, for the line that begins a study."""
        names = ", ".join(self.techniques)
        told = {
            "each": f"{FULL}, and without each of {names}",
            "add": f"{PLAIN}, and with each of {names} alone",
            "pairs": f"{FULL}, without each and without each pair of {names}",
        }
        return f"ablate={self.kind} compares {counted(len(self.arms), 'arm')}: {told[self.kind]}"


@dataclass(frozen=True)
class Recipe:
    """A composed recipe and the defaults beside it, as plain values, with the option file chosen in each group."""

    tree: Tree
    defaults: Tree
    options: Mapping[str, Any]
    default_options: Mapping[str, Any]


def ablation_of(
    kind: str, listed: Sequence[str] | None, recipe: Recipe, compose: Callable[[Sequence[str]], Tree], fixed: list[str]
) -> tuple[Ablation, list[str]]:
    """Return the arms, and the typed settings that are the same in all of them.

    `compose` gives the settings of overrides, `fixed` are the typed ones. Raises ConfigError.
    """
    taken = chosen(kind, techniques_of(recipe.tree, recipe.defaults), listed, recipe.tree)
    areas = [key for key in recipe.tree if any(key in each.areas for each in taken)]
    # The arms say what their groups are: beside "augmentation=[crop]" an option of flip would bring it back.
    kept = [text for text in fixed if override_key(text.lstrip("~")).partition(".")[0] not in areas]

    def words(tree: Tree) -> tuple[str, ...]:
        found = [_choice(area, tree, recipe) for area in areas]
        for key, value in differing(areas, tree, compose([*found, *kept])):
            found.append(f"~{key}" if value is MISSING else f"++{setting(key, value)}")
        if wrong := next(differing(areas, tree, compose([*found, *kept])), None):
            raise ConfigError(
                f"ablate={kind}: no command sets {wrong[0]} as an arm needs it: leave it out (ablate_only)"
            )
        return tuple(found)

    arms = {name: AblationArm(names, words(tree)) for name, names, tree in _trees(kind, taken, recipe)}
    return Ablation(kind, arms), kept


def _trees(kind: str, taken: Sequence[Technique], recipe: Recipe) -> Iterator[tuple[str, tuple[str, ...], Tree]]:
    """Yield the name, the techniques and the settings of each arm, the baseline first."""

    def without(techniques: Iterable[Technique]) -> Tree:
        tree = recipe.tree
        for technique in techniques:
            tree = technique.taken_out(tree, recipe.defaults)
        return tree

    if kind == "add":
        yield PLAIN, (), without(taken)
        for one in taken:
            yield f"with {one.name}", (one.name,), without(each for each in taken if each is not one)
        return
    yield FULL, (), recipe.tree
    for size in (1, 2) if kind == "pairs" else (1,):
        for several in itertools.combinations(taken, size):
            names = tuple(each.name for each in several)
            yield f"without {' and '.join(names)}", names, without(several)


def _choice(area: str, tree: Tree, recipe: Recipe) -> str:
    """Return the override that chooses the option of a group, or sets a setting of the root."""
    if area not in GROUPS:
        return f"++{setting(area, tree[area])}"
    if GROUPS[area].listed:
        names = list(tree[area])
        if names == list(recipe.tree[area]) and isinstance(recipe.options.get(area), str):
            return f"{area}={recipe.options[area]}"
        return f"{area}=[{','.join(names)}]" if names else f"{area}=none"
    same = tree[area]["name"] == recipe.tree[area]["name"]
    return f"{area}={(recipe.options if same else recipe.default_options)[area]}"


@contextlib.contextmanager
def told_arm(ablation: Ablation | None, arm: str) -> Iterator[None]:
    """Name the arm of an ablation in an error: what is left of a recipe may need the technique that is taken out."""
    try:
        yield
    except ConfigError as error:
        if ablation is None:
            raise
        names = [name for name in ablation.techniques if name not in ablation.arms[arm].techniques]
        leave = f". Ablate the others alone: 'ablate_only=[{','.join(names)}]'" if names else ""
        raise ConfigError(f"{arm}: {error}{leave}") from None
