"""The time to a target accuracy: read from the metrics, compared as any metric, told with those that never arrived."""

import json
from pathlib import Path

import pytest
from conftest import compose, metrics, program

from trainer.errors import ConfigError
from trainer.records.outcome import Outcome
from trainer.records.target import timed
from trainer.reports.content import of_study
from trainer.reports.tables import exported
from trainer.reports.verdict_file import verdict_tree
from trainer.stats.arms import Arm
from trainer.stats.comparison import Comparison
from trainer.stats.design import Design
from trainer.stats.intervals import wilson
from trainer.stats.target import reached_finding
from trainer.stats.verdict import judge

TINY = ("dataset=digits", "dataset.image_size=8", "model=mlp", "model.hidden=[16]", "device=cpu", "wandb.mode=disabled")
LENGTH = ("epochs=4", "early_stop_patience=null")
STEPS = 19  # of an epoch: 1 200 images, 64 a step


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    place = tmp_path_factory.mktemp("target")
    axes = ("optimizer=sgd,sam,adam", "lr=0.01", "seed=0,1,2")
    target = ("sweep.metric=gradients_to_target", "sweep.target=0.8")
    done = program("-m", *TINY, *LENGTH, *axes, *target, cwd=place)
    assert done.returncode == 0, done.stderr
    (folder,) = (place / "outputs" / "sweeps").iterdir()
    return folder, done.stdout


def test_the_time_is_that_of_the_first_validation_that_reaches_the_target(real):
    folder, printed = real
    runs = {Path(entry["folder"]).name: entry for entry in json.loads((folder / "study.json").read_text())["runs"]}
    tree = verdict_tree(exported([str(folder)]))
    values = {arm["name"]: arm["values"] for arm in tree["arms"]}
    reached = dict.fromkeys(values, 0)
    for name, entry in runs.items():
        arm, seed = entry["point"]["optimizer"], entry["point"]["seed"]
        epochs = metrics(folder / name)
        first = next((row["epoch"] for row in epochs if row["validation_accuracy"] >= 0.8), None)
        reached[arm] += first is not None
        assert values[arm][seed] == (first or 4) * STEPS * (2 if arm == "sam" else 1)
    assert reached["adam"] == 3 and reached["sgd"] == 0
    assert tree["best"] == "adam" and not tree["higher_is_better"] and tree["complete"]
    lines = printed.splitlines()
    assert any(line.startswith("optimizer  gradients to target ± sd") for line in lines)
    start = "adam reached 80 % in 3 of 3 runs (44 to 100 %), sgd in 0 of 3"
    (told,) = (line for line in lines if line.startswith(start))
    assert "; up to epoch 4 adam needed " in told and " gradients less (p " in told
    assert any(
        line.startswith(
            "Runs that never reached the target count with their whole length, and these lengths differ (76"
        )
        for line in lines
    )
    assert "cross-fitted" not in printed and of_study(folder, search=False).score == ""


def finding(first, second, reached, **setting):
    arms = [Arm(name, {str(seed): value for seed, value in enumerate(values)}) for name, values in (first, second)]
    design = Design(metric="validation_steps_to_target", sign=-1, **setting)
    (each,) = judge(arms, design).comparisons
    names = [each.first.name, each.second.name]
    runs = [len(first[1]), len(second[1])]
    return reached_finding(each, [reached[name] for name in names], runs, 0.97, 30, design)


def test_the_sentences():
    fast, slow = ("adam", (60, 80, 70, 65, 75)), ("sgd", (300, 300, 280, 300, 300))
    found = finding(fast, slow, {"adam": 5, "sgd": 1})
    low, high = wilson(1 / 5, 5)
    assert found.sentence == (
        "adam reached 97 % in 5 of 5 runs (57 to 100 %), sgd in 1 of 5 runs (4 to 62 %); up to epoch 30 adam needed"
        " 226.0 ± 12.9 steps less (p < 0.001)"
    )
    assert found.figures["intervals"][1] == [low, high] and found.figures["reached"] == [5, 1]
    same = finding(("adam", (60, 80, 70)), ("sgd", (62, 78, 71)), {"adam": 3, "sgd": 3})
    assert "; no conclusion on the steps up to epoch 30 (p = " in same.sentence
    arms = [Arm("adam", {"0": 60.0}), Arm("sgd", {"0": 80.0})]
    few = reached_finding(
        Comparison(*arms, -20.0), [1, 1], [1, 1], 0.97, 30, Design(metric="validation_steps_to_target")
    )
    assert few.sentence.endswith("; no verdict on their steps")


def test_runs_are_counted_where_the_value_of_a_fold_is_a_mean_over_seeds(tmp_path):
    settings = ("sweep.metric=steps_to_target", "sweep.target=0.1", "early_stop_patience=null", "epochs=1")
    axes = ("optimizer=sgd,adam", "seed=0,1", "dataset.folds=3", "dataset.fold=0,1,2")
    done = program("-m", *TINY, *settings, *axes, "output_dir=study", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (told,) = (each for each in verdict_tree(exported([str(tmp_path / "study")]))["findings"] if "reached" in each)
    assert told["runs"] == [6, 6] and all(0 < each <= 6 for each in told["reached"])
    assert " of 6 runs (" in told["sentence"]


def written(folder, accuracies, seconds=2.0, gradients=None):
    folder.mkdir()
    rows = [
        {
            "epoch": epoch,
            **dict.fromkeys(("train_loss", "train_accuracy", "lr", "images_per_second"), 0.5),
            "validation_loss": None if accuracy is None else 0.5,
            "validation_accuracy": accuracy,
            "epoch_seconds": seconds,
            **({"gradients": gradients} if gradients else {}),
        }
        for epoch, accuracy in enumerate(accuracies, 1)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.mark.parametrize(
    ("what", "value"), [("steps", 8.0), ("seconds", 4.0), ("gradients", 8.0), ("images", 514.0)], ids=str
)
def test_what_is_counted_up_to_the_target(what, value, tmp_path):
    folder, metric = written(tmp_path / "run", (0.5, 0.91, 0.3, 0.95)), f"validation_{what}_to_target"
    ended = Outcome("finished", epochs=4, training_images=257)  # a single image that is left over is no batch
    config = {"batch_size": 64}
    assert timed(ended, folder, metric, 0.9, "cross", config).value(metric, "cross") == value
    assert timed(ended, folder, metric, 0.99, "best", config).value(metric) == 2 * value
    twice = written(tmp_path / "twice", (None, 0.95), gradients=8)
    expected = {"gradients": 16.0}.get(what, value)
    assert timed(ended, twice, metric, 0.9, "best", config).value(metric) == expected
    assert timed(ended, folder, "validation_accuracy", None, "best", config) is ended


REFUSED = {
    "no target": (
        ("sweep.metric=steps_to_target",),
        "sweep.metric=steps_to_target: needs the validation accuracy to reach, as sweep.target=0.97",
    ),
    "no time": (
        ("sweep.target=0.9",),
        "sweep.target=0.9 needs sweep.metric=steps_to_target, seconds_to_target, gradients_to_target or"
        " images_to_target",
    ),
    "early stopping": (
        ("sweep.metric=steps_to_target", "sweep.target=0.9"),
        "sweep.metric=steps_to_target: early_stop_patience=10 would end runs before they reach the target: give"
        " early_stop_patience=null",
    ),
    "a pruner": (
        ("sweep.metric=steps_to_target", "sweep.target=0.9", "sweep.method=random", "sweep.pruner=median"),
        "sweep.pruner=median: would stop runs before they reach sweep.target: use none",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_settings_that_do_not_fit_are_refused(case, in_empty_folder):
    arguments, message = REFUSED[case]
    with pytest.raises(ConfigError) as raised:
        compose(["-m", "dataset=digits", "optimizer=sgd,adam", *arguments])
    assert str(raised.value) == message and not list(in_empty_folder.iterdir())
