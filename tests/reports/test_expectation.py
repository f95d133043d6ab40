"""`report --expect`: the exit code and the sentence for each answer, as a script uses it."""

import json

import pytest
from fake_studies import fake_study

from trainer.cli.report import main
from trainer.errors import ConfigError
from trainer.reports.content import of_study
from trainer.reports.expectation import answers
from trainer.storage.untrusted import read_json


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Three optimizers with four seeds; adam and nadam are alike, sgd is far worse."""
    folder = fake_study(tmp_path_factory.mktemp("study") / "made", {"optimizer": ["sgd", "adam", "nadam"]}, range(4))
    values = {"sgd": (0.50, 0.51, 0.52, 0.53), "adam": (0.90, 0.93, 0.91, 0.92), "nadam": (0.91, 0.93, 0.90, 0.925)}
    for number, value in enumerate(value for arm in values.values() for value in arm):
        path = folder / f"run-{number}" / "result.json"
        path.write_text(json.dumps({**read_json(path), "validation_accuracy": value}))
    return folder


@pytest.mark.parametrize(
    ("expected", "code", "answer"),
    [
        ("nadam > sgd", 0, "concluded. nadam is better than sgd by 40.1 ± "),
        ("sgd<nadam", 0, "concluded. nadam is better than sgd by 40.1 ± "),
        ("adam > sgd", 0, "concluded. adam is better than sgd by 40.0 ± "),  # the verdict has no such pair
        ("adam > nadam", 3, "no conclusion. nadam against adam: no conclusion at 4 seeds"),
        ("sgd > adam", 4, "the opposite is concluded. sgd is worse than adam by 40.0 ± "),
        ("sgd > nadam", 4, "the opposite is concluded. nadam is better than sgd by 40.1 ± "),
    ],
)
def test_an_expectation_is_answered_by_exit_code_and_sentence(study, capsys, expected, code, answer):
    assert main([str(study), "--expect", expected]) == code
    assert f"Expected {expected}: {answer}" in capsys.readouterr().out.replace("\n", " ")


def test_of_several_expectations_the_worst_decides(study):
    ways = ("--expect", "nadam > sgd", "--expect", "adam > nadam")
    assert main([str(study), *ways]) == 3
    assert main([str(study), *ways, "--expect", "sgd > adam"]) == 4


@pytest.mark.parametrize(
    ("expected", "fault"),
    [
        ("adam", "--expect 'adam': accepted is 'ARM > ARM', the better one first, or 'ARM < ARM'"),
        ("adam > sgd > nadam", "accepted is 'ARM > ARM'"),
        ("adm > sgd", "--expect 'adm > sgd': the study has no such arm. Did you mean adam? Accepted: "),
        ("adam > adam", "names one arm twice"),
    ],
)
def test_an_expectation_that_cannot_be_read_is_one_line(study, expected, fault):
    with pytest.raises(ConfigError) as error:
        answers(of_study(study), [expected])
    assert fault in str(error.value) and "\n" not in str(error.value)


def test_an_arm_without_values_gives_no_conclusion(tmp_path):
    folder = fake_study(tmp_path / "made", {"optimizer": ["sgd", "adam"]}, range(3), failing=(0, 1, 2))
    (answer,) = answers(of_study(folder), ["adam > sgd"])
    assert (answer.code, answer.sentence) == (3, "Expected adam > sgd: no conclusion. No run of sgd has a value")
