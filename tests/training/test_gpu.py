"""Promises that only a GPU can show (`-m gpu`).

TRAINER_GPU_TESTS_ON=cpu runs those that a CPU can show as well, so that the tests themselves are tried.
"""

import gc
import math
import os
import re
import signal
import warnings
from pathlib import Path

import pytest
import torch
from conftest import NEEDED, NOT_CAPTURED, choices, compose, metrics, quick, tiny_images
from test_checkpoint import same_run
from test_concurrent import study
from test_resume import timeless
from test_run import same_state

from trainer.errors import Preempted, RunError
from trainer.records.wandb_content import parameter_histograms
from trainer.run import train
from trainer.training.build import build_trainer, pick_device
from trainer.training.determinism import deterministic_mode
from trainer.training.graphed_step import WARM_UP_STEPS

pytestmark = pytest.mark.gpu
ON = os.environ.get("TRAINER_GPU_TESTS_ON", "cuda")
DEVICE = torch.device(ON)
only_on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU on this machine")
STEPS = WARM_UP_STEPS + 3  # three eager ones and three replayed
AUGMENTATIONS = (
    "augmentation=[flip,crop,rotation,translate,scale,color_jitter,noise,cutout,random_erasing,gray,blur,rand_augment,"
    "trivial_augment,auto_augment,aug_mix,cutmix,mixup]"
)
REGULARIZATIONS = (
    "regularization=[l1,l2,gradient_clipping,max_norm,ema,label_smoothing,spectral_norm,input_dropout,drop_block,"
    "r_drop,gradient_noise]"
)
NOISY = (
    "augmentation",
    *(f"regularization={name}" for name in ("stochastic", "input_dropout", "drop_block", "r_drop")),
)


def built(*arguments, device=DEVICE):
    """A trainer on colour images, six whole batches and a smaller one an epoch."""
    pick_device(device.type)  # sets what cuBLAS reads at its first call: in a process that missed it, no run is exact
    (config,) = compose([f"device={device}", "batch_size=20", "epochs=2", "lr=0.01", *arguments])
    shape = (3, 32, 32)
    return build_trainer(config, tiny_images(20 * STEPS + 7, shape), tiny_images(40, shape, seed=1), device)


def every_option(*groups):
    return [f"{group}={name}" for group in groups for name in choices(group) if name != "none"]


@pytest.mark.parametrize(
    "option",
    every_option(
        "optimizer", "scheduler", "augmentation", "regularization", "normalization", "activation", "init", "model"
    ),
)
def test_every_option_trains_on_the_device_as_on_a_cpu(option):
    """The first loss, before rounding has spread; augmentation and dropout draw other numbers on each device."""
    chosen = (option, *NEEDED.get(option.partition("=")[2], ()))
    trainer, expected = built(*chosen), built(*chosen, device=torch.device("cpu"))
    loss, _ = trainer.do_train()
    expected.do_train(pause=lambda: True)
    assert math.isfinite(loss) and all(parameter.isfinite().all() for parameter in trainer.model.parameters())
    if not option.startswith(NOISY):
        # A convolution on a GPU takes the 10 bits of TF32 from each number.
        first = trainer.meters.losses[0].item() / 20, expected.meters.losses[0].item() / 20
        assert first[0] == pytest.approx(first[1], rel=0.02)


@only_on_a_gpu
@pytest.mark.parametrize(
    "arguments",
    [
        *[(f"optimizer={name}", "weight_decay=0.01") for name in choices("optimizer") if name not in NOT_CAPTURED],
        ("scheduler=cyclic", "scheduler.period=1.5", AUGMENTATIONS),
        ("scheduler=plateau", "scheduler.patience=0", "scheduler.warmup_steps=4", REGULARIZATIONS, "dropout=0.3"),
        ("precision=bf16", "normalization=batch", "dropout=0.3", "augmentation=[crop,mixup]", "regularization=ema"),
        ("precision=fp16", "normalization=batch", "dropout=0.3"),
        ("model=resnet18", "normalization=batch", "epochs=1"),
    ],
    ids=" ".join,
)
def test_a_graph_computes_the_bits_of_eager_steps(arguments):
    eager, graphed = (built("deterministic=true", f"cuda_graph={on}", *arguments) for on in ("false", "true"))
    expected, seen = list(eager.train_loop()), list(graphed.train_loop())
    assert graphed.graph.replay is not None
    assert [timeless(report) for report in seen] == [timeless(report) for report in expected]
    assert same_state(eager.state_dict(), graphed.state_dict())


@only_on_a_gpu
@pytest.mark.parametrize(
    "arguments", [(), (AUGMENTATIONS,), (REGULARIZATIONS, "dropout=0.3", "normalization=batch"), ("precision=fp16",)]
)
def test_no_step_waits_for_the_gpu(arguments):
    """torch itself raises an error at an operation that waits."""
    trainer = built(*arguments)
    trainer.do_train()  # the first step of a process allocates and chooses algorithms
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's notice that this mode is a prototype
        torch.cuda.set_sync_debug_mode("default")
    real = trainer.train_step

    def watched(positions):
        torch.cuda.set_sync_debug_mode("error")
        try:
            return real(positions)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    trainer.train_step = watched
    trainer.do_train()


def compiled(*more):
    """Settings with compile=true; what torch warns of while it compiles, such as TF32, is its own matter."""
    return pytest.param(("compile=true", *more), marks=pytest.mark.filterwarnings("ignore::UserWarning:torch"))


@only_on_a_gpu
@pytest.mark.parametrize(
    "more", [(), ("cuda_graph=true",), ("precision=fp16",), compiled(), compiled("cuda_graph=true")]
)
def test_a_deterministic_run_resumes_to_the_same_bits(more, monkeypatch):
    asked = (
        "dropout=0.3",
        "normalization=batch",
        "augmentation=[crop,mixup]",
        "regularization=ema",
        "layer_stats_every=1",
    )
    asked = (f"device={ON}", "deterministic=true", "batch_size=100", "epochs=3", *asked, *more)
    quick(*asked, "output_dir=whole")
    monkeypatch.setattr("trainer.training.lr_schedule.Schedule.step", preempting(34))  # 12 steps an epoch
    with pytest.raises(Preempted):
        quick(*asked, "output_dir=parts")
    train(compose(["resume=parts"])[0])
    same_run(Path("whole"), Path("parts"))


def preempting(step):
    """The schedule's step, which a replay calls too, with a signal in this one of all steps."""
    from trainer.training.lr_schedule import Schedule

    real, seen = Schedule.step, []

    def counted(self):
        seen.append(1)
        if len(seen) == step:
            os.kill(os.getpid(), signal.SIGTERM)
        real(self)

    return counted


@pytest.mark.parametrize("graph", ["false", pytest.param("true", marks=only_on_a_gpu)])
def test_runs_in_turns_have_the_bits_that_they_have_alone(graph):
    words = ("-m", "dataset=digits", "wandb.mode=disabled", f"device={ON}", "deterministic=true", "epochs=2")
    words += ("batch_size=100", "dropout=0.3", "augmentation=[crop,mixup]", "regularization=ema", f"cuda_graph={graph}")
    words += ("optimizer=adam,momentum", "seed=0,1")
    (_, alone), (_, together) = study("alone", *words), study("together", *words, "sweep.concurrent=3")
    assert len(alone) == len(together) == 4
    for one, other in zip(alone, together, strict=True):
        same_run(one, other)


@pytest.mark.parametrize("graph", [False, pytest.param(True, marks=only_on_a_gpu)])
def test_steps_whose_fp16_gradients_overflow_are_skipped_until_the_scale_suits(graph):
    trainer = built("precision=fp16", f"cuda_graph={graph}".lower())
    trainer.scaler._init_scale = 2.0**40  # each overflow halves it
    before = [parameter.detach().clone() for parameter in trainer.model.parameters()]
    trainer.do_train()
    after = list(trainer.model.parameters())
    assert trainer.scaler.get_scale() == 2.0 ** (40 - STEPS - 1)
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    for _ in range(4):
        trainer.epoch += 1
        trainer.do_train()
    assert not torch.equal(before[0], after[0])
    assert all(parameter.isfinite().all() for parameter in after)


@only_on_a_gpu
def test_memory_that_runs_out_is_told_with_a_batch_size_that_fits_and_the_next_run_is_unharmed():
    small = ("device=cuda", "model=resnet18", "normalization=batch", "epochs=1", "dataset.image_size=64")
    quick(*small, "batch_size=64", "output_dir=before")
    free, total = torch.cuda.mem_get_info()
    held = torch.cuda.memory_reserved()
    torch.cuda.set_per_process_memory_fraction((held + 2**30) / total)
    try:
        with pytest.raises(RunError) as caught:
            quick(*small, "batch_size=1100", "output_dir=large")
        told = re.match(
            r"batch_size=1100 does not fit into the memory of cuda; batch_size=(\d+) does: a step of it was tried\."
            r" Saved: 0 of 1 epoch, in large$",
            str(caught.value),
        )
        assert told, caught.value
        quick(*small, f"batch_size={told[1]}", "output_dir=fits")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    quick(*small, "batch_size=64", "deterministic=true", "output_dir=after")
    quick(*small, "batch_size=64", "deterministic=true", "output_dir=again")
    same_run(Path("after"), Path("again"))
    assert free > 0


@only_on_a_gpu
@pytest.mark.parametrize("graph", ["false", "true"])
def test_a_run_leaves_no_memory_behind(graph):
    used = []
    for number in range(3):
        quick("device=cuda", f"cuda_graph={graph}", "batch_size=100", f"output_dir=run{number}")
        gc.collect()  # what torch itself keeps of the first run
        used.append(torch.cuda.memory_allocated())
    assert used[1] == used[2]


@only_on_a_gpu
def test_a_run_goes_on_from_a_gpu_to_a_cpu_and_back():
    quick("device=cuda", "epochs=1", "batch_size=100", "output_dir=run")
    train(compose(["resume=run", "device=cpu", "epochs=2"])[0])
    train(compose(["resume=run", "device=cuda", "epochs=3"])[0])
    assert [row["epoch"] for row in metrics(Path("run"))] == [1, 2, 3]


def test_a_run_of_the_size_of_mnist_has_the_learning_curve_of_a_cpu_within_the_noise_of_seeds():
    count = 60_000 if ON == "cuda" else 3_000
    images = tiny_images(count, (1, 28, 28)), tiny_images(100, (1, 28, 28), seed=1)

    def curve(device, seed):
        """The loss of an epoch, in ten parts."""
        (config,) = compose([f"device={device}", "batch_size=100", "epochs=1", "lr=0.001", f"seed={seed}"])
        trainer = build_trainer(config, *images, torch.device(device))
        trainer.do_train()
        return trainer.meters.losses.view(10, -1).mean(1).cpu() / 100

    here, cpu, other_seed = curve(ON, 0), curve("cpu", 0), curve("cpu", 1)
    assert cpu[-1] < cpu[0] / 2
    assert (here - cpu).abs().max() <= max((other_seed - cpu).abs().max(), 0.01)


def test_histograms_of_the_parameters_are_those_of_a_cpu_also_where_only_exact_operations_are_allowed():
    network = built("model=lecture_cnn").model
    with deterministic_mode(True):
        there = parameter_histograms(network)
    here = parameter_histograms(network.cpu())
    assert there.keys() == here.keys()
    for name in here:  # a value on an edge may be rounded to either side
        pairs = zip(there[name].histogram, here[name].histogram, strict=True)
        assert all(abs(one - other) <= 1 for one, other in pairs), name
