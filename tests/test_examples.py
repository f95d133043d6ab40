"""The techniques of `examples/techniques`: each as a person trains it, and stopped and resumed to the same bits."""

from pathlib import Path

import pytest
import torch
from conftest import ROOT, metrics
from torch.nn import functional as F

from trainer.cli.main import main
from trainer.config.compose import interpret
from trainer.config.own import read, using
from trainer.config.own_import import load
from trainer.config.schema import GROUPS
from trainer.run import train
from trainer.storage import checkpoint

EXAMPLES = str(ROOT / "examples" / "techniques")
PLAIN = ("epochs=2", "wandb.mode=disabled", "device=cpu", "lr=0.001")
DIGITS = ("dataset=digits", "dataset.image_size=8")
FEW = ("dataset=digits", "dataset.train_size=40", "dataset.validation_size=20")
SMALL = (*DIGITS, "model=mlp", "model.hidden=[16]")
EXAMPLE_RUNS = {
    "tiger": (*SMALL, "optimizer=tiger"),
    "layerwise_adamw": (*SMALL, "optimizer=layerwise_adamw", "weight_decay=0.01"),
    "extragradient": (*SMALL, "optimizer=extragradient"),
    "tanh_decay": (*SMALL, "scheduler=tanh_decay"),
    "demon": (*SMALL, "scheduler=demon"),
    "grid_mask": (*SMALL, "augmentation=[grid_mask]"),
    "densenet": (*DIGITS, "model=densenet", "model.growth=2", "model.layers=[1,1]", "normalization=batch"),
    "mlp_mixer": (*DIGITS, "model=mlp_mixer", "model.width=8", "model.depth=1", "dropout=0.1"),
    "torchvision_model": (*FEW, "dataset.image_size=32", "model=torchvision_model"),
    "generalized_cross_entropy": (*SMALL, "loss=generalized_cross_entropy"),
    "balanced_accuracy": (*SMALL, "metric=[balanced_accuracy]"),
    "noise_consistency": (*SMALL, "regularization=[noise_consistency]", "dropout=0.2"),
    "gradient_centralization": (*SMALL, "regularization=[gradient_centralization]"),
    "shapes": (*SMALL[2:], "dataset=shapes", "dataset.count=200", "dataset.image_size=8", "dataset.validation_size=50"),
}


@pytest.fixture
def examples():
    with using([own := read(EXAMPLES, [*GROUPS])]):
        yield own


@pytest.mark.parametrize("name", EXAMPLE_RUNS)
def test_an_example_is_trained_stopped_and_resumed_to_the_same_bits(name, examples, in_empty_folder):
    typed = [*EXAMPLE_RUNS[name], *PLAIN]
    train(interpret([*typed, "output_dir=whole"]))
    stopped = train(interpret([*typed, "output_dir=parts"]), stop=lambda epoch: epoch == 1)
    assert stopped.epochs == 1
    assert main([f"--techniques={EXAMPLES}", "resume=parts"]) == 0
    whole, parts = (checkpoint.load(Path(folder, "last.safetensors")).trainer for folder in ("whole", "parts"))
    assert whole["epoch"] == parts["epoch"] == 2
    assert all(torch.equal(value, parts["model"][key]) for key, value in whole["model"].items())
    timed = ("epoch_seconds", "images_per_second")
    rows = [[{key: row[key] for key in row if key not in timed} for row in metrics(Path(folder))]
            for folder in ("whole", "parts")]  # fmt: skip
    assert rows[0] == rows[1] and len(rows[0]) == 2


def test_the_examples_are_all_run_here(examples):
    from trainer.config.schema import own_functions

    assert {name for group in GROUPS for name in own_functions(group)} == EXAMPLE_RUNS.keys()


def test_tiger_steps_by_the_sign_of_its_momentum(examples):
    weight = torch.tensor([1.0, 1.0, 1.0], requires_grad=True)
    optimizer = load(examples, "optimizer", "tiger")([{"params": [("w", weight)]}], 0.1, 0.5, beta=0.5)
    for gradient in ([2.0, -2.0, 0.0], [-1.0, 4.0, 0.0]):  # momentum: 1, −1, 0, then 0 (its sign: 0), 1.5, 0
        weight.grad = torch.tensor(gradient)
        optimizer.step()
    first = torch.tensor([0.95 - 0.1, 0.95 + 0.1, 0.95])
    assert torch.allclose(weight.detach(), 0.95 * first - 0.1 * torch.tensor([0.0, 1.0, 0.0]))


def test_an_earlier_layer_has_a_lower_rate(examples):
    pairs = [(name, torch.ones(2, requires_grad=True)) for name in ("1.weight", "1.bias", "3.weight", "5.weight")]
    group = {"params": pairs, "weight_decay": 0.0}
    optimizer = load(examples, "optimizer", "layerwise_adamw")([group], 0.1, 0.0, layer_decay=0.5)
    assert [group["lr_scale"] for group in optimizer.param_groups] == [0.25, 0.25, 0.5, 1.0]


def test_the_gradient_of_an_extragradient_step_is_that_of_the_point_ahead(examples):
    weight = torch.tensor([3.0, 4.0], requires_grad=True)
    optimizer = load(examples, "optimizer", "extragradient")([{"params": [("w", weight)]}], 0.1, 0.0)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = weight.square().sum() / 2  # the gradient is the weight itself
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 12.5
    # The gradient at 0.9·W is 0.9·W.
    assert torch.allclose(weight.detach(), 0.91 * torch.tensor([3.0, 4.0]))


def test_the_generalized_loss_lies_between_cross_entropy_and_the_error(examples):
    loss, logits = load(examples, "loss", "generalized_cross_entropy"), torch.tensor([[2.0, 0.0, -1.0], [0, 1, 0.5]])
    labels = torch.tensor([0, 2])
    assert torch.allclose(loss(logits, labels, q=1e-4), F.cross_entropy(logits, labels), rtol=1e-3)
    probability = logits.softmax(1)[[0, 1], labels]
    assert torch.allclose(loss(logits, labels, q=0.5), (2 * (1 - probability.sqrt())).mean())
    assert torch.allclose(loss(logits, F.one_hot(labels, 3).float()), loss(logits, labels))


def test_the_schedules_of_the_examples_have_the_values_of_their_papers(examples):
    falling = load(examples, "scheduler", "tanh_decay")(1.0, 10, bounds=(-1.0, 1.0))
    assert [falling(epoch) for epoch in (0, 5, 10)] == pytest.approx([0.880797, 0.5, 0.119203], abs=1e-6)
    demon = load(examples, "scheduler", "demon")(0.3, 10, momentum=0.9)
    assert [demon(epoch) for epoch in (0, 5, 10)] == [0.3, 0.3, 0.3]
    assert [demon.momentum(epoch) for epoch in (0, 5, 10)] == pytest.approx([0.9, 0.45 / 0.55, 0])


def test_centralized_gradients_have_a_mean_of_zero(examples):
    layer = torch.nn.Linear(4, 2)
    hooks = load(examples, "regularization", "gradient_centralization")(layer)
    layer.weight.grad, layer.bias.grad = torch.arange(8.0).view(2, 4), torch.ones(2)
    hooks.limit_gradients()
    assert layer.weight.grad.tolist() == [[-1.5, -0.5, 0.5, 1.5]] * 2 and layer.bias.grad.tolist() == [1, 1]


def test_balanced_accuracy_counts_each_class_the_same(examples):
    logits = F.one_hot(torch.tensor([0, 0, 0, 0, 1]), 3).float()
    metric = load(examples, "metric", "balanced_accuracy")
    assert metric(logits, torch.tensor([0, 0, 0, 0, 2])).item() == 0.5


def test_a_quarter_of_an_image_is_covered_and_at_another_place_in_each(examples):
    images, draw = torch.ones(64, 1, 16, 16), torch.Generator().manual_seed(0)
    covered, _ = load(examples, "augmentation", "grid_mask")(images, torch.arange(64), 64, draw)
    assert covered.flatten(1).sum(1).tolist() == [192.0] * 64  # of 256: the square of half a period is a quarter
    assert len({tuple(image.flatten().tolist()) for image in covered}) > 30
