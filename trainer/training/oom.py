"""A device that runs out of memory: told in one line, with a batch size that fits."""

from contextlib import suppress

import torch

from trainer.config.run_config import RunConfig
from trainer.data.images import Images
from trainer.data.loader import evaluation_batch_size
from trainer.errors import RunError
from trainer.runtime.memory import release, release_frames
from trainer.training.build import build_trainer


def batch_size_advice(config: RunConfig, training: Images, validation: Images | None, device: torch.device) -> str:
    """The batch size that failed and the largest half of it that fits: a step of each is tried, then a validation."""
    asked = size = min(config.batch_size, len(training))
    checked = (
        None
        if validation is None
        else validation.select(torch.arange(min(evaluation_batch_size(validation), len(validation))))
    )
    config = config.model_copy(update={"compile": False})  # it would take up to a minute for each that is tried
    while size and (lacking := _lacking(config.model_copy(update={"batch_size": size}), training, checked, device)):
        if lacking == "validation":
            break
        size //= 2
    if size and lacking:
        return (
            f"validating {len(checked or ())} images at once does not fit into the memory of {device}, though a step of"
            f" batch_size={size} does. Use a smaller network or smaller images, or another device"
        )
    if size == asked:
        return (
            f"the memory of {device} ran out, though a step of batch_size={asked} fits when tried alone: does something"
            " else use it? Try a smaller batch_size"
        )
    fits = f"batch_size={size} does: a step of it was tried" if size else "nor does a single image"
    return f"batch_size={asked} does not fit into the memory of {device}; {fits}"


def _lacking(config: RunConfig, training: Images, validation: Images | None, device: torch.device) -> str:
    """What does not fit, "step" or "validation"; "" where one whole step, then all of `validation` can be done.

    The optimizer's memory is included.
    """
    lacking = "step"
    try:
        release()
        trainer = build_trainer(config, training, validation, device)
        with suppress(RunError):  # a loss that is not finite: it fits
            trainer.do_train(pause=lambda: True)
        lacking = "validation"
        if validation is not None:
            trainer.do_validation()
    except (RuntimeError, MemoryError) as error:
        release_frames(error)  # whatever its text: near the limit libraries have other words for it
        return lacking
    return ""
