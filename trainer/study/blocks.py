"""The blocks of a study: parts whose runs are scored on other images, as data sets are, or that `sweep.blocks` names.

Arms are compared within a block only. Each block is a study of its own, whose arms are named without what makes the
block. Imports no torch.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trainer.config.recorded import shown_value, typed_settings
from trainer.config.run_config import SweepConfig
from trainer.errors import ConfigError
from trainer.study.arm_names import arm_names
from trainer.study.axes import ARM, arm_of
from trainer.study.manifest import Manifest

# Settings of a data set that leave the validation images what they are, beside what repeats an arm.
SAME_IMAGES = ("image_size", "layout", "train_size", "imbalance", "label_noise", "label_noise_kind", "fold")
NOUNS: Mapping[tuple[str, ...], str] = {("dataset",): "data set", ("model",): "model"}


@dataclass(frozen=True)
class Block:
    """A part of a study, by its values on the settings that make the blocks: {"dataset": "digits"}."""

    name: str
    values: Mapping[str, str]
    study: Manifest

    @property
    def noun(self) -> str:
        """A block in words."""
        return NOUNS.get(tuple(self.values), "block")


def decides_images(key: str) -> bool:
    """Return whether a setting decides on which images a run is scored, in each of its repeats."""
    return key in ("dataset", "data_dir") or (
        key.startswith("dataset.") and key.removeprefix("dataset.") not in SAME_IMAGES
    )


def blocks_of(study: Manifest) -> tuple[Block, ...]:
    """Return the blocks of a study in the order of their first runs; empty if all its runs can be compared."""
    entries = study.entries
    points = [entry.point for entry in entries]
    places = grouped(points, lambda index: entries[index].config, study.settings.block_keys)
    if len({*places}) < 2:
        return ()
    points = [within_block(point, study.settings.block_keys) for point in points]
    labels = _labels(study, points)
    values = {place: dict(place) for place in places}
    names = dict(zip(values, arm_names([*values.values()], {}), strict=True))
    axes = tuple(text for text in study.axes if not makes_block(text.partition("=")[0], study.settings.block_keys))
    return tuple(
        Block(
            names[block],
            values[block],
            replace(
                study,
                axes=axes,
                labels=labels,
                entries=tuple(
                    replace(entry, point=point)
                    for entry, point, place in zip(entries, points, places, strict=True)
                    if place == block
                ),
            ),
        )
        for block in values
    )


Place = tuple[tuple[str, str], ...]  # the settings that make the blocks, each with its value


def grouped(
    points: Sequence[Mapping[str, str]], config_of: Callable[[int], Mapping[str, Any]], named: Sequence[str]
) -> list[Place]:
    """Return the block of each run, given its point in plain words; places without settings if there is one block.

    `config_of`: the configuration of a run by its place in the list. `named`: further settings that make blocks.
    """
    keys = {key for point in points for key in point}
    if not (ARM in keys or any(map(decides_images, keys)) or named):
        return [()] * len(points)
    settings = [_settings(point, config_of(index), named) for index, point in enumerate(points)]
    differing = [
        key
        for key in dict.fromkeys(key for each in settings for key in each)
        if len({each.get(key) for each in settings}) > 1
    ]
    # A data set has other settings than another one: the fewest settings that tell the blocks apart name them.
    chosen: list[str] = []
    for key in sorted(differing, key=lambda key: (key not in named, key != "dataset", key not in keys)):
        if len(_distinct(settings, [*chosen, key])) > len(_distinct(settings, chosen)):
            chosen.append(key)
    return [tuple((key, each.get(key, "—")) for key in chosen) for each in settings]


def _settings(point: Mapping[str, str], config: Mapping[str, Any], named: Sequence[str]) -> dict[str, str]:
    """Return what decides the block of a run, by setting."""
    typed = typed_settings(config)
    # Another data_dir holds other data if it is varied; a study that was continued elsewhere has the same data there.
    keys = [key for key in typed if decides_images(key) and (key != "data_dir" or key in point)]
    return {key: shown_value(key, typed[key]) if key in typed else point.get(key, "") for key in (*named, *keys)}


def _distinct(settings: Iterable[Mapping[str, str]], keys: Sequence[str]) -> set[tuple[str | None, ...]]:
    return {tuple(each.get(key) for key in keys) for each in settings}


def makes_block(key: str, named: Sequence[str]) -> bool:
    """Return whether a setting is the same within each block, so that its arms are named without it."""
    return key in named or decides_images(key)


def within_block(point: Mapping[str, str], named: Sequence[str]) -> dict[str, str]:
    """Return a point without the settings that make its block, also without those among the several of an arm."""
    kept = {key: value for key, value in point.items() if not makes_block(key, named)}
    if ARM in kept:
        words = [word for word in kept[ARM].split(" ") if "=" not in word or not makes_block(word.split("=")[0], named)]
        kept[ARM] = " ".join(words)
        if not words:
            del kept[ARM]
    return kept


def check_blocks(
    settings: SweepConfig, points: Sequence[Mapping[str, str]], config_of: Callable[[int], Mapping[str, Any]]
) -> list[dict[str, str]]:
    """Return the points without what makes their blocks. Raises ConfigError for blocks that no study can have.

    `points`: of a grid, or the corners of a searched space, in plain words.
    """
    named = settings.block_keys
    keys = [key for key in dict.fromkeys(key for point in points for key in arm_of(point)) if key != ARM]
    inside = {word.split("=")[0] for point in points for word in point.get(ARM, "").split(" ") if word}
    for key in named:
        if key not in (*keys, *inside):
            accepted = ", ".join((*keys, *sorted(inside))) or "none, as nothing is varied"
            raise ConfigError(f"sweep.blocks={key}: is no setting that the study varies. Accepted: {accepted}")
    places = grouped(points, config_of, named)
    left = [within_block(point, named) for point in points] if len({*places}) > 1 else [dict(point) for point in points]
    if named and len({tuple(arm_of(point).items()) for point in left}) < 2:
        raise ConfigError(
            f"sweep.blocks={','.join(named)}: leaves nothing to compare within a block: give another setting several"
            " values, or leave sweep.blocks out"
        )
    way = f"sweep.method={settings.method}" if settings.method != "grid" else ""
    way = way or (f"sweep.until={settings.until}" if settings.until else "")
    if way and len({*places}) > 1:
        (one, *_, other) = dict.fromkeys(" ".join(f"{key}={value}" for key, value in place) for place in places)
        raise ConfigError(
            f"{way}: scores at {one} and at {other} cannot be compared, so that nothing can be chosen between them"
            " while the study runs: give each one a command of its own"
        )
    return left


def _labels(study: Manifest, points: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return the names of arms within the blocks, where the arms that become one have one name."""
    if not study.labels:
        return {}
    found: dict[str, set[str]] = {}
    whole = arm_names([arm_of(entry.point) for entry in study.entries], {})
    short = arm_names([arm_of(point) for point in points], {})
    pairs = [*zip(whole, short, strict=True)]
    pairs += [
        (entry.point[ARM], point[ARM])
        for entry, point in zip(study.entries, points, strict=True)
        if ARM in point and ARM in entry.point
    ]
    for old, new in pairs:
        if old in study.labels:
            found.setdefault(new, set()).add(study.labels[old])
    return {new: names.pop() for new, names in found.items() if len(names) == 1}
