"""The loop: `ClassificationTrainer` trains, validates, stops early and can be saved after any step."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from trainer.data.loader import DeviceLoader
from trainer.errors import RunError
from trainer.techniques.hooks import StepHooks
from trainer.training.determinism import deterministic_mode
from trainer.training.early_stopping import EarlyStopping
from trainer.training.epoch import EpochProgress, EpochReport
from trainer.training.lr_schedule import Schedule
from trainer.training.nonfinite import Guard, OnNonFinite, raise_if_nonfinite

Precision = Literal["fp32", "bf16", "fp16"]
HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}
Watch = Callable[[Iterable[Any], int, int, int], Iterable[Any]]


def unwatched(batches: Iterable[Any], epoch: int, steps: int, done: int) -> Iterable[Any]:
    """No progress display."""
    return batches


def never() -> bool:
    """No pause within an epoch."""
    return False


@dataclass(frozen=True)
class TrainerOptions:
    """The settings of a `ClassificationTrainer` besides its network, optimizer, schedule and data.

    `hooks`: the techniques that act on a step. `watch` wraps the batches of an epoch for a progress display, as in
    `watch(batches, epoch, steps, done)`. `validate_every` counts epochs.
    """

    epochs: int
    seed: int
    hooks: StepHooks = field(default_factory=StepHooks)
    validate_every: int = 1
    early_stopping: EarlyStopping = field(default_factory=lambda: EarlyStopping(None, 0.0))
    precision: Precision = "fp32"
    deterministic: bool = False
    on_nonfinite: OnNonFinite = "stop"
    watch: Watch = unwatched


class ClassificationTrainer:
    """Train `model` on images that lie on the device; each technique acts through `options.hooks`.

    Without `validation` no best epoch is chosen: training goes to the last epoch, which is the one to keep.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        schedule: Schedule,
        train: DeviceLoader,
        validation: DeviceLoader | None,
        options: TrainerOptions,
    ) -> None:
        self.model, self.optimizer, self.schedule = model, optimizer, schedule
        self.train, self.validation = train, validation
        self.epochs, self.seed, self.validate_every = options.epochs, options.seed, options.validate_every
        self.hooks, self.early_stopping = options.hooks, options.early_stopping
        self.deterministic, self.watch, precision = options.deterministic, options.watch, options.precision
        self.device = train.labels.device
        self.autocast = torch.autocast(self.device.type, HALF.get(precision), enabled=precision in HALF)
        # Half-precision gradients vanish below 6e-8: scaled up before the backward pass, down again after it.
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "fp16")
        halve, fp16 = options.on_nonfinite == "halve_lr", self.scaler.is_enabled()
        self.guard = None if options.on_nonfinite == "stop" else Guard(model, schedule, halve, gradients=not fp16)
        self.epoch = 0  # epochs completed
        # Of the last validation: [K, K] counts, a row for each true class and a column for each predicted one.
        count = len(train.images.classes)
        self.confusion = torch.zeros(count, count, dtype=torch.long, device=self.device)
        self.progress: EpochProgress | None = None  # of the next one

    def train_loop(self, pause: Callable[[], bool] = never) -> Iterator[EpochReport | None]:
        """One report an epoch, until `epochs` are done or early stopping has seen enough.

        `pause` is asked after every step. Where it says so, None comes in between: a moment to save the state.
        """
        while not self.finished:
            trained = self.do_train(pause)
            assert self.progress
            if trained is None:
                yield None
                continue
            (train_loss, train_accuracy), progress = trained, self.progress
            started = time.perf_counter()
            self.epoch, self.progress = self.epoch + 1, None
            loss, accuracy, improved = None, None, False
            due = self.epoch % self.validate_every == 0 or self.epoch == self.epochs
            if self.validation is not None and due:
                loss, accuracy = self.do_validation()
                self.schedule.observe(loss)
                improved = self.early_stopping.observe(self.epoch, loss, accuracy)
            yield EpochReport(
                epoch=self.epoch,
                train_loss=train_loss,
                train_accuracy=train_accuracy,
                validation_loss=loss,
                validation_accuracy=accuracy,
                lr=progress.lr,
                epoch_seconds=progress.seconds + time.perf_counter() - started,
                images_per_second=len(self.train.labels) / progress.seconds,
                improved=improved,
                skipped_steps=progress.skipped_steps,
            )

    def do_train(self, pause: Callable[[], bool] = never) -> tuple[float, float] | None:
        """One epoch over the training images: (loss, accuracy), means over them as they were trained on.

        None where `pause` has stopped it after a step: called again, it goes on there. Raises NonFiniteError
        naming the step if a loss is not finite.
        """
        self.model.train()
        hooks, guard, progress = self.hooks, self.guard, self._begin()
        batches = self.train.batches(self.seed, self.epoch, progress.step)
        with deterministic_mode(self.deterministic):
            for images, labels in self.watch(batches, self.epoch + 1, len(self.train), progress.step):
                if guard:
                    guard.remember()
                if hooks.augment:
                    images, labels = hooks.augment(images, labels, progress.draw)
                self.optimizer.zero_grad()
                with self.autocast:
                    logits = self.model(images)
                logits = logits.float()
                data_loss = F.cross_entropy(logits, labels)
                loss = data_loss + hooks.penalty(logits, labels) if hooks.penalty else data_loss
                self.scaler.scale(loss).backward()
                if hooks.limit_gradients or guard:
                    self.scaler.unscale_(self.optimizer)
                if guard and guard.should_skip(loss):
                    progress.skipped_steps += 1
                else:
                    if hooks.limit_gradients:
                        hooks.limit_gradients()
                    self.scaler.step(self.optimizer)
                    if hooks.after_step:
                        hooks.after_step()
                    progress.losses[progress.step] = data_loss.detach() * len(labels)
                    progress.correct += _correct(logits.detach(), labels)
                    progress.images += len(labels)
                self.scaler.update()
                self.schedule.step()
                progress.step += 1
                if pause():
                    self._raise_if_nonfinite(progress)
                    progress.rest()
                    return None
        self._raise_if_nonfinite(progress)
        if not progress.images:
            raise RunError(f"every step of epoch {self.epoch + 1} was left out: no loss or gradient was finite")
        progress.rest(complete=True)
        return progress.losses.sum().item() / progress.images, progress.correct.item() / progress.images

    @torch.inference_mode()
    def do_validation(self) -> tuple[float, float]:
        """(loss, accuracy) over all validation images, without augmentation, in evaluation mode.

        `confusion` holds afterwards what was taken for what.
        """
        assert self.validation is not None
        model = self.evaluated.eval()
        loss = torch.zeros((), device=self.device)
        self.confusion.zero_()
        classes, pairs = len(self.confusion), self.confusion.view(-1)
        with deterministic_mode(self.deterministic):
            for images, labels in self.validation.in_order():
                with self.autocast:
                    logits = model(images).float()
                loss += F.cross_entropy(logits, labels, reduction="sum")
                pairs.index_add_(0, labels * classes + logits.argmax(1), torch.ones_like(labels))
        count = len(self.validation.labels)
        return loss.item() / count, self.confusion.trace().item() / count

    def _begin(self) -> EpochProgress:
        if self.progress is None or self.progress.complete:
            self.progress = EpochProgress(self.seed, self.epoch, len(self.train), self.schedule.lr, self.device)
        self.progress.begin()
        return self.progress

    def _raise_if_nonfinite(self, progress: EpochProgress) -> None:
        losses = progress.losses[: progress.step]
        raise_if_nonfinite(losses, self.model, self.epoch + 1, len(progress.losses), self.schedule.lr)

    def release(self) -> None:
        """Free the network and the optimizer, whose memory a second one needs. The trainer is of no further use."""
        del self.model, self.optimizer, self.schedule, self.hooks, self.guard, self.progress

    @property
    def finished(self) -> bool:
        return self.epoch >= self.epochs or self.early_stopping.exhausted

    @property
    def parameters(self) -> int:
        """How many numbers are trained."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    @property
    def evaluated(self) -> nn.Module:
        """The model that is validated and kept: the trained one, or its average under `regularization=ema`."""
        return self.model if self.hooks.evaluated is None else self.hooks.evaluated

    def state_dict(self) -> dict[str, Any]:
        """Everything with memory, after an epoch or a pause within one. Other generators are derived anew."""
        return {
            "epoch": self.epoch,
            "progress": self.progress and self.progress.state_dict(),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
            "hooks": {name: part.state_dict() for name, part in self.hooks.state.items()},
            "early_stopping": self.early_stopping.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch, self.progress = state["epoch"], None
        if state["progress"]:
            self.progress = EpochProgress(self.seed, self.epoch, len(self.train), 0.0, self.device)
            self.progress.load_state_dict(state["progress"])
        self.model.load_state_dict(state["model"])
        for own, given in zip(self.optimizer.param_groups, state["optimizer"]["param_groups"], strict=True):
            # Kept as they are here, where torch would take the file's: how a step is computed, and switches that are
            # off, which is None in some versions of torch and False in others; a fused step fails at the other one.
            kept = [key for key, value in own.items() if key == "fused" or value is None or value is False]
            given.update({key: own[key] for key in kept})
        self.optimizer.load_state_dict(state["optimizer"])
        _order_axes(self.optimizer)
        self.schedule.load_state_dict(state["schedule"])
        if state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        for name, part in self.hooks.state.items():
            part.load_state_dict(state["hooks"][name])
        self.early_stopping.load_state_dict(state["early_stopping"])


def _order_axes(optimizer: Optimizer) -> None:
    """Lay the memory of each parameter out as the parameter itself: a checkpoint does not keep the order of the axes,
    and a fused step reads both in the order in which they lie in memory."""
    for parameter, memory in optimizer.state.items():
        for name, value in memory.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                memory[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _correct(logits: Tensor, labels: Tensor) -> Tensor:
    """How many are right; for mixed labels [N, K] the share that the predicted class has in each image."""
    predicted = logits.argmax(1)
    if labels.ndim == 1:
        return (predicted == labels).sum()
    return labels.gather(1, predicted[:, None]).sum()
