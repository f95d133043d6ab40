"""The replay of a failed epoch, bit for bit, with a check of every layer in every step."""

import contextlib
from collections.abc import Callable

from torch import Tensor

from trainer.diagnosis.inputs import Divergence
from trainer.errors import RunError
from trainer.techniques.layer_names import layer_titles
from trainer.training.trainer import ClassificationTrainer

MAX_RATIO = 3.4e38  # the largest fp32 number; strict JSON has no infinity


def find_first_nonfinite(trainer: ClassificationTrainer) -> Divergence | None:
    """Train the rest of the epoch; return the first value that is not finite, or None. The trainer is used up.

    torch's anomaly mode names the operation that produced a NaN in the backward pass; this also names the step before
    it that changed the weights of a layer by more than their own size.
    """
    epoch, microscope = trainer.epoch + 1, _Microscope(trainer)
    try:
        with contextlib.suppress(RunError):  # raised for a loss that is not finite, which is expected here
            trainer.do_train(microscope.pause)
    finally:
        microscope.close()
    if microscope.first is None or trainer.progress is None:
        return None
    return Divergence(epoch, trainer.progress.step, microscope.first, *(microscope.jump or ()))


class _Microscope:
    """Hooks that check values and change none.

    `first`: name of the first value that is not finite; `jump`: (layer, step, ratio) of the first weights that a step
    changed by more than their own size.
    """

    def __init__(self, trainer: ClassificationTrainer) -> None:
        self.trainer = trainer
        self.first: str | None = None
        self.jump: tuple[str, int, float] | None = None
        leaves = {name: layer for name, layer in trainer.model.named_modules() if not list(layer.children())}
        self.titles = layer_titles({name: type(layer).__name__ for name, layer in leaves.items()})
        self.weights = dict(trainer.model.named_parameters())
        self.before = self._copies()  # of the weights, before the step that comes next
        self.hooks = [
            layer.register_forward_hook(
                lambda _layer, _inputs, output, name=name: self._note(f"the output of {self.titles[name]}", output)
            )
            for name, layer in leaves.items()
        ]
        # Not in fp16, where gradients may overflow: the gradient scaler skips such a step.
        self.hooks += [
            weight.register_post_accumulate_grad_hook(self._gradient(name))
            for name, weight in self.weights.items()
            if not trainer.scaler.is_enabled()
        ]

    def pause(self) -> bool:
        """Check loss and weights after a step; return True once a value is not finite, which ends the epoch."""
        progress = self.trainer.progress
        assert progress is not None
        self._note("the loss", progress.meters.losses[progress.step - 1])
        for name, weight in self.weights.items():
            self._note(f"{self._title(name)} after the update", weight)
        if self.jump is None and not self.first:
            # Not of biases, which are often near zero: any step is large beside that.
            ratios = {
                name: float((weight.detach() - self.before[name]).norm() / size)
                for name, weight in self.weights.items()
                if name.endswith("weight") and (size := self.before[name].norm()) > 0
            }
            worst = max(ratios, key=lambda name: ratios[name], default=None)
            if worst is not None and ratios[worst] > 1:
                layer = worst.rpartition(".")[0]
                self.jump = (self.titles.get(layer, layer), progress.step, min(ratios[worst], MAX_RATIO))
            self.before = self._copies()
        return self.first is not None

    def close(self) -> None:
        """Remove the hooks."""
        for hook in self.hooks:
            hook.remove()

    def _copies(self) -> dict[str, Tensor]:
        return {name: weight.detach().clone() for name, weight in self.weights.items()}

    def _gradient(self, name: str) -> Callable[[Tensor], None]:
        return lambda weight: self._note(f"the gradient of {self._title(name)}", weight.grad)

    def _title(self, parameter: str) -> str:
        """Return a readable name of a parameter: "the weight of convolution 2 of 6"."""
        layer, _, name = parameter.rpartition(".")
        return f"the {name} of {self.titles.get(layer, layer)}"

    def _note(self, what: str, values: object) -> None:
        if self.first is None and isinstance(values, Tensor) and not values.detach().isfinite().all():
            self.first = what
