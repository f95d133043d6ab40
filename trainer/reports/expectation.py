"""An expectation such as "adam > sgd", and the study's answer to it, for scripts. Imports no torch."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from trainer.errors import ConfigError
from trainer.reports.content import Content
from trainer.stats.comparison import Comparison
from trainer.stats.verdict import judge
from trainer.study.arm_names import named_arm

CONCLUDED, NO_CONCLUSION, OPPOSITE = 0, 3, 4  # exit codes


@dataclass(frozen=True)
class Answer:
    """The study's answer to an expectation: CONCLUDED, NO_CONCLUSION or OPPOSITE, and a sentence."""

    code: int
    sentence: str


def answers(content: Content, expected: Sequence[str]) -> list[Answer]:
    """Return the answer to each expectation, "A > B" or "B < A": arm A is better than arm B.

    Raises ConfigError for another form, or if an arm is unknown or the same twice.
    """
    return [_answer(content, *_arms(content, text), text) for text in expected]


def exit_code(found: Sequence[Answer]) -> int:
    """Return OPPOSITE if one expectation is contradicted, else NO_CONCLUSION if one is not concluded, else 0."""
    return max((answer.code for answer in found), default=CONCLUDED)


def _arms(content: Content, text: str) -> tuple[str, str]:
    """Return the names of the arm that is expected to be better, and of the other one."""
    typed = f"--expect '{text}'"
    parts = re.fullmatch(r"([^<>]*\S)\s*([<>])\s*([^<>]*\S)\s*", text)
    if not parts:
        raise ConfigError(f"{typed}: accepted is 'ARM > ARM', the better one first, or 'ARM < ARM'")
    names = [arm.name for arm in content.arms]
    left, right = (named_arm(name, names, typed) for name in (parts[1], parts[3]))
    if left == right:
        raise ConfigError(f"{typed}: names one arm twice; accepted are two of {', '.join(names)}")
    return (left, right) if parts[2] == ">" else (right, left)


def _answer(content: Content, better: str, worse: str, text: str) -> Answer:
    assert content.judged is not None
    found = _comparison(content, better, worse)
    if found is None and content.judged.looked:
        return Answer(NO_CONCLUSION, f"Expected {text}: no conclusion. No look has compared the two with each other")
    if found is None:
        without = next(arm.name for arm in content.arms if arm.name in (better, worse) and not arm.values)
        return Answer(NO_CONCLUSION, f"Expected {text}: no conclusion. No run of {without} has a value")
    sentence = found.sentence(content.judged.design)
    if not found.concluded:
        return Answer(NO_CONCLUSION, f"Expected {text}: no conclusion. {sentence}")
    favours = found.first.name if found.difference * content.judged.design.sign > 0 else found.second.name
    if favours == better:
        return Answer(CONCLUDED, f"Expected {text}: concluded. {sentence}")
    return Answer(OPPOSITE, f"Expected {text}: the opposite is concluded. {sentence}")


def _comparison(content: Content, first: str, second: str) -> Comparison | None:
    """Return the verdict's comparison of two arms, else one that is corrected for all pairs; None without values."""
    assert content.judged is not None
    for each in content.judged.comparisons:
        if {each.first.name, each.second.name} == {first, second}:
            return each
    if content.judged.looked:  # the test of a fixed number of seeds does not hold
        return None
    with_values = [arm for arm in content.arms if arm.values]
    if not {first, second} <= {arm.name for arm in with_values}:
        return None
    judged = judge(with_values, content.judged.design, second, picked=True)
    return next(each for each in judged.comparisons if each.first.name == first)
