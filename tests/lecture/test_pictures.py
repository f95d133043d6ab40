"""The pictures of a study: their numbers are those of its runs, their texts those of its arms, without markup."""

import itertools
import json
import re
from pathlib import Path

import pytest

from trainer.lecture.book.lines import names_of
from trainer.lecture.book.pictures import figures_of
from trainer.lecture.claim import Claim
from trainer.lecture.content import StatementResult
from trainer.lecture.measuring.runs import RunRecord
from trainer.lecture.named import functions
from trainer.lecture.titles import TITLES, brief, folded, log_axis, title_of
from trainer.records.outcome import Outcome

BATCH, NONE = "normalization=batch", "normalization=none"


NUMBERS = itertools.count()


def run(*losses, accuracy=0.5):
    """A finished run of its own with these training losses; None: not finite."""
    rows = [
        {"epoch": epoch, "improved": False, "train_loss": loss, "validation_accuracy": accuracy + 0.01 * epoch}
        for epoch, loss in enumerate(losses, 1)
    ]
    return RunRecord(Path(f"made/{next(NUMBERS)}"), {}, Outcome("finished"), rows)


def claim(*pictures, arms=(BATCH, NONE), over=None, **statement):
    """A claim with these pictures and one statement."""
    says = {"says": "…", "measure": "score", "arms": arms, "over": over, **statement}
    fixed = {"name": "made", "note": "004", "line": 1, "title": "…", "claim": "…", "next": "…", "study": "lr=1"}
    return Claim.model_validate({**fixed, "budgets": {"quick": {}}, "statements": [says], "pictures": pictures})


def drawn(made, arms, results=(), measured=None):
    """The figures of a claim, each as (data, layout), after a trip through JSON."""
    found = figures_of(made, arms, results, measured)
    return [tuple(json.loads(json.dumps(dict(each.figure), allow_nan=False)).values()) for each in found]


def test_curves_are_the_mean_over_the_seeds_with_their_range():
    arms = {BATCH: {"": {"0": run(2.0, 1.0), "1": run(4.0, 2.0)}}, NONE: {"": {"0": run(2.0, 2.0)}}}
    ((data, layout),) = drawn(claim({"kind": "curves", "figure": "train_loss"}), arms)
    band, batch, none = data
    assert (batch["x"], batch["y"], batch["name"]) == ([1, 2], [3.0, 1.5], "batch")
    assert (band["x"], band["y"]) == ([1, 2, 2, 1], [4.0, 2.0, 1.0, 2.0])
    assert band["showlegend"] is False and band["fillcolor"] == "rgba(0,114,178,0.16)"
    assert (none["y"], none["name"]) == ([2.0, 2.0], "none")
    assert batch["line"]["dash"] != none["line"]["dash"] and batch["marker"]["symbol"] != none["marker"]["symbol"]
    assert layout["yaxis"] == {"title": {"text": "training loss"}}
    assert layout["legend"]["title"]["text"] == "normalization "
    ((data, layout),) = drawn(claim({"kind": "curves", "figure": "validation_accuracy"}), {NONE: {"": {"0": run(1.0)}}})
    assert data[0]["y"] == [pytest.approx(51.0)] and layout["yaxis"]["title"]["text"] == "validation accuracy (%)"
    assert layout["showlegend"] is False


def test_curves_tell_how_many_runs_diverged_and_span_decades():
    arms = {BATCH: {"": {"0": run(2.0, 0.5, None), "1": run(2.0, 0.01, 0.01)}}, NONE: {"": {"0": run(None)}}}
    ((data, layout),) = drawn(claim({"kind": "curves", "figure": "train_loss"}), arms)
    assert [trace["name"] for trace in data if trace.get("showlegend", True)] == [
        "batch (1 of 2 not finite)",
        "none (1 of 1 not finite)",
    ]
    assert data[1]["x"] == [1, 2]  # the epochs of all its runs
    assert layout["yaxis"]["type"] == "log"
    assert drawn(claim({"kind": "curves", "figure": "train_loss"}), {NONE: {"": {"0": run(None)}}}) == []


def test_curves_have_a_line_for_each_value_of_a_further_setting():
    over = {"take": "largest_reaching", "setting": "lr", "least": 90}
    arms = {BATCH: {"0.1": {"0": run(1.0)}, "1": {"0": run(3.0)}}}
    ((data, _),) = drawn(claim({"kind": "curves", "figure": "train_loss"}, over=over), arms)
    assert [trace["name"] for trace in data] == ["0.1", "1"]  # batch normalization have all
    assert len({trace["line"]["color"] for trace in data}) == 2
    arms[NONE] = {"0.1": {"0": run(1.0)}, "1": {"0": run(3.0)}}
    ((data, layout),) = drawn(claim({"kind": "curves", "figure": "train_loss"}, over=over), arms)
    assert [trace["name"] for trace in data] == [f"{arm}, lr={lr}" for arm in (BATCH, NONE) for lr in ("0.1", "1")]
    assert [trace["line"]["color"] for trace in data] == ["#0072B2", "#0072B2", "#E69F00", "#E69F00"]
    assert [trace["line"]["dash"] for trace in data] == ["solid", "dash", "solid", "dash"]
    assert layout["legend"] == {}


def test_runs_that_several_arms_chose_are_one_line():
    low, high = {"0": run(1.0)}, {"0": run(2.0)}
    arms = {"activation=relu": {"1": high, "0.1": low}, "lr=0.1": {"": low}}
    over = {"take": "spread", "setting": "lr"}
    ((data, layout),) = drawn(claim({"kind": "curves", "figure": "train_loss"}, over=over), arms)
    assert [(trace["name"], trace["y"]) for trace in data] == [("0.1", [1.0]), ("1", [2.0])]
    assert layout["legend"]["title"]["text"] == "lr "


def test_lines_without_a_table_of_both_settings_have_a_colour_each():
    arms = {
        "scheduler=cyclic": {"3": {"0": run(1.0)}},
        "scheduler=constant": {"1": {"0": run(2.0)}, "2": {"0": run(3.0)}},
    }
    over = {"take": "best", "setting": "lr"}
    ((data, _),) = drawn(claim({"kind": "curves", "figure": "train_loss"}, over=over), arms)
    assert [trace["name"] for trace in data] == [
        f"scheduler={name}" for name in ("cyclic, lr=3", "constant, lr=1", "constant, lr=2")
    ]
    assert len({trace["line"]["color"] for trace in data}) == 3


def test_losses_of_runs_that_diverge_do_not_fill_the_axis():
    arms = {BATCH: {"": {"0": run(2.0, 1.0, 0.5)}}, NONE: {"": {"0": run(1e9, 2.0, 2.0)}}}
    ((_, layout),) = drawn(claim({"kind": "curves", "figure": "train_loss"}), arms)
    assert layout["yaxis"]["title"]["text"] == "training loss, cut at 60"
    assert layout["yaxis"]["range"][1] == pytest.approx(1.778, abs=0.001) and layout["yaxis"]["type"] == "log"
    assert "exponentformat" not in layout["yaxis"] and log_axis([1e-5, 1.0])["exponentformat"] == "power"


def test_pairs_of_two_settings_are_a_surface_with_both_searches():
    over = {"take": "random_minus_grid", "setting": "lr dropout", "side": 2}
    pairs = {
        f"lr={lr} dropout={drop}": {"0": run(lr + drop)} for drop in (0.0, 0.5, 0.9) for lr in (1.0, 2.0, 3.0, 4.0)
    }
    made = claim({"kind": "factor"}, arms=(BATCH,), over=over, measure={"take": "figure", "name": "train_loss"})
    results = [StatementResult("…", "holds here", "…")]
    ((data, layout),) = drawn(made, {BATCH: pairs}, results, lambda statement, run: run.epochs[0]["train_loss"])
    assert data[0]["z"] == [[1.0, 2.0, 3.0, 4.0], [1.5, 2.5, 3.5, 4.5], [1.9, 2.9, 3.9, 4.9]]
    assert layout["xaxis"]["title"]["text"] == "lr" and layout["yaxis"]["ticktext"] == ["0.0", "0.5", "0.9"]
    assert [len(trace["x"]) for trace in data[1:]] == [4, 4]
    assert sorted(set(data[1]["x"])) == [0, 2] and sorted(set(data[1]["y"])) == [0, 1]


@pytest.mark.parametrize(
    ("values", "kind", "places"),
    [
        (("0.001", "0.01", "1"), "log", [0.001, 0.01, 1]),
        (("100", "200", "300"), None, [100, 200, 300]),
        (("0", "0.001", "0.1"), None, [0, 1, 2]),  # zero has no place on a logarithmic axis: side by side
        (("relu", "tanh"), None, [-0.07, 0.93]),
    ],
)
def test_a_measure_by_a_setting(values, kind, places):
    over = {"take": "spread", "setting": "lr"}
    runs = {value: {"0": run(1.0), "1": run(3.0)} for value in values}
    made = claim({"kind": "factor"}, over=over, measure={"take": "figure", "name": "train_loss"})
    results = [StatementResult("…", "holds here", "…", "score", "points")]
    ((data, layout),) = drawn(
        made, {BATCH: runs, NONE: runs}, results, lambda statement, run: run.epochs[0]["train_loss"]
    )
    first = next(trace for trace in data if trace["name"] == "batch" and trace.get("showlegend", True))
    assert first["x"] == pytest.approx(places) and first["y"] == [2.0] * len(values)
    assert layout["xaxis"].get("type") == kind and layout["xaxis"]["title"]["text"] == "lr"
    assert layout["yaxis"]["title"]["text"] == "training loss"
    if "error_y" in first:  # texts side by side, which no line joins
        assert first["error_y"]["array"] == first["error_y"]["arrayminus"] == [1.0] * len(values)


def test_dots_are_the_values_of_the_statement_with_their_mean():
    values = {BATCH: {"0": 90.0, "1": 92.0}, NONE: {"0": 80.0, "1": None}}
    results = [StatementResult("…", "holds here", "…", "score", "points", (BATCH, NONE), values=values)]
    arms = {BATCH: {"": {}}, NONE: {"": {}}}
    ((data, layout),) = drawn(claim({"kind": "values"}), arms, results)
    assert [trace["x"] for trace in data] == [[90.0, 92.0], [91.0], [80.0], [80.0]]
    assert layout["yaxis"]["ticktext"] == ["batch", "none (1 of 2 without a<br>number)"]
    assert layout["xaxis"]["title"]["text"] == "validation accuracy (%)"
    assert drawn(claim({"kind": "values"}), arms, []) == []
    alone = StatementResult("…", "holds here", "…", "score", "points", (BATCH,), values={BATCH: {"0": 90.0}})
    ((data, layout),) = drawn(claim({"kind": "values"}, arms=(BATCH,), against=50), arms, [alone])
    assert data[-1]["x"] == [50, 50] and data[-1]["name"] == "held against 50" and layout["showlegend"] is True


def test_texts_of_a_study_are_no_markup():
    arm = "arm=<b>&"
    ((data, _),) = drawn(claim({"kind": "curves", "figure": "train_loss"}), {arm: {"": {"0": run(1.0)}}})
    assert data[0]["name"] == "&lt;b&gt;&amp;"
    assert folded("a < b " * 20, 10).count("<") == 2 == folded("a < b " * 20, 10).count("<br>")


def test_names_and_titles():
    assert names_of([BATCH, NONE]) == ({BATCH: "batch", NONE: "none"}, "normalization")
    assert names_of(["arm=first", "arm=second"]) == ({"arm=first": "first", "arm=second": "second"}, "")
    words = ["optimizer=adam lr=0.01", "optimizer=sgd lr=0.1"]
    assert names_of(words) == ({word: word for word in words}, "")
    assert names_of(["init.std=0.1 activation=relu", "init.std=0.2 activation=relu"])[1] == "init.std"
    deep = ["model.hidden=[64,64,64] activation=relu", "activation=relu model.hidden=[64,32]"]
    assert list(names_of(deep)[0].values()) == ["[3 × 64]", "[64,32]"] and names_of(deep)[1] == "model.hidden"
    assert names_of([]) == ({}, "") and names_of([BATCH]) == ({BATCH: "batch"}, "normalization")
    steps = {"take": "epochs_to", "figure": "train_loss", "target": 0.5}
    (statement,) = claim(measure=steps).statements
    assert title_of(statement) == "epochs to training loss 0.5"
    largest = {"take": "largest_reaching", "setting": "lr", "least": 90}
    (statement,) = claim(over=largest).statements
    assert title_of(statement) == "validation accuracy, log₁₀ of the largest lr that reaches 90 (decades)"
    (statement,) = claim(measure={"take": "near_zero", "below": 0.001}).statements
    assert title_of(statement) == "share of weights below 0.001 (%)"
    (plain_one,) = claim(measure="near_zero").statements
    assert "{" not in title_of(plain_one) and title_of(plain_one) != "share of weights below below (%)"
    (statement,) = claim(measure="first_last_gradient").statements
    assert title_of(statement) == "‖g₁‖ / ‖g_L‖"
    (statement,) = claim(measure="gap").statements
    assert title_of(statement) == "training minus validation accuracy (points)"
    (statement,) = claim(over={"take": "spread", "setting": "init"}).statements
    assert title_of(statement) == "validation accuracy, largest minus smallest over init (points)"
    assert title_of(statement, reduced=False) == "validation accuracy (%)"
    assert brief("lr=1e-05 model.hidden=[64,64,64] 2e+06 [1,1]") == "lr=1e-5 model.hidden=[3 × 64] 2e6 [1,1]"


def test_titles_are_those_of_measures_and_reductions_that_exist():
    known = {**functions("measure"), **functions("reduction")}
    assert set(TITLES) <= set(known)
    for name, template in TITLES.items():
        options = set(known[name][1]) | {"setting"}
        assert set(re.findall(r"\{(\w+)\}", template)) <= options, name
