"""Memory that runs out is one line with a batch size that fits."""

import pytest
import torch
from conftest import quick

from trainer import build
from trainer.errors import RunError
from trainer.memory import ran_out

TINY = ("model=mlp", "model.hidden=[16]", "dataset.image_size=8")


def short_of(monkeypatch, limit, failures=10**9):
    """Networks that, in training, find no room for more than so many images."""
    real, failed = build.build_network, []

    def refuse(module, inputs):
        if module.training and len(inputs[0]) > limit and len(failed) < failures:
            failed.append(len(inputs[0]))
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.00 GiB.\nGPU 0 has 1 GiB free.")

    def built(*arguments):
        network = real(*arguments)
        network.register_forward_pre_hook(refuse)
        return network

    monkeypatch.setattr(build, "build_network", built)
    return failed


def test_the_line_names_the_batch_that_failed_and_one_that_was_tried(monkeypatch):
    tried = short_of(monkeypatch, 20)
    with pytest.raises(RunError) as caught:
        quick(*TINY, "batch_size=50", "output_dir=run")
    assert str(caught.value) == (
        "batch_size=50 does not fit into the memory of cpu; batch_size=12 does: a step of it was tried."
        " Saved: 0 of 2 epochs, in run"
    )
    assert tried == [50, 50, 25]


def test_a_network_that_never_fits_and_a_shortage_that_has_passed_are_told(monkeypatch):
    with monkeypatch.context() as patch:
        short_of(patch, 0)
        with pytest.raises(
            RunError, match=r"^batch_size=2 does not fit into the memory of cpu; nor does a single image"
        ):
            quick(*TINY, "batch_size=2", "output_dir=never")
    short_of(monkeypatch, 20, failures=1)
    with pytest.raises(
        RunError, match=r"^the memory of cpu ran out, though a step of batch_size=64 fits when tried alone"
    ):
        quick(*TINY, "output_dir=once")


def test_other_errors_are_not_taken_for_it():
    assert not ran_out(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert ran_out(MemoryError("std::bad_alloc"))


def test_what_the_failed_step_held_is_let_go_of():
    """Through frames, closures and a caller that keeps the traceback: with it a smaller batch would not fit either."""
    import weakref

    held = []

    def step():
        tensor = torch.zeros(1)
        held.append(weakref.ref(tensor))

        def inner():
            raise MemoryError(tensor.shape)

        inner()

    try:
        step()
    except MemoryError as error:
        kept = error.__traceback__
        assert ran_out(error) and kept and held[0]() is None
