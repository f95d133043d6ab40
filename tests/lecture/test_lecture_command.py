"""`trainer lecture` on the claims of a small course: what is trained, what is told, what a second call does."""

import json
import signal
import subprocess
import sys
import time

import pytest
import yaml
from conftest import ROOT, clean_environment

from trainer.cli.main import main
from trainer.lecture.claim import read_claim
from trainer.lecture.content import HOLDS
from trainer.lecture.perform import blank
from trainer.lecture.saved import save, saved
from trainer.lecture.task import chosen_budget, task_of

STUDY = "model=mlp 'model.hidden=[8]' normalization=none,batch dataset.train_size=100 early_stop_patience=null"
CLAIM = {
    "note": "001",
    "line": 3,
    "title": "Batch normalization is more accurate",
    "claim": "It is more accurate.",
    "study": STUDY,
    "budgets": {"quick": {"settings": "dataset=digits epochs=1", "seeds": 3}},
    "statements": [{"says": "More.", "measure": "score", "arms": ["normalization=batch", "normalization=none"]}],
    "next": "Try more epochs.",
}
ZERO = {
    **CLAIM,
    "line": 9,
    "title": "Without normalization accuracy is above chance",
    "study": STUDY.replace("none,batch", "none"),
    "statements": [{"says": "Above.", "measure": "score", "arms": ["normalization=none"], "against": 10}],
}


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    folder = tmp_path_factory.mktemp("course")
    for name, claim in {"accurate": CLAIM, "above_chance": ZERO}.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(claim), encoding="utf-8")
    return folder


def one_line(capsys):
    """The error on standard error, which is one line."""
    (line,) = capsys.readouterr().err.splitlines()
    return line


def results(folder):
    return {path.stem: json.loads(path.read_text())["result"] for path in folder.glob("claims/*.json")}


def test_a_course_of_two_claims(course, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["lecture", "--claims", str(course), "--output", "book"]
    assert main([*words, "--list"]) == 0
    assert "not run" in capsys.readouterr().out
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "2 claims: 2 studies; the time of 2 is not measured" in out
    assert "Book: book/book.html" in out
    found = results(tmp_path / "book")
    assert found["accurate"]["command"].startswith("python -m trainer lecture --claims /")
    assert found["accurate"]["command"].endswith(" --output book --budget quick --claim accurate")
    assert found["accurate"]["here"] == "mlp on digits, 100 training images, 1 epoch"
    assert [found[name]["runs"] for name in ("accurate", "above_chance")] == [6, 3]
    # The three runs that both claims need are trained once.
    studies = {path.parent.name.rpartition("-")[0]: path for path in (tmp_path / "book").glob("sweeps/*/study.json")}
    sources = [bool(run["source"]) for path in studies.values() for run in json.loads(path.read_text())["runs"]]
    assert (len(sources), sum(sources)) == (9, 3)
    assert main(words) == 0
    again = capsys.readouterr().out
    assert "2 are tested already" in again
    assert "[1/2]" not in again


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--claim", "batch_norm_large_rates"], "Did you mean batch_norm_larger_rates?"),
        (["--note", "007"], "--note 007: there is none."),
        (["lr=0.1"], "lr=0.1 (command line): would be another book"),
        (["--claims", "nowhere"], "nowhere: holds no claim"),
    ],
    ids=["claim", "note", "setting", "folder"],
)
def test_a_mistake_is_one_line(words, told, capsys):
    assert main(["lecture", *words]) == 2
    assert told in one_line(capsys)


def test_a_mistake_in_a_claims_settings_is_told_before_anything_is_trained(course, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    wrong = {**CLAIM, "study": STUDY.replace("normalization=none,batch", "normalization=none,batchh")}
    (tmp_path / "mine" / "wrong.yaml").write_text(yaml.safe_dump(wrong), encoding="utf-8")
    assert main(["lecture", "--claims", "mine"]) == 2
    told = one_line(capsys)
    assert "mine/wrong.yaml: " in told
    assert "normalization=batchh" in told
    assert not list(tmp_path.glob("outputs/lecture/quick/sweeps/*"))


STATEMENT = CLAIM["statements"][0]


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ({"arms": ["batch", "none"]}, "arms: batch: must be settings such as normalization=batch"),
        (
            {"arms": ["normalisation=batch", "normalization=none"]},
            "arms: normalisation=batch: the study has no such run",
        ),
        ({"arms": ["normalization=layer"]}, "arms: normalization=layer: the study has no such run"),
        ({"arms": ["model=mlp"]}, "arms: model=mlp: chooses several runs of seed"),
        (
            {"over": {"take": "spread", "setting": "lrr"}},
            "over: setting: lrr has one value in each arm, none: name one that varies",
        ),
        (
            {"arms": ["model=mlp"], "over": {"take": "at", "value": "layer", "setting": "normalization"}},
            "layer: no value of the setting. There are: none, batch",
        ),
    ],
    ids=["bare", "unknown", "no_run", "several", "constant", "value"],
)
def test_a_statement_that_fits_no_run_is_told_before_a_training(statement, told, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    wrong = {**CLAIM, "statements": [{**STATEMENT, **statement}]}
    (tmp_path / "mine" / "wrong.yaml").write_text(yaml.safe_dump(wrong), encoding="utf-8")
    assert main(["lecture", "--claims", "mine"]) == 2
    line = one_line(capsys)
    assert "mine/wrong.yaml: " in line
    assert told in line
    assert not list(tmp_path.glob("outputs/lecture/quick/sweeps/*"))


@pytest.mark.parametrize(
    "word", ["--techniques=mine", "hydra/launcher=joblib", "output_dir=/tmp/x", "+wandb.mode=online"]
)
def test_a_claim_cannot_run_a_program_or_lead_elsewhere(word, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "wrong.yaml").write_text(yaml.safe_dump({**CLAIM, "study": f"{STUDY} {word}"}))
    assert main(["lecture", "--claims", "mine"]) == 2
    assert f"study, settings: {word} is not taken from a claim" in one_line(capsys)


@pytest.mark.long
def test_a_stopped_book_continues_where_it_was(course, tmp_path):
    """Ctrl-C reaches the run under way, which saves its state; a killed book leaves no process behind."""
    words = [sys.executable, "-m", "trainer", "lecture", "--claims", str(course), "--output", "book", "--workers", "1"]
    for number, code in ((signal.SIGINT, 130), (signal.SIGKILL, -9)):
        with subprocess.Popen(words, cwd=tmp_path, env=clean_environment(), stderr=subprocess.DEVNULL) as book:
            before = len(ended(tmp_path))
            give_up = time.monotonic() + 100
            while len(ended(tmp_path)) == before and time.monotonic() < give_up:
                time.sleep(0.05)
            book.send_signal(number)
        assert book.returncode == code
    assert (tmp_path / "book" / "book.html").is_file()
    done = subprocess.run(words, cwd=tmp_path, env=clean_environment(), capture_output=True, text=True, check=True)
    assert "Book: book/book.html" in done.stdout
    assert len(ended(tmp_path)) == 9
    assert {json.loads(path.read_text())["starts"] for path in ended(tmp_path)} <= {1, 2}


def ended(folder):
    """The results of the runs that have begun."""
    return [*folder.glob("book/sweeps/*/*/result.json")]


def test_typed_settings_take_the_place_of_those_of_the_book_and_of_a_claim(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**CLAIM, "study": f"{STUDY} device=cpu"}), encoding="utf-8")
    task = task_of(read_claim(path), path, "quick", tmp_path, ["wandb.mode=offline", "device=auto"])
    assert [word for word in task.words if word.startswith("wandb.mode")] == ["wandb.mode=offline"]
    assert [word for word in task.words if word.startswith("device")] == ["device=auto"]
    assert "wandb.group=mine" in task.words


@pytest.mark.parametrize("verdict", ["great", "", None])
def test_a_result_of_an_unknown_verdict_is_damaged(course, tmp_path, verdict):
    path = course / "accurate.yaml"
    task = task_of(read_claim(path), path, "quick", tmp_path, [])
    task.record.parent.mkdir()
    save(task, blank(task, HOLDS))
    assert saved(task) == (blank(task, HOLDS), True)
    tree = json.loads(task.record.read_text(encoding="utf-8"))
    tree["result"]["verdict"] = verdict
    task.record.write_text(json.dumps(tree), encoding="utf-8")
    assert saved(task) == (None, False)  # it is tested again, and the book is written


def test_full_falls_back_to_digits_where_mnist_is_missing(course, tmp_path):
    path = tmp_path / "claim.yaml"
    budgets = {**CLAIM["budgets"], "full": {"settings": "dataset=mnist epochs=2", "seeds": 3}}
    path.write_text(yaml.safe_dump({**CLAIM, "budgets": budgets}), encoding="utf-8")
    claim = read_claim(path)
    budget, why = chosen_budget(claim, "full", [f"data_dir={tmp_path}"])
    assert (budget.settings, why) == ("dataset=digits epochs=1", f"MNIST does not lie in {tmp_path}")
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    assert chosen_budget(claim, "full", [f"data_dir={tmp_path}"])[0].settings == "dataset=mnist epochs=2"


def test_measured_seconds_are_written_into_a_claim(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    from claim_seconds import with_seconds

    text = "budgets:\n  quick: {settings: dataset=digits, seeds: 5}\n  full: {settings: dataset=mnist, seeds: 5}\n"
    once = with_seconds(text, "quick", 12)
    assert once.splitlines()[1] == "  quick: {settings: dataset=digits, seeds: 5, seconds: 12}"
    assert with_seconds(once, "quick", 7) == once.replace("12", "7")
    assert once.splitlines()[2] == text.splitlines()[2]
