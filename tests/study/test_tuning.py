"""Arms that are tuned before they are compared, and searches whose best points are trained again."""

import math
import shutil

import pytest
from conftest import interpret
from test_search import Killed, killed_at
from test_study import TINY, study, table

from trainer.config.shell import command
from trainer.errors import ConfigError, RunError
from trainer.reports.content import of_study
from trainer.reports.descriptive import tuning_figures
from trainer.reports.progress import progress_of
from trainer.stats.budget import luck_of_best
from trainer.study import launch
from trainer.study.axes import axis_of, fresh_seeds
from trainer.study.edit import chosen, with_added
from trainer.study.execute import run_study
from trainer.study.judging import verdict
from trainer.study.manifest import Manifest
from trainer.study.results import results_of
from trainer.study.search_warnings import search_warnings
from trainer.study.tuning import fresh
from trainer.study.winner import winner_of

SPACE = "tune.lr=tag(log,interval(1e-3,1e-1))"
TUNED = (*TINY, "epochs=1", "optimizer=sgd,adam", SPACE, "tune.trials=3", "seed=0,1,2")


def by_stage(folder, stage):
    return [row for row in table(folder) if row["stage"] == str(stage)]


def best_rate(folder, optimizer):
    rows = [row for row in by_stage(folder, 1) if row["optimizer"] == optimizer]
    return max(rows, key=lambda row: float(row["validation_accuracy"]))["lr"]


def test_arms_are_tuned_equally_and_compared_with_seeds_that_tuned_none(capsys):
    code, folder = study(*TUNED)
    printed = capsys.readouterr().out
    assert code == 0
    assert (
        ": 2 arms, each tuned at 3 points of lr=tag(log,interval(0.001,0.1)) by random with seed=10000 (6 runs), then"
        " compared at the best of them with seed=0,1,2 (6 runs)\n"
    ) in printed
    rates = {name: [row["lr"] for row in by_stage(folder, 1) if row["optimizer"] == name] for name in ("sgd", "adam")}
    assert rates["sgd"] == rates["adam"] and len(set(rates["sgd"])) == 3
    assert {row["seed"] for row in by_stage(folder, 1)} == {"10000"}
    assert [(row["optimizer"], row["seed"], row["lr"]) for row in by_stage(folder, 2)] == [
        (name, seed, best_rate(folder, name)) for name in ("sgd", "adam") for seed in "012"
    ]
    manifest = Manifest.read(folder)
    judged = verdict(results_of(manifest))
    assert [(each.first.name, each.second.name) for each in judged.comparisons] == [("adam", "sgd")]
    assert all(line in printed for line in judged.lines())
    tuned = [each for each in judged.findings if each.question == "tuning"]
    assert [each.figures["arm"] for each in tuned] == ["sgd", "adam"]
    adam = tuned[1]
    start = f"adam was tuned to lr={best_rate(folder, 'adam')} ({adam.figures['value']:.2%}), the best of 3 trials; "
    assert adam.sentence.startswith(start)
    assert adam.figures["best"] == {"lr": best_rate(folder, "adam")} and len(adam.figures["points"]) == 3
    values = sorted(float(row["validation_accuracy"]) for row in by_stage(folder, 1) if row["optimizer"] == "adam")
    (budget,) = [each for each in judged.findings if each.question == "by_budget"]
    assert budget.figures["best"]["adam"] == pytest.approx({"1": sum(values) / 3, "3": values[-1]}, abs=1e-6)
    content = of_study(folder)
    assert [arm.name for arm in content.arms] == ["adam", "sgd"] and set(tuned[0].sentence.split()) <= set(
        " ".join(content.sentences).split()
    )
    (figure,) = tuning_figures(content)
    assert (figure["key"], figure["log"], [arm["name"] for arm in figure["arms"]]) == ("lr", True, ["adam", "sgd"])
    assert figure["arms"][0]["chosen"] == [float(adam.figures["best"]["lr"]), adam.figures["value"]]
    # The figure of the search shows the trials, and the paragraph for a paper says that there were some.
    assert [axis["key"] for axis in content.search["axes"]] == ["optimizer", "lr"]
    assert len(content.search["values"]) == 6
    assert (
        "each trained with 3 random seeds. Before, each of them was tried at three settings of lr with other seeds, and"
        " the best of these was kept. "
    ) in content.method
    winner = winner_of(folder)
    assert winner.arm.name == "adam" and winner.tried == (8, 12) and winner.rivals == 2
    assert winner.flattery == pytest.approx(luck_of_best(2) * winner.arm.deviation / math.sqrt(3))
    assert winner.command == command(*TINY, "epochs=1", "optimizer=adam", f"lr={best_rate(folder, 'adam')}")
    # The table has a row for each arm, at its best value.
    lines = printed.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("optimizer  lr "))
    assert [line.split()[:2] for line in lines[start + 1 : start + 3]] == [
        ["adam", best_rate(folder, "adam")],
        ["sgd", best_rate(folder, "sgd")],
    ]


@pytest.mark.long
def test_a_tuned_study_that_was_killed_continues_with_the_same_points(monkeypatch):
    _, folder = study(*TUNED)
    undisturbed, before = table(folder), verdict(results_of(Manifest.read(folder))).lines()
    shutil.rmtree("outputs")
    with monkeypatch.context() as patch:
        killed_at(patch, launch, "work", 3)
        with pytest.raises(Killed):
            study(*TUNED)
    assert verdict(results_of(Manifest.read(folder))).lines()[0] == (
        "The arms are still being tuned: nothing is compared yet"
    )
    content = of_study(folder)
    assert content.judged.comparisons == () and progress_of(Manifest.read(folder), content).total == 12
    with pytest.raises(RunError, match="is not finished: 4 of 6 runs not ended"):
        winner_of(folder)
    with monkeypatch.context() as patch:
        killed_at(patch, launch, "work", 7)  # the third run of the comparison
        with pytest.raises(Killed):
            study(*TUNED)
    assert len(Manifest.read(folder).entries) == 12
    study(*TUNED)
    assert table(folder) == undisturbed
    assert verdict(results_of(Manifest.read(folder))).lines() == before
    for change in (with_added, chosen):
        with pytest.raises(ConfigError, match="a comparison of tuned arms stays as it was planned"):
            change(Manifest.read(folder), ["seed=3"] if change is with_added else "seed=2")


@pytest.mark.long
def test_a_bayesian_tuning_chooses_for_each_arm_and_several_runs_train_at_once():
    arguments = (*TINY, "epochs=1", "optimizer=sgd,adam", SPACE, "tune.dropout=0.0,0.5", "tune.method=tpe")
    _, folder = study(*arguments, "tune.trials=12", "tune.seeds=2", "seed=0", "sweep.concurrent=3")
    rows = by_stage(folder, 1)
    points = {
        name: [(row["lr"], row["dropout"]) for row in rows if (row["optimizer"], row["seed"]) == (name, "10001")]
        for name in ("sgd", "adam")
    }
    assert points["sgd"][:10] == points["adam"][:10] and points["sgd"] != points["adam"]  # drawn, then chosen
    assert len(by_stage(folder, 2)) == 2 and {row["seed"] for row in rows} == {"10000", "10001"}


def test_listed_values_are_all_tried_and_the_end_of_a_range_is_told():
    arguments = (*TINY, "epochs=2", "optimizer=sgd,adam", "tune.lr=1e-7,1e-6,1e-2", "tune.method=grid", "seed=0,1,2")
    _, folder = study(*arguments, "sweep.baseline=sgd")
    assert [row["lr"] for row in by_stage(folder, 1)] == ["1e-07", "1e-06", "0.01"] * 2
    judged = verdict(results_of(Manifest.read(folder)))
    assert judged.reference == "sgd"
    (border, *_) = [each.sentence for each in judged.findings if each.question == "border" and "adam" in each.sentence]
    assert border == (
        "The best lr of adam, 0.01, lies at the upper end of what was tried (lr=1e-07,1e-06,0.01): a better one may lie"
        " beyond. Try 'tune.lr=tag(log,interval(3.2e-05,3.2))'"
    )


def test_the_budget_is_listed_before_anything_is_trained(capsys, in_empty_folder):
    plan = (*TUNED, "tune.weight_decay=tag(log,interval(1e-5,1e-2))", "dataset.folds=2", "dataset.fold=0,1")
    assert run_study(interpret(["-m", *plan, "sweep.dry_run=true"])).exit_code == 0
    printed = capsys.readouterr().out
    assert (
        "2 arms, each tuned at 3 points of lr=tag(log,interval(0.001,0.1)), weight_decay=tag(log,interval(1e-05,0.01))"
        " by random with dataset.fold=0, seed=10000 (6 runs), then compared at the best of them with seed=0,1,2,"
        " dataset.fold=0,1 (12 runs)\n"
    ) in printed
    assert "18 runs, at most" in printed and list(in_empty_folder.iterdir()) == []


REFUSED = {
    "tune.lr=0.01": (
        "tune.lr=0.01 (command line): one value leaves nothing to tune. Accepted: a list, as tune.lr=0.1,0.01, or a"
        " range, as 'tune.lr=tag(log,interval(1e-4,1e-1))'"
    ),
    "tune.trials=3": (
        "tune.trials=3 (command line): nothing is tuned. Name what is, as 'tune.lr=tag(log,interval(1e-4,1e-1))'"
    ),
    "tune.seed=1,2": "tune.seed (command line): seed cannot be tuned. A setting such as lr can",
    "tune.wandb.mode=a,b": "tune.wandb.mode (command line): wandb.mode cannot be tuned. A setting such as lr can",
    "tune.lr=0.1,0.2 lr=0.3": "tune.lr and lr (command line): lr is tuned for each arm or given, not both",
    "tune.lr=interval(-1,0.2)": "lr=-1.0 (command line): must be a number above 0",
    "tune.lr=0.1,0.2 sweep.method=gp": (
        "sweep.method=gp and tune.lr (command line): a search has no arms to tune. List what is compared, as"
        " optimizer=sgd,adam, and search for each of them with tune.method=gp"
    ),
    "tune.lr=interval(0.1,0.2) tune.method=grid": (
        "tune.lr=interval(0.1,0.2) (command line): tune.method=grid needs a list, such as tune.lr=0.001,0.01,0.1"
    ),
    "tune.lr=0.1,0.2 sweep.pruner=median": (
        "sweep.pruner=median needs sweep.method=random, tpe or gp: a grid tries every point to its end"
    ),
    "tune.lr=0.1,0.2 sweep.confirm=5": (
        "sweep.confirm=5 needs sweep.method=random, tpe or gp: it trains the best points again"
    ),
    "tune.lr=0.1,0.2 sweep.baseline=nobody": (
        "sweep.baseline=nobody: the study has no such arm. Accepted: sgd, adam"
    ),
    "tune.batch_size=interval(8,64)": (
        "batch_size=8.0 (command line): must be a whole number of at least 1; whole numbers:"
        " 'tune.batch_size=int(interval(8,64))'"
    ),
    "tune.trial=4": (
        "tune.trial (command line): tune has no such option. Did you mean trials? Accepted: method, seeds, trials"
    ),
    "tune.lr=0.1,0.2 sweep.until=decided": "sweep.until=decided and tune.lr (command line): give one of them",
    "tune.lr=0.1,0.2 tune.trials=0": "tune.trials=0 (command line): must be a whole number of at least 1",
}  # fmt: skip


@pytest.mark.parametrize("arguments", REFUSED)
def test_what_cannot_be_tuned_is_refused_before_anything_is_written(arguments, in_empty_folder):
    with pytest.raises(ConfigError) as caught:
        interpret(["-m", *TINY, "optimizer=sgd,adam", *arguments.split()])
    assert str(caught.value) == REFUSED[arguments]
    assert list(in_empty_folder.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "sentences"),
    [
        ("sweep.seed=3", []),  # of the draws
        ("sweep.trials=5", ["sweep.trials does nothing: each arm is tried at tune.trials=10 points"]),
        ("tune.method=gp", ["tune.method=gp draws its first 10 points at random; each arm has 10, so that its search is"
                            " a random one"]),
        ("tune.method=gp tune.trials=11", []),
    ],
)  # fmt: skip
def test_settings_of_the_tuning_that_do_nothing_are_told(arguments, sentences):
    plan = interpret(["-m", *TINY, "optimizer=sgd,adam", SPACE, *arguments.split()])
    assert list(search_warnings(plan, ())) == sentences
    listed = interpret(["-m", *TINY, "tune.lr=0.1,0.2", "tune.method=grid", "tune.trials=4", "sweep.seed=1"])
    assert list(search_warnings(listed, ())) == [
        f"{key} does nothing: tune.method=grid tries every point once" for key in ("sweep.seed", "tune.trials")
    ]


def test_one_configuration_can_be_tuned_alone():
    _, folder = study(*TINY, "epochs=1", "tune.lr=0.001,0.05", "tune.method=grid", "seed=0,1")
    (arm,) = results_of(Manifest.read(folder)).arms
    assert (arm.name, arm.texts, sorted(arm.values)) == ("the one configuration", {"lr": "++lr=0.05"}, ["0", "1"])
    (tuned, *_) = verdict(results_of(Manifest.read(folder))).findings
    assert tuned.sentence.startswith("the one configuration was tuned to lr=0.05 (")


def test_a_tuned_setting_leaves_the_arms_of_an_experiment():
    plan = interpret(["-m", "experiment=optimizers_tuned", "dataset=digits", SPACE])
    assert not any("lr=" in text for axis in plan.axes for text in axis.texts) and plan.trials == 10


def test_fresh_seeds_are_none_of_those_that_are_compared():
    assert fresh_seeds([0, 1], 2) == [10_000, 10_001] and fresh_seeds([10_000, 10_002], 3) == [10_001, 10_003, 10_004]
    plan = interpret(["-m", *TINY, "seed=10000", SPACE])
    assert fresh(plan, 1).described() == "seed=10001"


@pytest.mark.parametrize("text", ["lr=tag(log,interval(1e-05,0.1))", "dropout=interval(0,0.5)", "optimizer=sgd,adam",
                                  "batch_size=tag(log,int(interval(8,64)))", "arm=lr=0.1 seed=1 | lr=0.2"])  # fmt: skip
def test_an_axis_is_read_from_its_words(text):
    assert axis_of(text).described() == text


def test_a_search_is_compared_by_fresh_runs_of_its_best_points(capsys, monkeypatch):
    arguments = (*TINY, "epochs=1", "lr=tag(log,interval(1e-3,1e-1))", "sweep.method=random", "sweep.trials=4")
    _, folder = study(*arguments)
    alone = capsys.readouterr().out
    assert "The best of 4 single trials looks better than it is, on average by about 0.7 times the standard" in alone
    values = sorted(float(row["validation_accuracy"]) for row in table(folder))
    with monkeypatch.context() as patch:
        killed_at(patch, launch, "work", 2)
        with pytest.raises(Killed):
            study(*arguments, "sweep.confirm=2")
    with pytest.raises(RunError, match="is not finished"):
        winner_of(folder)
    assert study(*arguments, "sweep.confirm=2")[1] == folder  # the same search, and what follows it
    printed = capsys.readouterr().out
    assert "The best 2 of 4 finished points are trained again with seed=10000,10001,10002: only these" in printed
    rows = table(folder)
    ordered = sorted(rows[:4], key=lambda row: -float(row["validation_accuracy"]))
    assert [(row["lr"], row["seed"]) for row in rows[4:]] == [
        (row["lr"], seed) for row in ordered[:2] for seed in ("10000", "10001", "10002")
    ]
    results = results_of(Manifest.read(folder))
    assert [arm.name for arm in results.arms] == [f"lr={row['lr']}" for row in ordered[:2]]
    (confirmed,) = [each for each in verdict(results).findings if each.question == "confirmation"]
    again = results.arms[0].mean
    assert (confirmed.figures["best"], confirmed.figures["again"]) == (pytest.approx(values[-1], abs=1e-6), again)
    assert winner_of(folder).arm.stage == 2
    with pytest.raises(ConfigError, match=r"^sweep.confirm=2 needs sweep.method=random, tpe or gp: "):
        interpret(["-m", *TINY, "lr=0.1,0.2", "sweep.confirm=2"])
