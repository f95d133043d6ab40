"""The score of a run by each rule, from lines of `metrics.jsonl` that are computed by hand."""

import json

import numpy as np
import pytest

from trainer.records.metrics import read_metrics
from trainer.records.outcome import Outcome
from trainer.records.scoring import score_of, scored

# epoch: (loss, accuracy), and both of each half
EPOCHS = {
    1: ((1.0, 0.50), (0.9, 0.52), (1.1, 0.48)),
    2: ((0.7, 0.70), (0.6, 0.80), (0.8, 0.60)),  # the lowest loss on the first half
    3: ((0.6, 0.65), (0.7, 0.74), (0.5, 0.56)),  # and on the second, and on both
    4: ((0.9, 0.60), (0.6, 0.50), (1.2, 0.70)),  # the first half as low as in epoch 2: the first one counts
}


def line(epoch, whole, *halves, **more):
    def figures(pair):
        return {"validation_loss": pair[0], "validation_accuracy": pair[1], "validation_f1": pair[1] and pair[1] / 2}

    fixed = {"epoch": epoch, "train_loss": 1.0, "train_accuracy": 0.5, "lr": 0.1, "epoch_seconds": 1.0}
    by_half = {"halves": [figures(half) for half in halves]} if halves else {}
    return {**fixed, **figures(whole), **by_half, **more}


def rows_of(folder, lines):
    (folder / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))
    return read_metrics(folder, halves=True)


def test_each_rule_scores_the_epochs_that_it_names(tmp_path):
    lines = [line(epoch, *figures) for epoch, figures in EPOCHS.items()]
    lines.insert(2, {**line(9, (None, None)), "validation_f1": None, "epoch": 9})  # an epoch without validation
    rows = rows_of(tmp_path, lines)
    #  the second half in epoch 2: 0.60, the first half in epoch 3: 0.74; the losses 0.8 and 0.7
    assert score_of(rows, "cross") == {
        "validation_loss": pytest.approx(0.75),
        "validation_accuracy": pytest.approx(0.67),
        "validation_f1": pytest.approx(0.335),
    }
    assert score_of(rows, "last")["validation_accuracy"] == 0.60
    assert score_of(rows, "mean:2")["validation_accuracy"] == pytest.approx(0.625)
    assert score_of(rows, "mean:3")["validation_loss"] == pytest.approx((0.7 + 0.6 + 0.9) / 3)
    assert score_of(rows, "mean:50")["validation_f1"] == pytest.approx(0.6125 / 2)  # all that there are
    assert score_of([], "last") is None and score_of([], "cross") is None


def test_what_is_not_finite_gives_no_value(tmp_path):
    first, second, *_ = EPOCHS.values()
    rows = rows_of(tmp_path, [line(1, *first), line(2, second[0], second[1], (0.8, None))])
    # Of the second half at epoch 2, its accuracy is not known; its loss is.
    assert score_of(rows, "cross") == {
        "validation_loss": pytest.approx((0.8 + 0.6) / 2),
        "validation_accuracy": None,
        "validation_f1": None,
    }
    never = rows_of(tmp_path, [line(1, first[0], (None, 0.5), first[2])])
    assert set(score_of(never, "cross").values()) == {None}  # no epoch is best on the first half
    last = rows_of(tmp_path, [line(1, *first), line(2, (None, 0.5), *first[1:])])
    assert score_of(last, "mean:2")["validation_loss"] is None
    assert score_of(last, "mean:2")["validation_accuracy"] == 0.5


def test_an_epoch_without_halves_is_of_an_earlier_version(tmp_path):
    first, second, *_ = EPOCHS.values()
    rows = rows_of(tmp_path, [line(1, first[0]), line(2, *second)])
    assert score_of(rows, "cross") is None and score_of(rows, "last")["validation_accuracy"] == 0.70


def test_a_run_gets_the_scores_that_it_lacks_and_keeps_those_that_it_has(tmp_path):
    rows_of(tmp_path, [line(epoch, *figures) for epoch, figures in EPOCHS.items()])
    before = Outcome("finished", scores={"last": {"validation_accuracy": 0.9}})
    found = scored(before, tmp_path, ["cross", "last", "best"])
    assert found.scores.keys() == {"cross", "last"} and found.value("validation_accuracy", "last") == 0.9
    assert found.value("validation_accuracy", "cross") == pytest.approx(0.67)
    assert scored(Outcome("running"), tmp_path, ["cross"]).scores == {}
    (tmp_path / "metrics.jsonl").write_text("{}\n")
    assert scored(before, tmp_path, ["cross"]) == before


@pytest.mark.parametrize(
    "scores",
    [
        {"cross": {"lr": 1.0}},
        {"Cross": {}},
        {"cross": {"validation_accuracy": 1e300}},
        {f"a{i}": {} for i in range(101)},
    ],
    ids=["a figure of no validation", "a name", "a value", "too many"],
)
def test_scores_that_no_run_writes_are_damage(scores):
    with pytest.raises(ValueError, match=r"scores|out of range"):
        Outcome(scores=scores)


def test_the_cross_fitted_score_flatters_no_run_and_the_best_epoch_does():
    """400 runs whose epochs differ by chance alone: each image is right in 90 % of epochs, and its loss follows it."""
    draw = np.random.default_rng(0)
    right = draw.random((400, 20, 100)) < 0.9  # [runs, epochs, images]
    losses = np.where(right, 0.1, 2.0) + draw.random(right.shape)
    found = {"best": [], "cross": [], "last": []}
    for hits, each in zip(right, losses, strict=True):
        rows = [
            line(epoch, *((float(loss[part].mean()), float(hit[part].mean())) for part in (slice(None), EVEN, ODD)))
            for epoch, (hit, loss) in enumerate(zip(hits, each, strict=True))
        ]
        found["best"].append(min(rows, key=lambda row: row["validation_loss"])["validation_accuracy"])
        for rule in ("cross", "last"):
            found[rule].append(score_of(rows, rule)["validation_accuracy"])
    bias = {rule: float(np.mean(values)) - 0.9 for rule, values in found.items()}
    error = 0.03 / 400**0.5  # of a mean over 100 images, and over all runs
    assert bias["best"] > 0.04 and abs(bias["cross"]) < 3 * error and abs(bias["last"]) < 3 * error
    assert np.std(found["cross"]) < 1.1 * np.std(found["last"])


EVEN, ODD = slice(0, None, 2), slice(1, None, 2)
