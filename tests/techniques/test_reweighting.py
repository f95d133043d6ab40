"""Layers that compute with a function of their weight: beside torch's and timm's own, and through a whole run."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import last_of, metrics, quick
from networks import composed, trainer
from timm.layers import StdConv2d
from torch import nn
from torch.nn.utils import parametrizations

from trainer.data.loader import load
from trainer.diagnosis.layer_stats import layer_stats_of
from trainer.errors import ConfigError
from trainer.evaluation.inference import load_network
from trainer.storage import checkpoint
from trainer.techniques.layers import weights
from trainer.techniques.networks.reweighting import WeightNormalization, reweight, start_reweightings
from trainer.techniques.regularization import spectral_norm, weight_standardization


def two_layers():
    """A convolution and a linear layer, with a second copy of them."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Flatten(), nn.Linear(36, 5)).double()
    return model, copy.deepcopy(model)


IMAGES = torch.randn(7, 3, 6, 6, generator=torch.Generator().manual_seed(1)).double()


def same_training(ours, others, steps=3):
    """Compare outputs, gradients and weights over some steps; `others` maps the parameters to their counterparts."""
    first, second = torch.optim.SGD(ours.parameters(), 0.1), torch.optim.SGD(others.parameters(), 0.1)
    for _ in range(steps):
        one, other = ours(IMAGES), others(IMAGES)
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
        for optimizer, output in ((first, one), (second, other)):
            optimizer.zero_grad()
            output.square().mean().backward()
            optimizer.step()
    torch.testing.assert_close(ours.eval()(IMAGES), others.eval()(IMAGES), rtol=1e-9, atol=1e-9)
    return sorted(parameter.sum().item() for parameter in ours.parameters())


def test_weight_standardization_is_timms_and_the_papers_formula():
    model, other = two_layers()
    weight_standardization(model, eps=1e-4)
    standard = StdConv2d(3, 4, 3, 2, 1, bias=True, eps=1e-4).double()
    standard.load_state_dict(other[0].state_dict())
    other[0] = standard
    rows = model[0].weight.detach().numpy().reshape(4, -1)
    rows = (rows - rows.mean(1, keepdims=True)) / np.sqrt(rows.var(1, keepdims=True) + 1e-4)
    expected = torch.nn.functional.conv2d(IMAGES, torch.from_numpy(rows.reshape(4, 3, 3, 3)), model[0].bias, 2, 1)
    torch.testing.assert_close(model[0](IMAGES), expected, rtol=1e-9, atol=1e-9)
    assert type(model[2]) is nn.Linear
    same_training(model, other)


@pytest.mark.parametrize("iterations", [1, 3])
def test_spectral_norm_is_torchs(iterations):
    model, other = two_layers()
    spectral_norm(model, iterations=iterations)
    start_reweightings(model)
    for layer, theirs in ((model[0], other[0]), (model[2], other[2])):
        parametrizations.spectral_norm(theirs, n_power_iterations=iterations)
        norm, own = theirs.parametrizations.weight[0], layer.reweightings[0]
        own.left.copy_(norm._u)
        own.right.copy_(norm._v)
    same_training(model, other)


def test_spectral_norm_finds_the_largest_singular_value_of_the_first_weight():
    model, _ = two_layers()
    spectral_norm(model)
    with torch.no_grad():
        for layer in (model[0], model[2]):
            layer.weight.copy_(torch.randn_like(layer.weight) + 1)  # one direction is the strongest by far
    start_reweightings(model)
    for layer in (model[0], model[2]):
        matrix = layer.eval().reweightings[0](layer.weight).flatten(1)
        assert torch.linalg.svdvals(matrix)[0].item() == pytest.approx(1.0, rel=1e-6)


def test_weight_normalization_is_torchs_and_begins_as_without():
    model, other = two_layers()
    plain = copy.deepcopy(other)
    for layer in (model[0], model[2]):
        reweight(layer, WeightNormalization(layer.weight))
        with torch.no_grad():
            layer.weight.mul_(2)
        start_reweightings(layer)
    for theirs, layer in ((other[0], model[0]), (other[2], model[2])):
        with torch.no_grad():
            theirs.weight.mul_(2)
            plain[0 if isinstance(layer, nn.Conv2d) else 2].weight.mul_(2)
        parametrizations.weight_norm(theirs)
    torch.testing.assert_close(model(IMAGES), plain(IMAGES))
    same_training(model, other)


def test_functions_of_a_weight_act_one_after_the_other():
    model, _ = two_layers()
    weight_standardization(model)
    spectral_norm(model)
    start_reweightings(model)
    standardize, divide = model.eval()[0].reweightings
    standardized = standardize(model[0].weight)
    torch.testing.assert_close(divide(standardized), standardized / torch.linalg.svdvals(standardized.flatten(1))[0],
                               rtol=0.05, atol=0)  # fmt: skip
    assert weights(model) == [model[0].weight, model[2].weight]


def test_a_layer_of_another_kind_is_refused():
    class Own(nn.Conv2d):
        pass

    with pytest.raises(ConfigError, match="the weight of a Own cannot be computed anew: torch's Conv2d and Linear can"):
        weight_standardization(nn.Sequential(Own(3, 4, 3)))
    with pytest.raises(ConfigError, match="weight_standardization acts on convolutions: this network has none"):
        weight_standardization(nn.Linear(2, 2))


BOTH = (
    "normalization=group",
    "regularization=[weight_standardization,spectral_norm,ema]",
    "regularization.ema.decay=0.5",
)


def test_a_changed_network_is_evaluated_as_it_was_validated():
    """The networks of both checkpoints give the accuracy that the run has recorded."""
    result = quick(*BOTH, "dataset.image_size=16", "output_dir=run", "batch_size=500", "model.hidden=8")
    best = load_network(result.folder / "best.safetensors")
    images = load(best.config.dataset, Path(), torch.device("cpu"))
    _, validation = best.config.dataset.shared_function()(images, best.config.split_seed)
    recorded = metrics(result.folder)
    for name in ("best.safetensors", "last.safetensors"):
        loaded = load_network(result.folder / name)
        found = loaded.probabilities([validation.pixels], torch.device("cpu")).argmax(1)
        accuracy = (found == validation.labels).double().mean().item()
        assert accuracy == pytest.approx(recorded[loaded.epoch - 1]["validation_accuracy"], abs=1e-12)


def test_the_statistics_of_layers_neither_change_nor_double_what_changes_the_network():
    run = trainer(*BOTH, "batch_size=20", "epochs=1")
    list(run.train_loop())
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    layers = layer_stats_of(run, composed(*BOTH), 20)["layers"]
    assert {layers[name]["kind"] for name in layers} == {"ReweightedConv2d", "ReweightedLinear", "ReLU"}
    assert all(torch.equal(value, before[name]) for name, value in run.model.state_dict().items())
    kinds = [[type(each).__name__ for each in layer.reweightings] for layer in run.model.modules()
             if hasattr(layer, "reweightings")]  # fmt: skip
    assert kinds == [["WeightStandardization", "SpectralNormalization"]] * 2 + [["SpectralNormalization"]] * 2


def test_a_resumed_run_goes_on_from_the_same_singular_vectors(tmp_path):
    first, second = (trainer(*BOTH, "batch_size=20", "epochs=2") for _ in range(2))
    next(first.train_loop())
    checkpoint.save(tmp_path / "last.safetensors", last_of(first.state_dict()))
    second.load_state_dict(checkpoint.load(tmp_path / "last.safetensors").trainer)
    for name, value in first.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name
