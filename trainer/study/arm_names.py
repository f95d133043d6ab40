"""The names of a study's arms, and the arm that a typed name stands for. Imports no torch."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence

from trainer.errors import ConfigError
from trainer.study.axes import ARM, point_label

ONLY_ARM = "the one configuration"  # the name of an arm where nothing but its replicates is varied


def are_words(values: Iterable[str]) -> bool:
    """Return whether all values of the only axis are words, such as adam, which then name the arms."""
    return all(re.match(r"(?!(true|false|null)$)[a-z]", value) for value in values)


def arm_name(point: Mapping[str, str], words: bool, labels: Mapping[str, str]) -> str:
    """Return the name of an arm, given its point in plain words: "adam" if they are `words`, else "lr=0.1".

    `labels`: other names, for the settings of an arm that changes several, or for a whole name.
    """
    named = {key: labels.get(value, value) if key == ARM else value for key, value in point.items()}
    name = " ".join(named.values()) if words else point_label(named) or ONLY_ARM
    return labels.get(name, name)


def arm_names(points: Sequence[Mapping[str, str]], labels: Mapping[str, str]) -> list[str]:
    """Return the arm's name at each point: "batch" if one setting is varied and its values are words, else "lr=0.1".

    `points`: in plain words, without replicates; `labels`: other names for some arms.
    """
    words = all(len(point) == 1 and are_words(point.values()) for point in points)
    return [arm_name(point, words, labels) for point in points]


def named_arm(typed: str, names: Sequence[str], what: str) -> str:
    """Return the name of the arm that is meant. Raises ConfigError, which begins with `what`, if there is none."""
    words = sorted(typed.split())  # the settings of an arm may be typed in any order
    found = next((name for name in names if sorted(name.split()) == words), None)
    if found is None:
        near = difflib.get_close_matches(typed, names, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ConfigError(f"{what}: the study has no such arm.{hint} Accepted: {', '.join(dict.fromkeys(names))}")
    return found
