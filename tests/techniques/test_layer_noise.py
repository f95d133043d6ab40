"""Branches, inputs and blocks of features that are left out: beside torchvision's and by hand, and where they act."""

import math

import numpy as np
import pytest
import torch
from networks import network
from torch import nn
from torchvision.ops import drop_block2d
from torchvision.ops import stochastic_depth as dropped_rows

from trainer.errors import ConfigError
from trainer.techniques.networks.branches import branches
from trainer.techniques.networks.layer_noise import drop_blocks, without_branch
from trainer.techniques.regularization import drop_block, stochastic_depth

PIXELS = torch.randint(0, 256, (4, 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


@pytest.mark.parametrize("shape", [(6, 5), (6, 3, 2, 2)], ids=str)
@pytest.mark.parametrize("drop", [0.2, 0.7])
def test_a_branch_is_left_out_as_by_torchvision(drop, shape):
    hook, output = without_branch(drop), torch.randn(shape)
    torch.manual_seed(0)
    expected = dropped_rows(output, drop, "row")
    torch.manual_seed(0)
    assert torch.equal(hook(nn.Identity(), (), output), expected)
    assert hook(nn.Identity().eval(), (), output) is None


def test_deeper_branches_are_left_out_more_often():
    """ResNet-18 with drop 0.4: of the l-th of 8 branches a share of 0.05·l; the shortcut stays as it is."""
    model = network("model=resnet18", "model.width=2")
    stochastic_depth(model, drop=0.4)
    ends, seen = [modules[-1] for modules in branches(model)], []
    assert len(ends) == 8
    for end in ends:
        end.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
        end.register_forward_hook(lambda _module, _inputs, output: torch.ones_like(output), prepend=True)
    torch.manual_seed(0)
    for _ in range(25):
        model[1](torch.rand(40, 3, 8, 8))
    for number in range(8):
        drop, outputs = 0.05 * (number + 1), torch.cat(seen[number::8]).flatten(1)
        assert torch.equal(outputs, outputs[:, :1].expand_as(outputs))
        share = (outputs[:, 0] == 0).double().mean().item()
        assert abs(share - drop) < 4 * math.sqrt(drop * (1 - drop) / 1000)
        assert outputs.max().item() == pytest.approx(1 / (1 - drop))
    seen.clear()
    model.eval()(PIXELS[:1])
    assert all(torch.equal(output, torch.ones_like(output)) for output in seen)


@pytest.mark.parametrize("name", ["resnet18", "resnet9"])
def test_without_its_branches_a_block_is_its_shortcut(name):
    model = network(f"model={name}", "model.width=4", "regularization=stochastic_depth")
    blocks = [
        module for module in model.modules() if branches(module)[:1] and not any(map(branches, module.children()))
    ]
    for block in blocks:
        (branch,) = branches(block)
        branch[-1].register_forward_hook(lambda _module, _inputs, output: torch.zeros_like(output))
        inputs = next(each for each in block.modules() if isinstance(each, nn.Conv2d)).in_channels
        features = torch.rand(2, inputs, 8, 8)
        expected = block.activation(block.shortcut(features)) if name == "resnet18" else features
        assert torch.equal(block.eval()(features), expected)
    assert len(blocks) == {"resnet18": 8, "resnet9": 2}[name]


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        (("model=resnet20", "model.width=4"), 9),
        (("model=wide_resnet", "model.width=1"), 6),
        (("model=vit", "model.width=12"), 12),  # attention and linear layers in each of six blocks
        (("model=convmixer", "model.width=4", "model.depth=3"), 3),
        ((), 0),
    ],
    ids=str,
)
def test_the_branches_of_every_network_are_known(arguments, count):
    assert len(branches(network(*arguments))) == count


def test_values_of_the_images_are_left_out_behind_the_preprocessing():
    model = network("regularization=input_dropout", "regularization.input_dropout.rate=0.3")
    seen = []
    model[1].register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    torch.manual_seed(0)
    model(PIXELS)
    clean, noisy = model[0](PIXELS), seen.pop()
    kept = noisy != 0
    torch.testing.assert_close(noisy[kept], clean[kept] / 0.7)
    assert abs(kept.double().mean().item() - 0.7) < 4 * math.sqrt(0.21 / kept.numel())
    model.eval()(PIXELS)
    assert torch.equal(seen.pop(), clean)


@pytest.mark.parametrize(("side", "size"), [(14, 7), (9, 3), (7, 9), (5, 1)])
def test_blocks_are_left_out_as_by_torchvision(side, size):
    """Its squares need an odd side; one that is larger than the map becomes as large as the map, there and here."""
    features = torch.randn(3, 4, side, side)
    torch.manual_seed(0)
    expected = drop_block2d(features, 0.3, size, eps=0.0)
    torch.manual_seed(0)
    ours = drop_blocks(features, 0.3, size)
    torch.testing.assert_close(ours, expected)
    assert bool((ours == 0).any()) and bool((ours != 0).any())


def test_blocks_of_an_even_side_by_hand():
    """Each corner that is drawn takes the square of 2×2 to its lower right; the rest is enlarged to the same sum."""
    torch.manual_seed(4)
    share = 0.3 * 20 / (4 * 3 * 4)  # maps of 4×5 have 3·4 places for a square
    corners = torch.empty(2, 3, 3, 4).bernoulli_(share).numpy()
    mask = np.ones((2, 3, 4, 5))
    for image, channel, row, column in np.argwhere(corners):
        mask[image, channel, row : row + 2, column : column + 2] = 0
    torch.manual_seed(4)
    ours = drop_blocks(torch.ones(2, 3, 4, 5), 0.3, 2)
    np.testing.assert_allclose(ours, mask * mask.size / mask.sum(), rtol=1e-6)
    assert 0 < mask.mean() < 1 and ours.sum().item() == pytest.approx(mask.size)


def test_blocks_are_left_out_of_features_and_not_of_images():
    """Of the convolutions of an ensemble the first of each member gets the images whole."""
    model = network("model=ensemble", "model.members=2", "regularization=drop_block")
    convolutions = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    shares, handles = [], []
    for layer in convolutions:  # registered behind those of the technique
        handles.append(layer.register_forward_pre_hook(lambda _, inputs: shares.append((inputs[0] == 0).sum().item())))
    torch.manual_seed(0)
    model(PIXELS)
    training, shares = shares, []
    model.eval()
    with torch.no_grad():
        model(PIXELS)
    assert [before == after for before, after in zip(training, shares, strict=True)] == [True, False, True, False]


@pytest.mark.parametrize(
    ("change", "model", "sentence"),
    [
        (stochastic_depth, nn.Sequential(nn.Linear(2, 2)), "leaves out residual branches: this network has none"),
        (drop_block, nn.Conv2d(1, 1, 3), "acts between convolutions: this network has less than two"),
    ],
)
def test_a_network_without_a_place_for_it_is_refused(change, model, sentence):
    with pytest.raises(ConfigError, match=sentence):
        change(model)
