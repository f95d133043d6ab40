"""The checks of own techniques: each one fails for a technique that is wrong in just that way, and for no right one."""

import functools
import random
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch

from trainer.checking import augmentation, common, dataset, measure, network, optimizer, schedule
from trainer.checking.subject import Subject, composed, stirred
from trainer.checking.technique import Row, checked, passes
from trainer.config.check import check
from trainer.config.own import read, using
from trainer.config.schema import GROUPS, own_functions

SGD = """
import random

import numpy as np
import torch


def own(params, lr, weight_decay):
    return Own(params, dict(lr=lr, weight_decay=weight_decay))


class Own(torch.optim.Optimizer):
    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(p.grad + group["weight_decay"] * p, alpha=group["lr"])
"""
FLIP = """
import random

import numpy as np
import torch
from torch.nn import functional as F


def own(images, labels, classes, generator):
    turned = torch.rand(len(images), generator=generator, device=images.device) < 0.5
    return torch.where(turned.view(-1, 1, 1, 1), images.flip(3), images), labels
"""
MODEL = """
import torch
from torch import nn


def own(shape, classes, slots):
    return nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], len(classes)))
"""
PLATEAU = """
class Own:
    def __init__(self, lr):
        self.lr, self.seen = lr, 0

    def __call__(self, epoch):
        return self.lr / (1 + self.seen)

    def observe(self, validation_loss):
        self.seen += 1

    def state_dict(self):
        return {"seen": self.seen}

    def load_state_dict(self, state):
        self.seen = state["seen"]


def own(lr, epochs):
    return Own(lr)
"""
PENALTY = """
import torch

from trainer.techniques.hooks import StepHooks


def own(model):
    weights = list(model.parameters())
    return StepHooks(penalty=lambda logits, labels: 1e-4 * torch.stack([w.square().sum() for w in weights]).sum())
"""
LOSS = """
from torch.nn import functional as F


def own(logits, labels):
    return F.cross_entropy(logits, labels)
"""
METRIC = """
from trainer.techniques.metric import Maximized


def own(logits, labels) -> Maximized:
    return (logits.argmax(1) == labels).float().mean()
"""
ACTIVATION = """
from torch import nn

from trainer.techniques.activation import Activation


def own():
    return Activation(nn.Softplus, gain=1.0)
"""
NORMALIZATION = """
from torch import nn


def own(shape):
    return nn.GroupNorm(1, shape[0])
"""
PREPROCESSING = """
from torch import nn


def own(shape):
    return Own()


class Own(nn.Module):
    def forward(self, images):
        values = images if images.is_floating_point() else images.float() / 255
        return values - 0.5
"""
INIT = """
import torch


def own(layer, gain):
    with torch.no_grad():
        layer.weight.normal_(0, 0.1 * gain)
"""
DATASET = """
import torch

from trainer.data.images import Images


def own(data_dir, part):
    draw = torch.Generator().manual_seed(int(part == "test"))
    labels = torch.arange(60) % 3
    pixels = torch.rand(60, 1, 16, 16, generator=draw)
    return Images.of(pixels, labels, ("a", "b", "c"))
"""
RIGHT = {
    "optimizer": SGD,
    "augmentation": FLIP,
    "model": MODEL,
    "scheduler": PLATEAU,
    "regularization": PENALTY,
    "loss": LOSS,
    "metric": METRIC,
    "activation": ACTIVATION,
    "normalization": NORMALIZATION,
    "preprocessing": PREPROCESSING,
    "init": INIT,
    "dataset": DATASET,
}


@functools.cache
def base() -> dict:
    """The run around a technique, composed once: a composition for each of a hundred would take half a minute."""
    return composed("init", "default").tree()


def subject(group: str, text: str, **more) -> Subject:
    Path("mine").mkdir(exist_ok=True)
    Path("mine", f"{group}.py").write_text(textwrap.dedent(text))
    own = read("mine", [*GROUPS])
    with using([own]):
        found = Subject(group, "own", own, own_functions(group)["own"][1], **more)
        choice = {"own": {}} if GROUPS[group].listed else {"name": "own"}
        found.__dict__["config"] = check({**base(), group: choice})
    return found


def outcome(each, group: str, was: str, becomes: str) -> str | None:
    """Why the check fails for a right technique with one change; what it notes otherwise, or None."""
    assert was in RIGHT[group]
    found = subject(group, RIGHT[group].replace(was, becomes))
    with using([found.own]), stirred(1):
        row = Row("", "")
        passed = passes(found, row, each)
    return (row.notes or [None])[0] if passed else f"failed: {row.failures[0].partition(': ')[2]}"


@pytest.mark.parametrize("group", ["augmentation", "dataset"])  # tests/cli/test_new.py has one of each group
def test_a_right_technique_passes_all_checks(group):
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    found = subject(group, RIGHT[group], test_part=True)
    with using([found.own]):
        row = checked(found)
    assert row.failures == [] and row.contract[0] == row.contract[1] > 0
    assert set(row.cells.values()) == {"ok"} and (row.step == "—" or "× " in row.step)
    assert before == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())


STEP = 'p.sub_(p.grad + group["weight_decay"] * p, alpha=group["lr"])'
RETURN = "return torch.where(turned.view(-1, 1, 1, 1), images.flip(3), images), labels"
COUNTER = 'next(own.__dict__.setdefault("count", iter(range(99))))'  # another number in every call
DRAW = "torch.rand(len(images), generator=generator, device=images.device)"


@pytest.mark.parametrize(
    ("each", "group", "was", "becomes", "sentence"),
    [
        # what all groups promise
        (common.same_bits, "optimizer", STEP, f"{STEP}\n{' ' * 16}p.add_(1e-4 * random.random())",
         "failed: two trainings from the same seed differ (model."),
        (common.same_bits, "model", "len(classes)))", f"len(classes)), nn.Dropout({COUNTER} / 100))",
         "failed: two trainings from the same seed differ ("),
        (common.resumed, "optimizer", STEP, f"self.seen = getattr(self, 'seen', 0) + 1\n{' ' * 16}p.sub_(p.grad,"
         ' alpha=group["lr"] / self.seen)',
         "failed: stopped after step 3 of epoch 2 and resumed, the run is another one than undisturbed"),
        (common.resumed, "scheduler", 'return {"seen": self.seen}', 'return {"seen": 0}',
         "failed: stopped after step 3 of epoch 2 and resumed, the run is another one"),
        (common.resumed, "optimizer", STEP, f'{STEP}\n{" " * 16}self.state[p]["kept"] = object()', "failed: "),
        (common.no_global_draws, "augmentation", DRAW, f"{DRAW} * random.random()",
         "failed: Python's random is drawn from (mine/augmentation.py, line 10), which no checkpoint saves: draw with"),
        (common.no_global_draws, "optimizer", STEP, f"{STEP}\n{' ' * 16}np.random.rand()",
         "failed: NumPy's global generator is drawn from (mine/optimizer.py, line 18), which no checkpoint saves"),
        (common.half_precision, "model", "len(classes)))", "len(classes)), nn.Hardtanh(), Wrong())\n\n\nclass Wrong("
         "nn.Module):\n    def forward(self, x):\n        return x / (x.dtype != torch.bfloat16)", "failed: "),
        # optimizer
        (optimizer.obeys_rate, "optimizer", 'alpha=group["lr"]', "alpha=0.01",
         "failed: 3 steps at a rate of 0 change the weights by"),
        (optimizer.obeys_rate, "optimizer", 'alpha=group["lr"]', "alpha=0.0",
         "failed: 3 steps at lr=0.001 change no weight"),
        (optimizer.obeys_rate, "optimizer", 'alpha=group["lr"]', 'alpha=0.01 * (group["lr"] > 0)',
         "failed: half the rate leads to the same weights"),
        (optimizer.obeys_rate, "optimizer", 'alpha=group["lr"]', 'alpha=group["lr"] ** 2 / group["lr"]',
         "failed: ZeroDivisionError: float division by zero at a rate of 0"),
        (optimizer.obeys_weight_decay, "optimizer", ' + group["weight_decay"] * p', "", "ignores weight_decay"),
        (optimizer.obeys_weight_decay, "optimizer", "p.grad + group", "p.grad - group",
         "failed: weight_decay=1 makes the weights larger"),
        (optimizer.spares_undecayed, "optimizer", "for p in group",
         'group["weight_decay"] = self.param_groups[0]["weight_decay"]\n            for p in group',
         "failed: parameters of a group with weight_decay=0 (biases) are decayed"),
        (optimizer.keeps_rates_apart, "optimizer", 'alpha=group["lr"]', 'alpha=self.param_groups[0]["lr"]',
         "failed: parameter group 2 of 2 moves by"),
        (common.passes, "optimizer", "def step(self):", "def step(self, closure):\n        for _ in range(2):\n"
         "            with torch.enable_grad():\n                closure()",
         "2 gradients and 2 forward passes a step; gradients_per_step in its class would tell studies"),
        (common.passes, "optimizer", "    @torch.no_grad()\n    def step(self):", "    gradients_per_step = 3\n\n"
         "    @torch.no_grad()\n    def step(self, closure):\n        closure()",
         "failed: gradients_per_step is 3, and a step takes 1"),
        # augmentation
        (augmentation.keeps_shape_and_range, "augmentation", RETURN, "return images[:, :, :-1], labels",
         "failed: uint8 [12, 1, 16, 16] become uint8 [12, 1, 15, 16]: the shape must stay"),
        (augmentation.keeps_shape_and_range, "augmentation", RETURN, "return images.double() / 255, labels",
         "failed: uint8 [12, 1, 16, 16] become float64 [12, 1, 16, 16]: bytes must stay bytes"),
        (augmentation.keeps_shape_and_range, "augmentation", RETURN, "return images.float(), labels",
         "failed: uint8 [12, 1, 16, 16] get values from 0 to 255: floats go from 0 to 1"),
        (augmentation.keeps_shape_and_range, "augmentation", RETURN, "return (images.float() / 255).log(), labels",
         "failed: uint8 [12, 1, 16, 16] get values that are not finite"),
        (augmentation.keeps_shape_and_range, "augmentation", RETURN, "return images",
         "failed: it returns uint8 [12, 1, 16, 16], where (images, labels) is expected"),
        (augmentation.keeps_labels, "augmentation", RETURN, "return images, labels.float()",
         "failed: labels [N] become float32 [12]"),
        (augmentation.keeps_labels, "augmentation", RETURN, "return images, labels if labels.ndim == 1 else"
         " labels.argmax(1)", "failed: mixed labels [N, K] become [N]"),
        (augmentation.keeps_labels, "augmentation", RETURN, "return images, (F.one_hot(labels, classes) if labels.ndim"
         " == 1 else labels) * 0.9", "failed: mixed labels sum to 0.9 in an image"),
        (augmentation.keeps_labels, "augmentation", RETURN, "return images, F.one_hot(labels, classes).float() if"
         " labels.ndim == 1 else labels", "mixes labels"),
        (augmentation.draws_from_its_generator, "augmentation", DRAW, "torch.rand(len(images))",
         "failed: torch's global generator is drawn from (mine/augmentation.py, line 10), which is not the generator"),
        (augmentation.draws_from_its_generator, "augmentation", DRAW, f"{DRAW} + 0 * np.random.rand()",
         "failed: NumPy's global generator is drawn from"),
        (augmentation.draws_from_its_generator, "augmentation", DRAW,
         f"torch.rand(len(images), generator=torch.Generator().manual_seed({COUNTER}))", "failed: two generators"),
        (augmentation.draws_for_each_image, "augmentation", "torch.rand(len(images),", "torch.rand(1,",
         "failed: 12 equal images stay equal to each other, while another seed changes all of them"),
        (augmentation.draws_for_each_image, "augmentation", RETURN, "return images.flip(3), labels", None),
        # model and its parts
        (network.takes_channels, "model", "shape[0] *", "1 *",
         "failed: with 3 channels: mine/model.py: model=own: RuntimeError: mat1 and mat2 shapes cannot be multiplied"),
        (network.takes_channels, "model", "shape[0] *", "3 *",
         "failed: with 1 channel: mine/model.py: model=own: RuntimeError: mat1 and mat2 shapes cannot be multiplied"),
        (network.takes_channels, "model", "len(classes)))", "7))",
         "failed: with 1 channel: mine/model.py: model=own returned [2, 7] for 2"),
        (network.trains_all, "model", "len(classes)))", "len(classes)), Idle())\n\n\nclass Idle(nn.Linear):\n    def "
         "__init__(self):\n        super().__init__(2, 2)\n\n    def forward(self, x):\n        return x",
         "failed: no gradient reaches 1.2.weight and 1 more: each parameter must take part"),
        (network.evaluates_one, "model", "len(classes)))",
         "len(classes)), Centred())\n\n\nclass Centred(nn.Module):\n    def forward(self, x):\n        return x -"
         " x.mean(0)", "failed: in evaluation mode the logits of an image depend on the others of its batch"),
        (network.builds_the_same, "model", "return nn", "torch.seed()\n    return nn", "failed: two networks from the"),
        (network.names_its_slots, "model", "len(classes)))", "len(classes)), nn.Dropout(slots.dropout))",
         "ignores activation, normalization"),
        (network.prepares, "preprocessing", "return Own()", "return 3",
         "failed: it returns int, where a torch.nn.Module is expected"),
        (network.prepares, "preprocessing", "values - 0.5", "values[:, :, :8]",
         "failed: pixels [8, 1, 16, 16] become [8, 1, 8, 16], where floats of that shape are expected"),
        (network.prepares, "preprocessing", "values - 0.5", "1 / values.clamp(max=0)",
         "failed: what pixels become is not finite"),
        (network.prepares, "preprocessing", " / 255", "",
         "failed: bytes x and floats x / 255 become different numbers"),
        (network.prepares, "preprocessing", "values - 0.5", "values - values.mean()",
         "failed: what an image becomes depends on the others of its batch"),
        (network.activates, "activation", "nn.Softplus", "nn.GLU",
         "failed: features [4, 8] become [4, 4], where [4, 8] is expected"),
        (network.activates, "activation", "gain=1.0", "gain=0.0", "failed: its gain is 0.0, where a finite number"),
        (network.activates, "activation", "nn.Softplus, gain=1.0)", "Root, gain=1.0)\n\n\nclass Root(nn.Module):\n"
         "    def forward(self, x):\n        return x.sqrt()", "failed: for features [4, 8] the result or"),
        (network.normalizes, "normalization", "nn.GroupNorm(1, shape[0])", "nn.AdaptiveAvgPool2d(1)", "failed: "),
        (network.normalizes, "normalization", "nn.GroupNorm(1, shape[0])", "3",
         "failed: it returns int for (8,), where a torch.nn.Module or None is expected"),
        (network.initializes, "init", "layer.weight.normal_(0, 0.1 * gain)", "layer.weight + 1",
         "failed: the weights stay what torch has set"),
        (network.initializes, "init", "layer.weight.normal_(0, 0.1 * gain)", "layer.weight.fill_(float('nan'))",
         "failed: the weights of Linear(in_features=8, out_features=6, bias=True) are not finite"),
        (network.initializes, "init", "layer.weight.normal", "layer.weight.ndim == 2 and layer.weight.normal",
         "leaves Conv2d as it is"),
        # loss, metric
        (measure.is_a_scalar, "loss", "(logits, labels)\n", "(logits, labels, reduction='none')\n",
         "failed: it returns [12], where a scalar tensor is expected"),
        (measure.is_a_scalar, "loss", "F.cross_entropy(logits, labels)", "F.cross_entropy(logits.detach(), labels)",
         "failed: it has no gradient"),
        (measure.is_a_mean, "loss", "F.cross_entropy(logits, labels)",
         "F.cross_entropy(logits, labels, reduction='sum')", "failed: each image twice changes it from"),
        (measure.takes_mixed_labels, "loss", "F.cross_entropy(logits, labels)", "F.cross_entropy(logits, labels, "
         "label_smoothing=0.1 * (labels.ndim == 1))", "failed: labels [N] lead to"),
        (measure.takes_mixed_labels, "loss", "F.cross_entropy(logits, labels)", "F.nll_loss(logits.log_softmax(1), "
         "labels)", "takes no mixed labels [N, K]: not with mixup, cutmix or label smoothing"),
        (measure.is_a_number, "metric", ".float().mean()", ".float()", "failed: it returns a tensor [12]"),
        (measure.is_a_number, "metric", ".float().mean()", ".float().mean() / 0", "failed: it is "),
        (measure.is_a_number, "metric", "return (", "return {} and (", "failed: it returns dict"),
        # scheduler, regularization
        (schedule.has_rates, "scheduler", "return self.lr / (1 + self.seen)", "return self.lr * (1 - epoch / 10)",
         "failed: the rate at epoch 10.25 of 30 is -2.5e-05: finite and at least 0 is expected"),
        (schedule.has_rates, "scheduler", "return self.lr / (1 + self.seen)", "self.seen += 1\n        return self.lr "
         "/ self.seen", "failed: asked twice for epoch 0 it says 0.001, then 0.0005: a call alters nothing"),
        (schedule.has_rates, "scheduler", "return self.lr / (1 + self.seen)", "return 0.0", "failed: the rate is 0 in"),
        (schedule.restores_its_state, "scheduler", 'return {"seen": self.seen}', 'return {"seen": 0}',
         "failed: with the state of another it says 0.001, and that one"),
        (schedule.restores_its_state, "scheduler", "def state_dict", "def _state_dict",
         "failed: it observes losses and has no state_dict"),
        (schedule.acts, "regularization", "StepHooks(penalty=lambda logits, labels: 1e-4 * torch.stack([w.square().sum("
         ") for w in weights]).sum())", "StepHooks()", "changes nothing in model=lecture_cnn: if it"),
        (schedule.acts, "regularization", "StepHooks(penalty=lambda logits, labels: 1e-4 * torch.stack([w.square().sum("
         ") for w in weights]).sum())", "[layer.register_forward_hook(lambda module, inputs, output: output * 1.01) for"
         " layer in model[1]] and StepHooks()", "acts within the layers"),
        (schedule.acts, "regularization", "for w in weights]).sum()", "for w in weights])",
         "failed: its penalty is [8], where a finite scalar tensor is expected"),
        # dataset
        (dataset.reads_the_same, "dataset", ".manual_seed(int(part == \"test\"))", "", None),
        (dataset.reads_the_same, "dataset", "generator=draw)", ")", "failed: two readings lead to other images"),
        (dataset.reads_without_global_draws, "dataset", "generator=draw)", ") * torch.randperm(60).view(-1, 1, 1, 1)",
         "failed: torch's global generator is drawn from (mine/dataset.py, line 10), whose state another program"),
        (dataset.reads, "dataset", "% 3", "% 4", "failed: "),
    ],
)  # fmt: skip
def test_a_technique_that_is_wrong_in_one_way_fails_one_check(each, group, was, becomes, sentence):
    found = outcome(each, group, was, becomes)
    assert found is sentence if sentence is None else (found or "").startswith(sentence), found
