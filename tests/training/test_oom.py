"""Running out of memory is reported in one line with a batch size that fits."""

from pathlib import Path

import pytest
import torch
from conftest import metrics, quick, tiny_images

from trainer.cli.common import exit_code_of
from trainer.data.images import Images
from trainer.data.loader import evaluation_batch_size
from trainer.errors import RunError
from trainer.evaluation.inference import evaluation_batches
from trainer.records.outcome import read_outcome
from trainer.runtime.memory import is_out_of_memory, release_frames
from trainer.training import network as networks

TINY = ("model=mlp", "model.hidden=[16]", "dataset.image_size=8")


def short_of(monkeypatch, limit, failures=10**9, validating=10**9):
    """Networks that run out of memory above a number of images, in training or in validation."""
    real, failed = networks.build_network, []

    def refuse(module, inputs):
        if len(inputs[0]) > (limit if module.training else validating) and len(failed) < failures:
            failed.append(len(inputs[0]))
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.00 GiB.\nGPU 0 has 1 GiB free.")

    def built(*arguments):
        network = real(*arguments)
        network.register_forward_pre_hook(refuse)
        return network

    monkeypatch.setattr(networks, "build_network", built)
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


def test_a_network_that_never_fits_and_a_shortage_that_has_passed_are_reported(monkeypatch):
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


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert is_out_of_memory(MemoryError("std::bad_alloc")) and is_out_of_memory(RuntimeError("std::bad_alloc"))


def test_the_tensors_of_the_failed_step_are_freed():
    """Also if frames, closures and a caller hold the traceback: otherwise a smaller batch would not fit either."""
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
        release_frames(error)
        assert kept and held[0]() is None


def test_a_validation_that_does_not_fit_is_not_blamed_on_the_batch_size(monkeypatch):
    with monkeypatch.context() as patch:
        tried = short_of(patch, 10**9, validating=100)
        with pytest.raises(RunError) as caught:
            quick(*TINY, "batch_size=50", "output_dir=run")
    count = tried[0]
    assert str(caught.value) == (
        f"validating {count} images at once does not fit into the memory of cpu, though a step of batch_size=50 does."
        " Use a smaller network or smaller images, or another device. Saved: 0 of 2 epochs, in run"
    )
    assert tried == [count, count] and count > 100
    short_of(monkeypatch, 20, validating=100)
    with pytest.raises(RunError, match=f"^validating {count} images at once .* though a step of batch_size=12 does"):
        quick(*TINY, "batch_size=50", "output_dir=smaller")


def test_large_images_are_evaluated_in_smaller_batches():
    """Images up to 3×32×32 keep the full batch, so that their results keep every bit."""
    sizes = {(1, 28, 28): 2048, (3, 32, 32): 2048, (3, 33, 33): 1925, (3, 224, 224): 41, (3, 2048, 2048): 1}
    for shape, count in sizes.items():
        whole = torch.empty(1, *shape, dtype=torch.uint8, device="meta")
        assert evaluation_batch_size(Images(whole, torch.zeros(1), ("a",))) == count
    images = tiny_images(50, (3, 224, 224))
    batches = list(evaluation_batches(images, "Testing"))
    assert [len(batch) for batch in batches] == [41, 9] and torch.equal(torch.cat(batches), images.pixels)


def test_optional_work_is_skipped_without_memory(monkeypatch, capsys):
    """Layer statistics and the final summary both train a step on more images, with a second network."""
    short_of(monkeypatch, 64)
    quick(*TINY, "batch_size=64", "epochs=1", "layer_stats_every=1", "output_dir=run")
    printed = capsys.readouterr()
    assert printed.err == (
        "trainer: warning: epoch 1 is recorded without layer statistics: there is no memory for a copy of the network\n"
    )
    assert "Diagnosis" not in printed.out and ["Folder", "run"] in map(str.split, printed.out.splitlines())
    assert read_outcome(Path("run")).state == "finished" and "layer_stats" not in metrics(Path("run"))[0]


def larger_than_any_memory(*_):
    torch.empty(10**16, dtype=torch.uint8)


def test_before_the_first_step_and_in_other_commands_it_is_one_line(monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr("trainer.run.load", larger_than_any_memory)
        with pytest.raises(RunError, match=r"^the memory ran out: .* Use fewer or smaller images, a smaller network"):
            quick(*TINY, "output_dir=run")
    assert not Path("run").exists()
    monkeypatch.setenv("GOMP_SPINCOUNT", "10000")
    for fails, told in (
        (larger_than_any_memory, ": [enforce fail"),
        (lambda _: bytearray(10**17), ". Stop other programs that use it, or try another device, such as device=cpu\n"),
    ):
        assert exit_code_of(lambda fails=fails: fails(None)) == 1
        said = capsys.readouterr().err
        assert said.startswith(f"trainer: the memory ran out{told}") and said.count("\n") == 1
