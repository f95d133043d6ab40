"""What a look into every layer says, against figures worked out by hand; that it changes no bit of the run."""

import copy
import functools
import json
import math
import random
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import NEEDED, choices, compose, metrics, narrow, quick, smallest, timeless, tiny_images
from fake_studies import fake_run, fake_study
from test_run import same_state
from test_wandb_mirror import OFFLINE, inspected
from torch import nn

from trainer.config.check import check
from trainer.diagnosis.layer_stats import BINS, layer_stats_of, measure_layers
from trainer.records.metrics import MetricsFile, read_metrics
from trainer.reports.charts import figures
from trainer.reports.content import of_study
from trainer.run import train
from trainer.storage import checkpoint
from trainer.techniques import activation as activations
from trainer.training.build import build_hooks, build_trainer

SMALL = ("model=mlp", "model.hidden=[16]", "dataset.image_size=16")


def network(activation: nn.Module, first: list[list[float]], second: list[list[float]]) -> nn.Sequential:
    """Two linear layers without biases and what lies between them."""
    layers = [nn.Linear(len(rows[0]), len(rows), bias=False) for rows in (first, second)]
    for layer, rows in zip(layers, (first, second), strict=True):
        layer.weight.data = torch.tensor(rows)
    return nn.Sequential(layers[0], activation, layers[1])


def test_the_figures_of_a_layer_are_those_worked_out_by_hand():
    model = network(nn.ReLU(), [[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0], [1.0, 0.0]], [[1.0, 0, 0, 0], [0, 1.0, 0, 0]])
    images, labels = torch.tensor([[1.0, 2.0], [3.0, 1.0]]), torch.tensor([0, 1])
    found = measure_layers(model, torch.optim.SGD(model.parameters(), 0.5), images, labels, activations.relu())
    gradients = torch.autograd.grad(nn.functional.cross_entropy(model(images), labels), list(model.parameters()))
    first, relu, second = (found["layers"][name] for name in ("0", "1", "2"))
    assert relu["dead"] == 0.25  # the third unit is below zero for both images
    assert (relu["mean"], first["mean"]) == (pytest.approx(11 / 8), pytest.approx(4 / 8))
    assert relu["std"] == pytest.approx(torch.tensor([1, 2, 0, 1, 3, 1, 0, 3.0]).std().item(), rel=1e-4)
    assert first["alike"] == pytest.approx(1 / 3, rel=1e-4)  # of the other three units one has the first one's weights
    assert (first["weight_norm"], first["weights"]) == (pytest.approx(math.sqrt(5), rel=1e-4), 8)
    for layer, gradient, weight in zip((first, second), gradients, model.parameters(), strict=True):
        assert layer["gradient_norm"] == pytest.approx(gradient.norm().item(), rel=1e-4)
        ratio = 0.5 * gradient.norm() / weight.norm()  # of a step of sgd
        assert layer["update_ratio"] == pytest.approx(ratio.item(), rel=1e-4)
    counts = relu["activation"]["counts"]
    assert (relu["activation"]["low"], relu["activation"]["high"], len(counts)) == (0, 3, BINS)
    assert (counts[0], counts[10], counts[20], counts[-1]) == (2500, 3750, 1250, 2500)
    assert found["filters"] is None


@pytest.mark.parametrize(
    ("activation", "edge"),
    [
        (activations.sigmoid(), math.log((1 + math.sqrt(0.95)) / (1 - math.sqrt(0.95)))),
        (activations.tanh(), math.atanh(math.sqrt(0.95))),
    ],
)
def test_saturated_is_where_the_slope_is_below_a_twentieth_of_its_largest(activation, edge):
    model = network(activation.build(), [[1.0]], [[1.0], [1.0]])
    images = torch.tensor([[-1.01 * edge], [-0.99 * edge], [0.99 * edge], [1.01 * edge], [0.0]])
    labels = torch.tensor([0, 1, 0, 1, 0])
    found = measure_layers(model, torch.optim.SGD(model.parameters(), 0.1), images, labels, activation)
    assert found["layers"]["1"]["saturated"] == pytest.approx(0.4)


def test_a_channel_is_dead_only_where_it_is_zero_at_every_place():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))
    model[0].weight.data, model[0].bias.data = torch.tensor([[[[1.0]]], [[[2.0]]]]), torch.tensor([0.0, -9.0])
    images = torch.tensor([[[[0.0, 0.0], [0.0, 1.0]]]] * 2)
    labels = torch.tensor([0, 1])
    found = measure_layers(model, torch.optim.SGD(model.parameters(), 0.1), images, labels, activations.relu())
    assert found["layers"]["1"]["dead"] == 0.5
    assert found["filters"] == {"layer": "0", "low": 1.0, "high": 2.0, "values": [[[[0]]], [[[255]]]]}


def test_filters_that_see_features_are_no_pictures():
    model = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(2, 2))
    images, labels = torch.rand(2, 1, 2, 2), torch.tensor([0, 1])
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    assert measure_layers(model, optimizer, images, labels, activations.relu())["filters"] is None


@functools.cache
def plain(*needed):
    return compose(["batch_size=20", "epochs=2", "dropout=0.2", *needed])[0].tree()


WALK = ("model", "activation", "normalization", "init", "optimizer", "regularization")


@pytest.mark.long
@pytest.mark.parametrize(("group", "name"), [(group, name) for group in WALK for name in choices(group)])
def test_it_looks_into_every_network_and_changes_nothing(group, name):
    small = narrow(name) if group == "model" else {}
    run = check(plain(*NEEDED.get(name, [])) | {group: choices(group)[name] | small})
    shape = (3, *[smallest(run.model.name)] * 2)
    trainer = build_trainer(run, tiny_images(40, shape), None, torch.device("cpu"))
    trainer.do_train()  # leaves the optimizer's memory, and in some networks a graph
    state, drawn = copy.deepcopy(trainer.state_dict()), torch.random.get_rng_state()
    gradients = [None if each.grad is None else each.grad.clone() for each in trainer.model.parameters()]
    found = layer_stats_of(trainer, run)
    assert same_state(state, trainer.state_dict())
    assert torch.equal(drawn, torch.random.get_rng_state())
    assert same_state(gradients, [each.grad for each in trainer.model.parameters()])
    weighted = {name for name, each in trainer.model.named_modules() if isinstance(each, nn.Conv2d | nn.Linear)}
    assert {name for name, layer in found["layers"].items() if "update_ratio" in layer} == weighted
    assert any("activation" in layer for layer in found["layers"].values())
    assert len(json.dumps(found, allow_nan=False)) < max(20_000, 700 * len(found["layers"]))


def test_the_step_is_that_of_the_run_with_its_penalty_and_its_clipping():
    clipped = ["regularization=[l2,gradient_clipping]", "regularization.l2.strength=5.0"]
    (run,) = compose(
        [
            "dataset=digits",
            *SMALL,
            *clipped,
            "regularization.gradient_clipping.max_norm=0.01",
            "optimizer=sgd",
            "lr=0.1",
        ]
    )
    trainer = build_trainer(run, tiny_images(40), None, torch.device("cpu"))
    found = layer_stats_of(trainer, run)["layers"]
    norms = [layer["gradient_norm"] for layer in found.values() if "gradient_norm" in layer]
    weights = [layer["weight_norm"] for layer in found.values() if "gradient_norm" in layer]
    assert norms == pytest.approx([5 * norm for norm in weights], rel=0.2)  # the penalty's gradient is 5·W
    moved = [layer["update_ratio"] * layer["weight_norm"] for layer in found.values() if "update_ratio" in layer]
    assert math.hypot(*moved) == pytest.approx(0.1 * 0.01, rel=1e-2)
    assert len(build_hooks(run, trainer.model)) == 2


def test_the_run_with_it_equals_the_run_without_it_bit_for_bit():
    techniques = (*SMALL, "dropout=0.3", "augmentation=[crop]", "regularization=ema", "normalization=batch", "epochs=3")
    quick(*techniques, "output_dir=with", "layer_stats_every=1")
    quick(*techniques, "output_dir=without")
    for name in ("best.safetensors", "last.safetensors"):
        states = [checkpoint.load(Path(folder) / name) for folder in ("with", "without")]
        assert same_state(*(replace(state, config={}) for state in states))
    looked, plain = timeless(Path("with")), timeless(Path("without"))
    assert all(row.pop("layer_stats")["images"] == 256 for row in looked)
    assert looked == plain


def test_every_so_many_epochs_and_after_the_last_one():
    folder = quick(*SMALL, "layer_stats_every=2", "epochs=3", "output_dir=run").folder
    assert ["layer_stats" in row for row in metrics(folder)] == [False, True, True]
    (run,) = compose(["resume=run", "epochs=4", "layer_stats_every=1"])
    train(run)
    assert ["layer_stats" in row for row in metrics(folder)] == [False, True, True, True]
    assert len(json.dumps(metrics(folder)[-1]["layer_stats"])) < 10_000


def test_the_lecture_cnn_in_colour_takes_less_than_ten_kilobytes():
    (run,) = compose(["dataset=cifar10"])
    trainer = build_trainer(run, tiny_images(40, (3, 32, 32)), None, torch.device("cpu"))
    found = layer_stats_of(trainer, run)
    assert len(json.dumps(found)) < 10_000
    filters = torch.tensor(found["filters"]["values"])
    assert (filters.shape, filters.min(), filters.max()) == ((6, 3, 5, 5), 0, 255)


@pytest.mark.long
def test_wandb_gets_histograms_filters_and_numbers():
    seen = inspected(quick(OFFLINE, "dataset.image_size=16", "layer_stats_every=1", "output_dir=run").folder)["summary"]
    last = metrics(Path("run"))[-1]["layer_stats"]["layers"]["1.0.7"]
    assert seen["layer_stats/linear layer 1 of 2/update_ratio"] == last["update_ratio"]
    histogram = seen["layer_stats/linear layer 1 of 2/gradient"]
    assert (histogram["_type"], histogram["values"]) == ("histogram", last["gradient"]["counts"])
    assert histogram["bins"][0] == last["gradient"]["low"]
    assert (seen["layer_stats/filters"]["_type"], seen["layer_stats/filters"]["height"]) == ("image-file", 40)


def test_a_long_run_with_insight_is_read_a_line_at_a_time(tmp_path):
    """Reading takes far less memory than the file has: with the statistics of every epoch it would take as much."""
    fake_run(tmp_path / "run", {}, 1.0, random.Random(0), 1000, ("a", "b"))
    path = tmp_path / "run" / "metrics.jsonl"
    rows = metrics(tmp_path / "run")
    layer = {"kind": "Linear", "gradient": {"low": 0.0, "high": 1.0, "counts": [10_000]}, "more": "x" * 30_000}
    for row in rows[1::2]:
        row["layer_stats"] = {"layers": {"1": {**layer, "update_ratio": row["epoch"] / 1000}}}
    lines = [json.dumps(row) + "\n" for row in rows]
    path.write_text("".join(lines))
    assert path.stat().st_size > 15_000_000
    tracemalloc.start()
    record = MetricsFile(tmp_path / "run", 1000)
    assert [row["epoch"] for row in read_metrics(tmp_path / "run")] == list(range(1, 1001))
    (_, peak), _ = tracemalloc.get_traced_memory(), tracemalloc.stop()
    assert peak < 3_000_000
    assert record.size == path.stat().st_size
    assert MetricsFile(tmp_path / "run", 997).size == len("".join(lines[:997])) == path.stat().st_size


def test_of_many_insights_a_page_shows_some_and_the_last(tmp_path):
    folder = fake_study(tmp_path / "made", {"lr": ["0.1"]}, epochs=2600)
    path = folder / "run-0" / "metrics.jsonl"
    rows = metrics(folder / "run-0")
    for row in rows[1::2]:
        row["layer_stats"] = {"layers": {"1": {"kind": "Linear", "update_ratio": float(row["epoch"])}}}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    shown = figures(of_study(folder))["layers"]
    assert shown["epochs"] == [*range(2, 2600, 6), 2600] and len(shown["epochs"]) < 500
    assert shown["quantities"]["update_ratio"]["1"] == shown["epochs"]
