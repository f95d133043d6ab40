"""Trains the epoch that failed again, bit for bit, and looks at every layer in every step of it."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from trainer.diagnosis.case import Divergence
from trainer.errors import RunError
from trainer.layers import titles
from trainer.seams import Seams, join
from trainer.training import ClassificationTrainer

LARGEST = 3.4e38  # in fp32; strict JSON has no infinity


def where_it_began(trainer: ClassificationTrainer) -> Divergence | None:
    """None if the next epoch of this trainer stays finite. The trainer is of no further use.

    Unlike torch's anomaly mode, which names the operation that produced a NaN in the backward pass, this names the
    step before it in which a layer's weights were thrown out of their range.
    """
    watch = _Watch(trainer)
    trainer.watch = watch.until_found
    trainer.seams = join([trainer.seams, watch.seams()])
    try:
        trainer.do_train()
    except RunError:
        pass  # the loss is not finite: that is what is looked for
    finally:
        watch.close()
    return watch.found


class _Watch:
    """Hooks and seams that only look."""

    def __init__(self, trainer: ClassificationTrainer) -> None:
        self.epoch, self.step = trainer.epoch + 1, 0
        leaves = {name: module for name, module in trainer.model.named_modules() if not list(module.children())}
        weights = {name: getattr(module, "weight", None) for name, module in leaves.items()}
        self.weights = {name: weight for name, weight in weights.items() if isinstance(weight, nn.Parameter)}
        self.titles = titles({name: type(module).__name__ for name, module in leaves.items()})
        self.before = self._copies()
        self.thrown: tuple[str, int, float] | None = None
        self.found: Divergence | None = None
        self.hooks = [
            module.register_forward_hook(lambda _module, _inputs, output, name=name: self.output(name, output))
            for name, module in leaves.items()
        ]

    def seams(self) -> Seams:
        return Seams(penalty=self.loss, limit_gradients=self.gradients, after_step=self.update)

    def _copies(self) -> dict[str, Tensor]:
        return {name: weight.detach().clone() for name, weight in self.weights.items()}

    def until_found(self, batches: Iterable[Any], epoch: int, steps: int, done: int) -> Iterator[Any]:
        for batch in batches:
            self.step += 1
            yield batch
            if self.found:
                return

    def output(self, name: str, output: Tensor) -> None:
        if not self.found and not output.isfinite().all():
            self._note(name, outputs=True)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Of outputs that are finite and far apart the loss may be infinite; adds nothing to it."""
        if not self.found and not F.cross_entropy(logits.detach(), labels).isfinite():
            self._note(list(self.titles)[-1], outputs=True)
        return logits.new_zeros(())

    def gradients(self) -> None:
        """Called after the backward pass, which comes to the last layer first."""
        for name, weight in reversed(self.weights.items()):
            if not self.found and weight.grad is not None and not weight.grad.isfinite().all():
                self._note(name, outputs=False)

    def update(self) -> None:
        """Called after the optimizer's step: whose weights it changed by more than their own size."""
        if self.thrown is None and not self.found:
            ratios = {
                name: float((weight.detach() - self.before[name]).norm() / size)
                for name, weight in self.weights.items()
                if (size := self.before[name].norm()) > 0
            }
            worst = max(ratios, key=lambda name: ratios[name], default=None)
            if worst is not None and ratios[worst] > 1:
                self.thrown = (worst, self.step, min(ratios[worst], LARGEST))
            self.before = self._copies()

    def _note(self, name: str, outputs: bool) -> None:
        self.found = Divergence(self.epoch, self.step, self.titles[name], outputs)
        if self.thrown:
            began, step, ratio = self.thrown
            self.found = replace(self.found, began=self.titles[began], began_step=step, ratio=ratio)

    def close(self) -> None:
        for hook in self.hooks:
            hook.remove()
