"""The loop: `ClassificationTrainer` trains, validates, stops early and can be saved after any epoch."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from trainer.data.resident import Resident
from trainer.epoch import EpochReport
from trainer.errors import RunError
from trainer.randomness import derive, generator
from trainer.schedule import Schedule
from trainer.seams import Seams

Precision = Literal["fp32", "bf16", "fp16"]
HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}
Watch = Callable[[Iterable[Any], int, int], Iterable[Any]]


def unwatched(batches: Iterable[Any], epoch: int, steps: int) -> Iterable[Any]:
    """No progress display."""
    return batches


class EarlyStopping:
    """Counts validations without progress: those not below the last reference loss by more than `min_delta`.

    The lowest loss of all is kept apart, so that a small improvement is saved though it does not count as
    progress. A NaN is never an improvement. With `patience` None it only keeps the best.
    """

    def __init__(self, patience: int | None, min_delta: float) -> None:
        self.patience, self.min_delta = patience, min_delta
        self.best_loss, self.best_epoch, self.best_accuracy = math.inf, 0, math.nan
        self.reference, self.waited = math.inf, 0

    def observe(self, epoch: int, loss: float, accuracy: float) -> bool:
        """Whether this is the best so far. The first validation always is, so that there is a best to keep."""
        self.waited += 1
        if loss < self.reference - self.min_delta:
            self.reference, self.waited = loss, 0
        if loss < self.best_loss or self.best_epoch == 0:
            # A NaN here would be undercut by nothing: whatever comes next counts as better.
            self.best_loss = math.inf if math.isnan(loss) else loss
            self.best_epoch, self.best_accuracy = epoch, accuracy
            return True
        return False

    @property
    def exhausted(self) -> bool:
        return self.patience is not None and self.waited >= self.patience

    def state_dict(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key not in ("patience", "min_delta")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        vars(self).update(state)


class ClassificationTrainer:
    """Trains `model` on resident images; what each technique adds comes in through `seams`.

    `watch` wraps the batches of an epoch for a progress display, as in `watch(batches, epoch, steps)`. Without
    `validation` nothing is chosen: it trains to the last epoch, which is the one to keep.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        schedule: Schedule,
        train: Resident,
        validation: Resident | None,
        *,
        epochs: int,
        seed: int,
        seams: Seams | None = None,
        validate_every: int = 1,
        early_stopping: EarlyStopping | None = None,
        precision: Precision = "fp32",
        watch: Watch = unwatched,
    ) -> None:
        self.model, self.optimizer, self.schedule = model, optimizer, schedule
        self.train, self.validation = train, validation
        self.epochs, self.seed, self.validate_every = epochs, seed, validate_every
        self.seams = seams or Seams()
        self.early_stopping = early_stopping or EarlyStopping(None, 0.0)
        self.watch = watch
        self.device = train.labels.device
        self.autocast = torch.autocast(self.device.type, HALF.get(precision), enabled=precision in HALF)
        # Half-precision gradients vanish below 6e-8: scaled up before the backward pass, down again after it.
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "fp16")
        self.epoch = 0  # epochs completed
        # Of the last validation: [K, K] counts, a row for each true class and a column for each predicted one.
        count = len(train.images.classes)
        self.confusion = torch.zeros(count, count, dtype=torch.long, device=self.device)

    def train_loop(self) -> Iterator[EpochReport]:
        """One report an epoch, until `epochs` are done or early stopping has seen enough."""
        while not self.finished:
            started, lr = time.perf_counter(), self.schedule.lr
            train_loss, train_accuracy = self.do_train()
            seconds = time.perf_counter() - started
            self.epoch += 1
            loss, accuracy, improved = None, None, False
            due = self.epoch % self.validate_every == 0 or self.epoch == self.epochs
            if self.validation is not None and due:
                loss, accuracy = self.do_validation()
                self.schedule.observe(loss)
                improved = self.early_stopping.observe(self.epoch, loss, accuracy)
            whole = time.perf_counter() - started
            speed = len(self.train.labels) / seconds
            yield EpochReport(self.epoch, train_loss, train_accuracy, loss, accuracy, lr, whole, speed, improved)

    def do_train(self) -> tuple[float, float]:
        """One epoch over the training images: (loss, accuracy), means over them as they were trained on.

        Raises RunError naming the step if the loss is not finite.
        """
        self.model.train()
        torch.manual_seed(derive(self.seed, "dropout", self.epoch))  # dropout draws from torch's own generator
        draw = generator(self.seed, "augmentation", self.epoch, self.device)
        seams, steps = self.seams, len(self.train)
        losses = torch.zeros(steps, device=self.device)  # read once an epoch: no waiting for the device per step
        correct = torch.zeros((), device=self.device)
        batches = self.watch(self.train.batches(self.seed, self.epoch), self.epoch + 1, steps)
        for step, (images, labels) in enumerate(batches):
            if seams.augment:
                images, labels = seams.augment(images, labels, draw)
            with self.autocast:
                logits = self.model(images)
            logits = logits.float()
            data_loss = F.cross_entropy(logits, labels)
            loss = data_loss + seams.penalty(logits, labels) if seams.penalty else data_loss
            self.optimizer.zero_grad()
            self.scaler.scale(loss).backward()
            if seams.limit_gradients:
                self.scaler.unscale_(self.optimizer)
                seams.limit_gradients()
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.schedule.step()
            if seams.after_step:
                seams.after_step()
            losses[step] = data_loss.detach() * len(labels)
            correct += _correct(logits.detach(), labels)
        self._refuse_non_finite(losses)
        count = len(self.train.labels)
        return losses.sum().item() / count, correct.item() / count

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
        for images, labels in self.validation.in_order():
            with self.autocast:
                logits = model(images).float()
            loss += F.cross_entropy(logits, labels, reduction="sum")
            pairs.index_add_(0, labels * classes + logits.argmax(1), torch.ones_like(labels))
        count = len(self.validation.labels)
        return loss.item() / count, self.confusion.trace().item() / count

    def _refuse_non_finite(self, losses: Tensor) -> None:
        bad = (~losses.isfinite()).nonzero()
        if len(bad):
            step = int(bad[0])
            where = f"epoch {self.epoch + 1}, step {step + 1} of {len(losses)}"
            raise RunError(
                f"the training loss is {losses[step].item()} in {where}"
                f" (learning rate about {self.schedule.lr:.3g}). A smaller lr or regularization=gradient_clipping"
                " usually helps"
            )

    @property
    def finished(self) -> bool:
        return self.epoch >= self.epochs or self.early_stopping.exhausted

    @property
    def evaluated(self) -> nn.Module:
        """The model that is validated and kept: the trained one, or its average under `regularization=ema`."""
        return self.model if self.seams.evaluated is None else self.seams.evaluated

    def state_dict(self) -> dict[str, Any]:
        """Everything with memory, after a completed epoch. Generators are not in it: they are derived anew."""
        return {
            "epoch": self.epoch,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
            "seams": {name: part.state_dict() for name, part in self.seams.state.items()},
            "early_stopping": self.early_stopping.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch = state["epoch"]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        if state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        for name, part in self.seams.state.items():
            part.load_state_dict(state["seams"][name])
        self.early_stopping.load_state_dict(state["early_stopping"])


def _correct(logits: Tensor, labels: Tensor) -> Tensor:
    """How many are right; for mixed labels [N, K] the share that the predicted class has in each image."""
    predicted = logits.argmax(1)
    if labels.ndim == 1:
        return (predicted == labels).sum()
    return labels.gather(1, predicted[:, None]).sum()
