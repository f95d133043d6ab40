"""The fairness check: differences between the arms of a study beside those it compares, found before any training."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from trainer.config.run_config import RunConfig
from trainer.data.images import Images
from trainer.data.loader import DeviceLoader, load
from trainer.errors import ConfigError
from trainer.runtime.files import expanded
from trainer.study.axes import ARM, corners, override_key, plain_override
from trainer.study.blocks import Place, grouped
from trainer.study.fair_budget import unequal_search
from trainer.study.fair_compute import unequal_compute
from trainer.study.fair_slots import ignored_by_some
from trainer.study.gradients import forwards_of, gradients_of
from trainer.study.plan import Plan, PlannedRun, plain
from trainer.study.tuning import tuned_arms
from trainer.techniques.layers import Slots
from trainer.training.build import pick_device
from trainer.training.network import build_network, ignored_slots

PARAMETER_TOLERANCE = 0.01  # relative: networks within 1 % count as equally large
LENGTH_SETTINGS = ("epochs", "batch_size")
EARLY_STOPPING = ("early_stop_patience", "early_stop_min_delta", "validate_every")
TUNED_SETTINGS = ("lr", "weight_decay", "dropout")  # settings that are tuned for a technique, beside its own options
# What the training images are, while the validation images stay the same.
DATA_AXES = tuple(f"dataset.{name}" for name in ("train_size", "imbalance", "label_noise", "label_noise_kind"))
SPLIT = ("validation_size", "folds", "fold")
CAVEAT = ", which may explain a difference between them"

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Fairness:
    """The differences, a sentence each: unintended ones (`unfair`), and those that the varied setting implies."""

    unfair: tuple[str, ...]
    consequences: tuple[str, ...]


@dataclass(frozen=True)
class _Finding:
    intended: bool  # it follows from the varied setting itself
    weight: float  # ratio of the largest to the smallest value, 1 where there is no size
    sentence: str


def loaded(config: RunConfig) -> Images:
    """Return the data of a run. Raises ConfigError."""
    return load(config.dataset, expanded(config.data_dir), pick_device(config.device))


def examine(plan: Plan, images: Callable[[RunConfig], Images] = loaded) -> Fairness:
    """Compare runs that differ along one axis only, axis by axis; of a search the ends of each axis.

    `images` reads the data of a run. Raises ConfigError if they cannot be read.
    """
    runs, reckon = _representatives(plan), _Reckoning(images)
    blocks = _blocks(plan, runs)
    findings = [*_several(blocks)]
    given = {override_key(text) for text in plan.arguments}
    for axis in plan.axes:
        strongest: dict[str, _Finding] = {}  # one sentence for each quantity, from the runs where it differs most
        for group in _along(runs, axis.key, blocks):
            varied = _varied(plan, [run.point[axis.key] for run in group], axis.key)
            for quantity, finding in _differences(group, axis.key, varied, [reckon(run.config) for run in group]):
                if quantity not in strongest or finding.weight > strongest[quantity].weight:
                    strongest[quantity] = finding
            findings += _losses(group, axis.key)
            names, configs = [plain_override(run.point[axis.key]) for run in group], [run.config for run in group]
            findings += [_Finding(False, 1.0, text) for text in ignored_by_some(names, configs, given, images)]
        findings += strongest.values()
        # The arms of an ablation have no tries: each lacks another technique.
        findings += _tuning(axis.texts if axis.key == ARM and not plan.sweep.ablation else ())
        findings += _searched(plan, axis.key)
    if any(axis.key == "epochs" for axis in plan.sweep.tuned):
        findings.append(_Finding(False, 1.0, "tune.epochs lets each arm be trained for another number of epochs"))
    # Dictionaries, so that a sentence of two axes occurs once and the order stays.
    sentences = [{each.sentence: None for each in findings if each.intended is intended} for intended in (False, True)]
    return Fairness(*map(tuple, sentences))


def _representatives(plan: Plan) -> Sequence[PlannedRun]:
    """Return all runs of a grid; of a search one corner, and the points that leave it along one axis."""
    if plan.runs:
        return plan.runs
    if plan.sweep.tuned:
        return [run for arm in tuned_arms(plan) for run in plan.runs_at(arm)]
    first = next(corners(plan.axes))
    points = [first, *({**first, axis.key: text} for axis in plan.axes for text in axis.corners()[1:])]
    return [run for point in points for run in plan.runs_at(point)]


def refuse_ignored_settings(plan: Plan, images: Callable[[RunConfig], Images] = loaded) -> None:
    """Raise ConfigError if an axis varies a setting that a model has no place for: its arms would be the same network.

    `images` reads the data of a run, which happens only for an axis of such settings.
    """
    axes = [_varied(plan, axis.texts, axis.key) if axis.texts else {axis.key} for axis in plan.axes]
    # Arms with another model each vary more than the setting.
    varied = {key.partition(".")[0] for axis in axes if "model" not in axis for key in axis}
    if not varied.intersection(Slots.NAMES):
        return
    for config in {str(run.config.model): run.config for run in _representatives(plan)}.values():
        if same := sorted(varied.intersection(ignored_slots(config, images(config)))):
            advice = f". A model that has one reads slots.{same[0]}" if config.model.own else ""
            raise ConfigError(
                f"{same[0]} is varied, and model={config.model.name} has no place for it: its runs would be the same"
                f"{advice}"
            )


def _blocks(plan: Plan, runs: Sequence[PlannedRun]) -> list[Place]:
    """Return the block of each run, as another data set: arms are compared within a block only."""
    named = plan.settings.block_keys
    return grouped([plain(run.point) for run in runs], lambda index: runs[index].config.tree(), named)


def _several(blocks: Sequence[Place]) -> Iterator[_Finding]:
    """Yield a finding if there are several blocks."""
    names = [" ".join(f"{key}={value}" for key, value in block) for block in dict.fromkeys(blocks)]
    if len(names) > 1:
        listed = f"{', '.join(names[:-1])} and {names[-1]}"
        sentence = f"scores are compared within each of {listed}, and never between them"
        yield _Finding(True, 1.0, sentence)


def _along(runs: Sequence[PlannedRun], key: str, blocks: Sequence[Place]) -> Iterator[list[PlannedRun]]:
    """Yield groups of runs of one block that differ along this axis alone; their seed and fold are equal."""
    groups: dict[Any, list[PlannedRun]] = {}
    for run, block in zip(runs, blocks, strict=True):
        others = tuple(sorted((k, text) for k, text in run.point.items() if k != key))
        groups.setdefault((block, others), []).append(run)
    return (group for group in groups.values() if len(group) > 1)


def _varied(plan: Plan, texts: Sequence[str], key: str) -> set[str]:
    """Return the settings in which these values of an axis differ, override texts or names of arms."""
    named = plan.sweep.ablation.words if plan.sweep.ablation else {}
    arms = [named.get(text) or text.split(" ") for text in texts] if key == ARM else []
    words = [{override_key(word).lstrip("~"): word for word in arm} for arm in arms] or [{key: text} for text in texts]
    return {name for each in words for name in each if len({other.get(name) for other in words}) > 1}


class _Reckoning:
    """The computation of a run's facts. Runs with the same data or network share one reading, split and building."""

    def __init__(self, images: Callable[[RunConfig], Images]) -> None:
        self.images = images
        self.data: dict[str, Images] = {}  # {data and split: training images without their pixels}
        self.parameters: dict[str, int] = {}  # {network and data: count}

    def __call__(self, config: RunConfig) -> Facts:
        """Return the facts of a run that are compared."""
        training = self._training(config)
        # The loader itself counts: a single image that is left over is no batch of its own.
        steps = config.epochs * len(DeviceLoader(training, config.batch_size, torch.device("cpu")))
        return {
            "steps": steps,
            "images": config.epochs * len(training),
            "parameters": self._parameters(config, training),
            "gradients": gradients_of(config.optimizer),
            "forwards": forwards_of(config.regularization),
            "split": (config.split_seed, *(config.dataset.shared[name] for name in SPLIT)),
            "training": tuple(config.dataset.shared[name.partition(".")[2]] for name in DATA_AXES),
            "seed": config.seed,
            "stopping": tuple(getattr(config, name) for name in EARLY_STOPPING),
        }

    def _training(self, config: RunConfig) -> Images:
        """Return the training images with their number, shape and classes, but without their pixels."""
        key = f"{config.dataset} {config.split_seed} {config.data_dir}"
        if key not in self.data:
            images = self.images(config)
            training, _ = config.dataset.shared_function()(images, config.split_seed)
            # One black image that all labels share: the data sets of all arms would not fit the memory.
            blank = torch.zeros(1, *images.shape, dtype=torch.uint8)
            labels = torch.zeros(len(training), dtype=torch.int64)
            self.data[key] = Images(blank, labels, training.classes, labels)
        return self.data[key]

    def _parameters(self, config: RunConfig, training: Images) -> int:
        """Return the number of parameters of the run's network."""
        changes = [choice for choice in config.regularization if choice.changes_network]
        parts = f"{config.preprocessing} {config.model} {config.activation} {config.normalization} {changes}"
        key = f"{parts} {training.shape} {training.classes}"
        if key not in self.parameters:
            with torch.random.fork_rng(devices=[]):  # building draws weights: the caller's generator stays as it is
                network = build_network(config, training.shape, training.classes)
            self.parameters[key] = sum(parameter.numel() for parameter in network.parameters())
        return self.parameters[key]


def _differences(
    group: Sequence[PlannedRun], key: str, varied: set[str], facts: Sequence[Facts]
) -> Iterator[tuple[str, _Finding]]:
    """Yield the quantities that differ between runs along one axis, each with its finding."""
    names = [plain_override(run.point[key]) for run in group]
    data_settings = {name for name in varied if name.split(".")[0] == "dataset"}
    # Only where nothing but the length or the data varies is another number of steps the question itself.
    length = varied <= {*LENGTH_SETTINGS, *data_settings}
    figures = {quantity: [each[quantity] for each in facts] for quantity in facts[0]}
    for quantity, verb, noun, intended, tolerance in (
        ("steps", "trains", "steps", length, 0.0),
        ("images", "sees", "images", length, 0.0),
        ("parameters", "has", "parameters", _sized(varied), PARAMETER_TOLERANCE),
    ):
        values = figures[quantity]
        most, least = max(values), min(values)
        if quantity == "images" and most * min(figures["steps"]) == least * max(figures["steps"]):
            continue  # the same ratio as that of the steps, which have a sentence already
        if most > least * (1 + tolerance):
            first, second = names[values.index(most)], names[values.index(least)]
            more = f" ({most / least - 1:+.0%})" if most < 2 * least else ""  # else the numbers suffice
            numbers = f"{first} {verb} {_number(most)} {noun}, {second} {_number(least)}{more}"
            sentence = numbers if intended else numbers + CAVEAT
            yield quantity, _Finding(intended, most / least, sentence)
    asked = {"stopping": {*EARLY_STOPPING}, "training": {*DATA_AXES}}
    for quantity, intended, sentence in (
        ("split", False, "{} and {} are scored on different images: their split differs"),
        ("training", False, "{} and {} are trained on other images or labels: " + ", ".join(DATA_AXES)),
        ("seed", False, "{} and {} have different seeds: give every arm the same ones, as seed=0,1,2"),
        ("stopping", False, "{} and {} stop early by different rules: " + ", ".join(EARLY_STOPPING)),
    ):
        values = figures[quantity]
        other = next((place for place, value in enumerate(values) if value != values[0]), None)
        implied = varied <= asked.get(quantity, set())  # rules or images that are varied alone are the question itself
        if other is not None and not implied:
            yield quantity, _Finding(intended, 1.0, sentence.format(names[0], names[other]))
    for quantity, ratio, sentence in unequal_compute(
        names, figures["gradients"], figures["forwards"], figures["steps"]
    ):
        yield quantity, _Finding(True, ratio, sentence)
    # The best learning rate of SGD is often a hundred times that of Adam: one rate for both favours one of them.
    rates = {run.config.lr for run in group}
    if "optimizer" in varied and len(rates) == 1 and not any("lr" in run.point for run in group):
        sentence = f"The optimizers are compared at one learning rate, {rates.pop():g}: it suits some of them better"
        yield "lr", _Finding(True, 1.0, sentence)


def _losses(group: Sequence[PlannedRun], key: str) -> Iterator[_Finding]:
    """Yield a finding if runs minimize different losses, by which each chooses its best epoch."""
    other = next((run for run in group if run.config.loss != group[0].config.loss), None)
    if other:
        first, second = (plain_override(run.point[key]) for run in (group[0], other))
        sentence = f"{first} and {second} minimize different losses: each has its best epoch, and stops, by its own"
        yield _Finding(True, 1.0, sentence)


def _sized(varied: set[str]) -> bool:
    """Return whether another size of the network is implied: the model varies, or the data that determine its ends."""
    return any(name.split(".")[0] in ("model", "dataset") for name in varied)


def _tuning(arms: Sequence[str]) -> Iterator[_Finding]:
    """Yield a finding if one technique is tried with more tuned settings than another."""
    # An arm without its tuned settings is the technique; count the arms of each.
    words = [plain_override(text).split(" ") for text in arms]
    tries = Counter(" ".join(word for word in each if word.split("=")[0] not in TUNED_SETTINGS) for each in words)
    tries.pop("", None)  # these arms vary tuned settings alone
    if tries and max(tries.values()) > min(tries.values()):
        (most, many), (least, few) = tries.most_common()[0], tries.most_common()[-1]
        sentence = (
            f"{most} is tried with {many} settings, {least} with {few}: the best of more tries looks better by luck"
        )
        yield _Finding(False, 1.0, sentence)


def _searched(plan: Plan, key: str) -> Iterator[_Finding]:
    """Yield a finding if a search tries some techniques more often than others."""
    if sentence := unequal_search(plan, key):
        yield _Finding(False, 1.0, sentence)


def _number(value: int) -> str:
    """Return the number in groups of three digits: "1 234 567"."""
    return f"{value:,}".replace(",", " ")
