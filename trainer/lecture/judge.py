"""The verdict on a claim from the values of its statements: numbers in, sentences out. Imports no torch.

Two arms are tested as the arms of a study are (`trainer/stats/trial.py`): each on its own spread, seeds as pairs from
eight on. The statements of one claim are corrected for each other in steps (Holm 1979). Where no arm has any spread, as
with decades of a rate, the test is the exact one of permutations, or of signs for a single arm.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import stdev

from trainer.lecture.claim import LESS, SAME, Claim, Statement
from trainer.lecture.content import FAILS, HOLDS, UNDECIDED, StatementResult
from trainer.lecture.titles import reduction_of
from trainer.runtime.text import counted
from trainer.stats.amounts import p_text
from trainer.stats.arms import Arm
from trainer.stats.contrast import Contrast, stepped
from trainer.stats.corrections import LEVEL
from trainer.stats.trial import MIN_RUNS, Trial, trial
from trainer.study.arm_names import are_words

Values = Mapping[str, Mapping[str, float]]  # arm → seed → the measured value, nan without one
MAX_SEEDS = 1000  # of an arm, beyond which no number is told


@dataclass(frozen=True)
class Measured:
    """The values of a statement's arms, in their order. `unit`: of the values.

    `never`: the runs in which it never came, whose value is that of one epoch more than they had.
    """

    values: Values
    unit: str
    measure: str = ""
    never: int = 0


def answers(claim: Claim, measured: Sequence[Measured]) -> tuple[StatementResult, ...]:
    """Return the answer to each statement of a claim, corrected for all of them."""
    prepared = [_Prepared.of(statement, each) for statement, each in zip(claim.statements, measured, strict=True)]
    tested = [each.contrast() for each in prepared if each.testable]
    judged = iter(stepped(tested))
    several = max(1, len(tested) + sum(each.flat for each in prepared))
    results = []
    for each in prepared:
        if each.testable:
            found = next(judged)
            results.append(_tested(each, found.half or 0.0, found.p or 0.0, several))
        else:
            results.append(_untested(each, several))
    return tuple(results)


def verdict_of(results: Sequence[StatementResult]) -> str:
    """Return the verdict of a claim: it holds if all its statements do, and does not if one of them does not."""
    verdicts = {result.verdict for result in results}
    return FAILS if FAILS in verdicts else UNDECIDED if UNDECIDED in verdicts else HOLDS


@dataclass(frozen=True)
class _Prepared:
    """A statement with the values that can be tested. `lost`: the number of those that are none."""

    statement: Statement
    measured: Measured
    arms: tuple[Arm, ...]
    lost: int
    trial: Trial | None

    @classmethod
    def of(cls, statement: Statement, measured: Measured) -> "_Prepared":
        values = {name: dict(each) for name, each in measured.values.items()}
        lost = sum(not math.isfinite(value) for each in values.values() for value in each.values())
        arms = tuple(
            Arm(name, {seed: value for seed, value in each.items() if math.isfinite(value)})
            for name, each in values.items()
        )
        return cls(statement, measured, arms, lost, _trial(arms, statement.against))

    @property
    def sign(self) -> int:
        """1 if the first arm is claimed to have more, else -1."""
        return -1 if self.statement.expect == LESS else 1

    @property
    def runs(self) -> int:
        """The number of values of each arm, the smallest one."""
        return min(len(arm.values) for arm in self.arms)

    @property
    def estimate(self) -> float | None:
        """The difference of the means; None if an arm has no value."""
        return self.trial.difference if self.trial else None

    @property
    def testable(self) -> bool:
        """True if the difference has a standard error, and a test is asked for."""
        return self.trial is not None and self.trial.error is not None and not self.statement.exact

    @property
    def flat(self) -> bool:
        """True if all values of each arm are the same, so that there is no spread to test on."""
        without = self.trial is not None and self.trial.error is None
        return without and self.runs >= MIN_RUNS and not self.statement.exact

    def contrast(self) -> Contrast:
        """Return the difference as it is corrected for the other statements."""
        assert self.trial is not None
        found = self.trial
        return Contrast(found.difference, found.runs, found.error, found.df, found.paired)

    def result(self, verdict: str, sentence: str, **figures: object) -> StatementResult:
        """Return the answer with this verdict and sentence."""
        statement, unit = self.statement, self.measured.unit
        notes = [sentence]
        if never := self.measured.never:
            notes.append(f"In {counted(never, 'run')} it never came, which counts as one epoch more than they had")
        if self.lost:
            notes.append(f"{counted(self.lost, 'value')} could not be measured")
        shown = {
            arm: {seed: value if math.isfinite(value) else None for seed, value in each.items()}
            for arm, each in self.measured.values.items()
        }
        return StatementResult(
            statement.says,
            verdict,
            ". ".join(notes),
            self.measured.measure,
            unit,
            tuple(self.measured.values),
            statement.expect,
            statement.least,
            self.estimate,
            exact=statement.exact,
            values=shown,
            **figures,  # type: ignore[arg-type]
        )


def _trial(arms: Sequence[Arm], against: float) -> Trial | None:
    """Test two arms, or one arm against a number; None if one has no value."""
    if any(not arm.values for arm in arms):
        return None
    if len(arms) == 2:
        return trial(arms[0], arms[1])
    (arm,) = arms
    runs, constant = len(arm.values), Arm(f"{against:g}", dict.fromkeys(arm.values, against))
    spread = stdev(arm.values.values()) if runs >= MIN_RUNS else 0.0
    untested = Trial(arm, constant, arm.mean - against, runs, paired=True)
    if spread < 1e-12 * max(1.0, abs(arm.mean)):
        return untested
    parts = ((spread**2 / runs, runs),)
    return Trial(arm, constant, arm.mean - against, runs, spread / math.sqrt(runs), float(runs - 1), True, parts)


def _tested(each: _Prepared, half: float, p: float, several: int) -> StatementResult:
    """Return the answer of a statement whose difference has an interval."""
    statement, found = each.statement, each.trial
    assert found is not None
    estimate, least = each.sign * found.difference, statement.least
    low, high = estimate - half, estimate + half
    if statement.expect == SAME:
        verdict = HOLDS if -least < low and high < least else FAILS if low > least or high < -least else UNDECIDED
    else:
        verdict = HOLDS if low > 0 and estimate >= least else FAILS if high < least else UNDECIDED
    if statement.expect != SAME and high <= 0:
        verdict = FAILS
    needed = None
    if verdict == UNDECIDED:
        # How narrow the interval has to be if the difference is as large as it was seen: up to the bound that decides.
        reaches = statement.expect != SAME and estimate >= least
        margin = (
            abs(estimate) if reaches else abs(least - abs(estimate) if statement.expect == SAME else least - estimate)
        )
        needed = found.needed(margin or 1e-12, several)
    shown = (found.difference - half, found.difference + half)
    # Beside the value of a single arm stands the interval of that value, not of its distance to the number.
    told = [_number(end + (statement.against if len(each.arms) == 1 else 0.0), "") for end in shown]
    details = f"95 % interval {told[0]} to {told[1]}, {p_text(p)}, {_seeds(each)}"
    sentence = f"{_difference(each)} ({details}){_asked(each, verdict, needed)}"
    return each.result(verdict, sentence, interval=shown, p=p, needed=needed)


def _untested(each: _Prepared, several: int) -> StatementResult:
    """Return the answer of a statement without spread, with too few seeds or without values."""
    if each.trial is None or each.estimate is None:
        without = [arm.name for arm in each.arms if not arm.values]
        return each.result(UNDECIDED, f"No run of {' and '.join(without)} has a value")
    if each.statement.exact:
        return _exact(each)
    statement, runs, estimate = each.statement, each.runs, each.sign * each.estimate
    if runs < MIN_RUNS:
        return each.result(UNDECIDED, f"{_difference(each)}: at least {MIN_RUNS} seeds an arm are needed")
    p = min(1.0, _flat_p(runs, len(each.arms)) * several)  # Bonferroni, as no step is smaller
    details = f"({_seeds(each)}, the same in each)"
    if p >= LEVEL:
        needed = next(count for count in range(runs, 100) if _flat_p(count, len(each.arms)) * several < LEVEL)
        asked = _asked(each, UNDECIDED, needed)
        return each.result(UNDECIDED, f"{_difference(each)} {details}{asked}", needed=needed)
    if statement.expect == SAME:
        verdict = HOLDS if abs(estimate) <= statement.least else FAILS
    else:
        verdict = HOLDS if estimate > 0 and estimate >= statement.least else FAILS
    sentence = f"{_difference(each)} {details}{_asked(each, verdict, None)}"
    interval = (each.estimate, each.estimate)
    return each.result(verdict, sentence, interval=interval, p=p if each.estimate else None)


def _exact(each: _Prepared) -> StatementResult:
    """Return the answer of a statement that each seed must show by itself."""
    assert each.trial is not None
    first, second = each.trial.first.values, each.trial.second.values
    differences = {seed: each.sign * (value - second[seed]) for seed, value in first.items() if seed in second}
    least = each.statement.least
    if each.statement.expect == SAME:
        fit = [abs(value) <= least for value in differences.values()]
    else:
        fit = [value > 0 and value >= least for value in differences.values()]
    count = f"in {sum(fit)} of {len(fit)} runs" if len(fit) > 1 else "in the one run"
    return each.result(HOLDS if fit and all(fit) else FAILS, f"{_difference(each)}; as claimed {count}")


def _flat_p(runs: int, arms: int) -> float:
    """Return the two-sided p of arms without spread: of all orders of the runs, or of all signs for one arm."""
    return 2 / math.comb(2 * runs, runs) if arms == 2 else 2 / 2**runs


def _difference(each: _Prepared) -> str:
    """Return the difference in words: "normalization=batch: 2.1 decades more than normalization=none"."""
    assert each.trial is not None
    estimate, unit = each.trial.difference, each.measured.unit
    names = _names([arm.name for arm in each.arms])
    first = each.arms[0]
    if len(each.arms) == 1:
        against = each.statement.against
        beside = f", against {_number(against, unit)}" if against else ""
        # Where it is a reduction that is held against a number, the arm is often nothing but what all runs have.
        name = reduction_of(each.statement.over) if each.statement.over else names[0]
        return f"{name}: {_number(first.mean, unit)}{beside}"
    second = each.arms[1]
    means = f"{_number(first.mean, '')} against {_number(second.mean, unit)}"
    if not estimate:
        return f"{names[0]} and {names[1]}: no difference, {_number(first.mean, unit)}"
    word = "more" if estimate > 0 else "less"
    return f"{names[0]} has {_number(abs(estimate), unit)} {word} than {names[1]}: {means}"


def _names(arms: Sequence[str]) -> list[str]:
    """Return the arms as a sentence names them: "adam" where all differ in one setting whose values are words."""
    values = [words.partition("=") for words in arms]
    same = len({key for key, _, _ in values}) == 1 and all(
        " " not in words or words.startswith("arm=") for words in arms
    )
    named = same and (values[0][0] == "arm" or are_words(value for _, _, value in values))
    return [value for _, _, value in values] if named else list(arms)


def _asked(each: _Prepared, verdict: str, needed: int | None) -> str:
    """Return what the claim asks for, and the seeds that would decide it."""
    statement, unit = each.statement, each.measured.unit
    least = _number(statement.least, unit)
    if statement.expect == SAME:
        asked = f"; the claim asks for less than {least} either way"
    elif len(each.arms) == 1:
        edge = statement.against + each.sign * statement.least
        asked = f"; the claim asks for {statement.expect} than {_number(edge, unit)}"
    else:
        asked = (
            f"; the claim asks for {f'at least {least} {statement.expect}' if statement.least else statement.expect}"
        )
    if verdict != UNDECIDED:
        return asked
    if needed is None:
        return f"{asked}, and more than {MAX_SEEDS} seeds an arm would be needed to tell"
    return f"{asked}; if it is as large as seen, {needed} seeds an arm would tell in 4 of 5 cases"


def _seeds(each: _Prepared) -> str:
    return f"{each.runs} seed{'s' if each.runs > 1 else ''}{' an arm' if len(each.arms) > 1 else ''}"


def _number(value: float, unit: str) -> str:
    """Return a number in three digits with its unit, with a real minus sign."""
    digits = f"{abs(value):.3g}" if abs(value) < 1000 else f"{abs(value):,.0f}"
    if "e" in digits and abs(value) < 1:
        digits = f"{abs(value):.1e}"
    sign = "−" if value < 0 and digits.strip("0.") else ""
    return f"{sign}{digits} {unit.removesuffix('s') if digits == '1' else unit}".rstrip()
