"""Measures of made-up records: each number follows from the record by a sum that a reader can do in the head."""

import math

import numpy as np
import pytest
from made_runs import made_run

from trainer.lecture.measuring import layers, measures, weights
from trainer.lecture.named import functions, unit_of

STOPPED = {"state": "failed", "reason": "the training loss is nan in epoch 2, step 8 of 19 (learning rate about 100)"}
OUT_OF_MEMORY = {"state": "failed", "reason": "out of memory"}


def by_epoch(**figures):
    """The epochs of a run, from a list of values for each figure."""
    return [dict(zip(figures, values, strict=True)) for values in zip(*figures.values(), strict=True)]


@pytest.fixture
def run(tmp_path):
    """Four epochs, the second the best one, and a rate that falls after the second."""
    epochs = by_epoch(
        train_loss=[4.0, 2.0, 1.0, 0.8],
        train_accuracy=[0.3, 0.6, 0.7, 0.75],
        validation_loss=[2.0, 0.5, 0.6, 0.7],
        validation_accuracy=[0.25, 0.75, 0.8, 0.5],
        improved=[True, True, False, False],
        images_per_second=[50.0, 100.0, 200.0, 400.0],
    )
    result = {
        "best_epoch": 2,
        "validation_loss": 0.5,
        "validation_accuracy": 0.75,
        "train_eval_accuracy": 0.9,
        "training_images": 130,
        "scores": {"cross": {"validation_accuracy": 0.625}},
    }
    return made_run(tmp_path / "run", epochs, result)


def test_every_measure_names_its_unit():
    for name in functions("measure"):
        assert "Unit: " in getattr(__import__(functions("measure")[name][0], fromlist=[name]), name).__doc__, name
    units = {unit_of("measure", name) for name in functions("measure")}
    assert units <= {"", "points", "epochs", "steps", "seconds", "images a second"}


@pytest.mark.parametrize(
    ("measured", "value"),
    [
        (measures.score, 62.5),
        (measures.accuracy, 75),
        (lambda run: measures.accuracy(run, at="last"), 50),
        (lambda run: measures.accuracy(run, at="highest"), 80),
        (lambda run: measures.accuracy(run, figure="train_accuracy", at="first"), 30),
        (measures.accuracy_last, 50),
        (lambda run: measures.figure(run, name="train_loss"), 0.8),
        (lambda run: measures.figure(run, name="validation_accuracy", at="lowest"), 0.25),
        (measures.loss, 0.5),
        (lambda run: measures.loss(run, at="last"), 0.7),
        (measures.train_loss_end, 0.8),
        (measures.train_eval, 90),
        (measures.gap, 15),
        (measures.images_per_second, 150),
        (measures.seconds, 8),
    ],
)
def test_figures_of_a_run(run, measured, value):
    assert measured(run) == pytest.approx(value)


@pytest.mark.parametrize(
    ("figure", "target", "epoch"),
    [
        ("train_loss", 2.0, 2),
        ("train_loss", 1.99, 3),
        ("train_cross_entropy", 1.0, 3),
        ("validation_accuracy", 75, 2),
        ("validation_accuracy", 75.1, 3),
        ("train_loss", 0.1, math.inf),
        ("validation_accuracy", 81, math.inf),
    ],
)
def test_the_first_epoch_at_which_a_figure_reaches_its_target(run, figure, target, epoch):
    assert measures.epochs_to(run, figure=figure, target=target) == epoch
    # 130 images in batches of 64 are three steps an epoch, the last of two images.
    assert measures.steps_to(run, figure=figure, target=target) == 3 * epoch


def test_a_run_that_broke_off_has_not_shown_that_it_never_reaches_a_target(tmp_path):
    epochs = by_epoch(train_loss=[4.0, 2.0])
    broken, stopped = (made_run(tmp_path / str(n), epochs, each) for n, each in enumerate((OUT_OF_MEMORY, STOPPED)))
    assert measures.epochs_to(broken, figure="train_loss", target=2) == 2
    assert math.isnan(measures.epochs_to(broken, figure="train_loss", target=1))
    assert measures.epochs_to(stopped, figure="train_loss", target=1) == math.inf
    assert math.isnan(measures.epochs_to(stopped, figure="trainloss", target=1))  # no "never": it was not recorded


def test_a_run_that_was_stopped_as_not_finite_counts_as_chance(tmp_path):
    epochs = by_epoch(train_loss=[4.0], validation_accuracy=[0.9], improved=[True])
    stopped = made_run(tmp_path / "stopped", epochs, STOPPED, classes="abcd")
    for value in (measures.score(stopped), measures.accuracy(stopped), measures.train_eval(stopped)):
        assert value == 25
    assert measures.accuracy_last(stopped) == 25
    assert measures.loss(stopped) == measures.train_loss_end(stopped) == math.log(4)
    broken = made_run(tmp_path / "broken", epochs, OUT_OF_MEMORY, classes="abcd")
    assert math.isnan(measures.score(broken)) and math.isnan(measures.train_eval(broken))
    assert measures.accuracy(broken) == 90


def test_the_number_of_classes_is_known_without_a_finished_epoch(tmp_path):
    assert made_run(tmp_path / "a", (), STOPPED).classes == 10
    assert made_run(tmp_path / "b", (), STOPPED, config={"dataset": {"name": "digits", "classes": 3}}).classes == 3
    own = made_run(tmp_path / "c", (), STOPPED, config={"dataset": {"name": "arrays", "classes": ["a", "b"]}})
    assert own.classes == 2
    unknown = made_run(tmp_path / "d", (), STOPPED, config={"dataset": {"name": "arrays"}})
    assert unknown.classes is None
    assert math.isnan(measures.score(unknown))


@pytest.mark.parametrize(
    ("last", "result", "share"),
    [
        ({"train_loss": 2.31}, {}, 100),
        ({"train_loss": 2.29}, {}, 0),
        ({"train_loss": 0.01, "train_cross_entropy": 2.31}, {}, 100),
        ({"train_loss": 2.31, "train_cross_entropy": 2.29}, {}, 0),
        ({"train_loss": 0.5, "validation_loss": None}, {}, 100),
        ({"train_loss": 0.5}, STOPPED, 100),
        ({"train_loss": 0.5}, OUT_OF_MEMORY, math.nan),
    ],
)
def test_a_run_that_ends_no_better_than_chance_has_diverged(tmp_path, last, result, share):
    run = made_run(tmp_path / "run", [{"train_loss": 9.0}, last], result)
    assert measures.diverged(run) == pytest.approx(share, nan_ok=True)


def test_the_loss_of_chance_may_be_given(tmp_path):
    run = made_run(tmp_path / "run", [{"train_loss": 0.3}], config={"dataset": {"name": "arrays"}})
    assert math.isnan(measures.diverged(run))
    assert measures.diverged(run, chance=0.3) == 100
    assert measures.diverged(run, chance=0.31) == 0


def test_the_effect_of_a_drop_is_a_mean_over_all_drops(tmp_path):
    losses = [9.0, 8.0, 7.0, 3.0, 2.0, 1.0, 0.5, 0.3]
    run = made_run(tmp_path / "run", by_epoch(train_loss=losses))
    assert measures.drop_effect(run, every=3) == pytest.approx(((3 + 2) / 2 - (8 + 7) / 2 + 0.4 - 1.5) / 2)
    assert measures.drop_effect(run, every=3, before=1, after=1) == pytest.approx(((3 - 7) + (0.5 - 1)) / 2)
    assert measures.drop_effect(run, every=6) == pytest.approx(0.4 - 1.5)
    assert math.isnan(measures.drop_effect(run, every=7))  # one epoch is left after it, not two
    assert math.isnan(measures.drop_effect(run, every=8))


def test_a_drop_without_enough_epochs_before_it_is_left_out(tmp_path):
    run = made_run(tmp_path / "run", by_epoch(train_loss=[9.0, 8.0, 4.0, 3.0]))
    # After epoch 1 only one epoch lies before the drop, after epoch 3 only one behind it.
    assert measures.drop_effect(run, every=1) == pytest.approx((4 + 3) / 2 - (9 + 8) / 2)


def test_halves_of_the_validation_images_are_fresh_to_each_other(tmp_path):
    shares = [(0.9, 0.5), (0.7, 0.8), (0.6, 0.4)]
    halves = [[{"validation_accuracy": first}, {"validation_accuracy": second}] for first, second in shares]
    run = made_run(tmp_path / "run", by_epoch(halves=halves, train_accuracy=[0.2, 0.3, 0.4], improved=[1, 0, 0]))
    assert (measures.half_first(run), measures.half_second(run)) == pytest.approx((60, 40))
    assert measures.train_end(run) == pytest.approx(40)
    # The first half chooses epoch 1, where it has 90 and the other 50; the second epoch 2, with 80 and 70.
    assert measures.epoch_optimism(run) == pytest.approx(((90 - 50) + (80 - 70)) / 2)
    without = made_run(tmp_path / "without", [{}])
    assert all(math.isnan(each(without)) for each in (measures.half_first, measures.epoch_optimism))
    stopped = made_run(tmp_path / "stopped", by_epoch(halves=halves), STOPPED)
    assert measures.half_second(stopped) == 10


def test_the_best_epoch_is_that_of_the_outcome_or_the_last_that_improved(tmp_path):
    epochs = by_epoch(improved=[True, True, False])
    assert made_run(tmp_path / "a", epochs, {"best_epoch": 1}).best_epoch == 1
    assert made_run(tmp_path / "b", epochs).best_epoch == 2  # as of a run outside of a study
    assert made_run(tmp_path / "c", ()).best_epoch == 0


def test_the_noise_of_a_curve_is_that_of_its_last_half(tmp_path):
    losses = [90.0, 3.0, 50.0, 4.0, 5.0, 3.0]  # changes of +1 and −2
    accuracies = [0.1, 0.2, 0.3, 0.5, 0.6, 0.7]
    run = made_run(tmp_path / "run", by_epoch(train_loss=losses, validation_accuracy=accuracies))
    assert measures.curve_noise(run) == pytest.approx(math.sqrt(4.5))
    assert measures.curve_noise(run, figure="validation_accuracy") == pytest.approx(0)


def test_what_was_not_recorded_is_nan(tmp_path):
    empty = made_run(tmp_path / "empty", (), OUT_OF_MEMORY)
    found = [each(empty) for each in (measures.score, measures.gap, measures.train_eval, measures.seconds)]
    found += [each(empty) for each in (measures.loss, measures.train_loss_end, measures.curve_noise)]
    found += [each(empty) for each in (weights.weight_norm, weights.near_zero, weights.unit_difference)]
    found += [each(empty) for each in (layers.first_last_gradient, layers.dead_share, layers.update_ratio)]
    found += [layers.effective_rate_ratio(empty), measures.images_per_second(empty)]
    assert all(map(math.isnan, found))


def test_weights_are_those_of_convolutions_and_linear_layers(tmp_path):
    best = {
        "0.matrix": np.full((2, 2), 50, np.float32),  # of a preprocessing that whitens
        "1.0.weight": np.array([[-3.0, 0.0], [0.0, -5e-4]], np.float32),
        "1.1.weight": np.full((2,), 70, np.float32),  # of batch normalization
        "1.2.weight": np.full((2, 2, 2), 70, np.float32),  # of layer normalization
        "1.3.weight": np.full((1, 1, 1, 1), 4, np.float32),
        "1.3.bias": np.full((1,), 60, np.float32),
    }
    run = made_run(tmp_path / "run", best=best)
    assert weights.weight_norm(run) == pytest.approx(5)
    assert weights.near_zero(run) == pytest.approx(60)
    assert weights.near_zero(run, below=1e-4) == pytest.approx(40)


def test_units_differ_by_their_most_different_weight(tmp_path):
    equal = {"1.2.weight": np.full((3, 4), 0.7, np.float32), "1.10.weight": np.eye(2, 3, dtype=np.float32)}
    # "1.10" comes after "1.2" in the network, though not in the file: its units are told apart by the labels.
    assert weights.unit_difference(made_run(tmp_path / "equal", best=equal)) == 0
    apart = {**equal, "1.2.weight": np.array([[0.5, 1], [0.5, 3], [0.25, 2]], np.float32)}
    assert weights.unit_difference(made_run(tmp_path / "apart", best=apart)) == 2
    bias = {**equal, "1.2.bias": np.array([0, 0, 0.5], np.float32)}
    assert weights.unit_difference(made_run(tmp_path / "bias", best=bias)) == 0.5


def stats(**layers):
    return {"layer_stats": {"images": 256, "loss": 1.0, "layers": layers, "filters": None}}


def linear(gradient_norm, update_ratio=0.1, weight_norm=1.0):
    return {
        "kind": "Linear",
        "gradient_norm": gradient_norm,
        "update_ratio": update_ratio,
        "weight_norm": weight_norm,
    }


def test_statistics_of_layers_are_those_of_the_first_or_the_last_record(tmp_path):
    relu = {"kind": "ReLU"}
    run = made_run(
        tmp_path / "run",
        [
            {},
            stats(a=linear(0.02, 0.1), b={**relu, "dead": 0.3}, c=linear(9.0, 0.2), d=linear(2.0, 0.6)),
            {},
            stats(a=linear(4.0, 0.5), b={**relu, "dead": 0.25}, e={**relu, "dead": 0.75}, d=linear(1.0, 0.3)),
        ],
    )
    assert layers.first_last_gradient(run) == pytest.approx(0.01)
    assert layers.first_last_gradient(run, at="last") == pytest.approx(4)
    assert layers.dead_share(run) == 50
    assert layers.dead_share(run, at="first") == 30
    assert layers.update_ratio(run) == pytest.approx(0.4)
    assert layers.update_ratio(run, at="first") == pytest.approx(0.3)


def test_the_effective_rate_is_how_far_a_gradient_moves_the_weights(tmp_path):
    first = stats(a=linear(2.0, 0.1, 10.0), b=linear(1.0, 0.1, 1.0), c=linear(0.0, 0.0, 1.0))  # rates 0.5 and 0.1
    last = stats(a=linear(4.0, 0.1, 5.0), b=linear(1.0, 0.05, 8.0), c=linear(0.0, 0.0, 1.0))  # 0.125 and 0.4
    run = made_run(tmp_path / "run", [first, last])
    assert layers.effective_rate_ratio(run) == pytest.approx(math.sqrt(0.25 * 4))
    assert math.isnan(layers.effective_rate_ratio(made_run(tmp_path / "one", [first])))


def test_a_statistic_that_was_not_finite_is_nan(tmp_path):
    run = made_run(tmp_path / "run", [stats(a=linear(None), b={"kind": "ReLU", "dead": None}, c=linear(1.0))])
    assert math.isnan(layers.first_last_gradient(run))
    assert math.isnan(layers.dead_share(run))
