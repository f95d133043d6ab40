"""Which own technique an error comes from that was raised while a run was built or trained."""

import contextlib
from collections.abc import Iterator
from types import FrameType

from torch import nn
from torch.optim import Optimizer

from trainer.config.own import OwnTechniques
from trainer.config.own_import import described, place_of
from trainer.config.run_config import RunConfig
from trainer.config.schema import GROUPS, Choice
from trainer.errors import ConfigError, OneLineError, TechniqueError
from trainer.runtime.memory import is_out_of_memory
from trainer.training.lr_schedule import Schedule


def line_of(error: BaseException, config: RunConfig) -> str | None:
    """Return "mine/parts.py, line 12: model=net: AttributeError: …"; None for an error of no own technique."""
    if isinstance(error, TechniqueError):  # it knows its technique
        return str(error)
    choices = own_choices(config)
    if isinstance(error, OneLineError) or not choices or is_out_of_memory(error):
        return None
    several = list({id(choice.own): choice.own for choice in choices.values() if choice.own}.values())
    place = next(filter(None, (place_of(error, own) for own in several)), None)
    if place is None:
        return None
    choice = choices.get(_group_of(error, several) or "")
    name = f"{choice.group}={choice.name}: " if choice else ""
    return f"{place}: {name}{described(error)}"


@contextlib.contextmanager
def own_errors_told(config: RunConfig) -> Iterator[None]:
    """Raise ConfigError with one line for an error of an own technique, where nothing is trained yet."""
    try:
        yield
    except Exception as error:
        line = line_of(error, config)
        if line is None:
            raise
        raise ConfigError(line) from error


def own_choices(config: RunConfig) -> dict[str, Choice]:
    """Return the own techniques of a run by group; of a list the first."""
    found = {}
    for group in GROUPS:
        chosen = getattr(config, group)
        several = [each for each in (chosen if isinstance(chosen, tuple) else (chosen,)) if each.own]
        if several:
            found[group] = several[0]
    return found


def _group_of(error: BaseException, several: list[OwnTechniques]) -> str | None:
    """Return the group whose technique was called last before the error, by the frames that this passed through."""
    files = {str(module.path) for own in several for module in own.modules.values()}
    named = {str(module.path): group for own in several for group, module in own.groups.items()}
    group, trace = None, error.__traceback__
    while trace:
        frame: FrameType = trace.tb_frame
        file, itself = frame.f_code.co_filename, frame.f_locals.get("self")
        if file in named:
            group = named[file]
        elif isinstance(itself, Schedule):
            group = "scheduler"
        elif file in files and isinstance(itself, nn.Module | Optimizer):
            group = "model" if isinstance(itself, nn.Module) else "optimizer"
        trace = trace.tb_next
    return group
