"""The trainer within a process of another program: what a call changes there is as before when it returns.

A run must not depend on what the program has set, either: two runs in one process are as good as two processes.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from trainer.config import own_import
from trainer.config.own import OwnTechniques, using
from trainer.errors import Interrupted, RunError, reason_of
from trainer.runtime.console import silenced
from trainer.runtime.memory import within_memory
from trainer.runtime.signals import as_guest

UNKNOWN = object()
_one_at_a_time = threading.RLock()  # Hydra, torch's generators and standard output belong to the whole process


@contextlib.contextmanager
def composing(techniques: Sequence[OwnTechniques]) -> Iterator[None]:
    """Let the block use these own techniques, and leave Hydra as it was."""
    with _one_at_a_time, _same_hydra(), using(techniques):
        yield


@contextlib.contextmanager
def training(techniques: Sequence[OwnTechniques], progress: bool, again: str) -> Iterator[None]:
    """Let the block train with these own techniques; without `progress` it prints warnings alone.

    Raises Interrupted with the folder in the message, and `again`, how to continue, for Ctrl-C.
    """
    from trainer.data import loader

    own_import.forget()
    with (
        composing(techniques),
        _same_environment(),
        _same_torch(),
        as_guest(),
        contextlib.nullcontext() if progress else silenced(),
        within_memory(),
    ):
        try:
            yield
        except OSError as error:
            raise RunError(reason_of(error)) from error
        except KeyboardInterrupt as interrupt:
            folder = _saved(interrupt)
            by = f" by {interrupt}" if str(interrupt) else ""
            kept = f"the state is saved in {folder}. {again.format(folder=folder)}" if folder else "nothing was begun"
            kind = type(interrupt) if isinstance(interrupt, Interrupted) else Interrupted
            raise kind(f"stopped{by}: {kept}", reported=True, folder=folder) from None
        finally:
            loader.forget()  # the files may have changed until the next call


def _saved(interrupt: BaseException | None) -> Path | None:
    """Return the folder that an interrupt tells, or the one during whose report it came."""
    while interrupt:
        if folder := getattr(interrupt, "folder", None):
            return Path(folder)
        interrupt = interrupt.__context__
    return None


@contextlib.contextmanager
def _same_hydra() -> Iterator[None]:
    """Restore what the block changes in Hydra and OmegaConf, which the program may use as well."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.version import VersionBase
    from omegaconf.basecontainer import BaseContainer

    config, base = HydraConfig.instance(), VersionBase.instance()
    tree, version, resolvers = config.cfg, base.version_base, dict(BaseContainer._resolvers)
    try:
        yield
    finally:
        config.cfg, base.version_base = tree, version
        BaseContainer._resolvers.clear()
        BaseContainer._resolvers.update(resolvers)


@contextlib.contextmanager
def _same_environment() -> Iterator[None]:
    """Restore the variables that the block sets."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in {*before, *os.environ}:
            if name not in before:
                os.environ.pop(name, None)
            elif os.environ.get(name) != before[name]:
                os.environ[name] = before[name]


@contextlib.contextmanager
def _same_torch() -> Iterator[None]:
    """Give the block torch's own settings and generators of its own, and restore those of the program."""
    import torch

    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    settings: list[tuple[Any, Any, Any]] = [  # (read, write, the value of a new process)
        (torch.get_default_dtype, torch.set_default_dtype, torch.float32),
        (_default_device, torch.set_default_device, None),
        (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "highest"),
        (torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms, False),
        (lambda: cudnn.benchmark, lambda value: setattr(cudnn, "benchmark", value), False),
        (lambda: cudnn.deterministic, lambda value: setattr(cudnn, "deterministic", value), False),
        (lambda: cudnn.allow_tf32, lambda value: setattr(cudnn, "allow_tf32", value), True),
        (lambda: matmul.allow_tf32, lambda value: setattr(matmul, "allow_tf32", value), False),
    ]
    before, threads = [_read(read) for read, _, _ in settings], torch.get_num_threads()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices), torch.inference_mode(False), torch.enable_grad():
        try:
            _write(settings, [value for _, _, value in settings])
            yield
        finally:
            _write(settings, before)
            torch.set_num_threads(threads)


def _write(settings: Sequence[tuple[Any, Any, Any]], values: Sequence[Any]) -> None:
    for (read, write, _), value in zip(settings, values, strict=True):
        if value is not UNKNOWN and (now := _read(read)) is not UNKNOWN and now != value:
            write(value)


def _read(read: Callable[[], Any]) -> Any:
    """Return a setting of torch; UNKNOWN where a newer interface has set what this one would read."""
    try:
        return read()
    except RuntimeError:
        return UNKNOWN


def _default_device() -> Any:
    """Return the device on which tensors are made; None for torch's own choice, the CPU."""
    import torch

    device = torch.get_default_device()
    return None if device.type == "cpu" else device
