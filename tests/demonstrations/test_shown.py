"""Each demonstration of the book: strict JSON that plotly accepts, and facts against an independent computation."""

import inspect
import json
import math
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest
from sklearn.linear_model import Ridge

from trainer.data.sources import digits
from trainer.demonstrations import shown
from trainer.errors import ConfigError

FUNCTIONS = dict(inspect.getmembers(shown, inspect.isfunction))
seen = {}


def result(name, **options):
    """Return the demonstration with its defaults, computed once for all tests."""
    if options:
        return FUNCTIONS[name](**options)
    if name not in seen:
        seen[name] = FUNCTIONS[name]()
    return seen[name]


def figures(name, place=0, **options):
    return result(name, **options).facts[place].figures


# All augmentations of all images take seconds.
NAMES = [pytest.param(name, marks=pytest.mark.long) if name == "augmentations" else name for name in FUNCTIONS]


@pytest.mark.parametrize("name", NAMES)
def test_its_figures_are_strict_json_that_plotly_accepts(name):
    found = result(name)
    assert found.figures
    for each in found.figures:
        assert each.caption[-1] in ".:"
        figure = json.loads(json.dumps(each.figure, allow_nan=False))
        figure.pop("frames", None)  # many, and made of the same lines
        go.Figure(figure)  # refuses a property that plotly does not know
    for fact in found.facts:
        assert fact.sentence[-1] == "."
        assert all(math.isfinite(value) for value in fact.figures.values())


def test_a_grid_is_a_power():
    first, second = result("grid_cost", values=4, dimensions=3, minutes=30).facts
    assert first.figures == {"first": 4, "last": 64, "factor": 4}
    assert second.figures == {"hours": 8, "days": 64 * 30 / 1440, "one_at_a_time": 10}
    assert first.holds and second.holds


def test_the_facts_of_the_lecture_hold():
    held = {name: [fact.holds for fact in result(name).facts] for name in FUNCTIONS if name != "augmentations"}
    assert {name for name, holds in held.items() if not holds} == {"loss_landscape"}  # it only shows
    assert all(all(holds) for holds in held.values())


def descended(slope, start, lr, steps, beta=0.0, ahead=False):
    """Return the path of momentum v ← β·v + g from a start, with or without Nesterov's look-ahead, in NumPy."""
    point, velocity = np.asarray(start, dtype=float), 0.0
    path = [point]
    for _ in range(steps):
        gradient = slope(point)
        velocity = beta * velocity + gradient
        point = point - lr * (gradient + beta * velocity if ahead else velocity)
        path.append(point)
    return np.array(path)


def turns(values):
    return int((values[1:] * values[:-1] < 0).sum())


def test_momentum_swings_less_in_the_ravine():
    def slope(point):
        return np.array([0.1, 4.0]) * point

    begin = (-9, 1.8)
    plain, inert = descended(slope, begin, 0.45, 40)[:, 1], descended(slope, begin, 0.045, 40, 0.9)[:, 1]
    swings, way, faster = (figures("ravine_momentum", place) for place in range(3))
    assert (swings["sgd"], swings["momentum"]) == (turns(plain), turns(inert)) == (40, 6)
    assert way["sgd"] == pytest.approx(np.abs(np.diff(plain)).sum())
    assert way["momentum"] == pytest.approx(np.abs(np.diff(inert)).sum())
    assert faster["sgd"] == pytest.approx(1.8 * 1.4**40)  # |1 − 0.6·4| to the power of the steps
    assert faster["momentum"] == pytest.approx(abs(descended(slope, begin, 0.06, 40, 0.9)[-1, 1]))
    slow = result("ravine_momentum", rate=0.2)
    assert [fact.holds for fact in slow.facts] == [False, False, True]  # gradient descent does not swing there


def test_nesterov_overshoots_less():
    curvatures = np.logspace(-3, 0, 31) / 0.1
    starts = np.ones(31)
    past = [
        -descended(lambda x: curvatures * x, starts, 0.1, 400, 0.9, ahead).min(0).clip(max=0) for ahead in (False, True)
    ]
    swinging = past[0] > 0.001
    assert figures("nesterov_overshoot")["of"] == swinging.sum()
    assert figures("nesterov_overshoot")["less"] == (past[1] < past[0] - 1e-9)[swinging].sum() == swinging.sum() - 1
    at = figures("nesterov_overshoot", 1)
    assert at["curvature"] == pytest.approx(1.0)
    assert (at["momentum"], at["nesterov"]) == pytest.approx((past[0][20], past[1][20]))


def test_momentum_leaves_the_local_minimum():
    from trainer.demonstrations.escape import RATES, TOP, random_starts

    assert pytest.approx(0, abs=1e-4) == TOP**3 - TOP - 0.15
    starts = random_starts(200, 0)[:, 0].numpy()
    assert starts.min() >= -2 and starts.max() < TOP
    shares = {
        beta: [(descended(lambda x: x**3 - x - 0.15, starts, rate * (1 - beta), 600, beta)[-1] > 0) for rate in RATES]
        for beta in (0.0, 0.9)
    }
    found = figures("local_minimum_momentum")
    assert found["sgd"] == 100 * np.mean(shares[0.0]) == 0
    assert found["momentum"] == pytest.approx(100 * np.mean(shares[0.9]))
    assert found["momentum"] > 10
    assert figures("local_minimum_momentum", 1)["nearest"] == pytest.approx(starts[shares[0.9][-1]].max())


def test_noise_that_falls_with_the_batch_leaves_the_local_minimum():
    draw = np.random.default_rng(0)  # other draws than the demonstration's
    found = figures("local_minimum_noise")
    for size in (1, 4, 16):
        x = np.full(2000, -0.9143)
        for _ in range(300):
            x = x - 0.05 * (x**3 - x - 0.15 + 3 / math.sqrt(size) * draw.normal(size=2000))
        assert found[str(size)] == pytest.approx(100 * (x > -0.1536).mean(), abs=12)
    assert found["256"] == 0


def test_a_saddle_holds_gradient_descent_up():
    medians, dearer = figures("saddle_escape"), figures("saddle_escape", 1)
    # Near the ridge each step multiplies y by 1.1.
    assert dearer["sgd"] == pytest.approx(math.log(10) / math.log(1.1), abs=0.5)
    assert medians["sgd"] == pytest.approx(math.log(0.1 / 1e-4) / math.log(1.1), abs=10)
    assert max(dearer["adam"], dearer["adagrad"], dearer["rmsprop"]) < 1
    assert medians["momentum"] > medians["sgd"]


def test_adam_without_correction_takes_longer_steps():
    moments, steps, _ = (figures("adam_bias_correction", place) for place in range(3))
    assert (moments["first_moment"], moments["second_moment"]) == pytest.approx((0.1, 0.001))
    ratios = [(1 - 0.9**t) / math.sqrt(1 - 0.999**t) for t in range(1, 11)]
    assert (steps["smallest_ratio"], steps["largest_ratio"]) == pytest.approx((ratios[0], ratios[-1]), rel=1e-4)
    assert steps["first_corrected"] == pytest.approx(0.001, rel=1e-6)


def test_dropout_keeps_the_expectation_over_all_masks():
    found = figures("dropout_expectation")
    assert (found["masks"], found["expected"]) == (256, pytest.approx(found["output"], rel=1e-12))
    assert figures("dropout_expectation", 1)["share"] == pytest.approx(0.6)
    # The two units of note 003, by hand: w₁x + w₂y over the four masks at p = 0.4.
    from trainer.demonstrations.dropout_masks import every_mask

    masks, weights = every_mask(0.4, 2)
    assert masks.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert weights.tolist() == pytest.approx([0.16, 0.24, 0.24, 0.36])


def test_the_variance_of_a_batch_is_that_of_one_example_over_n():
    from trainer.demonstrations.gradient_noise import gradients, log_slope

    assert log_slope((1, 2, 4), (8, 2, 0.5)) == pytest.approx(-2)
    full, found = gradients(50, 0)
    variances = [((each - full).numpy() ** 2).sum(1).mean() for each in found]
    slope = np.polyfit(np.log([2.0**power for power in range(9)]), np.log(variances), 1)[0]
    assert figures("batch_gradient_variance")["slope"] == pytest.approx(slope, rel=1e-6)
    assert slope == pytest.approx(-1, abs=0.2)
    # The mean of many batches is the full gradient.
    assert found[-1].mean(0).numpy() == pytest.approx(full.numpy(), abs=0.05)


def test_one_pass_of_single_updates_is_about_twenty_steps():
    from trainer.demonstrations.one_pass import draw_problems

    x, y = draw_problems(20, 200, 0)
    ends, needed = [], []
    for inputs, targets in zip(x, y, strict=True):
        single = np.zeros(2)
        for row, target in zip(inputs, targets, strict=True):
            single = single - 0.05 * 2 * (row @ single - target) * row
        ends.append(np.mean((inputs @ single - targets) ** 2))
        whole, steps = np.zeros(2), 0
        while np.mean((inputs @ whole - targets) ** 2) > ends[-1] and steps < 60:
            whole, steps = whole - 0.05 * 2 * inputs.T @ (inputs @ whole - targets) / 20, steps + 1
        needed.append(steps)
    assert figures("one_pass")["stochastic"] == pytest.approx(np.median(ends))
    assert figures("one_pass", 1)["passes"] == np.median(needed) == 21


def test_bias_and_variance_are_those_of_fits_one_by_one():
    draw = np.random.default_rng(0)
    x = draw.uniform(-1, 1, (300, 50))
    y = np.sin(np.pi * x) + 0.3 * draw.normal(size=x.shape)
    grid = np.linspace(-1, 1, 201)
    found = figures("bias_variance")
    for name, degree in (("1", 1), ("last", 9)):
        fitted = np.array([np.polyval(np.polyfit(*each, degree), grid) for each in zip(x, y, strict=True)])
        bias = ((fitted.mean(0) - np.sin(np.pi * grid)) ** 2).mean()
        assert (found[f"bias_{name}"], found[f"variance_{name}"]) == pytest.approx((bias, fitted.var(0).mean()), 1e-6)
    assert found["best"] == 3


def test_the_errors_of_a_split_and_of_folds_are_those_of_a_loop():
    """Ridge regression of scikit-learn on the same draws; 5 folds of 100 digits, 20 of which are held out each time."""
    images = digits(Path(), "train", image_size=8)
    labels = images.labels.numpy()
    assert len(labels) == 1500  # the training part: the test part is never read
    pixels = images.pixels.flatten(1).numpy() / 255
    inputs, targets = np.hstack([pixels, np.ones((len(pixels), 1))]), np.eye(10)[labels]
    draw, single, together = np.random.default_rng(0), [], []
    for _ in range(20):
        order = draw.permutation(len(labels))
        drawn, new, errors = order[:100], order[1000:], []
        for fold in range(5):
            held_out = drawn[20 * fold : 20 * fold + 20]
            kept = [image for image in drawn if image not in held_out]
            found = Ridge(alpha=1.0, fit_intercept=False).fit(inputs[kept], targets[kept]).predict(inputs).argmax(1)
            right = 100 * (found == labels)
            errors.append(right[held_out].mean() - right[new].mean())
        single.append(abs(errors[0]))
        together.append(abs(np.mean(errors)))
    assert figures("cross_validation", draws=20) == pytest.approx(
        {"single": np.mean(single), "folds": np.mean(together)}, abs=1e-9
    )


def test_an_option_that_is_out_of_range_is_one_line():
    for name, options, told in (
        ("grid_cost", {"values": 1}, "values=1: must be a whole number of at least 2"),
        ("dropout_expectation", {"p": 1.0}, "p=1: must be a number above 0 and below 1"),
        ("dropout_expectation", {"units": 30}, "units=30: must be at most 14"),
        ("bias_variance", {"examples": 9}, "examples=9: must be more than degree=9"),
        ("cross_validation", {"images": 9}, "images=9: must be from 10, two for each fold, to 1000"),
        ("nesterov_overshoot", {"beta": 0.0}, "beta=0: must be a number above 0 and below 1"),
        ("one_pass", {"rate": -1.0}, "rate=-1: must be a number above 0"),
    ):
        with pytest.raises(ConfigError) as refused:
            FUNCTIONS[name](**options)
        assert str(refused.value).startswith(told)
