"""What an experiment's file says beside its axes: the question, what to expect, further columns, what is tuned."""

import re
import shlex
from pathlib import Path

import pytest
from conftest import TINY, interpret

from trainer.cli.main import main
from trainer.errors import ConfigError
from trainer.study.manifest import Manifest

SMALL = ("dataset=digits", *TINY, "device=cpu", "wandb.mode=disabled", "batch_size=1024", "epochs=2")


@pytest.fixture
def own(in_empty_folder):
    """Write an experiment of one's own and return the words that run it."""

    def write(text: str) -> list[str]:
        folder = in_empty_folder / "own" / "experiment"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "mine.yaml").write_text(f"# @package _global_\n# Mine.\n{text}")
        return ["--config-dir=own", "-m", "experiment=mine", *SMALL]

    return write


ASKED = "sweep:\n  question: Does it matter?\n  expect: >-\n    No,\n    hardly.\n  params: {lr: '0.01,0.001'}\n"


def test_the_question_is_told_before_a_study_answered_after_it_and_kept_in_its_record(own, capsys):
    words = own(ASKED)
    told = "Question: Does it matter?\nExpected: No, hardly.\n"
    assert main([*words, "sweep.dry_run=true"]) == 0
    assert capsys.readouterr().out.startswith(told)
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{told}Starting ") and printed.count(told) == 2
    assert f"\n{told}Answer: Single runs: nothing can be concluded" in printed
    (folder,) = Path("outputs/sweeps").iterdir()
    Path("own/experiment/mine.yaml").unlink()  # the record stands for itself
    settings = Manifest.read(folder.rename("moved")).settings
    assert settings.asked == told.splitlines()


def test_the_question_changes_neither_a_study_nor_its_runs(own, capsys):
    assert main(own(ASKED)) == 0
    assert main(own(ASKED.replace("Does it matter?", "Is it the same?"))) == 0
    printed = capsys.readouterr().out
    assert "Question: Is it the same?\n" in printed and "2 runs; 2 are finished already" in printed
    assert len(list(Path("outputs/sweeps").iterdir())) == 1


def test_a_question_that_is_no_text_is_refused(own):
    with pytest.raises(ConfigError, match=r"sweep.question=3 \(.*mine.yaml, line 4\): must be a text or null"):
        interpret(own("sweep:\n  question: 3\n"))


def test_further_columns_are_means_over_the_runs_of_an_arm(own, capsys):
    columns = "  columns: [gap, training_accuracy, images_per_second]\n"
    assert main([*own(f"sweep:\n{columns}  params: {{lr: '0.01,0.001'}}\n"), "seed=0,1"]) == 0
    printed = capsys.readouterr().out
    (title,) = [line for line in printed.splitlines() if line.startswith("lr ")]
    assert re.search(r"best epoch +gap, points +training accuracy +images/s +time", title)
    (folder,) = Path("outputs/sweeps").iterdir()
    study = Manifest.read(folder)
    for lr in ("0.01", "0.001"):
        outcomes = [study.outcome(entry) for entry in study.entries if entry.point["lr"] == lr]
        accuracy = 100 * sum(each.train_eval_accuracy for each in outcomes) / 2
        gap = accuracy - 100 * sum(each.validation_accuracy for each in outcomes) / 2
        speed = sum(1200 * 2 / each.seconds for each in outcomes) / 2
        (row,) = [line for line in printed.splitlines() if re.match(rf"{lr} .*±", line)]
        assert f" {gap:+.2f} ".replace("-", "−") in row and f" {accuracy:.2f} " in row and f" {speed:,.0f} " in row
    with pytest.raises(ConfigError, match=r"sweep.columns=\['speed'\].*: must be a list, each one of gap, training_"):
        interpret(own("sweep:\n  columns: [speed]\n"))


def test_what_an_experiment_tunes_is_replaced_by_what_is_typed(own):
    params = "    optimizer: sgd,adam\n    tune.lr: tag(log,interval(1e-3,1))\n"
    words = own(f"sweep:\n  params:\n{params}tune:\n  trials: 3\n")
    plan = interpret(words)
    assert [axis.described() for axis in plan.sweep.tuned] == ["lr=tag(log,interval(0.001,1))"]
    assert plan.settings.tune.trials == 3 and [axis.key for axis in plan.axes] == ["optimizer"]
    assert [axis.described() for axis in interpret([*words, "tune.lr=0.1,0.2"]).sweep.tuned] == ["lr=0.1,0.2"]
    fixed = interpret([*words, "lr=0.1"])
    assert not fixed.sweep.tuned and {run.config.lr for run in fixed.runs} == {0.1}
    with pytest.raises(ConfigError, match="--cfg shows one: give it optimizer=VALUE lr=VALUE"):
        interpret([word.replace("-m", "--cfg=job") if word == "-m" else word for word in words])


def test_one_value_under_params_is_a_setting_of_the_study_and_of_a_run_of_it_alone(own):
    words = own("sweep:\n  params:\n    dataset.train_size: '300'\n    weight_decay: 0.0,0.02\n")
    plan = interpret(words)
    assert [axis.key for axis in plan.axes] == ["weight_decay"]
    assert {run.config.dataset.shared["train_size"] for run in plan.runs} == {300}
    alone = shlex.split(plan.command(plan.runs[-1].point))[3:]
    assert interpret(alone) == plan.runs[-1].config
    assert interpret([*alone, "dataset.train_size=null"]).dataset.shared["train_size"] is None


def test_a_plateau_that_never_lowered_the_rate_is_told(own, capsys):
    arms = ("constant", "plateau", "plateau scheduler.patience=1 scheduler.min_delta=0.9")
    listed = "".join(f"    - scheduler={arm}\n" for arm in arms)
    words = own(f"early_stop_patience: null\nsweep:\n  arms:\n{listed}")
    assert main([*(word.replace("epochs=2", "epochs=6") for word in words), "seed=0,1"]) == 0
    printed = capsys.readouterr().out
    told = [line for line in printed.splitlines() if "was never lowered" in line]
    assert told == ["scheduler=plateau: the rate was never lowered in 2 of 2 runs, as if it were constant"]
