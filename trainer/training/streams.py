"""CUDA streams, each used by one run at a time and then by a later one.

cuBLAS keeps a workspace of 32 MB for each pair of a stream and a thread as long as the process lives, and memory that
is freed on a stream is allocated again on it alone: with a new stream for each run a study would need more and more.
"""

import contextlib
from collections.abc import Iterator

import torch

_free: list[torch.cuda.Stream] = []


def take_stream(device: torch.device) -> torch.cuda.Stream:
    """Return a stream of the device that nothing else uses."""
    for stream in _free:
        if stream.device == device:
            _free.remove(stream)
            return stream
    return torch.cuda.Stream(device)


def give_back(stream: torch.cuda.Stream) -> None:
    """Leave a stream to the next that asks for one; what it has been given to do is done first."""
    _free.append(stream)


@contextlib.contextmanager
def own_stream() -> Iterator[None]:
    """Do the work of this thread on a stream of its own, beside that of other threads. Does nothing without a GPU."""
    if not torch.cuda.is_available():
        yield
        return
    stream = take_stream(torch.device("cuda", torch.cuda.current_device()))
    try:
        with torch.cuda.stream(stream):
            yield
    finally:
        give_back(stream)
