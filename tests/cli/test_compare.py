"""`compare`: runs, arms of studies and studies that were trained apart, side by side."""

import json
import random
import re
import shutil
from pathlib import Path

import pytest
import yaml
from conftest import program
from fake_studies import fake_run, fake_study

from trainer.cli import compare
from trainer.errors import ConfigError, RunError
from trainer.reports.comparison import compared
from trainer.storage.untrusted import read_json

CONFIG = {
    "epochs": 10,
    "seed": 0,
    "split_seed": 0,
    "lr": 0.1,
    "dataset": {"name": "digits", "image_size": 16, "validation_size": 30},
    "model": {"name": "mlp", "hidden": [8]},
    "optimizer": {"name": "sgd"},
}
ADAM = {"optimizer": {"name": "adam", "eps": 1e-8}}


def run(name, place=0.5, **changes):
    """Write a run trained on its own; it lies in the current folder."""
    fake_run(Path(name), {**CONFIG, **changes}, place, random.Random(name), 10, ("a", "b", "c"))
    Path(name, "result.json").write_text('{"state": "finished"}')
    return name


@pytest.fixture
def runs(in_empty_folder):
    """Three seeds of SGD and of Adam, each trained apart."""
    return [run(f"sgd{seed}", 0.4, seed=seed) for seed in range(3)] + [
        run(f"adam{seed}", 0.9, seed=seed, **ADAM) for seed in range(3)
    ]


def page_data(path):
    """Return the numbers of the figures of a page."""
    text = Path(path).read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text)[1])


def test_runs_that_were_trained_apart_are_repeats_of_arms(runs, capsys):
    assert compare.main(runs) == 0
    text = capsys.readouterr().out
    content = compared(runs, None, None, False)
    assert [(arm.name, sorted(arm.values)) for arm in content.arms] == [
        ("adam", ["0", "1", "2"]),
        ("sgd", ["0", "1", "2"]),
    ]
    assert content.differences == {"optimizer": ["adam", "sgd"], "optimizer.eps": ["1e-08", "—"]}
    best = [json.loads(Path(name, "metrics.jsonl").read_text().splitlines()[-1]) for name in runs[3:]]
    assert content.arms[0].mean == pytest.approx(sum(row["validation_accuracy"] for row in best) / 3)
    assert re.match(
        r"adam is better than sgd by \d+\.\d ± \d\.\d points \(3 seeds, best epoch, p < 0.001\)$", content.verdict[0]
    )
    assert "  optimizer.eps" in text  # a heading is not divided within a word
    assert content.verdict[0] in text and text.endswith("Comparison: outputs/comparison.html\n")
    assert dict(content.facts)["Command"] == f"python -m trainer compare {' '.join(runs)}"
    data = page_data("outputs/comparison.html")
    assert data["arms"] == ["adam", "sgd"] and [len(arm["runs"]) for arm in data["curves"]] == [3, 3]
    assert [each["name"] for each in data["curves"][1]["runs"]] == ["seed=0", "seed=1", "seed=2"]


@pytest.mark.long
def test_a_study_an_arm_of_it_and_a_run_are_compared(in_empty_folder, capsys):
    small = ["dataset=digits", "dataset.image_size=16", "model=mlp", "model.hidden=[8]", "device=cpu", "epochs=1"]
    small += ["wandb.mode=disabled", "batch_size=256"]
    for words in (["-m", *small, "lr=0.1,0.01", "seed=0,1,2", "sweep.name=s"], [*small, "lr=0.1", "output_dir=again"],
                  [*small, "lr=0.001", "output_dir=low"]):  # fmt: skip
        assert program(*words, cwd=in_empty_folder).returncode == 0
    (study,) = (str(path.relative_to(in_empty_folder)) for path in in_empty_folder.glob("outputs/sweeps/s-*"))
    content = compared([f"{study}:lr=0.01", "low"], None, None, False)
    assert {arm.name: len(arm.values) for arm in content.arms} == {"lr=0.01": 3, "lr=0.001": 1}
    assert content.differences.keys() == {"lr"}
    # The run repeats seed 0 of an arm: it is no fourth seed of it.
    content = compared(["again", study], None, None, False)
    assert {arm.name: len(arm.values) for arm in content.arms} == {
        f"{study}:lr=0.1": 3,
        "lr=0.01": 3,
        "again": 1,
    }
    assert compare.main([study, study, "low", "--baseline", "lr=0.001", "--metric", "validation_loss"]) == 0
    text = capsys.readouterr().out
    assert "lr=0.1 against lr=0.001: no conclusion, lr=0.001 has 1 finished run; at least 3 are needed" in text
    # A run whose folder is gone counts by what study.json holds; other code is told, other data are refused.
    shutil.rmtree(next(Path(study).glob("lr-0.1_seed-1-*")))
    path = Path("low/environment.json")
    stamps = read_json(path)
    stamps[-1]["code"]["training/trainer.py"] = "another"
    path.write_text(json.dumps(stamps))
    assert compare.main([study, "low"]) == 1
    told = " ".join(capsys.readouterr().out.split())
    assert "1 of 7 runs is missing: its folder is gone; where study.json holds" in told and "queued" not in told
    assert "low was trained with other code than " in told
    assert " (training/trainer.py): the code may be a cause, too" in told
    stamps[-1]["data"] = "another"
    path.write_text(json.dumps(stamps))
    with pytest.raises(ConfigError, match=r"was not validated on the images of .*: the fingerprint of the data is "):
        compared([f"{study}:lr=0.01", "low"], None, None, False)
    with pytest.raises(
        ConfigError, match=rf"^{study}:lr=0.2: the study has no such arm. .* Accepted: lr=0.1, lr=0.01$"
    ):
        compared([f"{study}:lr=0.2", "low"], None, None, False)


def test_names_of_arms(in_empty_folder):
    def names(*runs):
        return sorted(arm.name for arm in compared(runs, None, None, False).arms)

    one, two = run("one"), run("two", **ADAM, lr=0.01)
    assert names(one, two) == ["lr=0.01 optimizer=adam", "lr=0.1 optimizer=sgd"]
    # An option is named where the technique is the same; a batch size of an earlier version is a difference, too.
    three = run("three", lr=0.01, optimizer={"name": "adam", "eps": 1e-6})
    assert names(two, three) == ["optimizer.eps=1e-06", "optimizer.eps=1e-08"]
    assert names(one, two, three)[:2] == [
        "lr=0.01 optimizer=adam optimizer.eps=1e-06",
        "lr=0.01 optimizer=adam optimizer.eps=1e-08",
    ]
    assert names(one, run("same")) == ["one", "same"]
    many = run("many", model={"name": "lecture_cnn"}, lr=1.0, dropout=0.5, batch_size=8, activation={"name": "elu"})
    assert names(one, many) == ["many", "one"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    {
        "split_seed": ({"split_seed": 3}, "split_seed is 0, not 3"),
        "dataset": ({"dataset": {**CONFIG["dataset"], "name": "mnist"}}, "dataset is digits, not mnist"),
        "size": ({"dataset": {**CONFIG["dataset"], "validation_size": 9}}, "dataset.validation_size is 30, not 9"),
    }.values(),
    ids=str,
)
def test_other_validation_images_are_refused_unless_told(changes, reason, runs, capsys):
    other = run("other", **{**ADAM, "lr": 7.0, **changes})
    sentence = r"sgd\d was not validated on the images of .*: " + reason
    with pytest.raises(ConfigError, match=f"^{sentence}. To compare them nevertheless: --other-images$"):
        compare.main([*runs[:3], other])
    assert not Path("outputs").exists()
    assert compare.main([*runs[:3], other, "--other-images"]) == 0
    text = capsys.readouterr().out
    assert re.search(f"^{sentence}. The differences are not those of the settings alone$", text, re.MULTILINE)


def test_another_number_of_validation_images_is_refused_and_an_image_size_is_not(runs):
    small = run("small", dataset={**CONFIG["dataset"], "image_size": 8})
    assert len(compared([runs[0], small], None, None, False).arms) == 2
    best = read_json(Path(small, "best.json"))
    Path(small, "best.json").write_text(json.dumps({**best, "confusion": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]}))
    with pytest.raises(ConfigError, match=r"of .*: the number of validation images is 30, not 3\. "):
        compared([runs[0], small], None, None, False)


def test_repeats_of_one_configuration_are_compared_with_each_other(runs, capsys):
    content = compared(runs[:3], None, None, False)
    assert sorted(arm.name for arm in content.arms) == ["seed=0", "seed=1", "seed=2"]
    assert content.verdict[0].startswith("Single runs: nothing can be concluded; at least 3 seeds an arm are needed")
    other = run("other", 0.4, split_seed=3)
    with pytest.raises(
        ConfigError, match=r"^sgd0 was not validated on the images of split_seed=3: split_seed is 0, not"
    ):
        compare.main(["sgd0", other])
    assert compare.main(["sgd0", other, "--other-images"]) == 0
    assert (
        "sgd0 was not validated on the images of split_seed=3: split_seed is 0, not 3. The" in capsys.readouterr().out
    )


def test_two_studies_are_one_comparison(in_empty_folder):
    for name, lrs in (("one", ["0.1", "0.2"]), ("two", ["0.2", "0.3"])):
        fake_study(Path(name), {"lr": lrs}, seeds=(0, 1, 2))
    content = compared(["one", "two"], None, None, False)
    assert {arm.name for arm in content.arms} == {"lr=0.1", "one:lr=0.2", "two:lr=0.2", "lr=0.3"}


def test_a_mistake_is_one_line_and_writes_nothing(runs):
    for words, sentence in (
        ([], "RUN: is missing. See python -m trainer compare --help"),
        (["nowhere", "sgd0"], "nowhere: there is no such folder"),
        (["sgd0", "./sgd0"], "sgd0: one run is nothing to compare: name another run or study"),
        (
            [*runs, "--baseline=adm"],
            "--baseline=adm: the study has no such arm. Did you mean adam? Accepted: sgd, adam",
        ),
        (["sgd0:adam", "sgd1"], "sgd0:adam: there is no such folder"),
    ):
        with pytest.raises(ConfigError) as caught:
            compare.main(words)
        assert str(caught.value).startswith(sentence) and "\n" not in str(caught.value)
    Path("sgd1/config.yaml").write_text(yaml.safe_dump({"epochs": 1}))
    with pytest.raises(RunError, match=r"^sgd1/config.yaml is damaged, or of another version$"):
        compare.main(runs)
    assert not Path("outputs").exists()
