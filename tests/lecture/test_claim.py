"""Claims are read and checked: each mistake in one line, with the file and what would be accepted."""

import pytest
import yaml

from trainer.errors import ConfigError
from trainer.lecture.claim import claim_files, read_claim
from trainer.lecture.named import unit_of

MODEL = yaml.safe_load(claim_files()["batch_norm_larger_rates"].read_text(encoding="utf-8"))


def written(tmp_path, **changes):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**MODEL, **changes}), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", claim_files())
def test_each_shipped_claim_is_read(name):
    claim = read_claim(claim_files()[name])
    assert claim.name == name
    assert claim.next and claim.title


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"colour": 1}, "colour: there is no such key. Accepted: note, line, "),
        ({"study": None}, "study, demonstration: one of them is needed, and not both"),
        ({"line": 0}, "line: Input should be greater than or equal to 1"),
        ({"statements": [{**MODEL["statements"][0], "measure": "scor"}]}, "measure=scor: there is none of this name"),
        ({"formula": "batchnorm"}, "formula=batchnorm: there is none of this name. Accepted: gradient_descent"),
        ({"statements": [{**MODEL["statements"][0], "measure": {"take": "score", "at": 1}}]}, "at is no option of it"),
        (
            {"statements": [{**MODEL["statements"][0], "over": {"take": "largest_reaching", "setting": "lr"}}]},
            "largest_reaching: needs least",
        ),
        (
            {"statements": [{**MODEL["statements"][0], "measure": {"take": "loss", "at": "lst"}}]},
            "measure loss: at='lst': must be one of best, last, first, lowest, highest",
        ),
        (
            {"statements": [{**MODEL["statements"][0], "measure": {"take": "near_zero", "below": "1e-3"}}]},
            "measure near_zero: below='1e-3': must be a number above 0",
        ),
        (
            {"statements": [{**MODEL["statements"][0], "over": {"take": "optimism", "setting": "lr"}}]},
            "reduction optimism: needs beside, a second measure",
        ),
        (
            {"statements": [{**MODEL["statements"][0], "over": {"take": "mean", "setting": "lr", "beside": "score"}}]},
            "reduction mean: has no second measure: leave beside out",
        ),
        (
            {"statements": [{**MODEL["statements"][0], "over": {"take": "picked", "setting": "lr", "beside": "scor"}}]},
            "measure=scor: there is none of this name",
        ),
    ],
    ids=["key", "neither", "line", "measure", "formula", "option", "missing", "word", "number", "one", "two", "beside"],
)
def test_a_mistake_is_one_line(tmp_path, changes, told):
    with pytest.raises(ConfigError) as caught:
        read_claim(written(tmp_path, **changes))
    assert str(tmp_path / "mine.yaml") in str(caught.value)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_reduction_of_two_measures_names_the_second(tmp_path):
    over = {"take": "optimism", "setting": "lr", "beside": {"take": "half_second"}}
    path = written(tmp_path, statements=[{**MODEL["statements"][0], "measure": "half_first", "over": over}])
    read = read_claim(path).statements[0].over
    assert read.beside.take == "half_second"
    assert read.call("reduction", {"1": 3.0, "2": 5.0}, {"1": 4.0, "2": 1.0}) == 4


def test_a_measure_has_a_unit():
    assert unit_of("measure", "score") == "points"
    assert unit_of("reduction", "largest_reaching") == "decades"
