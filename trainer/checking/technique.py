"""All checks of one technique, and their outcome as a row of a table."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from trainer.checking import augmentation, common, dataset, measure, network, optimizer, schedule
from trainer.checking.subject import Subject, stirred, told
from trainer.config.schema import GROUPS, REQUIRED
from trainer.config.types import describe

Check = Callable[[Subject], str | None]
OK, FAILED, NONE = "ok", "FAILED", "—"
COLUMNS = ("seed", "resume", "random", "bf16")

# Of each group what it promises beside the columns that all have.
CONTRACTS: dict[str, tuple[Check, ...]] = {
    "dataset": dataset.CHECKS,
    "preprocessing": network.PREPROCESSING,
    "model": (*network.MODEL, common.passes),
    "activation": network.ACTIVATION,
    "normalization": network.NORMALIZATION,
    "init": network.INIT,
    "optimizer": (*optimizer.CHECKS, common.passes),
    "scheduler": schedule.SCHEDULER,
    "regularization": (*schedule.REGULARIZATION, common.passes),
    "augmentation": augmentation.CHECKS,
    "loss": measure.LOSS,
    "metric": measure.METRIC,
}
assert CONTRACTS.keys() == GROUPS.keys()


@dataclass
class Row:
    """The outcome of all checks of a technique.

    `cells`: by column; `contract`: [kept, checked] of the promises of its group; `failures`: a sentence each.
    """

    title: str
    place: str
    cells: dict[str, str] = field(default_factory=dict)
    contract: list[int] = field(default_factory=lambda: [0, 0])
    step: str = NONE
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def texts(self) -> list[str]:
        """The cells of the row."""
        kept, count = self.contract
        contract = f"{kept} of {count}" if count else NONE
        return [self.title, *(self.cells.get(name, NONE) for name in COLUMNS), contract, self.step]


def checked(subject: Subject) -> Row:
    """Check one technique. The global random generators are afterwards what they were.

    Raises ConfigError for settings of the command line that do not suit it.
    """
    with stirred(0):
        return _row(subject)


def _row(subject: Subject) -> Row:
    row = Row(f"{subject.group}={subject.name}", subject.function.place)
    missing = _missing(subject, row)
    if subject.settings and not missing:
        _ = subject.config  # composed here: a mistake in a setting is none of the technique
    if missing or not passes(subject, row, _builds):
        row.contract[1] = len(CONTRACTS[subject.group])
        return row
    for check in CONTRACTS[subject.group]:  # first: of one mistake it is told what it breaks first
        row.contract[1] += 1
        row.contract[0] += passes(subject, row, check)
    for column, check in _columns(subject.group).items():
        row.cells[column] = OK if passes(subject, row, check) else FAILED
    if not row.failures:
        row.step = common.step_time(subject)
    return row


def _columns(group: str) -> dict[str, Check]:
    if group == "dataset":
        return {"seed": dataset.reads_the_same, "random": dataset.reads_without_global_draws}
    checks = (common.same_bits, common.resumed, common.no_global_draws, common.half_precision)
    return dict(zip(COLUMNS, checks, strict=True))


def _missing(subject: Subject, row: Row) -> bool:
    """Say how an option without a default is given, if one is missing."""
    given = {text.partition("=")[0].rpartition(".")[2] for text in subject.settings}
    listed = f"{subject.name}." if GROUPS[subject.group].listed else ""
    for name, (kind, default) in subject.function.parameters.items():
        if default is REQUIRED and name not in given and not _in_yaml(subject, name):
            key = f"{subject.group}.{listed}{name}"
            row.failures.append(f"{key} has no default, it must be {describe(kind)}: add {key}=VALUE to this command")
    return bool(row.failures)


def _in_yaml(subject: Subject, name: str) -> bool:
    import yaml

    file = subject.own.conf and subject.own.conf / subject.group / f"{subject.name}.yaml"
    if not file or not file.is_file():
        return False
    tree = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    options = tree.get(subject.name) if GROUPS[subject.group].listed else tree
    return isinstance(options, dict) and options.get(name, "???") != "???"


def _builds(subject: Subject) -> str | None:
    """Compose the run and build all of it, so that a mistake at the start is told once."""
    subject.trainer()
    return None


def passes(subject: Subject, row: Row, check: Check) -> bool:
    """Return whether a check passes; note what it says, or why it fails."""
    try:
        note = check(subject)
    except Exception as error:
        reason = told(subject, error)
    else:
        row.notes += [note] if note and note not in row.notes else []
        return True
    what = "" if check is _builds else f"{check.__name__.replace('_', ' ')}: "
    # One mistake may break several promises, with batches of other sizes.
    if not any(_without_numbers(each).endswith(_without_numbers(reason)) for each in row.failures):
        row.failures.append(f"{what}{reason}")
    return False


def _without_numbers(text: str) -> str:
    return re.sub(r"\d+", "", text)
