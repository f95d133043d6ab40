"""The whole training step as one CUDA graph (`cuda_graph=true`).

A small network's step is some hundred kernels, each of which Python launches in about 10 microseconds, while the GPU
needs less for most of them. A graph holds all of them, from the gathering of the batch to the meters, and is launched
as one.
"""

import contextlib
import weakref
from collections.abc import Callable, Iterator

import torch
from torch import Generator, Tensor

from trainer.errors import RunError
from trainer.runtime.memory import is_out_of_memory
from trainer.training.streams import give_back, take_stream

Step = Callable[[Tensor], bool]
Capture = Callable[[Callable[[], object]], Callable[[], None]]

# Eager steps before the capture, which train like all others: they create the optimizer's state and let the libraries
# choose their algorithms, neither of which may happen while a step is captured.
WARM_UP_STEPS = 3


class GraphedStep:
    """A training step that is captured once for whole batches; a batch of another size is trained eagerly.

    `generator` is the one that the step draws from beside torch's own. `capture` turns a function into one that
    replays what it did; None stands for a CUDA graph.
    """

    def __init__(self, batch_size: int, generator: Generator, capture: Capture | None = None) -> None:
        self.positions = torch.zeros(batch_size, dtype=torch.long, device=generator.device)
        self.stream: torch.cuda.Stream | None = None
        if capture is None:
            self.stream = take_stream(generator.device)
            weakref.finalize(self, give_back, self.stream)
            capture = _Graph(self.stream, generator)
        self.capture = capture
        self.replay: Callable[[], None] | None = None
        self.eager_steps = 0

    @contextlib.contextmanager
    def on_stream(self) -> Iterator[None]:
        """Do all work of the block on the stream of the graph, after what the current stream has been given.

        Eager steps, too: autograd remembers the stream on which a parameter was used first, and a graph may not wait
        for another one.
        """
        if self.stream is None:
            yield
            return
        self.stream.wait_stream(torch.cuda.current_stream(self.stream.device))
        try:
            with torch.cuda.stream(self.stream):
                yield
        finally:
            torch.cuda.current_stream(self.stream.device).wait_stream(self.stream)

    def __call__(self, step: Step, positions: Tensor) -> bool:
        """Do the same step as always on the images at these positions [B].

        A graph has no skipped steps (`on_nonfinite=stop`).
        """
        # The step is not kept: it is a method of the trainer, which keeps this object. Such a cycle would hold the
        # memory of a finished run until Python's garbage collector finds it.
        if len(positions) != len(self.positions):
            return step(positions)
        if self.replay is None and self.eager_steps < WARM_UP_STEPS:
            self.eager_steps += 1
            return step(positions)
        self.positions.copy_(positions)
        if self.replay is None:
            self.replay = self.capture(lambda: step(self.positions))  # captured, not executed
        self.replay()
        return True


class _Graph:
    """The capture of a step on a stream. `generator` is registered, so that each replay draws new numbers from it."""

    def __init__(self, stream: torch.cuda.Stream, generator: Generator) -> None:
        self.stream, self.generator = stream, generator

    def __call__(self, run: Callable[[], object]) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.generator)
        try:
            # thread_local: other threads, such as W&B's, may use the device meanwhile.
            with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
                run()
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            # The end of a capture that has failed is an error of its own, which hides the first one.
            cause = error.__context__ if isinstance(error.__context__, RuntimeError) else error
            first = (str(cause).splitlines() or [type(cause).__name__])[0]
            raise RunError(
                f"cuda_graph=true: this step cannot be captured ({first}). Leave out the technique that reads a value"
                " from the GPU, or cuda_graph=true"
            ) from None
        # torch has allocated the state of the generators on the default stream; deterministic=true fills it there.
        self.stream.wait_stream(torch.cuda.default_stream(self.stream.device))
        return graph.replay
