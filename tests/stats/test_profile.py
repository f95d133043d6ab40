"""Performance profiles: shares by hand, the band against the exact binomial, and which arms have one."""

import pytest
from scipy import stats

from trainer.stats.arms import Arm
from trainer.stats.profile import MAX_SCORES, profiles


def arms(named):
    return [Arm(name, {str(seed): value for seed, value in enumerate(values)}) for name, values in named.items()]


BLOCKS = {"easy": arms({"sgd": (0.8, 0.9), "adam": (0.9, 0.9)}), "hard": arms({"sgd": (0.2, 0.4), "adam": (0.4, 0.6)})}


def test_a_share_is_that_of_the_runs_at_least_as_good():
    best, other = profiles(BLOCKS, 1)
    assert (best.name, other.name) == ("adam", "sgd")
    assert best.scores == other.scores == [0.2, 0.4, 0.6, 0.8, 0.9]
    assert best.share == [1, 1, 0.75, 0.5, 0.5] and other.share == [1, 0.75, 0.5, 0.5, 0.25]
    best, other = profiles(BLOCKS, -1)
    assert (best.name, best.share, other.share) == ("sgd", [0.25, 0.5, 0.5, 0.75, 1], [0, 0.25, 0.5, 0.5, 1])


def test_each_block_counts_the_same():
    profile = profiles({"many": arms({"a": (0.9,) * 9, "b": (0.1,)}), "one": arms({"a": (0.3,), "b": (0.1,)})}, 1)[0]
    assert (profile.scores[-1], profile.share[-1]) == (0.9, 0.5)


def test_the_band_is_drawn_within_each_block_and_the_same_each_time():
    values = [number / 20 for number in range(20)]
    blocks = {"one": arms({"a": values, "b": [0.0]}), "two": arms({"a": [0.0, 0.0, 0.0], "b": [0.0]})}
    (found,) = (each for each in profiles(blocks, 1) if each.name == "a")
    assert profiles(blocks, 1)[0] == found
    # Half of the runs of the first block reach 0.5, none of the second: Bin(20, 1/2) / 40.
    at = found.scores.index(0.5)
    ends = [stats.binom.ppf(end, 20, 0.5) / 40 for end in (0.025, 0.975)]
    assert found.share[at] == 0.25 and [found.low[at], found.high[at]] == pytest.approx(ends, abs=0.026)
    assert (found.low[0], found.high[0]) == (1, 1)  # all runs reach the lowest score in each drawing


def test_too_few_blocks_or_arms_have_no_profile():
    assert profiles({"easy": BLOCKS["easy"]}, 1) == profiles({}, 1) == []
    assert profiles({**BLOCKS, "hard": arms({"sgd": (0.2,), "adam": ()})}, 1) == []
    found = profiles({**BLOCKS, "empty": arms({"sgd": (), "adam": ()})}, 1)  # a block without a run that finished
    assert [each.name for each in found] == ["adam", "sgd"]


def test_very_many_scores_are_thinned_out_and_keep_their_ends():
    values = [number / 1000 for number in range(1000)]
    (found, _) = profiles({name: arms({"a": values, "b": values}) for name in ("one", "two")}, 1)
    assert (len(found.scores), found.scores[0], found.scores[-1]) == (MAX_SCORES, 0.0, 0.999)
