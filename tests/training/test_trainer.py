"""The loop against a loop written by hand; early stopping; what happens when the loss is not finite."""

import math

import pytest
import torch
from conftest import compose, tiny_images
from torch import nn
from torch.nn import functional as F

from trainer.data.loader import DeviceLoader
from trainer.errors import RunError
from trainer.runtime.seeding import derive, generator
from trainer.techniques.hooks import StepHooks
from trainer.training.build import build_trainer
from trainer.training.copies import detached_copy
from trainer.training.early_stopping import EarlyStopping
from trainer.training.lr_schedule import Schedule
from trainer.training.network import build_model
from trainer.training.optimizer_state import make_capturable
from trainer.training.options import TrainerOptions
from trainer.training.trainer import ClassificationTrainer

CPU = torch.device("cpu")


def linear_trainer(epochs=2, hooks=None, model=None, **options):
    torch.manual_seed(0)
    model = model or nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 4))
    model = nn.Sequential(ToFloat(), model)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    train, validation = DeviceLoader(tiny_images(50), 20, CPU), DeviceLoader(tiny_images(30, seed=1), 20, CPU)
    schedule = Schedule(optimizer, lambda epoch: 0.05, len(train))
    options = TrainerOptions(epochs, seed=7, hooks=hooks or StepHooks(), **options)
    return ClassificationTrainer(model, optimizer, schedule, train, validation, options)


class ToFloat(nn.Module):
    def forward(self, images):
        return images.float() / 255


def test_the_loop_is_the_bare_loop_bit_for_bit():
    trainer = linear_trainer(epochs=3)
    torch.manual_seed(0)
    bare = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 4))
    optimizer = torch.optim.SGD(bare.parameters(), 0.05)
    data = tiny_images(50)
    for _ in trainer.train_loop():
        pass
    for epoch in range(3):
        order = torch.randperm(50, generator=generator(7, "order", epoch))
        for chosen in order.split(20):
            loss = F.cross_entropy(bare(data.pixels[chosen].float() / 255), data.labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert torch.equal(trainer.model[1][1].weight, bare[1].weight)


def test_losses_are_means_over_images_not_over_batches():
    """50 images in batches of 20, 20 and 10: the last batch must count half."""
    trainer = linear_trainer()
    trainer.optimizer.param_groups[0]["lr"] = 0.0
    trainer.schedule.rule = lambda epoch: 0.0
    loss, accuracy = trainer.do_train()
    data = tiny_images(50)
    logits = trainer.model(data.pixels)
    assert loss == pytest.approx(F.cross_entropy(logits, data.labels).item(), rel=1e-6)
    assert accuracy == pytest.approx((logits.argmax(1) == data.labels).float().mean().item())
    loss, accuracy = trainer.do_validation()
    data = tiny_images(30, seed=1)
    logits = trainer.model(data.pixels)
    assert loss == pytest.approx(F.cross_entropy(logits, data.labels).item(), rel=1e-6)
    assert accuracy == pytest.approx((logits.argmax(1) == data.labels).float().mean().item())


def test_the_reported_loss_leaves_the_penalty_out_but_the_gradient_has_it():
    plain, penalized = linear_trainer(epochs=1), linear_trainer(epochs=1)
    weight = penalized.model[1][1].weight
    penalized.hooks = StepHooks(penalty=lambda logits, labels: 10 * weight.square().sum())
    first, second = plain.do_train(), penalized.do_train()
    assert plain.model[1][1].weight.norm() > 2 * weight.norm()
    assert second[0] < 2.5 > first[0]


def test_the_hooks_act_in_their_places():
    calls = []
    hooks = StepHooks(
        augment=lambda images, labels, generator: (calls.append("augment"), (images, labels))[1],
        penalty=lambda logits, labels: (calls.append("penalty"), logits.sum() * 0)[1],
        limit_gradients=lambda: calls.append("limit"),
        after_step=lambda: calls.append("after"),
    )
    linear_trainer(hooks=hooks).do_train()
    assert calls == ["augment", "penalty", "limit", "after"] * 3


def test_validation_draws_nothing_and_runs_in_evaluation_mode():
    modes = []

    class Spy(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3 * 16 * 16, 4)

        def forward(self, images):
            modes.append(self.training)
            return self.linear(images.flatten(1))

    hooks = StepHooks(augment=lambda images, labels, generator: (images * 0, labels))
    trainer = linear_trainer(hooks=hooks, model=Spy())
    augmented = trainer.do_validation()
    trainer.hooks = StepHooks()
    assert trainer.do_validation() == augmented
    assert modes == [False, False]
    before = torch.get_rng_state()
    first = trainer.do_validation()
    assert torch.equal(before, torch.get_rng_state())
    assert first == trainer.do_validation()


@pytest.mark.parametrize("every", [1, 2, 3])
def test_validation_comes_every_n_epochs_and_at_the_end(every):
    reports = list(linear_trainer(epochs=4, validate_every=every).train_loop())
    validated = [report.epoch for report in reports if report.validation_loss is not None]
    assert validated == {1: [1, 2, 3, 4], 2: [2, 4], 3: [3, 4]}[every]


def test_early_stopping_by_hand():
    stopping = EarlyStopping(patience=2, min_delta=0.1)
    losses = [1.0, 0.95, 0.85, 0.80, 0.79]  # progress at 1 and 3; 0.95, 0.80 and 0.79 only improve a little
    seen = [(stopping.observe(epoch, loss, 0.5), stopping.exhausted) for epoch, loss in enumerate(losses, 1)]
    assert seen == [(True, False), (True, False), (True, False), (True, False), (True, True)]
    assert (stopping.best_epoch, stopping.best_loss, stopping.waited) == (5, 0.79, 2)


@pytest.mark.parametrize("first", [math.nan, math.inf])
def test_the_first_validation_is_kept_and_a_nan_freezes_nothing(first):
    stopping = EarlyStopping(patience=3, min_delta=0.0)
    assert stopping.observe(1, first, 0.1)
    assert (stopping.best_epoch, stopping.waited) == (1, 1)
    assert stopping.observe(2, 2.0, 0.2)
    assert not stopping.observe(3, math.nan, 0.2)
    assert not stopping.observe(4, 2.0, 0.2)
    assert (stopping.best_epoch, stopping.best_loss, stopping.waited) == (2, 2.0, 2)


def test_early_stopping_off_keeps_the_best_and_never_stops():
    stopping = EarlyStopping(None, 0.0)
    for epoch in range(1, 100):
        stopping.observe(epoch, float(epoch), 0.0)
    assert (stopping.exhausted, stopping.best_epoch) == (False, 1)


def test_a_loss_that_is_not_finite_names_epoch_and_step():
    steps = []

    def break_the_fifth(images, labels, generator):
        steps.append(1)
        return (images.float() * math.nan if len(steps) == 5 else images), labels

    trainer = linear_trainer(epochs=3, hooks=StepHooks(augment=break_the_fifth))
    with pytest.raises(
        RunError, match=r"the training loss is nan in epoch 2, step 2 of 3 \(learning rate about 0.05\)"
    ):
        list(trainer.train_loop())
    assert trainer.epoch == 1


def test_mixed_labels_count_the_share_of_the_predicted_class():
    """Two images: the first is predicted as its larger share, the second as its smaller one."""
    logits = torch.tensor([[5.0, 1.0, 0.0], [0.0, 1.0, 4.0]])
    labels = torch.tensor([[0.7, 0.3, 0.0], [0.0, 0.8, 0.2]])
    trainer = linear_trainer(
        model=Constant(logits), hooks=StepHooks(augment=lambda images, _, generator: (images[:2], labels)), epochs=1
    )
    trainer.train = DeviceLoader(tiny_images(2), 2, CPU)
    loss, accuracy = trainer.do_train()
    assert accuracy == pytest.approx((0.7 + 0.2) / 2)
    assert loss == pytest.approx(-(labels * logits.log_softmax(1)).sum().item() / 2)


class Constant(nn.Module):
    """A network that returns the same logits for any input."""

    def __init__(self, logits):
        super().__init__()
        self.logits, self.unused = logits, nn.Parameter(torch.zeros(1))

    def forward(self, images):
        return self.logits + 0 * self.unused


def test_seeds_differ_by_purpose_and_epoch():
    seeds = {derive(seed, purpose, epoch) for seed in range(5) for purpose in ("init", "order") for epoch in range(5)}
    assert len(seeds) == 50
    assert derive(0, "order", 1) == 4489457307835839548  # pinned: another number would change every result


@pytest.mark.parametrize("option", ["augmentation=crop", "dropout=0.5", "regularization=l1", "optimizer=sgd"])
def test_a_technique_changes_neither_initial_weights_nor_order(option):
    seen = []

    def watch(batches, epoch, steps, done):
        for positions in batches:
            seen.append(positions.tolist())
            yield positions

    trainers = [
        build_trainer(compose([*extra, "batch_size=20", "epochs=1"])[0], tiny_images(60), tiny_images(20), CPU, watch)
        for extra in ([], [option])
    ]
    for one, other in zip(trainers[0].model.parameters(), trainers[1].model.parameters(), strict=True):
        assert torch.equal(one, other)
    for trainer in trainers:
        trainer.do_train()
    assert seen[:3] == seen[3:]


def test_gradients_of_biases_are_not_decayed_by_default():
    for decay, expected in (("weights", 0.0), ("all", 0.3)):
        (run,) = compose(["weight_decay=0.3", f"weight_decay_scope={decay}", "normalization=batch"])
        trainer = build_trainer(run, tiny_images(), tiny_images(), CPU)
        by_size = {
            parameter.ndim: group["weight_decay"]
            for group in trainer.optimizer.param_groups
            for parameter in group["params"]
        }
        assert by_size[1] == expected
        assert by_size[2] == by_size[4] == 0.3


def test_the_network_sees_zero_mean_and_unit_variance_from_bytes_as_from_floats():
    images = tiny_images(200)
    scaling = build_model(compose([])[0], images)[0]
    scaled = scaling(images.pixels)
    torch.testing.assert_close(scaled.mean((0, 2, 3)), torch.zeros(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(scaled.std((0, 2, 3), correction=0), torch.ones(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(scaling(images.pixels.float() / 255), scaled, rtol=1e-5, atol=1e-5)


def test_a_network_that_is_loaded_scales_bytes_as_the_one_that_was_saved():
    scaling, other = (build_model(compose([])[0], tiny_images(200, seed=seed))[0] for seed in (0, 1))
    pixels = tiny_images(20).pixels
    expected = scaling(pixels)
    torch.testing.assert_close(expected, (pixels / 255 - scaling.mean) / scaling.std)
    assert not torch.equal(other(pixels), expected)
    assert list(scaling.state_dict()) == ["mean", "std"]
    other.load_state_dict(scaling.state_dict())
    assert torch.equal(other(pixels), expected)


def test_a_network_that_keeps_outputs_of_its_last_step_is_copied_without_their_graphs():
    network = nn.Linear(2, 2)
    output = network(torch.ones(1, 2))
    network.kept = {"list": [output], "pair": (output, 3)}
    twin, optimizer = detached_copy((network, torch.optim.SGD(network.parameters(), 0.1)))
    assert torch.equal(twin.kept["list"][0], output) and twin.kept["list"][0].grad_fn is None
    assert twin.kept["list"][0] is twin.kept["pair"][0] and output.grad_fn is not None
    assert optimizer.param_groups[0]["params"][0] is twin.weight


def test_a_copy_of_an_optimizer_that_can_be_captured_does_not_make_torch_warn_either():
    network = nn.Linear(2, 2)
    optimizer = torch.optim.Adam(network.parameters(), fused=True)
    make_capturable(optimizer, CPU)
    _, twin = detached_copy((network, optimizer))
    # What torch's Optimizer looks at before it warns, on a GPU only.
    assert twin._warned_capturable_if_run_uncaptured and twin.param_groups[0]["capturable"]


def test_an_optimizer_gets_the_parameters_with_their_names_in_the_networks_state():
    (run,) = compose(["weight_decay=0.3", "normalization=batch"])
    trainer = build_trainer(run, tiny_images(), tiny_images(), CPU)
    groups = trainer.optimizer.param_groups
    named = {}
    for group in groups:
        named |= zip(group["param_names"], group["params"], strict=True)
    assert all(named[name] is parameter for name, parameter in trainer.model.named_parameters())
    assert named.keys() <= trainer.model.state_dict().keys() and len(named) == sum(len(g["params"]) for g in groups)
    state = trainer.state_dict()["optimizer"]
    assert all("param_names" not in group for group in state["param_groups"])
    trainer.load_state_dict(trainer.state_dict())
    assert [group["param_names"] for group in trainer.optimizer.param_groups] == [g["param_names"] for g in groups]


def test_a_groups_own_scale_multiplies_the_rate_also_where_that_lies_on_the_device():
    """Two groups of scale 1 share one tensor, which the schedule writes."""
    weights = [nn.Parameter(torch.zeros(1)) for _ in range(4)]
    scales = [{}, {"lr_scale": 0.5}, {"lr_scale": 1.0}, {"lr_scale": 3}]
    for on_device in (False, True):
        groups = [{"params": [weight], **scale} for weight, scale in zip(weights, scales, strict=True)]
        optimizer = torch.optim.Adam(groups, 99.0)
        if on_device:
            make_capturable(optimizer, CPU)
        schedule = Schedule(optimizer, lambda epoch: 0.1 + epoch, 4)
        for expected in (0.1, 0.35):
            rates = [group["lr"] for group in optimizer.param_groups]
            assert [float(rate) for rate in rates] == pytest.approx([expected, expected / 2, expected, 3 * expected])
            assert len(set(map(id, filter(torch.is_tensor, rates)))) == (3 if on_device else 0)
            schedule.step()
