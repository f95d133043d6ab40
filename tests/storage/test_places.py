"""Paths as arguments: what is no run, no study or no folder is told in one line, with what would do."""

import random
from pathlib import Path

import pytest
from conftest import QUICK, TINY, compose, quick
from fake_studies import fake_run, fake_study
from PIL import Image

from trainer.cli.common import exit_code_of
from trainer.cli.main import main
from trainer.data.download import DEFAULT
from trainer.errors import ConfigError, RunError
from trainer.runtime.files import make_folder

EMPTY = "the name of the folder is empty; the current folder is ."
SETTINGS = {"epochs": 9, "dataset": {"name": "digits"}, "model": {"name": "mlp"}, "optimizer": {"name": "sgd"}}


@pytest.fixture
def places(in_empty_folder):
    """Make a run, another one below `outputs`, and a study in a folder of studies."""
    for folder in ("r", "outputs/mine"):
        fake_run(Path(folder), SETTINGS, 1.0, random.Random(0), 2, ("a", "b"))
    fake_study(Path("s/one"), {"dropout": ["0.5"]})


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    {
        "resume=r/last.pt epochs=3": "resume=r/last.pt: is no folder. Name that of the run: resume=r",
        "resume=r/last": "resume=r/last: is no folder. Name that of the run: resume=r",
        "resume=r/config.yaml": "resume=r/config.yaml: is no folder. Name that of the run: resume=r",
        "resume=mine": "resume=mine: there is no such folder. Did you mean resume=outputs/mine?",
        "resume=outputs/mime": "resume=outputs/mime: there is no such folder. Did you mean resume=outputs/mine?",
        "resume=outputs": "resume=outputs: holds several runs. Name one of them, such as resume=outputs/mine",
        "resume=s/one": "resume=s/one: is a study, which continues by its own command (in study.json)",
        "resume=": f"resume=: {EMPTY}",
        "dataset=digits data_dir=": f"data_dir=: {EMPTY}",
        "-m dataset=digits seed=0,1 data_dir=": f"data_dir=: {EMPTY}",
        "dataset=digits output_dir=": f"output_dir=: {EMPTY}",
        "doctor r/last": "r/last: is no folder. Name that of the run: r",
        "doctor outputs": "outputs: holds several runs. Name one of them, such as outputs/mine",
        "show s/one": "s/one: is a study, which is shown by python -m trainer study s/one",
        "doctor s/one": "s/one: is a study. Name one of its runs, such as s/one/run-0",
        "doctor s": "s: is not the folder of a run, s/config.yaml does not exist",
        "doctor r s": "one RUN is expected, 2 are named: r, s. See python -m trainer doctor --help",
        "doctor r epochs=3": "epochs=3: there is no such option. See python -m trainer doctor --help",
        "reproduce r/last.safetensors": "r/last.safetensors: is no folder. Name that of the run: r",
        "reproduce r r": "one RUN is expected, 2 are named: r, r. See python -m trainer reproduce --help",
        "report r/metrics.jsonl": "r/metrics.jsonl: is no folder. Name that of the run: r",
        "report s/one/study.json": "s/one/study.json: is no folder. Name that of the study: s/one",
        "report r s r": "one FOLDER is expected, 3 are named: r, s, r. See python -m trainer report --help",
        "report mine": "mine: there is no such folder. Did you mean outputs/mine?",
        "evaluate r/last.pt": "r/last.pt: there is no such run or checkpoint. Did you mean r?",
        "evaluate s/one": "s/one: is a study. Name one of its runs, such as s/one/run-0",
        "finalize r": "r: is a single run, not a study",
        "finalize s/one/run-0": "s/one/run-0: is a run of a study. Name the study: s/one",
        "finalize s": "s: holds several studies. Name one of them, such as s/one",
        "finalize s/one r": "one STUDY is expected, 2 are named: s/one, r. See python -m trainer finalize --help",
    }.items(),
)
def test_a_path_that_is_something_else_is_told_as_that(arguments, sentence, places, capsys):
    assert main(arguments.split()) == 2
    assert capsys.readouterr() == ("", f"trainer: {sentence}\n")


@pytest.mark.parametrize("command", ["report", "doctor", "reproduce", "evaluate", "finalize", "predict r"])
def test_an_empty_name_is_not_the_current_folder(command, places, capsys):
    before = sorted(Path().rglob("*"))
    (Path("r") / "best.safetensors").touch()
    assert main([*command.split(), ""]) == 2
    assert capsys.readouterr() == ("", f"trainer: '': {EMPTY}\n")
    (Path("r") / "best.safetensors").unlink()
    assert main([command.split()[0], "r", "--data-dir", " "]) == 2
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize(
    ("folder", "reason"), [("/proc/x", "No such file or directory"), (f"a/{300 * 'b'}", "File name too long")]
)
def test_a_folder_that_cannot_be_made_is_told_with_the_setting(folder, reason, in_empty_folder):
    with pytest.raises(ConfigError) as caught:
        quick(*TINY, f"output_dir={folder}")
    assert str(caught.value) == f"{folder} cannot be created: {reason}. Name another folder: output_dir=DIR"
    with pytest.raises(RunError, match=f"cannot be created: {reason}"):
        make_folder(Path(folder))
    assert list(in_empty_folder.iterdir()) == []


def test_what_the_system_refuses_is_told_without_its_number(in_empty_folder, capsys):
    assert exit_code_of(lambda: Path("nowhere/file").write_text("")) == 1
    assert capsys.readouterr().err == "trainer: nowhere/file: No such file or directory\n"


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
def test_a_mistyped_data_dir_starts_no_download(name, in_empty_folder):
    Path("my data").mkdir()
    (run,) = compose([f"dataset={name}", "data_dir='my dta'"])
    with pytest.raises(ConfigError) as caught:
        run.dataset.function()(Path(run.data_dir), "train")
    start, _, command = str(caught.value).rpartition(": ")
    assert start.startswith("data_dir=my dta: there is no such folder. Did you mean my data? To download ")
    assert command == "mkdir -p 'my dta'" and list(in_empty_folder.iterdir()) == [Path("my data").absolute()]
    assert compose(["dataset=digits"])[0].data_dir == str(DEFAULT)  # may be made: nobody has typed it


def test_pictures_without_a_test_part_are_told_as_that(in_empty_folder, capsys):
    for name in ("a", "b"):
        Path("pictures/train", name).mkdir(parents=True)
        for number in range(10):
            Image.new("RGB", (8, 8), (25 * number, 0, 0)).save(f"pictures/train/{name}/{number}.png")
    quick(*QUICK[1:], *TINY, "dataset=image_folder", "data_dir=pictures", "output_dir=run")
    capsys.readouterr()
    assert main(["evaluate", "run"]) == 2
    told = "trainer: data_dir=pictures: has no test part, pictures/test/<class>/ with pictures\n"
    assert capsys.readouterr().err == told and not Path("outputs/test_readings.jsonl").exists()
