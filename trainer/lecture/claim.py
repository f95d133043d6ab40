"""A claim of the lecture: a YAML file of `conf/claim/` or of a course, read and checked. Imports no torch."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from trainer.config.schema import CONF
from trainer.errors import ConfigError
from trainer.lecture.formulas import names
from trainer.lecture.named import Named, measures_of
from trainer.lecture.yaml_file import read_yaml
from trainer.storage.untrusted import validate_file_name

GROUP = "claim"  # the folder below `conf/`, and below a course's own
BUDGETS = ("quick", "full", "gpu")
MORE, LESS, SAME = "more", "less", "same"
Text = Annotated[str, Field(min_length=1)]


class _Checked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class Budget(_Checked):
    """The settings of a claim's runs under a budget, beside those of its study. `seeds`: runs of each arm.

    `seconds`: the time it took on two cores; None where it was not measured.
    """

    settings: str = ""
    seeds: Annotated[int, Field(ge=1, le=1000)] = 3
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None


class Over(Named):
    """The values of a further setting, reduced to one number for each arm and seed: `take` names a reduction.

    `take`: one of the functions of `reductions.py`; its options stand beside it. `setting`: a key, or two,
    "lr dropout", whose values are pairs. `beside`: the second measure of a reduction that chooses a setting by one and
    looks at another, as `optimism` does.
    """

    setting: Text = ""
    beside: Named | None = None


class Statement(_Checked):
    """A sentence with a number behind it: a measure of one arm, or the difference of two, and the expected sign.

    `arms`: settings that choose the runs, such as "normalization=batch"; the difference is first minus second.
    `against`: the number that a single arm is held against. `least`: the smallest difference that matters (δ), in the
    measure's unit; under `expect: same` the largest that does not. `exact`: without a test, each seed must show it.
    """

    says: Text
    measure: Named
    arms: Annotated[tuple[Text, ...], Field(min_length=1, max_length=2)]
    over: Over | None = None
    expect: Literal["more", "less", "same"] = "more"
    least: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    against: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    exact: bool = False
    unit: str | None = None  # None: that of the measure, or of the reduction

    @model_validator(mode="after")
    def _compares(self) -> "Statement":
        if len({*self.arms}) < len(self.arms):
            raise ValueError(f"arms: {self.arms[0]} is named twice: two others, or one that is held against a number")
        return self


class Picture(_Checked):
    """The figure of a claim. curves: a figure by epoch, a line for each arm; factor: a measure by a setting's values.

    values: a dot for each run, by arm. `figure`: of an epoch, for curves; else the measure of statement `statement`.
    """

    kind: Literal["curves", "factor", "values"] = "values"
    figure: str = "validation_accuracy"
    statement: Annotated[int, Field(ge=1)] = 1
    caption: str = ""


class Claim(_Checked):
    """A claim of the notes, with the study or the demonstration that tests it.

    `note` and `line`: where it stands; `also`: further places, "002:156". `claim`: its content in the project's words.
    `formula`: the name of one of `formulas`. `study`: the words of a multirun, to which those of the budget and the
    seeds are added. `experiments`: those of `conf/experiment/` that end with its verdict. `next`: one thing to try
    after it. `why`: the reason of a verdict, by budget, where it was looked into.
    """

    name: Text
    note: Text
    line: Annotated[int, Field(ge=1)]
    also: tuple[Text, ...] = ()
    title: Text
    claim: Text
    formula: str | None = None
    study: str | None = None
    experiments: tuple[Text, ...] = ()
    demonstration: Named | None = None
    budgets: dict[Literal["quick", "full", "gpu"], Budget] = {}
    statements: tuple[Statement, ...] = ()
    pictures: tuple[Picture, ...] = (Picture(),)
    next: Text
    why: dict[Literal["quick", "full", "gpu"], Text] = {}

    @model_validator(mode="after")
    def _has_one_test(self) -> "Claim":
        if (self.study is None) == (self.demonstration is None):
            raise ValueError("study, demonstration: one of them is needed, and not both")
        if self.study is not None and not (self.budgets and self.statements):
            raise ValueError("study: needs budgets and statements")
        count = len(self.statements)
        if self.study is not None and (wrong := [each.statement for each in self.pictures if each.statement > count]):
            raise ValueError(f"pictures: statement={wrong[0]}: must be from 1 to {count}, the number of its statements")
        return self

    @property
    def places(self) -> str:
        """The notes and lines where it stands: "000:207, 002:156"."""
        return ", ".join([f"{self.note}:{self.line}", *self.also])


def claim_files(folders: Iterable[Path] = (), shipped: bool = True) -> dict[str, Path]:
    """Return {claim: its file}, by name; those of `folders` go first, those of `conf/claim/` last if `shipped`."""
    places = [*folders, *([CONF / GROUP] if shipped else [])]
    files = {path.stem: path for folder in reversed(places) for path in folder.glob("*.yaml") if path.is_file()}
    return dict(sorted(files.items()))


def read_claim(path: Path) -> Claim:
    """Read and check a claim. Raises ConfigError with the file, the key and what would be accepted."""
    tree = read_yaml(path)
    if not isinstance(tree, Mapping):
        raise ConfigError(f"{path}: must hold the keys of a claim: {_keys(Claim)}")
    try:
        validate_file_name(path.stem)  # its results and its study have the name of the file
    except ValueError:
        accepted = "letters, digits, dot, dash and underscore, the first one a letter or digit, at most 201"
        raise ConfigError(f"{path}: the name of a claim's file must be of {accepted}") from None
    try:
        claim = Claim.model_validate({**tree, "name": path.stem})
    except ValidationError as error:
        raise ConfigError(f"{path}: {_first(error)}") from None
    if claim.formula not in (None, *names()):
        known = ", ".join(names())
        raise ConfigError(f"{path}: formula={claim.formula}: there is none of this name. Accepted: {known}")
    if claim.demonstration:
        claim.demonstration.check("demonstration", path)
    for statement in claim.statements:
        statement.measure.check("measure", path)
        if statement.over:
            statement.over.check("reduction", path)
            _check_beside(statement.over, path)
    return claim


def _check_beside(over: Over, path: Path) -> None:
    """Raise ConfigError if a reduction of two measures has one, or one of a single measure has two."""
    if over.beside:
        over.beside.check("measure", path)
    if measures_of(over.take) != 1 + (over.beside is not None):
        told = "has no second measure: leave beside out" if over.beside else "needs beside, a second measure"
        raise ConfigError(f"{path}: reduction {over.take}: {told}")


def _first(error: ValidationError) -> str:
    """Return the first mistake: its place and what is accepted."""
    found = error.errors(include_url=False)[0]
    parts = [part for part in found["loc"] if part != "[key]"]
    place = ".".join(str(part + 1) if isinstance(part, int) else str(part) for part in parts)
    message = FORMS.get(found["type"], found["msg"].removeprefix("Value error, "))
    if found["type"] == "extra_forbidden":
        model = PARTS.get(str(parts[0]), Claim) if len(parts) > 1 else Claim
        message = f"there is no such key. Accepted: {_keys(model)}"
    return f"{place}: {message}" if place else message


def _keys(model: type[BaseModel]) -> str:
    return ", ".join(key for key in model.model_fields if (model, key) != (Claim, "name"))


# Key of a claim → what its values are.
PARTS: dict[str, type[BaseModel]] = {"budgets": Budget, "statements": Statement, "pictures": Picture}
# Pydantic's name of a mistake → what a person who writes YAML is told.
FORMS = {
    "tuple_type": "must be a list, as [A, B]",
    "dict_type": "must be a group of keys, as {quick: …}",
    "model_type": "must be a group of keys, as {KEY: …}, or the name of a function where one is asked for",
    "invalid_key": "must be a text",
    "missing": "is missing",
}
