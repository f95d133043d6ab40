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
SMALL = (*DIGITS, "model=mlp", "model.hidden=[16]")
EXAMPLE_RUNS = {
    "lion": (*SMALL, "optimizer=lion"),
    "muon": (*DIGITS, "model=mlp", "model.hidden=[16,16]", "optimizer=muon", "weight_decay=0.01"),
    "sam": (*SMALL, "optimizer=sam"),
    "wsd": (*SMALL, "scheduler=wsd"),
    "one_cycle": (*SMALL, "scheduler=one_cycle"),
    "trivial_augment": (*SMALL, "augmentation=[trivial_augment]"),
    "resnet20": (*DIGITS, "model=resnet20", "model.width=2", "normalization=batch"),
    "vit": (*DIGITS, "model=vit", "model.width=8", "model.heads=2", "model.depth=1", "dropout=0.1"),
    "timm_model": (*DIGITS, "model=timm_model", "model.architecture=test_resnet"),
    "focal": (*SMALL, "loss=focal"),
    "balanced_accuracy": (*SMALL, "metric=[balanced_accuracy]"),
    "r_drop": (*SMALL, "regularization=[r_drop]", "dropout=0.2"),
    "stochastic_depth": (*DIGITS, "model=resnet20", "model.width=2", "regularization=[stochastic_depth]"),
    "shapes": (*SMALL[2:], "dataset=shapes", "dataset.count=200", "dataset.image_size=8", "dataset.validation_size=50"),
}


@pytest.fixture
def examples():
    with using([own := read(EXAMPLES, [*GROUPS])]):
        yield own


@pytest.mark.parametrize("name", EXAMPLE_RUNS)
def test_an_example_is_trained_stopped_and_resumed_to_the_same_bits(name, examples, in_empty_folder):
    if name == "timm_model":
        pytest.importorskip("timm")
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


def test_muon_makes_the_step_of_a_hidden_matrix_orthogonal_and_spares_the_classifier(examples):
    draw = torch.Generator().manual_seed(0)
    shapes = {"0.weight": (8, 3, 3, 3), "0.bias": (8,), "2.weight": (10, 8)}
    pairs = [(name, torch.randn(*shape, generator=draw).requires_grad_()) for name, shape in shapes.items()]
    before = {name: weight.detach().clone() for name, weight in pairs}
    for _, weight in pairs:
        weight.grad = torch.randn(weight.shape, generator=draw)
    load(examples, "optimizer", "muon")([{"params": pairs, "weight_decay": 0.0}], 0.1, 0.0, adam_lr_scale=1.0).step()
    steps = {name: (before[name] - weight.detach()) / 0.1 for name, weight in pairs}
    values = torch.linalg.svdvals(steps["0.weight"].flatten(1))
    assert values.min() > 0.6 and values.max() < 1.3  # the bounds of the quintic iteration
    for name in ("0.bias", "2.weight"):  # the first step of Adam is the sign
        assert torch.allclose(steps[name].abs(), torch.ones(1), atol=1e-4)


def test_sam_takes_the_gradient_at_the_worst_point_nearby(examples):
    weight = torch.tensor([3.0, 4.0], requires_grad=True)
    optimizer = load(examples, "optimizer", "sam")([{"params": [("w", weight)]}], 0.1, 0.0, rho=1.0, momentum=0.0)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = weight.square().sum() / 2  # the gradient is the weight itself
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 12.5
    # The gradient at W + g / ‖g‖ = (3.6, 4.8).
    assert torch.allclose(weight.detach(), torch.tensor([3.0, 4.0]) - 0.1 * torch.tensor([3.6, 4.8]))


def test_focal_loss_is_cross_entropy_at_zero_and_passes_over_what_is_easy(examples):
    focal, logits = load(examples, "loss", "focal"), torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 0.5]])
    labels = torch.tensor([0, 2])
    assert torch.allclose(focal(logits, labels, gamma=0.0), F.cross_entropy(logits, labels))
    probability = logits.softmax(1)[[0, 1], labels]
    assert torch.allclose(focal(logits, labels), ((1 - probability) ** 2 * -probability.log()).mean())
    assert torch.allclose(focal(logits, F.one_hot(labels, 3).float()), focal(logits, labels))


def test_the_schedules_of_the_examples_have_the_rates_of_their_papers(examples):
    wsd = load(examples, "scheduler", "wsd")(1.0, 10, decay=0.2)
    assert [wsd(epoch) for epoch in (0, 7.9, 9, 10)] == pytest.approx([1, 1, 0.5, 0])
    cycle = load(examples, "scheduler", "one_cycle")(1.0, 10, peak=0.25, start=0.04, momenta=(0.8, 0.9))
    assert [cycle(epoch) for epoch in (0, 2.5, 6.25, 10)] == pytest.approx([0.04, 1, 0.5, 0])
    assert [cycle.momentum(epoch) for epoch in (0, 2.5, 10)] == pytest.approx([0.9, 0.8, 0.9])


def test_balanced_accuracy_counts_each_class_the_same(examples):
    logits = F.one_hot(torch.tensor([0, 0, 0, 0, 1]), 3).float()
    metric = load(examples, "metric", "balanced_accuracy")
    assert metric(logits, torch.tensor([0, 0, 0, 0, 2])).item() == 0.5


def test_an_image_gets_one_operation_of_its_own(examples):
    images, draw = torch.full((64, 1, 8, 8), 0.25), torch.Generator().manual_seed(0)
    images[:, :, 2:5, 3:6] = 0.75
    augmented, labels = load(examples, "augmentation", "trivial_augment")(images, torch.arange(64), 64, draw)
    assert augmented.shape == images.shape and augmented.min() >= 0 and augmented.max() <= 1
    assert len({tuple(image.flatten().tolist()) for image in augmented}) > 30
    untouched = [torch.equal(image, original) for image, original in zip(augmented, images, strict=True)]
    assert 1 <= sum(untouched) < 20 and torch.equal(labels, torch.arange(64))
