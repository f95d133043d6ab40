"""The runs that a statement compares, chosen by their recorded settings, and their values by seed."""

import math
from pathlib import Path

import pytest
from conftest import compose

from trainer.errors import ConfigError
from trainer.lecture.claim import Statement
from trainer.lecture.measuring.runs import RunRecord
from trainer.lecture.selection import Settings, chosen, measured
from trainer.records.outcome import Outcome


def run(*words, score=0.9, epochs=(), point=None, labels=None):
    (found,) = compose(["dataset=digits", "epochs=3", "batch_size=100", *words])
    config = found.tree()
    outcome = Outcome("finished", training_images=1200, scores={"cross": {"validation_accuracy": score}})
    return Settings.of(config, point or {}, labels or {}), RunRecord(Path(), config, outcome, list(epochs))


def statement(**changes):
    return Statement.model_validate({"says": "So.", "measure": "score", "arms": ["lr=0.1", "lr=0.01"], **changes})


@pytest.mark.parametrize(
    ("words", "fits"),
    [
        ("normalization=batch", True),
        ("normalization=layer", False),
        ("lr=0.1", True),
        ("lr=1e-1", True),
        ("augmentation=flip", True),
        ("augmentation=none", False),
        ("regularization=none", True),
        ("model.hidden=[64,32]", True),
        ("model.hidden=[64]", False),
        ("early_stop_patience=null", True),
        ("normalization=batch lr=0.01", False),
        ("optimizer.beta=0.5", False),
    ],
)
def test_words_choose_by_recorded_settings(words, fits):
    settings, _ = run(
        "normalization=batch", "lr=0.1", "augmentation=flip", "model=mlp", "model.hidden=[64,32]",
        "early_stop_patience=null",
    )  # fmt: skip
    assert settings.fits(words) is fits


def test_a_named_arm_is_chosen_by_its_name():
    settings, _ = run(point={"arm": "lr=0.1 scheduler=cosine"}, labels={"lr=0.1 scheduler=cosine": "with decay"})
    assert settings.fits("arm=with decay")
    assert not settings.fits("arm=without")


def test_values_by_arm_and_seed():
    records = [run(f"lr={lr}", f"seed={seed}", score=lr + seed / 10) for lr in (0.1, 0.01) for seed in (0, 1)]
    arms = chosen(statement(), records)
    found = measured(statement(), arms)
    assert found.unit == "points"
    assert {arm: list(each.values()) for arm, each in found.values.items()} == {
        "lr=0.1": pytest.approx([10, 20]),
        "lr=0.01": pytest.approx([1, 11]),
    }


def test_a_further_setting_is_reduced_for_each_seed():
    asked = statement(arms=["optimizer=adam"], over={"take": "spread", "setting": "lr"})
    records = [run("optimizer=adam", f"lr={lr}", f"seed={s}", score=lr * (s + 1)) for lr in (0.1, 0.4) for s in (0, 1)]
    found = measured(asked, chosen(asked, records))
    assert list(found.values["optimizer=adam"].values()) == pytest.approx([30, 60])


def test_several_runs_of_a_seed_are_refused():
    records = [run("lr=0.1", f"dropout={rate}") for rate in (0.0, 0.5)]
    with pytest.raises(ConfigError, match=r"lr=0\.1: chooses several runs of seed"):
        chosen(statement(), records)


def test_an_arm_without_runs_is_refused():
    with pytest.raises(ConfigError, match=r"arms: lr=0\.01: the study has no such run"):
        chosen(statement(), [run("lr=0.1")])


def test_a_word_without_a_value_is_refused():
    with pytest.raises(ConfigError, match="arms: batch: must be settings such as normalization=batch, or arm=NAME"):
        chosen(statement(arms=["batch"]), [run("lr=0.1")])


def test_a_run_without_a_score_has_no_value():
    found = measured(statement(), chosen(statement(), [run("lr=0.1", score=None), run("lr=0.01")]))
    assert math.isnan(next(iter(found.values["lr=0.1"].values())))


def test_what_never_came_counts_as_an_epoch_more_than_the_run_had():
    rows = [{"epoch": epoch, "train_loss": loss} for epoch, loss in ((1, 2.0), (2, 1.0), (3, 0.5))]
    records = [run("lr=0.1", epochs=rows), run("lr=0.01", epochs=rows[:1])]
    for take, values in (("epochs_to", [2, 4]), ("steps_to", [24, 48])):
        asked = statement(measure={"take": take, "figure": "train_loss", "target": 1.0})
        found = measured(asked, chosen(asked, records))
        assert [next(iter(each.values())) for each in found.values.values()] == values
        assert found.never == 1


def test_a_second_measure_is_taken_of_the_same_runs():
    def half(lr, first, second):
        halves = [{"validation_accuracy": first}, {"validation_accuracy": second}]
        return run("optimizer=adam", f"lr={lr}", epochs=[{"halves": halves}])

    records = [half(0.1, 0.7, 0.9), half(0.2, 0.8, 0.5)]
    over = {"take": "optimism", "setting": "lr", "beside": "half_second"}
    asked = statement(measure="half_first", arms=["optimizer=adam"], over=over)
    assert list(measured(asked, chosen(asked, records)).values["optimizer=adam"].values()) == pytest.approx([30])


def test_two_further_settings_are_pairs():
    records = [
        run("optimizer=adam", f"lr={lr}", f"dropout={rate}", score=lr + rate) for lr in (0.1, 0.2) for rate in (0, 0.5)
    ]
    asked = statement(
        arms=["optimizer=adam"], over={"take": "at", "setting": "lr dropout", "value": "lr=0.2 dropout=0.5"}
    )
    arms = chosen(asked, records)
    assert list(arms["optimizer=adam"]) == [f"lr={lr} dropout={rate}" for lr in (0.1, 0.2) for rate in ("0", "0.5")]
    assert list(measured(asked, arms).values["optimizer=adam"].values()) == pytest.approx([70])
    grid = statement(arms=["optimizer=adam"], over={"take": "random_minus_grid", "setting": "lr dropout", "side": 1})
    assert list(measured(grid, chosen(grid, records)).values["optimizer=adam"].values()) == pytest.approx([0])
