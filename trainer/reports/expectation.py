"""An expectation such as "adam > sgd", and the study's answer to it, for scripts. Imports no torch."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from trainer.errors import ConfigError
from trainer.reports.content import Content
from trainer.stats.blocks import QUESTION, together
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
    arms = [arm for block in content.blocks for arm in block.content.arms] or content.arms
    names = [*dict.fromkeys(arm.name for arm in arms)]
    left, right = (named_arm(name, names, typed) for name in (parts[1], parts[3]))
    if left == right:
        raise ConfigError(f"{typed}: names one arm twice; accepted are two of {', '.join(names)}")
    return (left, right) if parts[2] == ">" else (right, left)


def _answer(content: Content, better: str, worse: str, text: str) -> Answer:
    assert content.judged is not None
    if content.blocks:
        return _over_blocks(content, better, worse, text)
    found = _comparison(content, better, worse)
    if found is None and content.judged.looked:
        return Answer(NO_CONCLUSION, f"Expected {text}: no conclusion. No look has compared the two with each other")
    if found is None:
        without = next(arm.name for arm in content.arms if arm.name in (better, worse) and not arm.values)
        return Answer(NO_CONCLUSION, f"Expected {text}: no conclusion. No run of {without} has a value")
    sentence = found.sentence(content.judged.design)
    favours = found.first.name if found.difference * content.judged.design.sign > 0 else found.second.name
    return _told(found.concluded, favours == better, sentence, text)


def _told(concluded: bool, as_expected: bool, sentence: str, text: str) -> Answer:
    if not concluded:
        return Answer(NO_CONCLUSION, f"Expected {text}: no conclusion. {sentence}")
    if as_expected:
        return Answer(CONCLUDED, f"Expected {text}: concluded. {sentence}")
    return Answer(OPPOSITE, f"Expected {text}: the opposite is concluded. {sentence}")


def _over_blocks(content: Content, better: str, worse: str, text: str) -> Answer:
    """Return the answer of a study of several blocks, such as data sets: that of the mean over all of them."""
    judged = content.judged
    assert judged is not None
    designs = {name: each.design for name, each in judged.blocks}
    arms = {block.name: (block.content.arms, designs[block.name]) for block in content.blocks if block.name in designs}
    pairs = [each for each in judged.findings if each.question == QUESTION]
    # A pair that the verdict does not compare is corrected for all pairs.
    pairs += [each.finding(judged.design) for each in together(arms, worse, True, content.blocks[0].noun)]
    for each in pairs:
        figures = each.figures
        if {figures["first"], figures["second"]} == {better, worse}:
            favours = figures["first"] if figures["difference"] * judged.design.sign > 0 else figures["second"]
            return _told(figures["concluded"], favours == better, each.sentence, text)
    return Answer(NO_CONCLUSION, f"Expected {text}: no conclusion. Not both have a value in every block")


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
