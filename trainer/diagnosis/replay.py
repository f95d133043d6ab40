"""Trains the epoch that failed again, bit for bit, and looks at every layer in every step of it."""

import contextlib
from collections.abc import Callable

from torch import Tensor

from trainer.diagnosis.inputs import Divergence
from trainer.errors import RunError
from trainer.techniques.layer_names import layer_titles
from trainer.training.trainer import ClassificationTrainer

LARGEST = 3.4e38  # in fp32; strict JSON has no infinity


def find_first_nonfinite(trainer: ClassificationTrainer) -> Divergence | None:
    """None if what is left of this trainer's epoch stays finite. The trainer is of no further use.

    Unlike torch's anomaly mode, which names the operation that produced a NaN in the backward pass, this also names
    the step before it in which a layer's weights were thrown out of their range.
    """
    epoch, microscope = trainer.epoch + 1, _Microscope(trainer)
    try:
        with contextlib.suppress(RunError):  # the loss is not finite: that is what is looked for
            trainer.do_train(microscope.pause)
    finally:
        microscope.close()
    if microscope.found is None or trainer.progress is None:
        return None
    return Divergence(epoch, trainer.progress.step, microscope.found, *(microscope.thrown or ()))


class _Microscope:
    """Hooks that only look. `found`: the first value that is not finite; `thrown`: (layer, step, ratio) of the first
    weights that a step changed by more than their own size."""

    def __init__(self, trainer: ClassificationTrainer) -> None:
        self.trainer = trainer
        self.found: str | None = None
        self.thrown: tuple[str, int, float] | None = None
        leaves = {name: layer for name, layer in trainer.model.named_modules() if not list(layer.children())}
        self.titles = layer_titles({name: type(layer).__name__ for name, layer in leaves.items()})
        self.weights = dict(trainer.model.named_parameters())
        self.before = self._copies()
        self.hooks = [
            layer.register_forward_hook(
                lambda _layer, _inputs, output, name=name: self._note(f"the output of {self.titles[name]}", output)
            )
            for name, layer in leaves.items()
        ]
        # In fp16 gradients may overflow: the scaler leaves such a step out.
        self.hooks += [
            weight.register_post_accumulate_grad_hook(self._gradient(name))
            for name, weight in self.weights.items()
            if not trainer.scaler.is_enabled()
        ]

    def pause(self) -> bool:
        """After a step: whether there is something to tell."""
        progress = self.trainer.progress
        assert progress is not None
        self._note("the loss", progress.losses[progress.step - 1])
        for name, weight in self.weights.items():
            self._note(f"{self._title(name)} after the update", weight)
        if self.thrown is None and not self.found:
            ratios = {
                name: float((weight.detach() - self.before[name]).norm() / size)
                for name, weight in self.weights.items()
                if name.endswith("weight") and (size := self.before[name].norm()) > 0
            }
            worst = max(ratios, key=lambda name: ratios[name], default=None)
            if worst is not None and ratios[worst] > 1:
                layer = worst.rpartition(".")[0]
                self.thrown = (self.titles.get(layer, layer), progress.step, min(ratios[worst], LARGEST))
            self.before = self._copies()
        return self.found is not None

    def close(self) -> None:
        for hook in self.hooks:
            hook.remove()

    def _copies(self) -> dict[str, Tensor]:
        return {name: weight.detach().clone() for name, weight in self.weights.items()}

    def _gradient(self, name: str) -> Callable[[Tensor], None]:
        return lambda weight: self._note(f"the gradient of {self._title(name)}", weight.grad)

    def _title(self, parameter: str) -> str:
        """ "the weight of convolution 2 of 6"."""
        layer, _, name = parameter.rpartition(".")
        return f"the {name} of {self.titles.get(layer, layer)}"

    def _note(self, what: str, values: object) -> None:
        if self.found is None and isinstance(values, Tensor) and not values.detach().isfinite().all():
            self.found = what
