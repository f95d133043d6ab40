"""Optimizers with a state of any form are trained, saved, checked and resumed like torch's own."""

import copy
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

import own_optimizers
import pytest
import torch
from conftest import compose, last_of, quick, tiny_images
from test_run import same_state

from trainer.data.loader import DeviceLoader, load
from trainer.diagnosis.layer_stats import layer_stats_of
from trainer.errors import ConfigError, RunError
from trainer.evaluation.inference import load_network
from trainer.runtime.seeding import derive
from trainer.storage import checkpoint
from trainer.techniques.hooks import StepHooks
from trainer.training.build import build_trainer
from trainer.training.optimizer_state import make_capturable
from trainer.training.resume_check import refuse_misfit

TINY = ("dataset=digits", "model=mlp", "model.hidden=[6]", "batch_size=10", "lr=0.02", "epochs=3", "optimizer=sgd")
OWN = ("lynx", "whitened", "factored", "slow_weights", "pair", "ascent", "lbfgs", "averaged")


@cache
def composed(*arguments):
    return compose([*TINY, *arguments])


@pytest.fixture
def built(monkeypatch):
    """A function that builds a trainer with an optimizer of `own_optimizers`; five steps an epoch."""

    def build(name, *arguments, train=47):
        monkeypatch.setattr("trainer.techniques.optimizer.sgd", getattr(own_optimizers, name))
        (config,) = composed(*arguments)
        images = tiny_images(train, (1, 8, 8)), tiny_images(12, (1, 8, 8), seed=1)
        return build_trainer(config, *images, torch.device("cpu"))

    return build


def reports_of(trainer, pause_after=None):
    """Return the reports without times, up to a pause."""
    steps, kept = [], []
    for report in trainer.train_loop(lambda: steps.append(1) or len(steps) == pause_after):
        if report is None:
            break
        kept.append(timeless(report))
    return kept


def timeless(report):
    return {key: value for key, value in asdict(report).items() if "second" not in key}


def resumed(first, second, path):
    """Take a state through a file and the check of it into another trainer, after other draws."""
    checkpoint.save(path, last_of(first.state_dict()))
    torch.manual_seed(99)
    state = checkpoint.load(path).trainer
    refuse_misfit(second, state)
    second.load_state_dict(state)
    return state


@pytest.mark.long
@pytest.mark.parametrize("name", OWN)
def test_a_run_stopped_at_any_step_resumes_to_the_same_bits(name, built, tmp_path):
    arguments = (
        *("weight_decay=0.1", "scheduler=triangular", "regularization=[gradient_clipping,max_norm,ema]"),
        f"scheduler.min_lr={0.001 if name == 'averaged' else 0.0}",
    )
    whole = built(name, *arguments)
    expected = reports_of(whole)
    for after in (1, 5, 7, 13):
        first, second = built(name, *arguments), built(name, *arguments)
        kept = reports_of(first, pause_after=after)
        state = resumed(first, second, tmp_path / "last.safetensors")
        assert same_state(state, first.state_dict()) and same_state(second.state_dict(), first.state_dict())
        kept += reports_of(second)
        assert kept == expected
        assert same_state(whole.state_dict(), second.state_dict())
        refuse_misfit(built(name, *arguments), second.state_dict())  # and once more


def tampered(name, built, change):
    """Return the sentence with which an altered state is refused."""
    trainer = built(name)
    reports_of(trainer, pause_after=7)
    state = copy.deepcopy(trainer.state_dict())
    refuse_misfit(built(name), state)
    change(state["optimizer"])
    with pytest.raises(ValueError) as caught:
        refuse_misfit(built(name), state)
    return str(caught.value)


def put(*path, value):
    def change(tree):
        for key in path[:-1]:
            tree = tree[key]
        tree[path[-1]] = value

    return change


SLOW = ("slow_weights", "slow", "1.1.weight")
OTHER = {
    "a setting": ("lynx", put("param_groups", 0, "betas", value=(0.9, 0.1)), "[0].betas=(0.9, 0.1), where (0.9, 0.99)"),
    "a scale": ("whitened", put("param_groups", 1, "lr_scale", value=9.0), "[1].lr_scale=9.0, where 0.2 is set"),
    "a setting of nobody": (
        "whitened",
        put("param_groups", 0, "x", value=1),
        "[0].x=1, where None or its like is",
    ),
    "a count": ("whitened", put("param_groups", 0, "count", value="x"), "[0].count='x', where a number is expected"),
    "no mode": ("averaged", lambda tree: tree["param_groups"][0].pop("train_mode"), "train_mode, weight_decay"),
    "a step": ("whitened", put("state", 1, "step", value=-1), "state.1.step=-1.0 is out of range"),
    "type": (
        "whitened",
        put("state", 1, "v", value=torch.ones(6)),
        "1.v: torch.float32 [6] where torch.float64 [4, 6]",
    ),
    "shape": ("factored", put("state", 0, "row", value=torch.ones(7)), "mismatch for optimizer.state.0.row: torch."),
    "a text": ("factored", put("state", "all", "name", value=3), "state.all.name=3, where 'factored' or"),
    "an item": (
        "factored",
        put("state", "all", "norms", value=[torch.ones(2)]),
        "for optimizer.state.all.norms[0]: ",
    ),
    "no list": ("factored", put("state", "all", "norms", value=3), "optimizer.state.all.norms must be a list"),
    "a list of settings": ("factored", put("param_groups", 0, "ranks", value=[1, 3]), "ranks=[1, 3], where [1, 2] is"),
    "a state of nobody": ("factored", put("state", "none", value={}), "optimizer.state must hold a group for each"),
    "a part of nobody": (
        "slow_weights",
        put("x", value=1),
        "optimizer must hold state, param_groups, slow_weights,",
    ),
    "a part that is missing": (
        "slow_weights",
        lambda tree: tree.pop("distances"),
        "optimizer must hold state, param_groups",
    ),
    "within a part": (
        "slow_weights",
        put(*SLOW, "weight", value=torch.ones(3)),
        "optimizer.slow_weights.slow.1.1.weight",
    ),
    "a part of another kind": (
        "slow_weights",
        put("slow_weights", "steps", value=0.5),
        "steps=0.5, where a number is",
    ),
    "a setting within": (
        "pair",
        lambda tree: tree["parts"][0]["param_groups"][0].update(weight_decay=1.0),
        "optimizer.parts[0].param_groups[0].weight_decay=1.0, where 0.0 is set",
    ),
    "memory within": (
        "pair",
        lambda tree: tree["parts"][1]["state"][0].update(square_avg=torch.ones(3)),
        "size mismatch for optimizer.parts[1].state.0.square_avg",
    ),
}


@pytest.mark.parametrize("how", OTHER)
def test_a_state_of_another_form_or_setting_is_refused_in_one_line(how, built):
    name, change, sentence = OTHER[how]
    assert sentence in tampered(name, built, change)


@pytest.mark.parametrize("name", ["slow_weights", "pair", "ascent", "lbfgs", "averaged"])
def test_the_statistics_of_layers_take_a_step_of_such_an_optimizer_on_a_copy(name, built):
    """torch itself copies nothing of an optimizer but its groups and its state."""
    (config,) = composed()
    trainer = built(name)
    reports_of(trainer, pause_after=4)
    before = copy.deepcopy(trainer.state_dict())
    layers = layer_stats_of(trainer, config)["layers"]
    assert same_state(trainer.state_dict(), before)
    assert all(layer["update_ratio"] > 0 for layer in layers.values() if "weights" in layer)


def test_sam_takes_two_gradients_a_step_of_one_augmented_batch(built, monkeypatch):
    """Beside the bare loop: the reported loss is that of the first pass, the draws of dropout go on in the second."""
    trainer = built("ascent", "augmentation=flip", "regularization=[l2,gradient_clipping]", "epochs=1", "dropout=0.2")
    bare = built("ascent", "epochs=1", "dropout=0.2")
    limits, hooks = [], bare.hooks
    limit = trainer.hooks.limit_gradients
    trainer.hooks = replace(trainer.hooks, limit_gradients=lambda: limits.append(1) or limit())
    (report,) = trainer.train_loop()
    assert (report.gradients, len(limits), bare.hooks) == (10, 10, hooks)

    torch.manual_seed(derive(0, "dropout", 0))
    draws, losses = torch.Generator().manual_seed(derive(0, "augmentation", 0)), []
    weights = list(bare.model.parameters())
    flip = compose([*TINY, "augmentation=flip"])[0].augmentation[0].function()
    steps = torch.optim.SGD(weights, 0.02, 0.9)
    for positions in bare.train.positions(0, 0):
        images, labels = flip(*bare.train.at(positions), 4, draws)
        moves = []
        for place in (0, 1):
            loss = torch.nn.functional.cross_entropy(bare.model.train()(images), labels)
            losses.extend([] if place else [loss.item() * len(labels)])
            penalty = sum(w.square().sum() for w in weights if w.ndim > 1) * 1e-4 / 2
            steps.zero_grad()
            (loss + penalty).backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            if not place:
                norm = torch.stack([w.grad.norm() for w in weights]).norm()
                moves = [0.05 * w.grad / norm for w in weights]
            with torch.no_grad():
                for weight, move in zip(weights, moves, strict=True):
                    weight.add_(move, alpha=-1 if place else 1)
        steps.step()
    assert report.train_loss == pytest.approx(sum(losses) / 47, rel=1e-5)
    for one, other in zip(trainer.model.parameters(), weights, strict=True):
        torch.testing.assert_close(one, other)


def test_passes_are_counted_in_the_metrics_and_over_a_pause(built, tmp_path):
    monkey = built("ascent")
    first = built("ascent")
    reports_of(first, pause_after=8)
    resumed(first, monkey, tmp_path / "last.safetensors")
    assert [report["gradients"] for report in reports_of(monkey)] == [10, 10]
    assert built("lynx").state_dict()["progress"] is None
    assert reports_of(built("lynx", "epochs=1"))[0]["gradients"] is None


REFUSED = {
    "precision=fp16": "precision=fp16 does not go with optimizer=sgd, which computes the gradients of a step itself"
    " (step(closure)). Accepted: precision=fp32 or bf16",
    "cuda_graph=true": "cuda_graph=true does not go with optimizer=sgd, which computes the gradients of a step itself"
    " (step(closure)). Accepted: cuda_graph=false",
    "on_nonfinite=skip": "on_nonfinite=skip does not go with optimizer=sgd, which computes the gradients of a step"
    " itself (step(closure)). Accepted: on_nonfinite=stop",
}


@pytest.mark.parametrize("setting", REFUSED)
def test_what_does_not_go_with_a_closure_is_refused(setting, built):
    with pytest.raises(ConfigError) as caught:
        built("ascent", setting)
    assert str(caught.value) == REFUSED[setting]


def test_a_step_that_ignores_its_closure_is_named(built):
    trainer = built("ascent")
    trainer.optimizer.step = lambda closure: None
    with pytest.raises(RunError, match=r"^SAM\.step did not call its closure, so that it has no gradient$"):
        reports_of(trainer)


MODES = ("normalization=batch", "dropout=0.2", "augmentation=flip", "validate_every=2")


def test_the_weights_to_evaluate_are_set_with_statistics_of_their_own(built):
    """They are averages over batches that were not augmented, without dropout; 50 of them at most."""
    trainer = built("averaged", *MODES, train=47)
    modes, seen = [], []
    optimizer, validate = trainer.optimizer, trainer.do_validation
    for name in ("train", "eval"):
        method = getattr(optimizer, name)
        setattr(optimizer, name, lambda name=name, method=method: (modes.append(name), method()))
    trainer.do_validation = lambda: (modes.append("validation"), seen.append(copy.deepcopy(trainer.model)), validate())[
        2
    ]
    random = []
    for _ in trainer.train_loop():
        random.append(torch.get_rng_state())
    assert modes == ["train", "train", "eval", "validation", "train", "eval", "validation"]
    layer = next(layer for layer in seen[0].modules() if isinstance(layer, torch.nn.BatchNorm1d))
    inputs = []
    layer.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    for positions in trainer.train.positions(0, 2):
        seen[0].eval()(trainer.train.at(positions)[0])
    means = torch.stack([each.mean(0) for each in inputs]).mean(0)
    torch.testing.assert_close(layer.running_mean, means)
    torch.testing.assert_close(layer.running_var, torch.stack([each.var(0) for each in inputs]).mean(0))
    assert int(layer.num_batches_tracked) == len(inputs) == 5 and layer.momentum == 0.1

    other = built("lynx", *MODES, train=47)  # no mode: the same draws
    assert all(torch.equal(state, torch.get_rng_state()) for state, _ in zip(random, other.train_loop(), strict=True))
    trainer.train = DeviceLoader(tiny_images(210, (1, 8, 8)), 3, torch.device("cpu"))
    trainer._take_evaluated_weights(False)
    tracked = [int(value) for name, value in trainer.model.state_dict().items() if "tracked" in name]
    assert tracked == [50]


def test_the_averaged_weights_are_those_of_the_formula_and_go_on_from_a_pause(built, tmp_path):
    arguments = (*MODES, "regularization=ema")
    whole = built("averaged", *arguments)
    expected = reports_of(whole)
    for after in (3, 5, 8, 10, 12):
        first, second = built("averaged", *arguments), built("averaged", *arguments)
        kept = reports_of(first, pause_after=after)
        modes = {
            group["train_mode"]
            for group in resumed(first, second, tmp_path / "l.safetensors")["optimizer"]["param_groups"]
        }
        assert modes == {True}
        assert kept + reports_of(second) == expected and same_state(whole.state_dict(), second.state_dict())
    ended, after = built("averaged", *arguments), built("averaged", *arguments)
    (kept,) = [timeless(next(loop)) for loop in [ended.train_loop()]]  # after an epoch
    resumed(ended, after, tmp_path / "l.safetensors")
    assert [kept, *reports_of(after)] == expected and same_state(whole.state_dict(), after.state_dict())


def test_the_best_checkpoint_holds_the_weights_that_were_validated(monkeypatch):
    monkeypatch.setattr("trainer.techniques.optimizer.sgd", own_optimizers.averaged)
    result = quick("optimizer=sgd", "model=mlp", "model.hidden=[8]", "normalization=batch", "lr=0.3", "output_dir=run")
    network = load_network(Path("run/best.safetensors"))
    data = load(network.config.dataset, Path("data"), torch.device("cpu"))
    _, validation = network.config.dataset.shared_function()(data, 0)
    with torch.no_grad():
        logits = network.network(validation.pixels)
    assert (logits.argmax(1) == validation.labels).float().mean().item() == pytest.approx(
        result.best_validation_accuracy
    )


def test_a_wrapper_that_does_not_save_what_it_wraps_is_named_at_the_first_save(built, monkeypatch):
    monkeypatch.setattr(own_optimizers.SAM, "state_dict", torch.optim.Optimizer.state_dict)
    trainer = built("ascent")
    trainer.state_dict()  # nothing is to be lost yet
    reports_of(trainer, pause_after=1)
    with pytest.raises(RunError) as caught:
        trainer.state_dict()
    assert str(caught.value) == (
        "optimizer: SAM wraps SGD, whose state is not part of SAM.state_dict(): a run that continues would have lost"
        " it. Return it there under a name of its own, and restore it in load_state_dict"
    )


def test_an_optimizer_whose_groups_have_no_rate_is_refused(built, monkeypatch):
    class Fixed(torch.optim.Optimizer):
        def __init__(self, params):
            super().__init__(params, {})

    monkeypatch.setattr(own_optimizers, "lynx", lambda params, lr, weight_decay: Fixed(params))
    with pytest.raises(ConfigError, match=r"^optimizer=sgd has a parameter group without lr, which the schedule sets$"):
        built("lynx")


class Doubled(torch.optim.SGD):
    def step(self, closure=None):
        for group in self.param_groups:
            for weight in group["params"]:
                weight.data.add_(weight.grad, alpha=-2 * group["lr"])


@pytest.mark.parametrize(("kind", "adapted"), [(Doubled, False), (type("Same", (torch.optim.SGD,), {}), True)])
def test_the_step_of_an_own_class_gets_numbers_also_on_a_gpu(kind, adapted):
    optimizer = kind([torch.nn.Parameter(torch.zeros(1))], 0.1)
    make_capturable(optimizer, torch.device("cpu"))
    (group,) = optimizer.param_groups
    assert (bool(group["fused"]), torch.is_tensor(group["lr"])) == (adapted, adapted)


class Memory:
    """The state of a regularization that begins with nothing."""

    def __init__(self):
        self.center, self.last, self.steps = None, None, []

    def note(self, model):
        self.center = next(model.parameters()).detach().clone()
        self.last, self.steps = float(self.center.sum()), [*self.steps, (-1, self.center[0])]

    def state_dict(self):
        return {"center": self.center, "last": self.last, "steps": self.steps}

    def load_state_dict(self, state):
        self.center, self.last, self.steps = state["center"], state["last"], state["steps"]


def test_the_memory_of_a_regularization_may_begin_with_nothing(built, monkeypatch, tmp_path):
    def remember(model, *, strength):
        memory = Memory()
        return StepHooks(after_step=lambda: memory.note(model), state={"memory": memory})

    monkeypatch.setattr("trainer.techniques.regularization.l1", remember)
    whole, first, second = (built("lynx", "regularization=l1") for _ in range(3))
    expected = reports_of(whole)
    kept = reports_of(first, pause_after=7)
    state = resumed(first, second, tmp_path / "last.safetensors")
    assert kept + reports_of(second) == expected and same_state(whole.state_dict(), second.state_dict())
    state["hooks"]["memory"]["steps"] = 3
    with pytest.raises(ValueError, match=r"^hooks\.memory\.steps must be a list$"):
        refuse_misfit(built("lynx", "regularization=l1"), state)
