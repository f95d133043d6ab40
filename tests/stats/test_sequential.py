"""Looks of a study that trains seeds until it is decided: their levels, what each look drops, and the false alarms."""

import numpy as np
import pytest
from conftest import ROOT

from trainer.stats.arms import Arm
from trainer.stats.design import Design
from trainer.stats.sequential import by_seed, levels, levels_of, look, look_counts
from trainer.stats.simulation import expected_runs, looked_at

# Of a total error of 4.5 %, by the maximum of seeds; worked out independently, to the fourth digit.
LEVELS = {
    6: (0.0159, 0.0160, 0.0308),
    8: (0.0103, 0.0101, 0.0194, 0.0282),
    10: (0.0074, 0.0070, 0.0136, 0.0196, 0.0263),
    12: (0.0056, 0.0053, 0.0102, 0.0146, 0.0300),
    16: (0.0037, 0.0033, 0.0064, 0.0092, 0.0189, 0.0278),
    24: (0.0020, 0.0018, 0.0034, 0.0048, 0.0099, 0.0144, 0.0300),
    32: (0.0013, 0.0011, 0.0022, 0.0030, 0.0063, 0.0091, 0.0189, 0.0278),
    48: (0.0007, 0.0006, 0.0012, 0.0016, 0.0033, 0.0047, 0.0099, 0.0144, 0.0300),
}


def taken(seeds, maximum=24, baseline=None, sign=1, margin=None, **values):
    """Look at arms with these values at `seeds` seeds."""
    counts = look_counts(maximum)
    arms = [Arm(name, {str(seed): value for seed, value in enumerate(each)}) for name, each in values.items()]
    return look(arms, Design(sign=sign, margin=margin), counts, counts.index(seeds), baseline)


def spread(mean, seeds, scale=0.01):
    """Return values with this mean, in an order of their own."""
    noise = np.random.default_rng(round(1e6 * mean)).permutation(np.linspace(-scale, scale, seeds))
    return [mean + each for each in noise]


@pytest.mark.parametrize("maximum", LEVELS)
def test_the_levels_spend_the_error_as_the_seeds_grow(maximum):
    counts = look_counts(maximum)
    assert counts[-1] == maximum and len(counts) == len(LEVELS[maximum])
    assert levels_of(counts, 0.045) == pytest.approx(LEVELS[maximum], abs=1.1e-4)
    # The first look spends its share alone; below 16 seeds and against a baseline 4.2 % are spent in all.
    share = 0.042 if maximum < 16 else 0.045
    assert levels(counts)[0] == pytest.approx(share * (3 / maximum) ** 1.5, rel=1e-6)
    assert levels(counts, named=True)[0] == pytest.approx(0.042 * (3 / maximum) ** 1.5, rel=1e-6)


def test_the_levels_of_independent_steps_spend_the_total():
    counts = look_counts(24)
    steps = np.random.default_rng(0).standard_normal((40_000, 24)).cumsum(1)[:, np.array(counts) - 1]
    from scipy.special import ndtri

    bounds = np.sqrt(counts) * -ndtri(np.array(levels(counts)) / 2)
    assert (np.abs(steps) > bounds).any(1).mean() == pytest.approx(0.045, abs=0.003)


def test_a_look_drops_the_arms_that_are_worse():
    found = taken(4, a=spread(0.9, 4), b=spread(0.896, 4), c=spread(0.5, 4))
    assert found.dropped == ("c",) and found.outcome == ""
    assert [arm.name for arm in found.remaining] == ["a", "b"]
    (told,) = found.told
    assert (told.first.name, told.second.name, told.level) == ("a", "c", pytest.approx(0.0018, abs=1e-4))
    assert told.p < told.level
    assert taken(4, sign=-1, a=spread(0.9, 4), b=spread(0.896, 4), c=spread(0.5, 4)).dropped == ("b", "a")


def test_how_a_study_ends():
    near = {"a": spread(0.9, 24), "b": spread(0.9001, 24)}
    assert taken(24, **near).outcome == "maximum"
    assert taken(8, a=spread(0.9, 8), b=spread(0.5, 8)).outcome == "decided"
    assert taken(8, a=spread(0.9, 8), b=spread(0.9001, 8)).outcome == "given up"
    assert taken(6, a=spread(0.9, 6), b=spread(0.9001, 6)).outcome == ""  # given up from 8 seeds on
    assert taken(8, margin=0.05, a=spread(0.9, 8), b=spread(0.9001, 8)).outcome == "alike"
    assert taken(24, margin=0.05, **near).outcome == "alike"
    # With 24 seeds they may be shown to be alike, with this margin not.
    assert taken(8, margin=0.005, a=spread(0.9, 8), b=spread(0.9001, 8)).outcome == ""
    assert taken(8, margin=0.001, a=spread(0.9, 8), b=spread(0.9001, 8)).outcome == "given up"
    assert taken(8, a=[0.9] * 8, b=[0.9] * 8).outcome == "given up"  # equal to the last digit


def test_a_named_baseline_is_what_the_others_are_told_apart_from():
    found = taken(4, baseline="b", a=spread(0.9, 4), b=spread(0.7, 4), c=spread(0.5, 4), d=spread(0.701, 4))
    assert set(found.dropped) == {"a", "c"} and [arm.name for arm in found.remaining] == ["d", "b"]
    assert {each.second.name for each in found.comparisons} == {"b"}
    assert taken(4, baseline="b", a=spread(0.9, 4), b=spread(0.7, 4)).outcome == "decided"


def test_an_arm_with_a_failed_seed_goes_on_and_does_not_win():
    lost = spread(0.9, 8)[:7]
    found = taken(8, a=lost, b=spread(0.8, 8), c=spread(0.5, 8))
    assert found.dropped == ("c",) and [arm.name for arm in found.remaining] == ["a", "b"]
    (against_a,) = [each for each in found.comparisons if each.second.name == "a"]
    assert against_a.first.name == "b" and not against_a.paired and against_a.df == 6
    gone = taken(3, a=[], b=spread(0.8, 3), c=spread(0.79, 3))
    assert gone.dropped == ("a",) and gone.outcome == ""
    assert taken(3, a=[], b=[]).outcome == "failed"
    assert taken(3, baseline="a", a=[], b=spread(0.8, 3)).outcome == "failed"


def test_the_unit_is_a_seed_over_all_folds():
    values = {"1/2": 0.5, "0/2": 0.7, "0/0": 0.1, "1/0": 0.3, "0/1": 0.9, "0/10": 1.0, "1/10": 1.0}
    assert by_seed(values, 2, 10) == {"0": pytest.approx(0.2), "2": pytest.approx(0.6)}
    assert by_seed({"2": 0.5, "0": 0.7, "11": 0.1}, 1, 11) == {"0": 0.7, "2": 0.5}


@pytest.mark.parametrize(("margin", "baseline"), [(None, False), (1.0, False), (None, True), (0.8, True)])
def test_the_simulation_looks_as_a_study_does(margin, baseline, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import sequential_calibration as calibration

    for noise in list(calibration.SIMULATED)[::2]:
        values = calibration.SIMULATED[noise](4, 16, np.random.default_rng(1), 12)
        values -= np.array([0, 0, 1.0, 4.0])[None, :, None]
        ended = looked_at(values, look_counts(16), margin, baseline)
        for study, left, seeds, runs in zip(values, ended.left, ended.seeds, ended.runs, strict=True):
            expected = calibration.one_by_one(study, 16, margin, baseline)
            assert (np.flatnonzero(left).tolist(), seeds, runs) == expected, noise


def test_looks_raise_false_alarms_in_at_most_5_per_cent_of_studies(monkeypatch, capsys):
    """The short form of scripts/sequential_calibration.py."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import sequential_calibration as calibration

    monkeypatch.setattr(calibration, "ARMS", (3,))
    monkeypatch.setattr(calibration, "MAXIMA", (12,))
    assert calibration.main(["--studies=1000", "--power=0"]) == 0
    # Each look at 5 %, as seeds that are added by hand until a verdict comes.
    monkeypatch.setattr("trainer.stats.simulation.levels", lambda counts, baseline: (0.05,) * len(counts))
    assert calibration.main(["--studies=1000", "--power=0"]) == 1


def test_the_runs_that_are_expected_fall_as_the_gap_grows():
    found = expected_runs(6, look_counts(24))
    assert [gap for gap, _, _ in found] == [0.5, 1.0, 2.0]
    runs, decided = [each[1] for each in found], [each[2] for each in found]
    assert runs[2] < 80 and all(18 <= each <= 144 for each in runs)
    assert decided[0] < decided[1] < decided[2]
