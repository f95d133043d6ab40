"""The paragraph for a paper says what was done: counts, test, correction and sources."""

import pytest

from trainer.stats.arms import Arm
from trainer.stats.design import Design
from trainer.stats.method import method_text
from trainer.stats.verdict import judge


def arms(count, runs):
    values = {name: 0.5 + 0.1 * place for place, name in enumerate("abcdef"[:count])}
    return [Arm(n, {str(seed): v + 0.01 * (seed * 7 % 5) for seed in range(runs)}) for n, v in values.items()]


@pytest.mark.parametrize(
    ("count", "runs", "baseline", "design", "parts"),
    [
        (2, 3, None, Design(), ["We compared two configurations, each trained with 3 random seeds. Each run is scored"
         " by its validation accuracy. The test images were not used.", "Welch's t test, with n − 1 + γ(ν − n + 1)"
         " degrees of freedom", "γ = max(1/2, 1 − 2/n). Differences are given with 95 % confidence intervals."]),
        (3, 5, None, Design(), ["All were compared with the best one; p values and intervals are corrected for all 3"
         " pairs (studentized maximum modulus: Dunnett's T3, 1980), step by step"]),
        (3, 5, "a", Design(), ["All were compared with a, which was named before the first run; p values and intervals"
         " are corrected for 2 comparisons (Holm, 1979; Šidák, 1967)"]),
        (3, 8, None, Design(score="cross"), ["the paired t test on the differences within each seed.", "3 pairs (Šidák,"
         " 1967)", "accuracy, cross-fitted: each half of the validation images at the epoch of lowest loss on the other"
         " half. The test images were not used."]),
        (3, 5, None, Design(unit="fold", split_ratio=0.25), ["each trained with 5 folds", "the paired t test over"
         " folds, with the variance corrected for training sets that overlap (Nadeau and Bengio, 2003)"]),
    ],
    ids=["two", "three", "baseline", "paired", "folds"],
)  # fmt: skip
def test_the_method_is_that_of_the_verdict(count, runs, baseline, design, parts):
    made = arms(count, runs)
    made[0] = Arm("a", {key: value + 0.003 * int(key) ** 2 for key, value in made[0].values.items()})
    made[1] = Arm("b", {key: value - 0.002 * int(key) ** 2 for key, value in made[1].values.items()})
    text = method_text(judge(made, design, baseline), made)
    for part in parts:
        assert part in text, text


def test_nothing_is_said_of_a_method_where_nothing_was_tested():
    assert method_text(judge(arms(2, 2), Design()), arms(2, 2)) == ""


def test_the_method_of_a_growing_study_names_its_looks_and_their_levels():
    from dataclasses import replace

    from trainer.stats.finding import Finding

    judged = replace(judge(arms(2, 3), Design()), looked=True, findings=(Finding("looks", "", {"planned": [3, 4, 6]}),))
    text = method_text(judged, arms(2, 3))
    assert "to at most 6: they were compared at 3, 4 and 6 seeds, and those told apart got no more." in text
    assert "The levels of these looks, 0.015, 0.015, 0.029, are those of" in text and "95 %" not in text
