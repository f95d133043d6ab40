"""Questions beside which arm is better: interactions, average effects, the share of runs that win, not worse."""

import json
import math
import statistics
from pathlib import Path

import numpy as np
import pytest
from fake_studies import fake_study
from scipy import stats

from trainer.cli.main import main
from trainer.stats.arms import Arm
from trainer.stats.contrast import Contrast, Square, average_effects, contrast, interactions, stepped
from trainer.stats.design import Design
from trainer.stats.superiority import no_losses, not_worse, superiorities, superiority
from trainer.stats.trial import trial

NEITHER, FIRST, SECOND, BOTH = (
    (0.80, 0.82, 0.81), (0.90, 0.91, 0.89), (0.88, 0.84, 0.86), (0.91, 0.93, 0.92)
)  # fmt: skip


def arm(name, values):
    return Arm(name, {str(seed): value for seed, value in enumerate(values)})


def square(design=None, **values):
    given = {"neither": NEITHER, "only_first": FIRST, "only_second": SECOND, "both": BOTH, **values}
    return Square("batch", "flip", **{name: arm(name, each) for name, each in given.items()})


def test_an_interaction_is_both_minus_each_plus_neither_with_the_spread_of_each_arm():
    found = square().contrast(0.0)
    assert found.estimate == pytest.approx(0.92 - 0.90 - 0.86 + 0.81)
    shares = [statistics.variance(values) / 3 for values in (NEITHER, FIRST, SECOND, BOTH)]  # 1, 1, 4, 1 · 1e-4 / 3
    assert found.error == pytest.approx(math.sqrt(sum(shares)))
    satterthwaite = sum(shares) ** 2 / sum(share**2 / 2 for share in shares)
    assert satterthwaite == pytest.approx(49 / 19 * 2)
    assert found.df == math.floor(10 * (2 + 0.5 * (satterthwaite - 2))) / 10 == 3.5
    (judged,) = stepped([found])
    assert judged.p == pytest.approx(2 * stats.t.sf(abs(found.estimate / found.error), 3.5))
    assert judged.half == pytest.approx(stats.t.isf(0.025, 3.5) * found.error)


def test_of_two_arms_it_is_the_difference_that_the_verdict_tests():
    rng = np.random.default_rng(0)
    for runs in (3, 5, 8):
        one, other = arm("a", rng.normal(size=runs)), arm("b", 2 * rng.normal(size=runs))
        found, same = contrast([(1.0, one), (-1.0, other)]), trial(one, other)
        assert (found.estimate, found.error, found.df, found.paired) == pytest.approx(
            (same.difference, same.error, same.df, same.paired)
        )
    lost = contrast([(1.0, arm("a", (1.0, 2.0, 4.0))), (-1.0, arm("b", (1.0, 2.0, 4.0, 3.0)))])
    assert lost.df == 2  # unequal counts: the smaller one's


def test_from_eight_seeds_on_and_for_folds_the_sums_are_paired():
    rng = np.random.default_rng(1)
    values = rng.normal(size=(4, 8))
    parts = [(weight, arm("a", row)) for weight, row in zip((1, -1, -1, 1), values, strict=True)]
    sums = values[0] - values[1] - values[2] + values[3]
    found = contrast(parts)
    assert (found.paired, found.df) == (True, 7.0)
    assert found.error == pytest.approx(sums.std(ddof=1) / math.sqrt(8))
    assert stepped([found])[0].p == pytest.approx(stats.ttest_1samp(sums, 0).pvalue)
    folds = contrast(parts, split_ratio=1 / 7)
    assert folds.error == pytest.approx(sums.std(ddof=1) * math.sqrt(1 / 8 + 1 / 7))


def test_several_interactions_are_corrected_in_steps():
    found = stepped([Contrast(estimate, 5, 1.0, 10.0) for estimate in (0.5, 4.0, 2.4, 0.1)])
    single = [2 * stats.t.sf(estimate, 10) for estimate in (0.5, 4.0, 2.4, 0.1)]
    sidak = [1 - (1 - p) ** tests for p, tests in zip(single, (3, 4, 3, 3), strict=True)]
    assert [each.p for each in found] == pytest.approx(sidak)  # 2.4 is not told (0.107): the others share its step
    assert [each.concluded for each in found] == [False, True, False, False]
    assert stepped([Contrast(1.0, 2)])[0].p is None


def test_sentences_of_interactions_and_average_effects():
    told = interactions([square()], Design())[0]
    assert told.sentence == (
        "batch and flip: no conclusion on whether they add up (together −3.0 ± 4.5 points against the sum of both,"
        " 3 seeds an arm, p = 0.13)"
    )
    assert told.figures["interval"][0] < told.figures["difference"] == pytest.approx(-0.03)
    less = interactions([square(both=(0.86, 0.87, 0.88))], Design())[0]
    assert less.sentence == (
        "batch and flip together give 8.0 ± 4.5 points less than the sum of both (3 seeds an arm, p = 0.0091)"
    )
    few = interactions([square(both=(0.86, 0.87))], Design())[0]
    assert few.sentence == "batch and flip: whether they add up cannot be told, at least 3 seeds an arm are needed"
    pairs = [(arm("both", BOTH), arm("second", SECOND)), (arm("first", FIRST), arm("neither", NEITHER))]
    average = average_effects([("batch", pairs)], Design())[0]
    assert average.figures["difference"] == pytest.approx((0.92 - 0.86 + 0.90 - 0.81) / 2)
    assert average.sentence == (
        "batch on average: +7.5 ± 2.2 points over 2 pairs of arms (3 seeds an arm, p = 0.0011), it helps"
    )


def test_the_share_of_runs_that_win_by_its_formula():
    one, other = arm("a", (0.90, 0.92, 0.94, 0.91, 0.93)), arm("b", (0.89, 0.92, 0.90, 0.91, 0.88))
    z = 0.02 / math.sqrt(2 * 0.00025)
    half = stats.t.isf(0.025, 8) * math.sqrt(1 / 5 + z**2 / 16)
    found = superiority(one, other)
    assert (found.share, found.low, found.high) == pytest.approx(tuple(map(stats.norm.cdf, (z, z - half, z + half))))
    assert superiority(one, other, sign=-1).share == pytest.approx(1 - found.share)
    (told,) = superiorities([(one, other)], Design())
    assert told.sentence == "A run of a beats a run of b in 81 % of pairs, 95 % interval 40 to 98 % (5 seeds)"
    assert superiority(arm("a", (1.0, 1.0, 1.0)), arm("b", (0.0, 0.0, 0.0))) is None
    (none,) = superiorities([(arm("a", (0.9, 0.8)), other)], Design())
    assert none.sentence == "How often a run of a beats one of b cannot be told: at least 3 seeds an arm are needed"


def test_from_twenty_seeds_on_the_pairs_are_counted_as_brunner_and_munzel_do():
    rng = np.random.default_rng(2)
    x, y = rng.integers(0, 12, 24) / 10, rng.integers(0, 9, 24) / 10
    found = superiority(arm("a", x), arm("b", y))
    assert found.ranks
    assert found.share == pytest.approx(np.mean((x[:, None] > y) + (x[:, None] == y) / 2))
    test = stats.brunnermunzel(x, y)
    error = abs((found.share - 0.5) / test.statistic)
    half = math.log(found.high / (1 - found.high)) - math.log(found.share / (1 - found.share))
    tails = ((df, 2 * stats.t.sf(abs(test.statistic), df)) for df in np.arange(20, 47, 0.01))
    df = min(tails, key=lambda pair: abs(pair[1] - test.pvalue))[0]
    assert half == pytest.approx(stats.t.isf(0.025, df) * error / (found.share * (1 - found.share)), rel=1e-3)
    apart = superiority(arm("a", x + 5), arm("b", y))  # no pair is lost: the logit would be infinite
    assert not apart.ranks
    assert apart.low > 0.99


def test_not_worse_is_one_sided_and_corrected_in_steps():
    reference = arm("adam", (0.95, 0.96, 0.94, 0.955, 0.945))
    near = arm("sgd", (0.949, 0.951, 0.953, 0.95, 0.947))
    far = arm("none", (0.93, 0.95, 0.94, 0.92, 0.96))
    trials = [trial(near, reference), trial(far, reference)]
    found = not_worse(trials, 0.01)
    single = [float(stats.t.sf((each.difference + 0.01) / each.error, each.df)) for each in trials]
    assert [each.p for each in found] == pytest.approx([2 * single[0], max(2 * single[0], single[1])])
    assert found[0].worst == pytest.approx(stats.t.isf(0.05, trials[0].df) * trials[0].error - trials[0].difference)
    told = [each.sentence for each in no_losses([(near, reference), (far, reference)], Design(margin=0.01))]
    assert told == [
        "sgd is no worse than adam by more than 1.0 points (5 seeds, p = 0.049)",
        "none may be worse than adam by more than 1.0 points, by up to 2.6 points (5 seeds, p = 0.50)",
    ]
    # For a loss lower is better: what is higher by less than the margin is no worse.
    (loss,) = not_worse([trial(reference, near)], 0.01, sign=-1)
    assert loss.p == pytest.approx(float(stats.t.sf((-(0.95 - near.mean * 1) + 0.01) / trials[0].error, trials[0].df)))


def test_how_often_they_err(monkeypatch):
    rng = np.random.default_rng(3)
    wrong = {"interaction": 0, "superiority": 0, "not_worse": 0}
    studies = 600
    for _ in range(studies):
        rows = [arm("a", row) for row in rng.normal(size=(4, 5)) * ((4,), (1,), (1,), (1,))]
        wrong["interaction"] += stepped([contrast([*zip((1, -1, -1, 1), rows, strict=True)])])[0].concluded
        share = superiority(arm("a", rng.normal(1, 1, 5)), arm("b", rng.normal(0, 2, 5)))
        wrong["superiority"] += not share.low <= stats.norm.cdf(1 / math.sqrt(5)) <= share.high
        worse = [arm("a", row) for row in rng.normal(-1, 1, (3, 5))]
        best = arm("b", rng.normal(0, 1, 5))
        wrong["not_worse"] += any(each.p < 0.05 for each in not_worse([trial(each, best) for each in worse], 1.0))
    # 5 % and three standard errors of 600 studies.
    assert all(count <= studies * (0.05 + 3 * 0.0089) for count in wrong.values()), wrong


def test_a_finished_study_is_asked_by_report(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = fake_study(Path("study"), {"lr": ["0.1", "0.01"], "dropout": ["0.0", "0.5"]}, seeds=(0, 1, 2))
    assert main(["report", str(folder), "--ask", "interaction,superiority"]) == 0
    told = capsys.readouterr().out
    assert "A run of lr=0.01 dropout=0.5 beats a run of lr=0.1 dropout=0.5 in " in told
    assert "lr=0.01 on average: +" in told
    assert "lr=0.01 and dropout=0.5" in told
    assert "against lr=0.1 and dropout=0.0" in told
    assert "on average" not in (main(["report", str(folder)]), capsys.readouterr().out)[1]
    for question, sentence in (
        ("winner", "--ask winner: there is no such question as winner. Accepted: superiority, not_worse, interaction"),
        ("not_worse", "--ask not_worse: not_worse asks whether an arm is worse by a difference that matters: add"
         " sweep.margin to the study's command, as sweep.margin=0.005 for half a point of accuracy"),
    ):  # fmt: skip
        assert main(["report", str(folder), "--ask", question]) == 2
        assert capsys.readouterr().err == f"trainer: {sentence}\n"
    manifest = json.loads((folder / "study.json").read_text())
    manifest["sweep"] |= {"ask": ["not_worse"], "margin": 0.05}
    (folder / "study.json").write_text(json.dumps(manifest))
    assert main(["export", str(folder), "--json", "verdict.json"]) == 0
    findings = json.loads(Path("verdict.json").read_text())["findings"]
    assert [each["question"] for each in findings] == ["not_worse"] * 3
    assert {each["second"] for each in findings} == {"lr=0.01 dropout=0.5"}
