"""The advice for a run that has run out of memory: a batch size that fits."""

from contextlib import suppress

import torch

from trainer.config.run_config import RunConfig
from trainer.data.images import Images
from trainer.data.loader import evaluation_batch_size
from trainer.errors import RunError
from trainer.runtime.memory import release, release_frames
from trainer.training.build import build_trainer


def batch_size_advice(config: RunConfig, training: Images, validation: Images | None, device: torch.device) -> str:
    """Return a message with the batch size that failed and the largest one that fits, found by halving it.

    For each size a training step is run, then a validation batch.
    """
    failed = size = min(config.batch_size, len(training))
    validation_batch = (
        None
        if validation is None
        else validation.select(torch.arange(min(evaluation_batch_size(validation), len(validation))))
    )
    config = config.eager  # compiling takes up to a minute per size
    while size:  # a logarithmic number of attempts, 0 if a single image does not fit
        config = config.model_copy(update={"batch_size": size})
        lacking = _part_without_memory(config, training, validation_batch, device)
        if lacking != "step":
            break
        size //= 2
    if size and lacking:
        return (
            f"validating {len(validation_batch or ())} images at once does not fit into the memory of {device}, though"
            f" a step of batch_size={size} does. Use a smaller network or smaller images, or another device"
        )
    if size == failed:
        return (
            f"the memory of {device} ran out, though a step of batch_size={failed} fits when tried alone: does another"
            " program use it? Try a smaller batch_size"
        )
    fits = f"batch_size={size} does: a step of it was tried" if size else "nor does a single image"
    return f"batch_size={failed} does not fit into the memory of {device}; {fits}"


def _part_without_memory(config: RunConfig, training: Images, validation: Images | None, device: torch.device) -> str:
    """Run one training step, then validate; return "step" or "validation" if that does not fit, else ""."""
    part = "step"
    try:
        release()
        trainer = build_trainer(config, training, validation, device)
        with suppress(RunError):  # a loss that is not finite; the step fits
            trainer.do_train(pause=lambda: True)  # one step; its update allocates the optimizer's state
        part = "validation"
        if validation is not None:
            trainer.do_validation()
    except (RuntimeError, MemoryError) as error:
        release_frames(error)  # any error: near the limit libraries report it in other words
        return part
    return ""
