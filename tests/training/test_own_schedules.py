"""Schedules with a memory of any form, or a cycle of the momentum, are trained, saved, checked and resumed."""

import copy
import math

import pytest
import torch
from conftest import compose, tiny_images
from test_own_optimizers import reports_of, resumed
from test_run import same_state

from trainer.errors import ConfigError
from trainer.training.build import build_trainer
from trainer.training.resume_check import refuse_misfit

TINY = ("dataset=digits", "model=mlp", "model.hidden=[6]", "batch_size=10", "epochs=4", "scheduler=constant")


class OneCycle:
    """The rate up and down, the momentum down and up. Smith 2018."""

    def __init__(self, lr, epochs):
        self.lr, self.epochs = lr, epochs

    def height(self, epoch):
        return math.sin(math.pi * min(1.0, (epoch + 0.1) / self.epochs))

    def __call__(self, epoch):
        return self.lr * self.height(epoch)

    def momentum(self, epoch):
        return 0.95 - 0.1 * self.height(epoch)


class Bold:
    """A rate that rises after a better loss and falls after a worse one."""

    def __init__(self, lr, epochs):
        self.rate, self.best, self.losses, self.turns = lr, None, [], {}

    def __call__(self, epoch):
        return self.rate

    def observe(self, loss):
        better = self.best is None or loss < self.best
        self.best, self.rate = (loss, self.rate * 1.5) if better else (self.best, self.rate * 0.5)
        self.losses.append((loss, better))
        self.turns[len(self.losses)] = {"better": better}

    def state_dict(self):
        return {"rate": self.rate, "best": self.best, "losses": self.losses, "turns": self.turns, "kind": "bold"}

    def load_state_dict(self, state):
        self.rate, self.best, self.losses, self.turns = (state[key] for key in ("rate", "best", "losses", "turns"))


@pytest.fixture
def built(monkeypatch):
    """A function that builds a trainer with a rule; five steps an epoch."""

    def build(rule, *arguments):
        monkeypatch.setattr("trainer.techniques.scheduler.constant", rule)
        (config,) = compose([*TINY, *arguments])
        return build_trainer(
            config, tiny_images(47, (1, 8, 8)), tiny_images(12, (1, 8, 8), seed=1), torch.device("cpu")
        )

    return build


@pytest.mark.long
@pytest.mark.parametrize(
    ("rule", "optimizer"),
    [(OneCycle, "momentum"), (OneCycle, "adamw"), (Bold, "nesterov"), (Bold, "adam")],
)
def test_a_run_stopped_at_any_step_resumes_to_the_same_bits(rule, optimizer, built, tmp_path):
    arguments = (f"optimizer={optimizer}", "lr=0.05", "scheduler.warmup_steps=3", "weight_decay=0.1")
    whole = built(rule, *arguments)
    expected = reports_of(whole)
    assert len({report["lr"] for report in expected}) == 4
    for after in (2, 9, 16):
        first, second = built(rule, *arguments), built(rule, *arguments)
        kept = reports_of(first, pause_after=after)
        state = resumed(first, second, tmp_path / "last.safetensors")
        assert repr(state["schedule"]) == repr(first.schedule.state_dict())  # keys that are no texts, tuples
        assert kept + reports_of(second) == expected and same_state(whole.state_dict(), second.state_dict())


@pytest.mark.parametrize(("optimizer", "setting"), [("momentum", "momentum"), ("adamw", "betas")])
def test_the_momentum_of_each_step_is_that_of_the_rule(optimizer, setting, built):
    trainer = built(OneCycle, f"optimizer={optimizer}", "epochs=2", "scheduler.warmup_steps=2")
    seen, step = [], trainer.schedule.step

    def noted():
        seen.append([group[setting] for group in trainer.optimizer.param_groups])
        step()

    trainer.schedule.step = noted
    reports_of(trainer)
    times = [max(0, number - 2) / 5 for number in range(10)]  # the time starts after the warm-up
    expected = [OneCycle(1, 2 - 2 / 5).momentum(time) for time in times]
    values = [[value[0] if setting == "betas" else value for value in values] for values in seen]
    assert values == [[value] * 2 for value in expected]
    assert setting != "betas" or all(value[1] == 0.999 for values in seen for value in values)


@pytest.mark.parametrize("optimizer", ["sgd", "adagrad", "rmsprop"])
def test_a_cycle_of_a_momentum_that_is_off_is_refused(optimizer, built):
    with pytest.raises(ConfigError) as caught:
        built(OneCycle, f"optimizer={optimizer}")
    assert str(caught.value) == (
        f"scheduler=constant sets the momentum of each step, and optimizer={optimizer} has none: choose one whose"
        " parameter groups have momentum above 0, or betas"
    )


def test_a_graph_which_has_the_momentum_of_its_first_step_is_refused(built):
    sentence = "^cuda_graph=true does not go with scheduler=constant, which sets the momentum of each step$"
    with pytest.raises(ConfigError, match=sentence):
        built(OneCycle, "optimizer=momentum", "cuda_graph=true")


def test_a_rule_that_would_forget_what_it_observed_is_refused(built):
    rule = type("Forgetful", (), {"__init__": Bold.__init__, "__call__": Bold.__call__, "observe": Bold.observe})
    with pytest.raises(ConfigError, match=r"^scheduler=constant has observe and not state_dict and load_state_dict: "):
        built(rule)


MEMORY = {
    "no group": (None, "schedule.rule must hold rate, best, losses, turns, kind"),
    "a part too few": ({"rate": 1.0}, "schedule.rule must hold rate, best, losses, turns, kind"),
    "a text for the rate": ({"rate": "x"}, "schedule.rule.rate='x', where a number is expected"),
    "a tensor": ({"best": torch.ones(1)}, "schedule.rule.best must be a plain value, or a list or group of them"),
    "a number for a list": ({"losses": 3}, "schedule.rule.losses must be a list"),
    "a number for a text": ({"kind": 3}, "schedule.rule.kind=3, where 'bold' or its like is expected"),
    "a rate without end": ({"rate": math.inf}, "schedule.rule leads to a rate of inf"),
}


@pytest.mark.parametrize("how", MEMORY)
def test_a_memory_of_another_form_is_not_taken_up(how, built):
    changes, sentence = MEMORY[how]
    trainer = built(Bold, "optimizer=momentum")
    state = copy.deepcopy(trainer.state_dict())
    whole = how not in ("no group", "a part too few")
    state["schedule"]["rule"] = {**state["schedule"]["rule"], **changes} if whole else changes
    with pytest.raises(ValueError) as caught:
        refuse_misfit(trainer, state)
        trainer.load_state_dict(state)
    assert str(caught.value) == sentence


def test_only_the_momentum_that_the_schedule_sets_may_be_another(built):
    trainer = built(OneCycle, "optimizer=momentum")
    state = copy.deepcopy(trainer.state_dict())
    group = state["optimizer"]["param_groups"][0]
    group["momentum"] = 0.5
    refuse_misfit(trainer, state)
    group["momentum"] = "x"
    with pytest.raises(ValueError, match=r"^optimizer\.param_groups\[0\]\.momentum='x', where a number is expected$"):
        refuse_misfit(trainer, state)
    other = built(Bold, "optimizer=momentum")
    state = copy.deepcopy(other.state_dict())
    state["optimizer"]["param_groups"][0]["momentum"] = 0.5
    with pytest.raises(ValueError, match=r"^optimizer\.param_groups\[0\]\.momentum=0\.5, where 0\.9 is set$"):
        refuse_misfit(other, state)
