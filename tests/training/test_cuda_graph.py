"""`cuda_graph=true`: the whole step is captured once and replayed. A recorder stands for the graph where no GPU is."""

import gc
import sys
import weakref

import pytest
import torch
from conftest import NOT_CAPTURED, choices, compose, last_of, tiny_images
from test_resume import timeless
from test_run import same_state
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from trainer.data.loader import DeviceLoader
from trainer.errors import ConfigError
from trainer.storage import checkpoint
from trainer.techniques.images import image_operations
from trainer.training.build import build_trainer
from trainer.training.graphed_step import WARM_UP_STEPS, GraphedStep
from trainer.training.optimizer_state import can_capture, make_capturable

CPU = torch.device("cpu")


class Recorder(TorchDispatchMode):
    """Every operation of a function on tensors, to be repeated on the same memory, as a CUDA graph repeats kernels.

    Values of Python are fixed at the time of recording: a number that changes with the step would give wrong results.
    """

    def __init__(self, run):
        super().__init__()
        self.operations, self.repeating = [], False
        with self:
            run()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        assert "_local_scalar_dense" not in str(function), "the step reads a value from the device"
        results = function(*args, **(kwargs or {}))
        self.operations.append((function, args, kwargs or {}, results))
        return results

    @torch.no_grad()
    def replay(self):
        if not self.repeating:  # recording has executed the step, which capturing a graph does not
            self.repeating = True
            return
        for function, args, kwargs, results in self.operations:
            given = {each.untyped_storage()._cdata for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)}
            for old, new in zip(tree_leaves(results), tree_leaves(function(*args, **kwargs)), strict=True):
                if isinstance(old, Tensor) and old.untyped_storage()._cdata not in given:  # neither in place nor a view
                    old.copy_(new)


def built(*arguments, graph, train=47):
    """A trainer on small images: four whole batches of ten in an epoch and one of seven."""
    model = () if any(each.startswith("model=") for each in arguments) else ("model=mlp", "model.hidden=[16,8]")
    (config,) = compose(["dataset=digits", "dataset.image_size=8", "batch_size=10", *model, *arguments])
    images = tiny_images(train, (3, 8, 8)), tiny_images(12, (3, 8, 8), seed=1)
    trainer = build_trainer(config, *images, CPU)
    make_capturable(trainer.optimizer, CPU)
    for group in trainer.optimizer.param_groups:
        if not group.get("fused"):
            group["foreach"] = "capturable" in group
    trainer.schedule.applied = None
    trainer.schedule._apply()
    if graph:
        recorders = []

        def capture(run):
            recorders.append(Recorder(run))
            return recorders[-1].replay

        trainer.graph, trainer.recorders = GraphedStep(10, trainer.generator, capture), recorders
    return trainer


EVERYTHING = (
    "augmentation=[flip,crop,rotation,translate,scale,color_jitter,noise,cutout,random_erasing,gray,blur,rand_augment,"
    "trivial_augment,auto_augment,aug_mix,cutmix,mixup]",
    "regularization=[l1,l2,gradient_clipping,max_norm,ema,label_smoothing]",
    "dropout=0.3",
)


@pytest.fixture(autouse=True)
def capturable_on_a_cpu(monkeypatch):
    """Let torch's optimizers take their capturable form, and image operations theirs, which they have on a GPU only."""
    monkeypatch.setattr(image_operations, "_is_in_memory", lambda images: False)
    # Not by its dotted name: in torch.optim that is the function of the same name.
    for name in ("adadelta", "adamax", "nadam", "radam", "rmsprop"):
        monkeypatch.setattr(
            sys.modules[f"torch.optim.{name}"], "_get_capturable_supported_devices", lambda **_: ["cpu"]
        )


CYCLIC = ("scheduler=cyclic", "scheduler.period=1.5")
PLATEAU = ("scheduler=plateau", "scheduler.patience=0", "scheduler.warmup_steps=6", *EVERYTHING)


@pytest.mark.long
@pytest.mark.parametrize(
    ("optimizer", "arguments"),
    [
        *((name, CYCLIC) for name in choices("optimizer") if name not in NOT_CAPTURED),
        *((name, PLATEAU) for name in ("adam", "momentum", "rmsprop")),
    ],
)
def test_a_replayed_step_computes_the_bits_of_an_eager_one(optimizer, arguments):
    asked = (f"optimizer={optimizer}", "weight_decay=0.01", "lr=0.05", "epochs=4", *arguments)
    eager, graphed = built(*asked, graph=False), built(*asked, graph=True)
    expected, seen = list(eager.train_loop()), list(graphed.train_loop())
    assert [timeless(report) for report in seen] == [timeless(report) for report in expected]
    assert same_state(eager.state_dict(), graphed.state_dict())


@pytest.mark.parametrize(
    "arguments",
    [
        ("regularization=[spectral_norm,input_dropout,r_drop,gradient_noise,swa]", "dropout=0.3"),
        (
            *("model=resnet9", "model.width=2", "normalization=group", "activation=prelu"),
            "regularization=[weight_standardization,stochastic_depth,drop_block]",
        ),
    ],
    ids=["weights and gradients", "branches and blocks"],
)
def test_what_changes_the_network_is_replayed(arguments):
    """Singular vectors and the count of steps go on in memory that the graph knows, and noise is drawn anew."""
    asked = ("optimizer=adam", "lr=0.05", "epochs=2", *arguments)
    eager, graphed = built(*asked, graph=False), built(*asked, graph=True)
    expected, seen = list(eager.train_loop()), list(graphed.train_loop())
    assert [timeless(report) for report in seen] == [timeless(report) for report in expected]
    assert same_state(eager.state_dict(), graphed.state_dict())
    assert len(graphed.recorders) == 1 and graphed.graph.eager_steps == WARM_UP_STEPS


def test_a_run_of_replayed_steps_that_is_stopped_within_an_epoch_continues_to_the_same_bits(tmp_path):
    asked = ("optimizer=adam", "epochs=4", "scheduler=cyclic", "scheduler.period=1.5", *EVERYTHING)
    whole, first, second = built(*asked, graph=True), built(*asked, graph=True), built(*asked, graph=False)
    reports, steps = list(whole.train_loop()), []
    kept = []
    for report in first.train_loop(pause=lambda: steps.append(1) or len(steps) == 12):  # the second of the third epoch
        if report is None:
            break
        kept.append(report)
    checkpoint.save(tmp_path / "last.safetensors", last_of(first.state_dict()))
    second.graph = GraphedStep(10, second.generator, lambda run: Recorder(run).replay)
    second.load_state_dict(checkpoint.load(tmp_path / "last.safetensors").trainer)
    kept += second.train_loop()
    assert [timeless(report) for report in kept] == [timeless(report) for report in reports]
    assert same_state(whole.state_dict(), second.state_dict())


def test_a_checkpoint_holds_the_rate_as_a_number_and_no_option_of_the_device():
    trainer, other = built("optimizer=adam", "lr=0.03", graph=False), built("optimizer=adam", "lr=0.03", graph=False)
    trainer.do_train()
    state = trainer.state_dict()
    assert [group["lr"] for group in state["optimizer"]["param_groups"]] == pytest.approx([0.03, 0.03], rel=1e-7)
    state["optimizer"]["param_groups"][0] |= {"capturable": False, "fused": False}
    rates = [group["lr"] for group in other.optimizer.param_groups]
    other.load_state_dict(state)
    group = other.optimizer.param_groups[0]
    assert (group["capturable"], group["fused"]) == (True, True) and isinstance(group["lr"], Tensor)
    assert all(torch.equal(rate, rates[0]) for rate in rates)
    other.schedule.halve()
    assert [float(group["lr"]) for group in other.optimizer.param_groups] == pytest.approx([0.015] * 2)


def test_the_optimizers_whose_step_cannot_be_captured():
    able = {}
    for name in choices("optimizer"):
        trainer = built(f"optimizer={name}", graph=False)
        groups = trainer.optimizer.param_groups
        able[name] = all(can_capture(group) and isinstance(group["lr"], Tensor) for group in groups)
    assert tuple(name for name, can in able.items() if not can) == NOT_CAPTURED
    trainer = built("optimizer=rmsprop", "optimizer.start=gradient", graph=False)  # torch's step from another start
    assert all(map(can_capture, trainer.optimizer.param_groups))


def test_a_graph_without_a_gpu_is_refused():
    with pytest.raises(ConfigError, match=r"^cuda_graph=true needs a CUDA GPU, the device of this run is cpu$"):
        built("cuda_graph=true", graph=False)


@pytest.mark.parametrize("graph", [False, True])
def test_a_trainer_that_is_done_is_freed_at_once_not_when_the_garbage_collector_runs(graph):
    """On a GPU the memory of a finished run would be missing in the next one."""
    built(graph=False).do_train()  # what torch itself keeps of a first step
    gc.disable()
    try:
        trainer = built(graph=graph)
        trainer.do_train()
        reference = weakref.ref(trainer)
        assert trainer.graph is None or trainer.graph.replay
        del trainer
        assert reference() is None
    finally:
        gc.enable()


def test_positions_of_another_size_are_trained_eagerly():
    sizes = []
    step = GraphedStep(4, torch.Generator(), lambda run: run)
    for positions in DeviceLoader(tiny_images(31), 4, CPU).positions(0, 0):
        step(lambda positions: sizes.append(len(positions)) or True, positions)
    assert sizes == [4] * 7 + [3]
