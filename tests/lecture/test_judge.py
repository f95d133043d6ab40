"""The verdict on a claim, from made-up values: what holds, what does not, what is not decided, and why."""

import math

import pytest

from trainer.lecture.book.making import expected_false_alarms
from trainer.lecture.claim import Claim
from trainer.lecture.content import FAILS, HOLDS, UNDECIDED
from trainer.lecture.judge import Measured, answers, verdict_of
from trainer.stats.arms import Arm
from trainer.stats.trial import trial


def claim(*statements):
    plain = {"says": "It is so.", "measure": "score", "arms": ["a=1", "a=2"]}
    return Claim(
        name="made",
        note="000",
        line=1,
        title="Made up",
        claim="It is so.",
        study="a=1,2",
        budgets={"quick": {}},
        statements=[{**plain, **each} for each in statements],
        next="Try more.",
    )


def by_seed(*values):
    return dict(zip("0123456789", values, strict=False))


def answer(first, second=None, unit="points", never=0, **statement):
    values = {"a=1": by_seed(*first), **({} if second is None else {"a=2": by_seed(*second)})}
    if second is None:
        statement = {**statement, "arms": ["a=1"]}
    (found,) = answers(claim(statement), [Measured(values, unit, "score", never)])
    return found


def test_a_clear_difference_holds_with_the_interval_of_welchs_test():
    first, second = (97.0, 98.0, 97.5), (90.0, 91.0, 90.2)
    found = answer(first, second, least=2)
    tested = trial(Arm("a", by_seed(*first)), Arm("b", by_seed(*second)))
    low, high = found.interval
    assert found.verdict == HOLDS
    assert found.estimate == pytest.approx(7.1)
    assert (low + high) / 2 == pytest.approx(7.1)
    from scipy.stats import t

    assert high - found.estimate == pytest.approx(t.ppf(0.975, tested.df) * tested.error, rel=1e-4)
    assert found.sentence.startswith("a=1 has 7.1 points more than a=2: 97.5 against 90.4 points (95 % interval ")
    assert found.sentence.endswith("3 seeds an arm); the claim asks for at least 2 points more")


def test_the_other_direction_does_not_hold():
    assert answer((97.0, 98.0, 97.5), (90.0, 91.0, 90.2), expect="less", least=2).verdict == FAILS
    assert answer((97.0, 98.0, 97.5), (90.0, 91.0, 90.2), expect="less").verdict == FAILS


def test_a_difference_below_the_smallest_that_matters_does_not_hold():
    found = answer((90.1, 90.2, 90.15), (90.0, 90.05, 90.1), least=2)
    assert found.verdict == FAILS
    assert found.interval[1] < 2


def test_noise_is_not_decided_and_tells_the_seeds_that_would():
    first, second = (90.0, 91.0, 92.0), (89.4, 89.6, 90.0)
    found = answer(first, second, least=2)
    assert found.verdict == UNDECIDED
    assert found.estimate == pytest.approx(4 / 3)
    assert found.needed == trial(Arm("a", by_seed(*first)), Arm("b", by_seed(*second))).needed(2 - 4 / 3, 1)
    told = f"; if it is as large as seen, {found.needed} seeds an arm would tell in 4 of 5 cases"
    assert found.sentence.endswith(f"at least 2 points more{told}")
    larger = answer(first, second, least=1)  # it is large enough, and has to be told from 0
    assert larger.verdict == UNDECIDED
    assert larger.needed == trial(Arm("a", by_seed(*first)), Arm("b", by_seed(*second))).needed(4 / 3, 1)


def test_a_significant_difference_smaller_than_asked_is_not_decided_while_the_interval_reaches_it():
    found = answer((91.5, 91.6, 91.4, 91.5), (90.0, 90.9, 90.4, 90.0), least=1.3)
    assert found.interval[0] > 0
    assert found.verdict == (HOLDS if found.estimate >= 1.3 else UNDECIDED)
    nearly = answer((91.5, 91.6, 91.4, 91.5), (90.0, 90.9, 90.4, 90.0), least=1.5)
    assert nearly.interval[0] > 0
    assert nearly.verdict == UNDECIDED


def test_one_arm_is_held_against_a_number():
    found = answer((-0.95, -1.02, -1.0), against=-0.5, expect="less", unit="")
    assert found.verdict == HOLDS
    assert found.estimate == pytest.approx(-0.49)
    assert "a=1: −0.99, against −0.5 (95 % interval −1.08 to −0.9" in found.sentence
    assert found.interval == (pytest.approx(-0.579, abs=0.001), pytest.approx(-0.401, abs=0.001))
    assert found.sentence.endswith("the claim asks for less than −0.5")


def test_a_reduction_of_one_arm_is_named_by_what_it_reduces():
    over = {"take": "difference", "setting": "optimizer", "first": "adam", "second": "sgd"}
    found = answer((0.4, 0.6, 0.5), over=over)
    assert found.sentence.startswith("adam minus sgd: 0.5 points (95 % interval ")


def test_equal_within_a_margin():
    first, second = (90.0, 90.2, 90.1, 90.15), (90.1, 90.1, 90.0, 90.2)
    assert answer(first, second, expect="same", least=1).verdict == HOLDS
    assert answer(first, second, expect="same", least=0.01).verdict == UNDECIDED
    assert answer(first, (93.0, 93.1, 93.2, 93.0), expect="same", least=1).verdict == FAILS


@pytest.mark.parametrize(("seeds", "verdict"), [(3, UNDECIDED), (4, HOLDS), (5, HOLDS)])
def test_arms_without_spread_are_tested_by_the_orders_of_their_runs(seeds, verdict):
    # 2 of the C(2n, n) orders are as extreme: p = 0.1 for three seeds, 0.029 for four.
    found = answer((1.0,) * seeds, (-1.0,) * seeds, unit="decades", least=1)
    assert found.verdict == verdict
    if verdict == HOLDS:
        assert found.p == pytest.approx(2 / math.comb(2 * seeds, seeds))
    else:
        assert found.needed == 4


def test_no_difference_in_any_run_does_not_hold():
    found = answer((1.0,) * 5, (1.0,) * 5, unit="decades", least=1)
    assert (found.verdict, found.p) == (FAILS, None)
    assert found.sentence.startswith("a=1 and a=2: no difference, 1 decade")


def test_an_exact_statement_is_shown_by_each_seed():
    assert answer((0.0, 0.0), expect="same", exact=True).verdict == HOLDS
    found = answer((0.0, 0.001), expect="same", exact=True)
    assert found.verdict == FAILS
    assert found.sentence.endswith("as claimed in 1 of 2 runs")


def test_statements_are_corrected_for_each_other():
    one = Measured({"a=1": by_seed(1.5, 1.9, 1.7), "a=2": by_seed(0.5, 0.9, 0.6)}, "points")
    (alone,) = answers(claim({}), [one])
    both = answers(claim({}, {}), [one, one])
    assert alone.p < 0.05
    assert both[0].p == pytest.approx(1 - (1 - alone.p) ** 2)
    assert both[0].interval[0] < alone.interval[0]


def test_values_that_could_not_be_measured_are_left_out_and_told():
    found = answer((97.0, math.nan, 98.0, 97.5), (90.0, 91.0, 90.2, 90.3))
    assert found.values["a=1"]["1"] is None
    assert found.sentence.endswith("1 value could not be measured")
    nothing = answer((math.nan,) * 3, (90.0, 91.0, 90.2))
    assert (nothing.verdict, nothing.sentence) == (
        UNDECIDED,
        "No run of a=1 has a value. 3 values could not be measured",
    )


def test_what_never_came_is_told():
    found = answer((16.0, 16.0, 15.0), (3.0, 4.0, 3.0), unit="epochs", never=2)
    assert found.sentence.endswith("In 2 runs it never came, which counts as one epoch more than they had")


def test_a_claim_holds_if_all_its_statements_do():
    hold, fail = answer((97.0, 98.0, 97.5), (90.0, 91.0, 90.2)), answer((90.0, 91.0, 90.2), (97.0, 98.0, 97.5))
    undecided = answer((90.0, 94.0, 98.0), (89.0, 93.0, 96.0))
    assert [each.verdict for each in (hold, fail, undecided)] == [HOLDS, FAILS, UNDECIDED]
    assert verdict_of([hold, hold]) == HOLDS
    assert verdict_of([hold, undecided]) == UNDECIDED
    assert verdict_of([hold, undecided, fail]) == FAILS


@pytest.mark.parametrize(
    ("arms", "told"),
    [
        (("optimizer=sgd", "optimizer=momentum"), "sgd has 7.1 points more than momentum"),
        (("lr=0.1", "lr=0.01"), "lr=0.1 has 7.1 points more than lr=0.01"),
        (("optimizer=sgd lr=0.1", "optimizer=adam lr=0.1"), "optimizer=sgd lr=0.1 has 7.1 points more than optimizer="),
        (("arm=with decay", "arm=without"), "with decay has 7.1 points more than without"),
        (("normalization=batch", "dropout=0.5"), "normalization=batch has 7.1 points more than dropout=0.5"),
    ],
)
def test_an_arm_is_named_by_the_word_that_differs(arms, told):
    values = dict(zip(arms, (by_seed(97.0, 98.0, 97.5), by_seed(90.0, 91.0, 90.2)), strict=True))
    (found,) = answers(claim({"arms": arms}), [Measured(values, "points")])
    assert found.sentence.startswith(told)


def test_false_alarms_count_claims_that_noise_could_decide():
    noisy, exact = answer((97.0, 98.0, 97.5), (90.0, 91.0, 90.2)), answer((0.0, 0.0), expect="same", exact=True)
    assert expected_false_alarms([[noisy], [exact], [noisy, exact]]) == (2, pytest.approx(0.05))
