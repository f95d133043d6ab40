"""A device that runs out of memory: told in one line, with a batch size that fits."""

import torch

from trainer.build import build_trainer
from trainer.config import RunConfig
from trainer.data.images import Images
from trainer.data.resident import release
from trainer.errors import RunError

# torch has a type of its own for this on a GPU alone; the last is oneDNN's, which computes on CPUs.
WORDS = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED", "could not create a primitive")


def ran_out(error: BaseException) -> bool:
    """Whether this error means that memory ran out. What the failed step holds is let go of then.

    The step's tensors hang on its frames, and those on the traceback, which others hold as well: it is cut.
    """
    short = isinstance(error, torch.OutOfMemoryError | MemoryError) or any(words in str(error) for words in WORDS)
    trace = error.__traceback__ if short else None
    while trace:
        trace.tb_next, trace = None, trace.tb_next
    return short


def advice(config: RunConfig, training: Images, validation: Images | None, device: torch.device) -> str:
    """The batch size that failed and the largest half of it that fits: a step of each is tried."""
    asked = size = min(config.batch_size, len(training))
    config = config.model_copy(update={"compile": False})  # it would take up to a minute for each that is tried
    while size and not _fits(config.model_copy(update={"batch_size": size}), training, validation, device):
        size //= 2
    if size == asked:
        return (
            f"the memory of {device} ran out, though a step of batch_size={asked} fits when tried alone: does something"
            " else use it? Try a smaller batch_size"
        )
    fits = f"batch_size={size} does: a step of it was tried" if size else "nor does a single image"
    return f"batch_size={asked} does not fit into the memory of {device}; {fits}"


def _fits(config: RunConfig, training: Images, validation: Images | None, device: torch.device) -> bool:
    """Whether one whole step can be done, the optimizer's memory included."""
    try:
        release()
        build_trainer(config, training, validation, device).do_train(pause=lambda: True)
    except RunError:  # a loss that is not finite: it fits
        return True
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        return False
    return True
