"""`list`: runs and studies under a folder, by date, setting and metric."""

import json
import random
import shutil

import pytest
from conftest import REST, as_told
from fake_studies import fake_run, fake_study

from trainer.cli import list as listing
from trainer.errors import ConfigError
from trainer.storage.untrusted import read_json

CONFIG = {
    "epochs": 4,
    "lr": 0.1,
    "dataset": {"name": "digits", "image_size": 16},
    "model": {"name": "mlp"},
    "optimizer": {"name": "sgd", "momentum": 0.9},
    "regularization": {},
    "augmentation": {"flip": {"probability": 0.5}, "crop": {"padding": 4}},
    "compile": False,
}


@pytest.fixture
def root(tmp_path):
    """A study of 2026-11-21, a run of the day after it, one of the day before, and one without a date."""
    folder = tmp_path / "outputs"
    fake_study(folder / "sweeps" / "made", {"lr": ["0.001", "0.1"]}, seeds=(0, 1))
    adam = {**CONFIG, "optimizer": {"name": "adam", "eps": 1e-8}, "lr": 0.001, "augmentation": {}}
    for name, config, place, date in (
        ("new", CONFIG, 0.5, "2026-11-22T09:00:00+00:00"),
        ("old", adam, 0.9, "2026-11-20T09:00:00+00:00"),
        ("dateless", CONFIG, 0.1, ""),
    ):
        fake_run(folder / name, config, place, random.Random(0), 4, ("a", "b"))
        (folder / name / "result.json").write_text('{"state": "finished"}')
        if date:
            start = {
                "trainer": "0", "python": "3", "platform": "x", "packages": {}, "git": None, "device": "cpu",
                "threads": 1, "started": date,
            }  # fmt: skip
            (folder / name / "environment.json").write_text(json.dumps([start]))
    return folder


def names(capsys, root, *arguments):
    """Return the names of the listed folders and what else is printed."""
    assert listing.main([str(root), *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith("folder "))
    rows = [line.split()[0] for line in lines[begin + 1 :] if line.startswith(str(root))]
    return [row.rpartition("/")[2] for row in rows], lines[begin + 1 + len(rows) :]


def test_the_newest_comes_first_and_a_report_makes_nothing_new(capsys, root):
    (root / "old" / "report.html").write_text("")
    assert names(capsys, root) == (["new", "made", "old", "dateless"], [])
    assert listing.main([str(root)]) == 0
    text = capsys.readouterr().out
    last = json.loads((root / "new" / "metrics.jsonl").read_text().splitlines()[-1])["validation_accuracy"]
    row = f"{100 * last:.2f} % finished, 4 of 4 2026-11-22 09:00 UTC run: mlp on digits with sgd"
    assert row in " ".join(text.split())
    values = [read_json(root / f"sweeps/made/run-{n}/result.json")["validation_accuracy"] for n in (2, 3)]
    row = f"lr=0.1: {50 * sum(values):.2f} % 4 finished 2026-11-21 08:00 UTC study: lr=0.001,0.1"
    assert row in " ".join(text.split())
    assert max(map(len, text.splitlines())) > 80  # a file is not wrapped


@pytest.mark.parametrize(
    ("settings", "kept"),
    {
        "optimizer=adam": ["old"],
        "optimizer=adam,sgd": ["new", "old", "dateless"],
        "lr=1e-3": ["old"],
        "lr=0.001 optimizer=sgd": [],
        "dataset=digits": ["new", "made", "old", "dateless"],
        "augmentation=crop": ["new", "dateless"],
        "augmentation=none": ["old"],
        "augmentation=[flip,crop]": ["new", "dateless"],
        "augmentation.crop.padding=4": ["new", "dateless"],
        "optimizer.momentum=0.9": ["new", "dateless"],
        "compile=0": [],  # a switch is no number
    }.items(),
)
def test_a_filter_keeps_what_has_every_setting(settings, kept, capsys, root):
    if kept:
        assert names(capsys, root, *settings.split()) == (kept, [])
    else:
        assert listing.main([str(root), *settings.split()]) == 0
        assert capsys.readouterr().out == f"No run and no study under {root} has {settings}\n"


def test_sorted_by_any_metric_the_best_comes_first(capsys, root):
    lone = {name: [json.loads(line) for line in (root / name / "metrics.jsonl").read_text().splitlines()][-1]
            for name in ("new", "old", "dateless")}  # fmt: skip
    for metric, best in (("validation_accuracy", max), ("train_loss", min)):
        first = names(capsys, root, "dataset.image_size=16", "--sort", metric)[0][0]
        assert lone[first][metric] == best(row[metric] for row in lone.values())
    assert names(capsys, root, "--sort", "seconds")[0] == ["new", "old", "dateless", "made"]
    for name, accuracy in (("old", 0.7), ("dateless", 0.9)):
        result = read_json(root / name / "result.json")
        (root / name / "result.json").write_text(json.dumps({**result, "train_eval_accuracy": accuracy}))
    assert names(capsys, root, "--sort", "train_eval_accuracy")[0][:2] == ["dateless", "old"]
    assert names(capsys, root, "--sort", "gap", "--limit", "2")[0] == ["old", "dateless"]
    (root / "new" / "metrics.jsonl").write_text("")
    assert names(capsys, root, "--sort", "seconds")[0] == ["old", "dateless", "made", "new"]
    assert names(capsys, root, "sort=seconds", "limit=2") == (["old", "dateless"], ["2 of 4 are shown"])


def test_a_damaged_run_hides_no_other_one(capsys, root):
    (root / "old" / "best.json").write_text("{")
    assert listing.main([str(root)]) == 0
    captured = capsys.readouterr()
    assert captured.err == f"trainer: warning: {root / 'old' / 'best.json'} is damaged\n"
    assert "/new " in captured.out and "/old " not in captured.out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    {
        "nowhere": "nowhere: there is no such folder",
        "a b": "one ROOT is expected, 2 are named: a, b. See python -m trainer list --help",
        "optimizer=adm": "optimizer=adm (command line): there is no such optimizer. Did you mean adam?"
        f" Accepted: {REST}",
        "augmentation=lecture": "augmentation=lecture (command line): stands for several techniques. Name one of them",
        "optimizer.epps=1": "optimizer.epps (command line): no optimizer has such a setting. See --help optimizer",
        "lr=interval(0,1)": "lr=interval(0,1) (command line): must be one value or several, as in lr=0.1,0.01",
        "--sort=validation_acuracy": "argument --sort: validation_acuracy: there is no such metric."
        " Did you mean validation_accuracy? Accepted: train_loss, train_accuracy, validation_loss,"
        " validation_accuracy, lr, epoch_seconds, images_per_second, seconds, epochs, best_epoch, parameters,"
        " train_eval_accuracy, gap, validation_calibration_error, validation_class_accuracy, validation_macro_f1,"
        " validation_top_k_accuracy. See python -m trainer list --help",
        "--limit=0": "argument --limit: 0: must be a whole number of at least 1. See python -m trainer list --help",
    }.items(),
)
def test_a_mistake_is_one_line(arguments, sentence):
    with pytest.raises(ConfigError) as caught:
        listing.main(arguments.split())
    assert as_told(str(caught.value), sentence) == sentence


def test_an_empty_folder_is_told(tmp_path, root):
    shutil.rmtree(root)
    with pytest.raises(ConfigError, match=r": holds neither a study nor a run$"):
        listing.main([str(tmp_path)])
    with pytest.raises(ConfigError, match=r"^optimiser \(command line\): there is no such setting. Did you mean opt"):
        listing.main(["optimiser=adam"])
