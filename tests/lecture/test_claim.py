"""Claims are read and checked: each mistake in one line, with the file and what would be accepted."""

import pytest
import yaml

from trainer.errors import ConfigError
from trainer.lecture.claim import BUDGETS, claim_files, read_claim
from trainer.lecture.named import unit_of
from trainer.lecture.task import task_of

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


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"budgets": {"quick": {"sedes": 3}}},
            "quick.sedes: there is no such key. Accepted: settings, seeds",
        ),
        ({"budgets": {"quick": {"seconds": float("nan")}}}, "budgets.quick.seconds: Input should be"),
        ({"why": {"slow": "x"}}, "why.slow: Input should be 'quick', 'full' or 'gpu'"),
        ({"also": "002:3"}, "also: must be a list, as [A, B]"),
        ({"pictures": [{"statement": 9}]}, "pictures: statement=9: must be from 1 to 1"),
        ({"statements": [{**MODEL["statements"][0], "arms": ["lr=1", "lr=1"]}]}, "lr=1 is named twice"),
        ({"statements": [{**MODEL["statements"][0], "against": float("inf")}]}, "against: Input should be a finite"),
        ({"study": None, "demonstration": "droput"}, "demonstration=droput: there is none of this name"),
        (
            {"study": None, "demonstration": {"take": "dropout", "colour": 1}},
            "demonstration dropout: colour is no option of it. Accepted: settings, layer, images",
        ),
        ({"study": None, "demonstration": {"take": "dropout", "images": "x"}}, "images='x': must be a whole number"),
    ],
    ids=["budget", "seconds", "why", "list", "picture", "twice", "inf", "demonstration", "its_option", "its_value"],
)
def test_a_mistake_in_a_part_tells_what_is_accepted_there(tmp_path, changes, told):
    test_a_mistake_is_one_line(tmp_path, changes, told)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"note: a\nline: 1\nnote: b\n", ", line 3: note is given twice, in line 1 and here"),
        (b"note: [a\nline: 1\n", ", line 2: expected ',' or ']'"),
        (b"x: !!python/object:os.system y\n", ", line 1: could not determine a constructor"),
        (b"note: \xc4\n", ": must be a text in UTF-8 (invalid"),
        (b"- 1\n", ": must hold the keys of a claim: note, line"),
        (b"", ": must hold the keys of a claim: note, line"),
        (b"a: " + 5000 * b"[", ": values nested too deep"),
        (b"note: 2026-02-30\n", ": cannot be read: day"),
    ],
    ids=["twice", "open", "tag", "latin", "list", "empty", "deep", "date"],
)
def test_a_file_that_is_no_claim_is_told_with_its_line(tmp_path, text, told):
    path = tmp_path / "mine.yaml"
    path.write_bytes(text)
    with pytest.raises(ConfigError) as caught:
        read_claim(path)
    assert f"{path}{told}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["my claim", "it's", "-x", ".x", "a,b=c", "${seed}", "größe", "a\nb", "x" * 230])
def test_the_name_of_a_file_can_be_that_of_a_study(tmp_path, name):
    path = tmp_path / f"{name}.yaml"
    path.write_text(yaml.safe_dump(MODEL), encoding="utf-8")
    with pytest.raises(ConfigError, match="the name of a claim's file must be of letters, digits, dot, dash and"):
        read_claim(path)


@pytest.mark.parametrize("budget", BUDGETS)
def test_the_settings_of_a_budget_take_the_place_of_those_of_the_study(tmp_path, budget):
    for path in claim_files().values():
        words = task_of(read_claim(path), path, budget, tmp_path, []).words
        keys = [word.partition("=")[0] for word in words]
        assert len(keys) == len({*keys}), (path.name, words)
