"""The differences between the arms of a study besides what is compared, found before anything is trained."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from trainer.config.run_config import RunConfig
from trainer.config.schema import GROUPS
from trainer.data.images import Images
from trainer.data.loader import DeviceLoader, load
from trainer.runtime.files import expanded
from trainer.study.axes import ARM, corners, plain_override
from trainer.study.plan import Plan, PlannedRun
from trainer.training.build import build_network, pick_device

PARAMETER_TOLERANCE = 0.01  # networks within 1 % count as equally large
LENGTH_SETTINGS = ("epochs", "batch_size")
EARLY_STOPPING = ("early_stop_patience", "early_stop_min_delta", "validate_every")
TUNED_SETTINGS = ("lr", "weight_decay", "dropout")  # tuned for a technique, beside its own options

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Fairness:
    """Sentences on differences that were not asked for, `unfair`, and on `consequences` of what is varied."""

    unfair: tuple[str, ...]
    consequences: tuple[str, ...]


@dataclass(frozen=True)
class _Finding:
    """A difference between two arms; `asked` if it follows from what is varied, `weight` orders them by size."""

    asked: bool
    weight: float
    sentence: str


def loaded(config: RunConfig) -> Images:
    """Return the images of a run's data set."""
    return load(config.dataset, expanded(config.data_dir), pick_device(config.device))


def examine(plan: Plan, images: Callable[[RunConfig], Images] = loaded) -> Fairness:
    """Compare runs that differ along one axis only, axis by axis; of a search those at the ends of each axis.

    Raises ConfigError as reading the data does.
    """
    runs, facts_of = _representatives(plan), _FactsOfRuns(images)
    findings = list[_Finding]()
    for axis in plan.axes:
        strongest: dict[str, _Finding] = {}  # one sentence for each thing that differs, where it differs most
        # Within a group all else is equal, so that a difference is due to this axis.
        for group in _along(runs, axis.key):
            varied = _varied([run.point[axis.key] for run in group], axis.key)
            for what, finding in _differences(group, axis.key, varied, [facts_of(run.config) for run in group]):
                if what not in strongest or finding.weight > strongest[what].weight:
                    strongest[what] = finding
        findings += strongest.values()
        findings += _tuning(axis.texts if axis.key == ARM else ())
        findings += _unequal_budgets(plan, axis.key, bool(axis.texts))
    sentences = [
        dict.fromkeys(finding.sentence for finding in findings if finding.asked is asked) for asked in (False, True)
    ]
    return Fairness(*map(tuple, sentences))


def _representatives(plan: Plan) -> Sequence[PlannedRun]:
    """Return all runs of a grid; of a search a corner of its space and those that differ from it in one axis."""
    if plan.runs:
        return plan.runs
    # One axis at a time, so that every pair differs in one axis only.
    first = next(corners(plan.axes))
    points = [first, *({**first, axis.key: text} for axis in plan.axes for text in axis.corners()[1:])]
    return [run for point in points for run in plan.runs_at(point)]


def _along(runs: Sequence[PlannedRun], key: str) -> Iterator[list[PlannedRun]]:
    """Yield the groups of runs that have everything but this axis in common, seed and fold included."""
    groups: dict[Any, list[PlannedRun]] = {}
    for run in runs:
        groups.setdefault(tuple(sorted((k, text) for k, text in run.point.items() if k != key)), []).append(run)
    return (group for group in groups.values() if len(group) > 1)


def _varied(texts: Sequence[str], key: str) -> set[str]:
    """Return the settings in which these values of an axis differ."""
    words = [
        dict(word.split("=", 1) for word in plain_override(text).split(" ")) if key == ARM else {key: text}
        for text in texts
    ]
    return {name for arm in words for name in arm if len({other.get(name) for other in words}) > 1}


class _FactsOfRuns:
    """The facts of a run; data are read and split, and networks built, once for all runs that share them."""

    def __init__(self, images: Callable[[RunConfig], Images]) -> None:
        self.images = images
        self.data: dict[str, Images] = {}
        self.parameters: dict[str, int] = {}

    def __call__(self, config: RunConfig) -> Facts:
        training = self._training(config)
        steps = config.epochs * len(DeviceLoader(training, config.batch_size, torch.device("cpu")))
        return {
            "steps": steps,
            "images": config.epochs * len(training),
            "parameters": self._parameters(config, training),
            "data": config.dataset.name,
            "split": (config.split_seed, tuple(sorted(config.dataset.shared.items(), key=str))),
            "seed": config.seed,
            "stopping": tuple(getattr(config, name) for name in EARLY_STOPPING),
        }

    def _training(self, config: RunConfig) -> Images:
        """Return as many images as would be trained on, of the same shape and classes, without the pixels."""
        key = f"{config.dataset} {config.split_seed} {config.data_dir}"
        if key not in self.data:
            images = self.images(config)
            training, _ = config.dataset.shared_function()(images, config.split_seed)
            # One blank image stands for all: the labels index it, and only shapes and counts are used.
            blank = torch.zeros(1, *images.shape, dtype=torch.uint8)
            labels = torch.zeros(len(training), dtype=torch.int64)
            self.data[key] = Images(blank, labels, images.classes, labels)
        return self.data[key]

    def _parameters(self, config: RunConfig, training: Images) -> int:
        key = f"{config.model} {config.activation} {config.normalization} {training.shape} {training.classes}"
        if key not in self.parameters:
            # The statistics of normalization do not change the number of parameters: any will do.
            nothing = torch.zeros(training.shape[0])
            with torch.random.fork_rng(devices=[]):  # the check leaves the global random state as it was
                network = build_network(config, training.shape, training.classes, nothing, nothing + 1)
            self.parameters[key] = sum(parameter.numel() for parameter in network.parameters())
        return self.parameters[key]


def _differences(
    group: Sequence[PlannedRun], key: str, varied: set[str], facts: Sequence[Facts]
) -> Iterator[tuple[str, _Finding]]:
    """Yield (the differing fact, its finding) among runs that have all but one axis in common."""
    names = [plain_override(run.point[key]) for run in group]
    datas = {name for name in varied if name.split(".")[0] == "dataset"}
    length = varied <= {*LENGTH_SETTINGS, *datas}
    figures = {what: [run[what] for run in facts] for what in facts[0]}
    for what, tail, verb, noun, asked, tolerance in (
        ("steps", ": a longer training is compared, too", "trains", "steps", length, 0.0),
        ("images", ": more images are seen, too", "sees", "images", length, 0.0),
        ("parameters", ": a larger network is compared, too", "has", "parameters", _sized(varied), PARAMETER_TOLERANCE),
    ):
        values = figures[what]
        most, least = max(values), min(values)
        if what == "images" and most * min(figures["steps"]) == least * max(figures["steps"]):
            continue  # the sentence about the steps already says it
        # The two extremes stand for the group: the other arms lie between them.
        if most > least * (1 + tolerance):
            first, second = names[values.index(most)], names[values.index(least)]
            more = f" ({most / least - 1:+.0%})" if most < 2 * least else ""
            sentence = f"{first} {verb} {_number(most)} {noun}, {second} {_number(least)}{more}{'' if asked else tail}"
            yield what, _Finding(asked, most / least, sentence)
    for what, asked, sentence in (
        ("data", True, "{} and {} are different data: their scores cannot be compared with each other"),
        ("split", False, "{} and {} are scored on different images: their split differs"),
        ("seed", False, "{} and {} have different seeds: give every arm the same ones, as seed=0,1,2"),
        ("stopping", False, "{} and {} stop early by different rules: " + ", ".join(EARLY_STOPPING)),
    ):
        values = figures[what]
        other = next((place for place, value in enumerate(values) if value != values[0]), None)
        # Other data are split otherwise, too; rules that are varied on purpose are the comparison itself.
        said = (what == "split" and len(set(figures["data"])) > 1) or (
            what == "stopping" and varied <= {*EARLY_STOPPING}
        )
        if other is not None and not said:
            yield what, _Finding(asked, 1.0, sentence.format(names[0], names[other]))
    # An optimizer is compared fairly at the learning rate that suits it (Choi et al. 2019).
    rates = {run.config.lr for run in group}
    if "optimizer" in varied and len(rates) == 1 and not any("lr" in run.point for run in group):
        sentence = f"The optimizers are compared at one learning rate, {rates.pop():g}: it suits some of them better"
        yield "lr", _Finding(True, 1.0, sentence)


def _sized(varied: set[str]) -> bool:
    """Return whether the size of the network is compared on purpose: the model is varied, or its input."""
    return any(name.split(".")[0] in ("model", "dataset") for name in varied)


def _tuning(arms: Sequence[str]) -> Iterator[_Finding]:
    """Yield a finding if some techniques are tried at more values of their tuned settings than others."""
    words = [plain_override(text).split(" ") for text in arms]
    tries = Counter(" ".join(word for word in arm if word.split("=")[0] not in TUNED_SETTINGS) for arm in words)
    tries.pop("", None)  # these arms vary nothing but the tuned values
    if tries and max(tries.values()) > min(tries.values()):
        (most, many), (least, few) = tries.most_common()[0], tries.most_common()[-1]
        sentence = (
            f"{most} is tried with {many} settings, {least} with {few}: the best of more tries looks better by luck"
        )
        yield _Finding(False, 1.0, sentence)


def _unequal_budgets(plan: Plan, key: str, listed: bool) -> Iterator[_Finding]:
    """Yield a finding if a search by tpe tries some techniques more often than others."""
    if plan.settings.method == "tpe" and listed and key in GROUPS:
        sentence = (
            f"sweep.method=tpe tries each {key} the more often the better it does: their tuning budgets differ. To"
            " compare them search for each apart, with the same sweep.trials"
        )
        yield _Finding(True, 1.0, sentence)


def _number(value: int) -> str:
    """Return the number with blanks between thousands: 1 234 567."""
    return f"{value:,}".replace(",", " ")
