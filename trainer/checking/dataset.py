"""The checks of a data set: its training part, and of its test part only what is asked for."""

import time

from trainer.checking.common import fail_of_draw
from trainer.checking.subject import Subject, fail, stirred
from trainer.data.images import Images
from trainer.data.loader import read_part
from trainer.runtime.files import expanded


def reads(subject: Subject) -> str | None:
    """Read the training part, with the trainer's check of it, and divide it."""
    started = time.perf_counter()
    images = _read(subject, 1)
    seconds = time.perf_counter() - started
    training, validation = subject.config.dataset.shared_function()(images, subject.config.split_seed)
    shape = "×".join(map(str, images.shape))
    divided = f"{len(training)} + {0 if validation is None else len(validation)}"
    return f"{divided} images {shape}, {len(images.classes)} classes, read in {seconds:.1f} s"


def reads_the_same(subject: Subject) -> str | None:
    """Read the training part twice."""
    one, other = (_read(subject, seed).fingerprint for seed in (1, 2))
    if one != other:
        fail("two readings lead to other images, labels or another order: what is drawn needs a fixed seed")
    return None


def reads_without_global_draws(subject: Subject) -> str | None:
    """Read the training part and see whether a global generator was drawn from."""
    with stirred(3) as drawn:
        read_part(subject.choice, expanded(subject.config.data_dir), "train")
        names = drawn()
    if names:
        fail_of_draw(subject, names[0], "whose state another program decides: use a generator with a fixed seed")
    return None


def reads_the_test_part(subject: Subject) -> str | None:
    """Read the test part, if that is asked for, and compare its form with that of the training part."""
    if not subject.test_part:
        return "test part not read (--test-part)"
    training, test = _read(subject, 1), read_part(subject.choice, expanded(subject.config.data_dir), "test")
    for what, one, other in (
        ("shape", training.shape, test.shape),
        ("type", training.storage.dtype, test.storage.dtype),
        ("classes", training.classes, test.classes),
    ):
        if one != other:
            fail(f"the test part has another {what} than the training part: {other}, where {one} is expected")
    return f"{len(test)} test images"


def _read(subject: Subject, seed: int) -> Images:
    with stirred(seed):
        return read_part(subject.choice, expanded(subject.config.data_dir), "train")


CHECKS = (reads, reads_the_test_part)
