"""Axes, points, ranges that narrow, borders, and what Optuna is asked."""

import itertools
import json
import math
import re
import shutil
from dataclasses import replace

import pytest
from conftest import interpret
from test_study import SHORT, TINY, study, table

from trainer.errors import ConfigError
from trainer.study import execute, launch
from trainer.study.axes import Axis, corners, grid, narrowed, on_border, space_size
from trainer.study.launch import Launch
from trainer.study.locate import first_runs
from trainer.study.search import Pruning, TriedPoint, ask
from trainer.study.search_warnings import search_warnings
from trainer.study.winner import winner_of

LR = Axis("lr", prefix="++lr", low=1e-5, high=1e-1, log=True)
DROPOUT = Axis("dropout", prefix="++dropout", low=0.0, high=0.8)
WIDTH = Axis("width", prefix="++width", low=8, high=64, integer=True)
KIND = Axis("optimizer", texts=("optimizer=sgd", "optimizer=adam", "optimizer=adamw"))


def test_a_grid_is_every_combination_and_the_corners_hold_every_value():
    assert len(list(grid([KIND, Axis("seed", texts=("++seed=0", "++seed=1"))]))) == 6
    points = list(corners([LR, KIND]))
    assert {point["lr"] for point in points} == {"++lr=1e-05", "++lr=0.1"}
    assert {point["optimizer"] for point in points} == set(KIND.texts)


def test_values_are_written_with_four_digits_and_stay_inside():
    assert LR.text(0.00123456) == "++lr=0.001235"
    assert DROPOUT.text(0.79999) == "++dropout=0.8"
    assert WIDTH.text(31) == "++width=31"


@pytest.mark.parametrize("method", ["random", "tpe", "gp"])
def test_the_points_depend_on_the_seed_and_what_was_tried_alone(method):
    def path(seed):
        tried = []
        for _ in range(14):
            point = ask([LR, DROPOUT, WIDTH, KIND], tried, method, seed, 1)
            value = -abs(math.log10(LR.value(point["lr"])) + 3) - DROPOUT.value(point["dropout"])
            tried.append(TriedPoint(point, value, "finished"))
        return [tuple(each.point.values()) for each in tried]

    assert path(0) == path(0) != path(1)
    for lr, dropout, width, kind in path(0):
        assert 1e-5 <= LR.value(lr) <= 0.1 and 0 <= DROPOUT.value(dropout) <= 0.8
        assert 8 <= int(WIDTH.value(width)) <= 64 and kind in KIND.texts


def test_bayesian_searches_go_where_points_have_been_good_and_random_does_not():
    def last(method, sign):
        tried = []
        for _ in range(40):
            point = ask([LR], tried, method, 0, sign)
            tried.append(TriedPoint(point, sign * -abs(math.log10(LR.value(point["lr"])) + 3), "finished"))
        return sum(abs(math.log10(LR.value(each.point["lr"])) + 3) for each in tried[30:]) / 10

    assert last("gp", 1) < last("tpe", 1) < 0.5 < last("random", 1)  # orders of magnitude from the best
    assert last("tpe", -1) == last("tpe", 1)  # minimizing the negative is the same search


@pytest.mark.parametrize("method", ["random", "tpe", "gp"])
def test_each_point_of_a_small_space_is_asked_for_once(method):
    axes, tried = [KIND, replace(WIDTH, low=8, high=10)], []
    for _ in range(9):
        point = ask(axes, tried, method, 0, 1)
        tried.append(
            TriedPoint(point, float(point == {"optimizer": "optimizer=sgd", "width": "++width=9"}), "finished")
        )
    assert len({tuple(each.point.values()) for each in tried}) == 9
    spelled_twice = [Axis("lr", texts=("++lr=0.1", "++lr=1e-1", "++lr=0.2"))]
    first = ask(spelled_twice, [], method, 0, 1)
    second = ask(spelled_twice, [TriedPoint(first, 0.5, "failed")], method, 0, 1)
    assert {float(point["lr"].partition("=")[2]) for point in (first, second)} == {0.1, 0.2}


def test_the_size_of_a_space():
    assert space_size([KIND, WIDTH]) == 3 * 57
    assert space_size([LR, KIND]) == math.inf
    assert Axis("lr", texts=("++lr=0.1", "++lr=1e-1", "++lr=0.2")).values() == ("++lr=0.1", "++lr=0.2")


def test_a_search_over_few_points_tries_each_once_and_ends(capsys):
    arguments = (*TINY, "epochs=1", "sweep.method=tpe", "sweep.trials=9", "lr=0.001,0.01,0.1", "dropout=0.0,0.5")
    code, folder = study(*arguments)
    printed = capsys.readouterr().out
    assert (code, len({(row["lr"], row["dropout"]) for row in table(folder)}), len(table(folder))) == (0, 6, 6)
    assert ": 6 points by tpe, all that there are (sweep.trials=9)\n" in printed
    assert "\nAll 6 points are tried\n" in printed and "[6/6] lr=" in printed
    assert winner_of(folder).tried == (6, 6)  # it counts as finished
    assert study(*arguments)[1] == folder
    assert "; 6 are finished already\n" in capsys.readouterr().out
    staged = (
        "epochs=3",
        "sweep.method=random",
        "sweep.trials=4",
        "sweep.stages=2",
        "batch_size=int(interval(999,1000))",
    )
    _, folder = study(*TINY, *staged)
    assert [row["stage"] for row in table(folder)] == ["1", "1", "2", "2"]
    assert winner_of(folder).tried == (4, 4)


def test_a_failed_point_does_not_stop_the_search():
    tried = [TriedPoint({"lr": "++lr=0.1"}, None, "failed"), TriedPoint({"lr": "++lr=0.01"}, None, "pruned", {1: 0.2})]
    assert 1e-5 <= LR.value(ask([LR], tried, "tpe", 0, 1)["lr"]) <= 0.1


def test_a_range_narrows_around_the_best_and_never_widens():
    best = [{"lr": "++lr=0.001"}, {"lr": "++lr=0.01"}]
    narrow = narrowed(LR, best)  # a tenth of four decades to spare on each side
    assert (narrow.low, narrow.high) == (pytest.approx(10**-3.4, rel=0.04), pytest.approx(10**-1.6, rel=0.04))
    assert narrowed(DROPOUT, [{"dropout": "++dropout=0.0"}]).low == 0.0
    assert narrowed(KIND, [{"optimizer": "optimizer=adam"}]).texts == ("optimizer=adam",)
    whole = narrowed(WIDTH, [{"width": "++width=16"}, {"width": "++width=20"}])
    assert (whole.low, whole.high) == (10, 26)


@pytest.mark.parametrize(
    ("axis", "text", "further"),
    [
        (LR, "++lr=0.09", "lr=tag(log,interval(0.001,10))"),
        (LR, "++lr=1.2e-05", "lr=tag(log,interval(1e-07,0.001))"),
        (LR, "++lr=0.001", None),
        (DROPOUT, "++dropout=0.79", "dropout=interval(0.4,1.2)"),
        (DROPOUT, "++dropout=0.01", None),  # 0 is no border to cross
        (WIDTH, "++width=63", "width=int(interval(36,92))"),
        (KIND, "optimizer=adam", None),
        (Axis("lr", texts=("++lr=0.001", "++lr=0.01", "++lr=0.1")), "++lr=0.1", "lr=tag(log,interval(0.01,1))"),
        (Axis("lr", texts=("++lr=0.001", "++lr=0.01", "++lr=0.1")), "++lr=0.01", None),
        (Axis("lr", texts=("++lr=0.001", "++lr=0.1")), "++lr=0.1", None),  # two values are no range
        (Axis("lr", texts=("++lr=0.1", "++lr=0.2", "++lr=0.3")), "++lr=0.1", "lr=interval(0,0.2)"),  # not from 1.4e-17
        (Axis("decay", texts=("++decay=0.0", "++decay=1", "++decay=2")), "++decay=0.0", None),
    ],
)  # fmt: skip
def test_a_best_value_on_the_border_asks_for_a_further_range(axis, text, further):
    border = on_border(axis, {axis.key: text})
    assert (border.suggested.described() if border else None) == further


def test_a_run_below_the_median_is_pruned_and_one_above_it_is_not():
    curves = [{str(epoch): 0.5 + 0.1 * epoch for epoch in (1, 2, 3)} for _ in range(5)]
    pruning = Pruning("median", "validation_accuracy", 1, 3, curves)
    assert pruning.falls_behind({1: 0.3}) and not pruning.falls_behind({1: 0.7})
    assert Pruning("median", "validation_loss", -1, 3, curves).falls_behind({1: 0.9})
    assert not Pruning("median", "validation_accuracy", 1, 3, curves[:2]).falls_behind({1: 0.3})  # too few to judge by
    good = {str(epoch): 0.9 for epoch in range(1, 10)}
    for curve, fallen in ((dict.fromkeys(range(1, 10), 0.1), True), (dict.fromkeys(range(1, 10), 0.95), False)):
        # Which of its brackets a run falls into goes by its number; one of them lets every run go to its end.
        brackets = [Pruning("hyperband", "validation_accuracy", 1, 9, [good] * count) for count in range(8, 24)]
        assert any(pruning.falls_behind(curve) for pruning in brackets) == fallen


def test_a_search_trains_the_points_it_asks_for_and_records_pruned_ones_with_their_curve():
    arguments = ("epochs=4", "sweep.method=tpe", "sweep.trials=9", "sweep.pruner=median")
    _, folder = study(*TINY, *arguments, "lr=tag(log,interval(1e-5,1))")
    rows = table(folder)
    states = [row["state"] for row in rows]
    assert len(rows) == 9 and set(states) == {"finished", "pruned"}
    for row in rows:
        run = next(folder.glob(f"*-{row['id']}"))
        assert len((run / "metrics.jsonl").read_text().splitlines()) == int(row["epochs"])
        assert (int(row["epochs"]) < 4) == (row["state"] == "pruned")


class Killed(BaseException):
    """Nothing handles it, as nothing handles a SIGKILL."""


def killed_at(monkeypatch, owner, name, number):
    """The call of this number dies before it does anything."""
    real, calls = getattr(owner, name), itertools.count(1)

    def call(*arguments):
        if next(calls) == number:
            raise Killed
        return real(*arguments)

    monkeypatch.setattr(owner, name, call)


@pytest.mark.long
def test_a_kill_between_the_save_and_the_answer_leaves_a_run_pruned_where_it_was(monkeypatch):
    arguments = (*TINY, "epochs=4", "sweep.method=tpe", "sweep.trials=9", "sweep.pruner=median")
    _, folder = study(*arguments, "lr=tag(log,interval(1e-5,1))")
    undisturbed = table(folder)
    shutil.rmtree("outputs")
    asked = sum(int(row["epochs"]) for row in undisturbed[: [row["state"] for row in undisturbed].index("pruned") + 1])
    with monkeypatch.context() as patch:
        killed_at(patch, Pruning, "falls_behind", asked)
        with pytest.raises(Killed):
            study(*arguments, "lr=tag(log,interval(1e-5,1))")
    study(*arguments, "lr=tag(log,interval(1e-5,1))")
    assert table(folder) == undisturbed


@pytest.mark.long
def test_a_search_that_tries_three_points_at_a_time_goes_on_as_it_would_have(monkeypatch):
    """Each point is asked for by what was known when its batch was begun."""
    monkeypatch.setattr(Launch, "parallel", property(lambda self: 3, lambda self, value: None), raising=False)
    arguments = (*TINY, "epochs=1", "sweep.method=tpe", "sweep.trials=12", "lr=tag(log,interval(1e-5,1))")
    real, known = execute.ask, []

    def noted(axes, tried, *rest):
        known.append((len(tried), sum(each.state != "running" for each in tried)))
        return real(axes, tried, *rest)

    monkeypatch.setattr(execute, "ask", noted)
    _, folder = study(*arguments)
    undisturbed = table(folder)
    shutil.rmtree("outputs")
    with monkeypatch.context() as patch:
        killed_at(patch, launch, "work", 8)
        with pytest.raises(Killed):
            study(*arguments)
    study(*arguments)
    assert table(folder) == undisturbed
    assert len(known) == 24 and all(finished == number - number % 3 for number, finished in known)


@pytest.mark.long
def test_coarse_to_fine_narrows_and_says_why(capsys):
    arguments = ("epochs=6", "sweep.method=random", "sweep.trials=8", "sweep.stages=2")
    _, folder = study(*TINY, *arguments, "lr=tag(log,interval(1e-5,1))", "seed=0,1")
    rows = table(folder)
    assert [sum(row["stage"] == stage for row in rows) for stage in "12"] == [16, 8]
    assert {(row["stage"], row["epochs"]) for row in rows} == {("1", "2"), ("2", "6")}
    (stage,) = json.loads((folder / "study.json").read_text())["stages"]
    assert stage["why"] == "the best 2 of 8 points lie there" and stage["text"] in capsys.readouterr().out
    low, high = (float(end) for end in stage["axes"][0].removeprefix("lr=tag(log,interval(").rstrip(")").split(","))
    assert 1e-5 < low < high <= 1
    assert all(low * 0.999 <= float(row["lr"]) <= high * 1.001 for row in rows if row["stage"] == "2")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            "sweep.pruner=hyperband scheduler=cosine,step",
            "sweep.pruner=hyperband compares runs with different schedules (scheduler) in their early epochs: those"
            " that keep a high rate for longer often overtake late. sweep.pruner=none lets every run come to its end",
        ),
        (
            "sweep.pruner=median scheduler=linear",
            "sweep.pruner=median compares runs while their rate is high, and scheduler=linear ends at a low one: runs"
            " often overtake each other late. sweep.pruner=none lets every run come to its end",
        ),
        ("sweep.pruner=median scheduler=linear scheduler.min_lr=0.05", None),
        ("scheduler=cosine,step", None),  # without a pruner every run comes to its end
        (
            "sweep.method=gp sweep.trials=9",
            "sweep.method=gp draws its first 10 points at random; the search has 9, so that it is a random one",
        ),
    ],
)
def test_a_search_is_warned_of_what_misleads_it(arguments, sentence):
    method = () if "method" in arguments else ("sweep.method=random",)
    plan = interpret(["-m", *TINY, "epochs=20", *method, "lr=interval(0.1,0.4)", *arguments.split()])
    assert list(search_warnings(plan, first_runs(plan))) == ([sentence] if sentence else [])


def test_the_end_of_a_range_is_told_between_stages_as_well(capsys):
    stages = ("epochs=3", "sweep.method=random", "sweep.trials=4", "sweep.stages=2", "dropout=interval(0.0,0.1)")
    study(*TINY, *stages, "lr=1e-7,1e-6,1e-2")
    told = [line for line in capsys.readouterr().err.splitlines() if "the best lr" in line]
    assert told[0] == (
        "trainer: warning: the best lr of stage 1, 0.01, lies at the upper end of what was tried (lr=1e-07,1e-06,0.01):"
        " a better one may lie beyond. Try 'lr=tag(log,interval(3.2e-05,3.2))'"
    )


def test_the_end_of_a_range_is_told_of_each_technique_between_stages(capsys):
    stages = ("epochs=1", "sweep.method=random", "sweep.trials=12", "sweep.stages=2", "dropout=interval(0.0,0.1)")
    study(*TINY, *stages, "optimizer=sgd,adam", "lr=1e-7,1e-6,1e-2")
    told = re.findall("the best lr of (.*) of stage 1, 0.01, lies at the upper end", capsys.readouterr().err)
    assert sorted(told) == ["adam", "sgd"]


def test_every_corner_of_a_space_is_checked_before_anything_runs():
    def told(axis):
        with pytest.raises(ConfigError) as caught:
            interpret(["-m", *SHORT, "sweep.method=tpe", "lr=interval(0.1,1)", axis])
        return str(caught.value)

    assert told("batch_size=int(interval(0,64))") == "batch_size=0 (command line): must be a whole number of at least 1"
    assert told("batch_size=interval(8,64)") == (
        "batch_size=8.0 (command line): must be a whole number of at least 1;"
        " whole numbers: 'batch_size=int(interval(8,64))'"
    )


def test_a_grid_warns_when_the_best_value_is_its_last(capsys):
    study(*SHORT, "lr=1e-6,1e-5,1e-2")
    assert (
        "the best lr, 0.01, lies at the upper end of what was tried (lr=1e-06,1e-05,0.01): a better one may lie beyond."
        " Try 'lr=tag(log,interval(0.0001,1))' with sweep.method=random, tpe or gp"
    ) in capsys.readouterr().err


def test_the_end_of_what_a_setting_accepts_is_no_border(capsys):
    study(*TINY, "epochs=1", "dataset.train_size=100", "batch_size=1,50,100")
    assert "the best batch_size" not in capsys.readouterr().err
    study(*TINY, "epochs=1", "dataset.train_size=100", "batch_size=2,50,100")
    assert "the best batch_size, 2, lies at the lower end" in capsys.readouterr().err


def test_the_end_of_a_range_is_told_of_each_technique(capsys):
    study(*SHORT, "optimizer=sgd,adam", "lr=1e-7,1e-6,1e-2")
    told = [line.partition(": a better")[0] for line in capsys.readouterr().err.splitlines() if "the best lr" in line]
    assert sorted(told) == [
        f"trainer: warning: the best lr of {name}, 0.01, lies at the upper end of what was tried (lr=1e-07,1e-06,0.01)"
        for name in ("adam", "sgd")
    ]


def test_a_narrow_range_stays_one_that_holds_its_best_point():
    axis = Axis("lr", prefix="++lr", low=0.0123, high=0.0124)
    narrow = narrowed(axis, [{"lr": "++lr=0.01238"}])
    assert (narrow.low, narrow.high) == (0.0123, 0.0124)
    wide = Axis("lr", prefix="++lr", low=1e-5, high=1e-1, log=True)
    narrow = narrowed(wide, [{"lr": "++lr=0.00999"}])
    assert narrow.low <= 0.00999 <= narrow.high < 0.1 and narrow.low > 0.001


def test_one_number_three_times_has_no_border():
    axis = Axis("lr", texts=("++lr=0.01", "++lr=0.010", "++lr=1e-2"))
    assert on_border(axis, {"lr": "++lr=0.01"}) is None


def test_stages_that_come_to_the_same_runs_come_to_an_end():
    stages = ("sweep.method=random", "sweep.trials=4", "sweep.stages=2", "batch_size=int(interval(64,65))")
    assert study(*TINY, "epochs=1", "sweep.seed=1", *stages)[0] == 0


def test_a_search_that_goes_on_counts_what_was_trained_before(capsys):
    search = (*SHORT, "sweep.method=random", "sweep.trials=4", "lr=interval(0.01,0.1)")
    _, folder = study(*search)
    last = json.loads((folder / "study.json").read_text())["runs"][-1]["folder"]
    shutil.rmtree(folder / last)
    capsys.readouterr()
    assert study(*search)[0] == 0
    assert [line[:6] for line in capsys.readouterr().out.splitlines() if line.startswith("[")] == ["[4/4] "]
