"""A loss, gradient or weight that is NaN or infinite: named by step and layer, or skipped and counted."""

import math
from pathlib import Path

import pytest
import torch
from conftest import QUICK, compose, metrics, quick
from test_checkpoint import same_run
from test_run import same_state
from test_trainer import linear_trainer
from torch import nn

from trainer.diagnosis.replay import find_first_nonfinite
from trainer.errors import NonFiniteError, RunError
from trainer.run import train
from trainer.storage import checkpoint
from trainer.techniques.hooks import StepHooks

TINY = ("model=mlp", "model.hidden=[16]", "dataset.image_size=8", "normalization=batch")


def at_step(number, act):
    """Return a function that calls `act` in one step only."""
    steps = []

    def function(*arguments):
        steps.append(1)
        return act(*arguments) if len(steps) == number else None

    return function


def layers():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 8), nn.ReLU(), nn.Linear(8, 4))


def poison(weight):
    with torch.no_grad():
        weight[0] = math.inf


def endless(weight):
    """0, with a gradient that is 0/0."""
    return (weight - weight.detach()).square().sum().sqrt()


class Overflow(nn.Module):
    """The identity, but infinite in one step."""

    def __init__(self, step):
        super().__init__()
        self.step, self.seen = step, 0

    def forward(self, values):
        self.seen += self.training
        return values + (math.inf if self.training and self.seen == self.step else 0.0)


@pytest.mark.parametrize("place", ["output", "gradient", "weight"])
def test_the_first_layer_and_step_are_found(place):
    model = layers()
    expected = {
        "output": (3, "the output of Overflow 1 of 1"),
        "gradient": (2, "the gradient of the weight of linear layer 1 of 2"),
        "weight": (2, "the weight of linear layer 2 of 2 after the update"),
    }
    step, what = expected[place]
    hooks = StepHooks()
    if place == "output":
        model[2] = Overflow(3)
    if place == "gradient":
        bad = at_step(2, lambda *_: endless(model[1].weight))
        hooks = StepHooks(penalty=lambda logits, labels: 0 * logits.sum() if (value := bad()) is None else value)
    if place == "weight":
        hooks = StepHooks(after_step=at_step(2, lambda: poison(model[3].weight)))
    trainer = linear_trainer(epochs=3, model=model, hooks=hooks)
    trainer.do_train(pause=lambda: True)  # as from a checkpoint within the epoch: steps are counted from its start
    found = find_first_nonfinite(trainer)
    assert found is not None and (found.epoch, found.step, found.what) == (1, step, what)


def test_a_weight_that_breaks_in_the_last_step_of_an_epoch_is_noticed_in_that_epoch():
    """No loss shows it; three steps per epoch."""
    model = layers()
    trainer = linear_trainer(
        epochs=3, model=model, hooks=StepHooks(after_step=at_step(6, lambda: poison(model[3].weight)))
    )
    loop = trainer.train_loop()
    assert next(loop).epoch == 1
    with pytest.raises(
        NonFiniteError, match=r"^a weight is not finite in epoch 2, step 3 of 3 \(learning rate about 0.05\)$"
    ):
        next(loop)


def test_a_nonfinite_running_statistic_is_noticed_though_losses_and_weights_are_finite():
    model = layers()
    model.append(nn.BatchNorm1d(model[3].out_features))
    broken = StepHooks(after_step=at_step(3, lambda: poison(model[4].running_var)))
    with pytest.raises(NonFiniteError, match=r"^a running statistic is not finite in epoch 1, step 3 of 3 "):
        linear_trainer(epochs=1, model=model, hooks=broken).do_train()


def test_a_state_that_is_not_finite_is_never_saved_within_an_epoch(monkeypatch):
    """NaN in step 30 of 38, saved after every step: the last good state is that of step 29."""
    real = torch.optim.Adam.step
    bad = at_step(30, lambda optimizer: poison(optimizer.param_groups[0]["params"][0]))
    monkeypatch.setattr(torch.optim.Adam, "step", lambda self, *rest: (real(self, *rest), bad(self))[0])
    with pytest.raises(
        RunError, match=r"epoch 2, step 11 of 19 .*\. Saved: 1 of 2 epochs and 10 steps, in run\. What may"
    ):
        quick(*TINY, "output_dir=run", "checkpoint_minutes=1e-9")
    state = checkpoint.load(Path("run/last.safetensors")).trainer
    assert (state["epoch"], state["progress"]["step"]) == (1, 10)
    assert all(value.isfinite().all() for value in state["model"].values())


@pytest.mark.parametrize(("choice", "rate"), [("skip", 0.05), ("halve_lr", 0.025)])
def test_a_step_that_is_not_finite_is_skipped_and_counted(choice, rate):
    """The second of three steps, 20 images of 50, changes nothing, running statistics and average included."""

    def built(step, on_nonfinite):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 8), nn.BatchNorm1d(8), nn.Linear(8, 4))
        broken = at_step(step, lambda images, labels, generator: (images.float() * math.nan, labels))
        updates = []
        hooks = StepHooks(augment=lambda *rest: broken(*rest) or rest[:2], after_step=lambda: updates.append(1))
        return linear_trainer(epochs=1, model=model, hooks=hooks, on_nonfinite=on_nonfinite), updates

    trainer, updates = built(2, choice)
    (report,) = trainer.train_loop()
    assert (report.skipped_steps, report.lr, trainer.schedule.lr, len(updates)) == (1, 0.05, rate, 2)
    by_hand, _ = built(0, "stop")
    by_hand.model.train()
    losses = []
    for step, (images, labels) in enumerate(map(by_hand.train.at, by_hand.train.positions(7, 0))):
        if step != 1:
            by_hand.optimizer.param_groups[0]["lr"] = rate if step == 2 else 0.05
            loss = nn.functional.cross_entropy(by_hand.model(images), labels)
            by_hand.optimizer.zero_grad()
            loss.backward()
            by_hand.optimizer.step()
            losses += [loss.item()] * len(labels)
    assert same_state(trainer.model.state_dict(), by_hand.model.state_dict())
    assert len(losses) == 30 and report.train_loss == pytest.approx(sum(losses) / 30)


def test_a_nonfinite_gradient_is_enough_to_skip_and_an_epoch_of_skipped_steps_fails():
    model = layers()
    bad = at_step(2, lambda *_: endless(model[1].weight))
    penalty = StepHooks(penalty=lambda logits, labels: 0 * logits.sum() if (value := bad()) is None else value)
    reports = list(linear_trainer(epochs=2, model=model, hooks=penalty, on_nonfinite="skip").train_loop())
    assert [report.skipped_steps for report in reports] == [1, 0]
    always = StepHooks(augment=lambda images, labels, generator: (images.float() * math.nan, labels))
    with pytest.raises(RunError, match=r"^every step of epoch 1 was skipped: no loss or gradient was finite$"):
        list(linear_trainer(hooks=always, on_nonfinite="skip").train_loop())


@pytest.mark.parametrize("choice", ["skip", "halve_lr"])
def test_skipped_steps_are_recorded_and_a_resumed_run_skips_the_same(choice, monkeypatch, capsys):
    """One batch in four has NaN, drawn from the run's own generator."""
    from trainer.techniques import augmentation

    real = augmentation.crop

    def crop(images, labels, classes, generator, *, padding):
        images, labels = real(images, labels, classes, generator, padding=padding)
        broken = torch.rand((), generator=generator) < 0.25
        return torch.where(broken, math.nan, images.float() / 255), labels

    arguments = (*TINY, "augmentation=crop", f"on_nonfinite={choice}", "lr=0.01", "dropout=0.2")
    configs = [compose([*QUICK, "epochs=3", *arguments, f"output_dir={name}"])[0] for name in ("whole", "parts")]
    monkeypatch.setattr(augmentation, "crop", crop)
    whole = train(configs[0])
    skipped = [row["skipped_steps"] for row in metrics(whole.folder)]
    assert all(2 <= count <= 9 for count in skipped)
    assert (
        f"trainer: warning: {skipped[0]} of 19 steps of epoch 1 were skipped: loss or gradient not finite"
        in capsys.readouterr().err
    )
    saves, save = [], checkpoint.save

    def killed(path, state):
        saves.append(1)
        if len(saves) == 30:
            raise SystemError("killed here")
        save(path, state)

    monkeypatch.setattr(checkpoint, "save", killed)
    with pytest.raises(SystemError):
        train(configs[1].model_copy(update={"checkpoint_minutes": 1e-9}))
    monkeypatch.setattr(checkpoint, "save", save)
    train(compose(["resume=parts"])[0])
    same_run(whole.folder, Path("parts"))
    lr = [row["lr"] for row in metrics(whole.folder)]
    assert lr == pytest.approx(
        [0.01 / 2 ** (sum(skipped[:epoch]) if choice == "halve_lr" else 0) for epoch in range(3)]
    )
