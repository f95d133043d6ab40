"""16-bit training, compilation, determinism, and steps that do not wait for the device."""

import os

import pytest
import torch
from conftest import TINY, compose, metrics, quick, timeless, tiny_images
from test_run import same_state
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from trainer.config.schema import techniques
from trainer.data import sources, splits
from trainer.errors import ConfigError, RunError
from trainer.storage import checkpoint
from trainer.techniques.images import image_operations
from trainer.training.build import build_trainer, pick_device
from trainer.training.lr_range_test import measure

CPU = torch.device("cpu")


def built(*arguments):
    (config,) = compose(["dataset=digits", "device=cpu", "batch_size=300", *arguments])
    training, validation = splits.split(sources.digits("", "train"), 0)
    return build_trainer(config, training, validation, CPU)


def built_on_few(*arguments):
    """A trainer on 120 colour images, for tests of its computation and not of what it learns."""
    (config,) = compose(["device=cpu", "batch_size=20", *arguments])
    return build_trainer(config, tiny_images(120, (3, 32, 32)), tiny_images(20, (3, 32, 32), seed=1), CPU)


@pytest.mark.long
@pytest.mark.parametrize(("precision", "kind"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_the_forward_pass_is_in_16_bits_and_the_weights_are_not(precision, kind):
    trainer, exact = built(f"precision={precision}"), built()
    seen = []
    for module in trainer.model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(lambda _module, _inputs, output: seen.append(output.dtype))
    loss, _ = trainer.do_train()
    assert set(seen) == {kind}
    assert {p.dtype for p in trainer.model.parameters()} == {torch.float32}
    reference, _ = exact.do_train()
    assert loss == pytest.approx(reference, rel=2e-3) and loss != reference
    assert trainer.do_validation()[0] == pytest.approx(exact.do_validation()[0], rel=0.05)


@pytest.mark.long
def test_clipping_sees_gradients_as_they_are_and_not_as_fp16_scales_them():
    norms = {}
    for precision in ("fp32", "fp16"):
        trainer = built(f"precision={precision}", "regularization=gradient_clipping")
        clip = trainer.hooks.limit_gradients
        norms[precision] = []

        def limit(clip=clip, trainer=trainer, seen=norms[precision]):
            seen.append(torch.cat([p.grad.flatten() for p in trainer.model.parameters()]).norm().item())
            clip()

        object.__setattr__(trainer.hooks, "limit_gradients", limit)
        trainer.do_train()
    assert norms["fp16"] == pytest.approx(norms["fp32"], rel=0.02)


def test_a_resumed_fp16_run_keeps_the_scale_and_equals_an_undisturbed_one():
    small = ("precision=fp16", *TINY, "dropout=0.2", "normalization=batch")
    whole, half = quick(*small, "epochs=4"), quick(*small, "epochs=2")
    state = checkpoint.load(half.folder / "last.safetensors")
    assert state.trainer["scaler"]["scale"] == 65536.0 and state.trainer["scaler"]["_growth_tracker"] > 0
    quick_resumed = compose([f"resume={half.folder}", "epochs=4"])[0]
    from trainer.run import train

    train(quick_resumed)
    assert timeless(half.folder) == timeless(whole.folder)


@pytest.mark.long
@pytest.mark.parametrize("optimizer", techniques("optimizer"))
def test_a_step_whose_scaled_gradients_overflow_changes_nothing(optimizer):
    """fp16 begins with some. A fused SGD would continue from a momentum that was never set."""
    if optimizer == "sam":
        with pytest.raises(ConfigError, match=r"^precision=fp16 does not go with optimizer=sam, which computes the"):
            built_on_few("precision=fp16", "optimizer=sam")
        return
    trainer = built_on_few("precision=fp16", f"optimizer={optimizer}")
    trainer.scaler.load_state_dict(trainer.scaler.state_dict() | {"scale": 1e38})
    before = [weight.clone() for weight in trainer.model.parameters()]
    trainer.do_train(pause=lambda: True)
    assert trainer.scaler.get_scale() == pytest.approx(5e37)
    assert all(map(torch.equal, before, trainer.model.parameters()))
    memory = [value for each in trainer.optimizer.state.values() for value in each.values()]
    assert not any(value is not None and value.any() for value in memory)


@pytest.mark.long
def test_a_compiled_network_learns_the_same_and_is_saved_under_the_same_names():
    plain, compiled = quick(*TINY, "epochs=1"), quick(*TINY, "epochs=1", "compile=true")
    for one, other in zip(metrics(plain.folder), metrics(compiled.folder), strict=True):
        assert other["train_loss"] == pytest.approx(one["train_loss"], rel=1e-5)
        assert other["validation_loss"] == pytest.approx(one["validation_loss"], rel=1e-5)
    states = [checkpoint.load(result.folder / "best.safetensors").model for result in (plain, compiled)]
    assert list(states[0]) == list(states[1])


@pytest.mark.long
def test_every_network_is_compiled_however_many_were_before_it(monkeypatch):
    """torch compiles eight variants per process, over all networks, and leaves the next ones uncompiled."""
    real, forms = nn.Module.compile, []

    def noted(graph, inputs):
        forms.append(any(isinstance(each, torch.SymInt) for each in inputs))
        return graph.forward

    monkeypatch.setattr(nn.Module, "compile", lambda self, mode, dynamic: real(self, backend=noted, dynamic=dynamic))
    for hidden in range(8, 12):
        trainer = built("compile=true", "model=mlp", f"model.hidden=[{hidden}]")
        forms.clear()
        for _ in range(2):
            trainer.do_train()
            trainer.do_validation()
        # Whole batches and the last one to train, one batch to validate; none is for batches of any size.
        assert forms == [False] * 3


@pytest.mark.long
@pytest.mark.parametrize(
    "arguments",
    [
        ("augmentation=[flip,crop,rotation,color_jitter,noise,cutout,cutmix,mixup]", "activation=maxout"),
        ("regularization=[l1,gradient_clipping,max_norm,ema,label_smoothing]", "normalization=batch", "dropout=0.5"),
        ("model=hard_sharing", "normalization=group", "precision=fp16"),
    ],
)
def test_deterministic_changes_no_bit_on_a_cpu_and_is_taken_back(arguments):
    is_on, states = torch.are_deterministic_algorithms_enabled, []
    for asked in (False, True):
        trainer, seen = built_on_few(*arguments, f"deterministic={str(asked).lower()}"), []
        for network in (trainer.model, trainer.evaluated):
            network.register_forward_hook(lambda *_, seen=seen: seen.append(is_on()))
        trainer.do_train()
        losses = trainer.do_validation()
        assert len(seen) >= 6 and set(seen) == {asked}
        assert not is_on()
        states.append([losses, *(trainer.state_dict()[part] for part in ("model", "optimizer", "hooks"))])
    assert same_state(*states)


def test_an_operation_without_a_deterministic_implementation_is_one_line_that_names_the_setting(monkeypatch):
    real = torch.optim.Adam.step

    def step(self, *rest):
        torch.zeros(2).put_(torch.tensor([0]), torch.ones(1))
        return real(self, *rest)

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    quick(*TINY, "output_dir=without")
    reason = (
        "deterministic=true: put_ has no deterministic implementation on this device. Leave out the technique that"
        " needs it, or deterministic=true"
    )
    with pytest.raises(RunError) as caught:
        quick(*TINY, "deterministic=true", "output_dir=run")
    assert str(caught.value) == f"{reason}. Saved: 0 of 2 epochs, in run"
    assert not torch.are_deterministic_algorithms_enabled()
    (config,) = compose(["dataset=digits", "device=cpu", *TINY, "deterministic=true"])
    with pytest.raises(RunError) as caught:
        measure(config, 40, 1e-5, 0.1)
    assert str(caught.value) == reason


def test_cublas_is_configured_before_it_is_first_used(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    pick_device("cpu")
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"  # the user's setting stays
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    pick_device("cpu")
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


class Waits(TorchDispatchMode):
    """Count the operations that copy a value from the device to the host, or whose output size depends on one."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = str(function)
        by_mask = name == "aten.index.Tensor" and any(each is not None and each.dtype == torch.bool for each in args[1])
        self.count += by_mask or name.split(".")[1] in ("_local_scalar_dense", "nonzero", "masked_select", "equal")
        return function(*args, **(kwargs or {}))


EVERYTHING = (
    "augmentation=[flip,crop,rotation,translate,scale,color_jitter,noise,cutout,random_erasing,gray,blur,rand_augment,"
    "trivial_augment,auto_augment,aug_mix,cutmix,mixup]"
)


@pytest.mark.long
@pytest.mark.parametrize(
    "arguments",
    [
        (),
        (EVERYTHING,),
        ("regularization=[l1,l2,gradient_clipping,max_norm,ema,label_smoothing]", "normalization=batch", "dropout=0.5"),
        ("precision=fp16",),
        ("precision=fp16", "optimizer=sgd", "regularization=gradient_clipping"),
        ("model=ensemble",),
        ("model=hard_sharing", "normalization=layer"),
        ("model=soft_sharing", "normalization=group", "activation=maxout"),
        ("experiment=cifar10_94", "model.width=4"),
    ],
)
def test_a_step_does_not_wait_for_the_device(arguments, monkeypatch):
    """On a GPU every such wait leaves it idle. Twice the steps must bring no further wait; the optimizer, whose own
    counters lie on the host, is left out."""
    monkeypatch.setattr(image_operations, "_is_in_memory", lambda images: False)  # images on a CPU it may count
    counts = []
    for batch_size in (40, 20):
        trainer = built_on_few(*arguments, f"batch_size={batch_size}")
        waits = Waits()
        monkeypatch.setattr(trainer.optimizer, "step", lambda *_, waits=waits: None)
        with waits:
            trainer.do_train()
        counts.append(waits.count)
    assert counts[0] == counts[1]
