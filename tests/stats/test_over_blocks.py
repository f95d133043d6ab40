"""Several blocks: the verdicts share the 5 %, the mean over them by hand, Wilcoxon's test against scipy's."""

import itertools

import pytest
from scipy import stats

from trainer.stats.arms import Arm
from trainer.stats.blocks import judged_in_steps, signed_rank, test_over_blocks, together
from trainer.stats.corrections import Bound
from trainer.stats.design import Design
from trainer.stats.verdict import judge

test_over_blocks.__test__ = False

FIRST = {"none": (0.70, 0.72, 0.74), "batch": (0.80, 0.82, 0.84)}
SECOND = {"none": (0.48, 0.50, 0.52), "batch": (0.50, 0.54, 0.58)}


def arms(named):
    return [Arm(name, {str(seed): value for seed, value in enumerate(values)}) for name, values in named.items()]


def over(*blocks, baseline=None, picked=False, **setting):
    named = {f"set {number}": (arms(block), Design(**setting)) for number, block in enumerate(blocks)}
    return together(named, baseline, picked, "data set")


def told(*blocks, **setting):
    return [each.finding(Design()).sentence for each in over(*blocks, **setting)]


def test_the_mean_over_blocks_is_tested_with_the_errors_of_all():
    (found,) = over(FIRST, SECOND)
    each = found.comparison
    assert each.difference == pytest.approx((0.10 + 0.04) / 2)
    # The variances of the four means: 0.0004/3, 0.0004/3, 0.0016/3, 0.0004/3, each divided by 2².
    parts = [0.0004 / 12, 0.0004 / 12, 0.0016 / 12, 0.0004 / 12]
    assert each.t == pytest.approx(0.07 / sum(parts) ** 0.5)
    welch = sum(parts) ** 2 / sum(part**2 / 2 for part in parts)
    assert welch == pytest.approx(5.158, abs=1e-3)
    assert each.df == 3.5  # 2 + ½ (5.158 - 2), rounded down
    assert each.p == pytest.approx(2 * stats.t.sf(each.t, 3.5)) and each.p == pytest.approx(0.0138, abs=1e-4)
    assert each.half_width == pytest.approx(stats.t.ppf(0.975, 3.5) * sum(parts) ** 0.5, rel=1e-4)
    assert found.finding(Design()).sentence == (
        "batch is better than none on 2 of 2 data sets, by 7.0 ± 4.5 points on average over these 2 (p = 0.014)"
    )
    tree = found.finding(Design()).tree()
    assert tree["blocks"] == pytest.approx({"set 0": 0.10, "set 1": 0.04}) and tree["better_on"] == 2


def test_sentences_of_what_is_not_concluded_or_is_worse():
    worse = {"none": FIRST["batch"], "batch": FIRST["none"]}
    assert told(FIRST, worse) == [
        "none against batch over all 2 data sets: no conclusion (0.0 ± 3.0 points on average, p > 0.99; better on 1"
        " of them)"
    ]
    assert told(worse, worse, SECOND, baseline="none")[0].startswith("batch is worse than none on 2 of 3 data sets, by")
    short = [{name: values[:2] for name, values in block.items()} for block in (FIRST, SECOND)]
    assert told(*short) == [
        "batch against none: +6.50 points on average over these 2 data sets, better on 2 of them; no verdict"
    ]
    assert told(FIRST) == [] and told(FIRST, {"none": FIRST["none"]}) == []


def test_an_arm_that_a_block_lacks_is_left_out_of_the_mean():
    third = {**FIRST, "layer": (0.1, 0.2, 0.3)}
    (found,) = over(third, SECOND)
    assert {found.comparison.first.name, found.comparison.second.name} == {"none", "batch"}
    assert over(third, SECOND, baseline="layer") == []


def test_from_eight_seeds_on_the_differences_seed_by_seed_are_tested():
    shared = (1, 5, 2, 8, 3, 9, 4, 7)
    noise = (0, 1, 0, 2, 1, 0, 1, 0)
    block = {"a": [(value + more + 2) / 100 for value, more in zip(shared, noise, strict=True)]}
    block["b"] = [value / 100 for value in shared]
    (found,) = over(block, block)
    each = found.comparison
    error = stats.tstd([(more + 2) / 100 for more in noise]) / 8**0.5 / 2**0.5
    assert each.paired and each.t == pytest.approx(each.difference / error)
    assert (
        each.df == 12.2
    )  # 7 + ¾ (14 - 7), rounded down: two equal variances of 7 degrees of freedom each: Satterthwaite's is 14


def test_blocks_share_the_false_alarms_in_steps():
    def block(gap, noise=0.01):
        return arms({"a": (0.5, 0.5 + noise, 0.5 - noise), "b": (0.5 + gap, 0.5 + gap + noise, 0.5 + gap - noise)})

    blocks = [block(0.045), block(0.032), block(0.029), block(0.02)]
    alone = [judge(each, Design()).comparisons[0].p for each in blocks]
    found = judged_in_steps([lambda families, each=each: judge(each, Design(), families=families) for each in blocks])
    corrected = [each.comparisons[0].p for each in found]
    # Holm by hand: the smallest p times 4, the next times 3, …; none smaller than the one before, and all that are left
    # times the same number from the first that is not concluded on.
    assert alone == sorted(alone)
    assert corrected[:2] == pytest.approx([4 * alone[0], 3 * alone[1]])
    assert corrected[1] > 0.05
    assert corrected[2:] == pytest.approx([3 * alone[2], 3 * alone[3]])
    assert alone[1] < 0.05  # it would have been concluded by itself
    first = found[0].comparisons[0]
    assert first.half_width == pytest.approx(first.difference / first.t * Bound(1, False, 0.05 / 4)(first.df))
    assert first.single_p == pytest.approx(alone[0])


def test_a_block_with_nothing_to_test_takes_no_share():
    single = arms({"a": (0.5,), "b": (0.7,)})
    found = judged_in_steps(
        [lambda families, each=each: judge(each, Design(), families=families) for each in (arms(FIRST), single)]
    )
    assert found[0] == judge(arms(FIRST), Design())


@pytest.mark.parametrize("count", [6, 7, 10])
def test_wilcoxons_test_equals_scipys(count):
    differences = [(-1) ** (place % 3) * (place + 1.5) ** 2 for place in range(count)]
    assert signed_rank(differences) == pytest.approx(stats.wilcoxon(differences).pvalue)


def test_wilcoxons_test_with_equal_differences_by_hand():
    # Ranks 1.5, 1.5, 3, 4: of the 16 signs those with a sum of 0, 1.5 (twice), 10, 8.5 (twice) are as far out as 8.5.
    assert signed_rank([1, -1, 2, 3, 0]) == pytest.approx(6 / 16)
    ranks = (1.5, 1.5, 3, 4)
    sums = [
        sum(rank for rank, sign in zip(ranks, signs, strict=True) if sign)
        for signs in itertools.product((0, 1), repeat=4)
    ]
    assert sum(abs(total - 5) >= 3.5 for total in sums) == 6


def test_from_six_blocks_on_it_is_said_whether_it_holds_beyond_them():
    (found,) = over(*[FIRST] * 6)
    assert found.p_blocks == pytest.approx(2 / 64)
    sentence = found.finding(Design()).sentence
    assert sentence.endswith(
        "; expected on other data sets like these, too (Wilcoxon's test over the 6 data sets, p = 0.031)"
    )
    three = [{**FIRST, "layer": (0.6, 0.61, 0.62)}] * 6
    assert [each.p_blocks for each in over(*three)] == pytest.approx([3 * 2 / 64] * 2)  # the best was picked: 3 pairs
    assert "; not certain on other data sets like these (Wilcoxon" in told(*three)[0]
    assert over(*[FIRST] * 5)[0].p_blocks is None


def test_the_sentence_on_the_test_of_several_blocks():
    found = judged_in_steps(
        [lambda families, each=each: judge(arms(each), Design(), families=families) for each in (FIRST, SECOND)]
    )
    sentence = test_over_blocks(found, over(FIRST, SECOND), "data set")
    assert sentence.endswith(
        ". The 2 data sets share these 5 %: p and ± are corrected for them, too, in steps (Holm). The average over all"
        " data sets is a question of its own, with 5 % of its own: the mean of the differences, and the errors of all"
        " data sets put together. It holds for these data sets"
    )
