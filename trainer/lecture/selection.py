"""The runs of a study that a statement compares, and what it measures of them. Imports no torch."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import yaml

from trainer.config.recorded import typed_settings
from trainer.errors import ConfigError
from trainer.lecture.claim import Claim, Statement
from trainer.lecture.judge import Measured
from trainer.lecture.measuring.measured import measured as value_of
from trainer.lecture.measuring.runs import RunRecord
from trainer.lecture.named import Named, measures_of, unit_of
from trainer.records.target import steps_of
from trainer.study.axes import ARM, REPLICATES
from trainer.study.plan import Plan, plain

Runs = Mapping[str, Mapping[str, RunRecord]]  # value of the further setting, "" without one → seed → run


Run = TypeVar("Run")


class Settings(dict[str, Any]):
    """The settings of a run as typed, and the words of its arm under `arm`."""

    @classmethod
    def of(cls, config: Mapping[str, Any], point: Mapping[str, str], labels: Mapping[str, str]) -> "Settings":
        """Return the settings of a run in a study, whose named arms are `labels`."""
        arm = point.get(ARM)
        return cls({**typed_settings(config), **({} if arm is None else {ARM: labels.get(arm, arm)})})

    def fits(self, words: str) -> bool:
        """Return whether the run has these settings: "normalization=batch lr=0.1". Raises ConfigError for others."""
        return all(_same(self.value(key), text, key) for key, text in pairs(words))

    def value(self, key: str) -> Any:
        """Return the value of a setting; None if this run has none of this name, as an option of another technique."""
        return self.get(key)

    def text(self, keys: str) -> str:
        """Return the value of a setting as text; of several, "lr dropout", the pairs "lr=0.01 dropout=0.2"."""
        first, *others = keys.split() or [keys]
        if not others:
            return _text(self.value(first))
        return " ".join(f"{key}={_text(self.value(key))}" for key in (first, *others))

    @property
    def seed(self) -> str:
        """The replicate: the seed, with fold and split where they are others."""
        return "/".join(str(self.get(key)) for key in reversed(REPLICATES) if self.get(key) is not None)


def pairs(words: str) -> Iterator[tuple[str, str]]:
    """Yield (setting, value) of the words that choose an arm. Raises ConfigError for a word without `=`."""
    if words.startswith(f"{ARM}="):  # the name of an arm may have spaces
        yield ARM, words.partition("=")[2]
        return
    for word in words.split():
        key, equals, value = word.partition("=")
        if not (key and equals):
            raise ConfigError(f"arms: {words}: must be settings such as normalization=batch, or arm=NAME")
        yield key, value


def _same(recorded: Any, text: str, key: str) -> bool:
    if key == ARM:
        return str(recorded) == text
    value = yaml.safe_load(text) if text else text
    if isinstance(recorded, list) and not isinstance(value, list):
        value = [] if value in ("none", None) else [value]
    if recorded in (None, "none") and value in (None, "none"):
        return True
    return _plain(recorded) == _plain(value)


def _plain(value: Any) -> Any:
    """Return numbers as numbers, also where YAML reads 1e-3 as a text."""
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, bool) or value is None:
        return value
    try:
        return float(value)
    except (TypeError, ValueError):
        return str(value)


def refuse_unfit(claim: Claim, plan: Plan) -> None:
    """Raise ConfigError if a statement chooses no run of a plan, or reduces over what does not vary in it.

    The runs of a search are not known before it.
    """
    records = [(Settings.of(run.config.tree(), plain(run.point), plan.sweep.labels), run) for run in plan.runs]
    for statement in claim.statements if records else ():
        arms, over = chosen(statement, records), statement.over
        if over is None:
            continue
        if all(len(runs) == 1 for runs in arms.values()):
            value = next(iter(arms[statement.arms[0]]))
            told = f"{over.setting} has one value in each arm, {value}: name one that varies in the study"
            raise ConfigError(f"over: setting: {told}")
        for runs in arms.values():  # the reduction tells of a value that the axis lacks
            over.call("reduction", *[dict.fromkeys(runs, 1.0)] * measures_of(over.take))


def chosen(statement: Statement, records: Sequence[tuple[Settings, Run]]) -> dict[str, dict[str, dict[str, Run]]]:
    """Return {arm: {value of the further setting: {seed: run}}} of a statement.

    Raises ConfigError if an arm chooses no run, or several of one seed.
    """
    found: dict[str, dict[str, dict[str, Run]]] = {}
    for words in statement.arms:
        mine: dict[str, dict[str, Run]] = {}
        for settings, record in records:
            if not settings.fits(words):
                continue
            value = settings.text(statement.over.setting) if statement.over else ""
            seeds = mine.setdefault(value, {})
            if settings.seed in seeds:
                raise ConfigError(
                    f"arms: {words}: chooses several runs of seed {settings.seed}. Name more settings, or reduce over"
                    " one: over: {take: mean, setting: …}"
                )
            seeds[settings.seed] = record
        if not mine:
            raise ConfigError(f"arms: {words}: the study has no such run. Accepted are settings that its runs have")
        found[words] = mine
    return found


def measured(statement: Statement, arms: Mapping[str, Runs]) -> Measured:
    """Return the values of a statement's arms by seed; what never came counts as one epoch more than the run had."""
    measure, over = statement.measure, statement.over
    measures = [measure, *([over.beside] if over and over.beside else [])]
    values: dict[str, dict[str, float]] = {}
    never = 0
    for name, runs in arms.items():
        seeds = dict.fromkeys(seed for by_seed in runs.values() for seed in by_seed)
        values[name] = {}
        for seed in seeds:
            found = [
                {value: _replaced(each, by_seed.get(seed)) for value, by_seed in runs.items()} for each in measures
            ]
            never += sum(came for _, came in found[0].values())
            numbers = [{value: number for value, (number, _) in each.items()} for each in found]
            values[name][seed] = over.call("reduction", *numbers) if over else numbers[0][""]
    unit = (unit_of("reduction", over.take) if over else "") or unit_of("measure", measure.take)
    return Measured(values, unit if statement.unit is None else statement.unit, measure.label, never)


def _replaced(measure: Named, run: RunRecord | None) -> tuple[float, bool]:
    """Return the value of a measure in a run, and whether it stands for what never came."""
    value = measure_of(measure, run)
    longest = LONGEST.get(unit_of("measure", measure.take))
    if run is None or longest is None or value != math.inf:
        return value, False
    return longest(run), True


def _epochs(run: RunRecord) -> float:
    """Return the epochs of a run and one more."""
    return float(run.config["epochs"]) + 1


def _steps(run: RunRecord) -> float:
    """Return the steps of as many epochs; nan if a run that failed has not recorded its number of images."""
    images = run.outcome.training_images
    return math.nan if images is None else _epochs(run) * steps_of(images, int(run.config["batch_size"]))


LONGEST = {"epochs": _epochs, "steps": _steps}  # unit of a measure → the value that stands for "never"


def measure_of(measure: Named, run: RunRecord | None) -> float:
    """Return the value of a measure in a run, nan without the run or if it has none."""
    return math.nan if run is None else value_of(measure, run)


def _text(value: Any) -> str:
    if value is None or value == []:
        return "none"
    if isinstance(value, list):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)
