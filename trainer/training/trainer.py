"""The training loop. Read `do_train` first, which trains one epoch, then `do_validation` and `train_loop`."""

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from trainer.data.loader import DeviceLoader
from trainer.errors import RunError
from trainer.techniques.loss import cross_entropy
from trainer.training.batch_statistics import BATCHES, measure_statistics
from trainer.training.closure_step import step_with_closure
from trainer.training.determinism import deterministic_mode
from trainer.training.epoch import EpochProgress, EpochReport, Meters
from trainer.training.graphed_step import GraphedStep
from trainer.training.lr_schedule import Schedule
from trainer.training.measures import correct
from trainer.training.nonfinite import Guard, raise_if_nonfinite
from trainer.training.optimizer_state import load_state, needs_closure, portable_state, set_mode
from trainer.training.options import TrainerOptions
from trainer.training.validation import Validator

HALF_PRECISION = {"bf16": torch.bfloat16, "fp16": torch.float16}


def never() -> bool:
    """Return False: no pause within an epoch."""
    return False


class ClassificationTrainer:
    """A classifier, its training data and the state of its training, which can be saved after any step.

    The network and all images lie on one device. A technique is one of the parts passed in (network, optimizer,
    schedule) or acts on a step through one of four hooks, `options.hooks`. Without `validation` no best epoch is
    chosen: the network of the last epoch is kept.
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
        self.loss, self.other_loss = options.loss or cross_entropy, options.loss is not None
        self.deterministic, self.watch, precision = options.deterministic, options.watch, options.precision
        self.build_optimizer, self.takes_closure = options.build_optimizer, needs_closure(optimizer)
        self.device = train.labels.device
        self.autocast = torch.autocast(
            self.device.type, HALF_PRECISION.get(precision), enabled=precision in HALF_PRECISION
        )
        # In fp16 a gradient below 6e-8 becomes 0. The scaler multiplies the loss by a large factor before the backward
        # pass and divides the gradients by it afterwards. In fp32 and bf16 it does nothing.
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "fp16")
        halve, fp16 = options.on_nonfinite == "halve_lr", self.scaler.is_enabled()
        self.guard = None if options.on_nonfinite == "stop" else Guard(model, schedule, halve, gradients=not fp16)
        self.epoch = 0  # epochs completed
        self.progress: EpochProgress | None = None  # of the epoch being trained
        self.meters = Meters(len(train), self.device, self.other_loss)
        self.generator = torch.Generator(self.device)
        # None: every step is eager.
        self.graph = GraphedStep(train.batch_size, self.generator) if options.cuda_graph else None
        self.validator = None if validation is None else Validator(validation, options, self.autocast)

    def train_loop(self, pause: Callable[[], bool] = never) -> Iterator[EpochReport | None]:
        """Train and validate until `epochs` are done or early stopping ends the run; yield a report after each epoch.

        `pause` is called after every step. When it returns true, None is yielded before the next step, so that the
        caller can save the state.
        """
        while not self.finished:
            trained = self.do_train(pause)
            assert self.progress  # set by do_train
            if trained is None:  # paused within the epoch
                yield None
                continue
            (train_loss, train_accuracy), progress = trained, self.progress
            further, started = self.meters.further(progress.images), time.perf_counter()
            self.epoch, self.progress = self.epoch + 1, None
            loss, accuracy, improved = None, None, False
            due = self.epoch % self.validate_every == 0 or self.epoch == self.epochs
            unseen = self.hooks.after_epoch(self.epoch, self.epochs) if self.hooks.after_epoch else False
            if due or self.validation is None:  # without validation each epoch is kept as the best
                self._take_evaluated_weights(unseen)
            if self.validator and due:
                loss, accuracy = self.do_validation()
                further |= self.validator.measured
                self.schedule.observe(loss)  # the plateau schedule lowers the rate when the loss stays
                improved = self.early_stopping.observe(self.epoch, loss, accuracy)
                self.validator.keep(improved)
            yield EpochReport(
                epoch=self.epoch,
                train_loss=train_loss,
                train_accuracy=train_accuracy,
                validation_loss=loss,
                validation_accuracy=accuracy,
                lr=progress.lr,
                epoch_seconds=progress.seconds + time.perf_counter() - started,
                images_per_second=len(self.train.labels) / progress.seconds,  # of training, without validation
                improved=improved,
                skipped_steps=progress.skipped_steps,
                gradients=self.meters.gradients if self.takes_closure else None,
                further=further,
                halves=self.validator.halves if self.validator and due else (),
            )

    def do_train(self, pause: Callable[[], bool] = never) -> tuple[float, float] | None:
        """Train one epoch; return (loss, accuracy), means over its images as they were augmented.

        Return None if `pause` has returned true after a step; the next call continues from there. Raises NonFiniteError
        with the number of the step if a loss is not finite.
        """
        self.model.train()
        step = partial(self.graph, self.train_step) if self.graph else self.train_step
        with deterministic_mode(self.deterministic), self.graph.on_stream() if self.graph else nullcontext():
            progress = self._begin()
            batches = self.train.positions(self.seed, self.epoch, progress.step)
            for positions in self.watch(batches, self.epoch + 1, len(self.train), progress.step):
                if step(positions):
                    progress.images += len(positions)
                else:
                    progress.skipped_steps += 1
                self.schedule.step()  # per step, not per epoch; a skipped step counts as well
                progress.step += 1
                if pause():
                    self._raise_if_nonfinite(progress)
                    progress.suspend()
                    return None
            self._raise_if_nonfinite(progress)
            if not progress.images:
                raise RunError(f"every step of epoch {self.epoch + 1} was skipped: no loss or gradient was finite")
            progress.suspend(complete=True)
            return self.meters.losses.sum().item() / progress.images, self.meters.correct.item() / progress.images

    def train_step(self, positions: Tensor) -> bool:
        """Train on the images at these positions [B]; return False if the step was skipped (`on_nonfinite`).

        The four hooks, each of which may be None, are where augmentation, regularization and averaging act. Nothing but
        `guard` reads a value from the device: that would make every step wait for the GPU, and a CUDA graph cannot.
        """
        hooks, guard = self.hooks, self.guard
        images, labels = self.train.at(positions)
        if guard:
            guard.remember()
        if hooks.augment:  # hook 1: flip, crop, mixup, ...
            images, labels = hooks.augment(images, labels, self.generator)
        if self.takes_closure:
            again = partial(self.differentiate, images, labels)
            logits, data_loss, passes = step_with_closure(self.optimizer, again, hooks.limit_gradients)
            self.meters.gradients += passes
            trained = True
        else:
            logits, data_loss, loss = self.differentiate(images, labels)
            if hooks.limit_gradients or guard:  # both need the true gradients; else scaler.step unscales them
                self.scaler.unscale_(self.optimizer)
            trained = not (guard and guard.should_skip(loss))
            if trained and hooks.limit_gradients:  # hook 3: gradient clipping
                hooks.limit_gradients()
            if trained:
                self.scaler.step(self.optimizer)  # skipped by the scaler itself if fp16 gradients overflow
        if trained:
            if hooks.after_step:  # hook 4: weight constraints, averages of the weights
                hooks.after_step()
            self.meters.add(data_loss.detach() * len(labels), correct(logits.detach(), labels))
            if self.other_loss:
                self.meters.add_cross_entropy(F.cross_entropy(logits.detach(), labels) * len(labels))
        else:
            self.meters.skip()
        self.scaler.update()
        return trained

    def differentiate(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the gradients of a batch; return (logits, reported loss, differentiated loss).

        In fp16 the gradients are scaled.
        """
        self.optimizer.zero_grad()
        with self.autocast:
            logits = self.model(images)
        logits = logits.float()  # the softmax of half-precision logits would lose digits
        loss = data_loss = self.loss(logits, labels)
        # Hook 2: L1, L2, auxiliary losses. They are differentiated; the reported loss is without them.
        if penalty := self.hooks.penalty:
            with self.autocast if self.hooks.penalty_runs_network else nullcontext():
                loss = data_loss + penalty(logits, labels)
        self.scaler.scale(loss).backward()
        return logits, data_loss, loss

    def do_validation(self) -> tuple[float, float]:
        """Validate in evaluation mode, without augmentation; return (loss, accuracy) over all validation images.

        `validator` then holds what else was measured: the confusion matrix, the metrics, and both halves of the images.
        """
        assert self.validator
        with deterministic_mode(self.deterministic):
            return self.validator.run(self.evaluated.eval())

    def _take_evaluated_weights(self, unseen: bool) -> None:
        """Let an optimizer set the weights that it evaluates; measure the statistics of such, or other unseen ones."""
        if set_mode(self.optimizer, training=False) or unseen:
            positions = islice(self.train.positions(self.seed, self.epoch), BATCHES)
            with deterministic_mode(self.deterministic), self.autocast:
                measure_statistics(self.evaluated, (self.train.at(each)[0] for each in positions))

    def _begin(self) -> EpochProgress:
        if self.progress is None or self.progress.complete:
            set_mode(self.optimizer, training=True)
            self.progress = EpochProgress(self.seed, self.epoch, self.schedule.lr, self.meters, self.generator)
        self.progress.begin()
        return self.progress

    def _raise_if_nonfinite(self, progress: EpochProgress) -> None:
        losses = self.meters.losses[: progress.step]
        raise_if_nonfinite(losses, self.model, self.epoch + 1, len(self.train), self.schedule.lr)

    def release(self) -> None:
        """Free the network and the optimizer, whose memory a second one needs. The trainer is of no further use."""
        del self.model, self.optimizer, self.schedule, self.hooks, self.guard, self.progress, self.graph

    @property
    def finished(self) -> bool:
        """True when no epoch is left to train."""
        return self.epoch >= self.epochs or self.early_stopping.exhausted

    @property
    def parameters(self) -> int:
        """The number of trained parameters."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    @property
    def evaluated(self) -> nn.Module:
        """The model that is validated and kept: the trained one, or a technique's in its place, such as an average."""
        return self.model if self.hooks.evaluated is None else self.hooks.evaluated

    def state_dict(self) -> dict[str, Any]:
        """Return all state after an epoch or a pause within one. Generators of other epochs are derived from seeds."""
        return {
            "epoch": self.epoch,
            "progress": self.progress and self.progress.state_dict(),
            "model": self.model.state_dict(),
            "optimizer": portable_state(self.optimizer),
            "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
            "hooks": {name: part.state_dict() for name, part in self.hooks.state.items()},
            "early_stopping": self.early_stopping.state_dict(),
            **({"hits": self.validator.hits.state_dict()} if self.validator else {}),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state, which `resume_check.refuse_misfit` has compared with this trainer."""
        self.epoch, self.progress = state["epoch"], None
        if state["progress"]:
            self.progress = EpochProgress(self.seed, self.epoch, 0.0, self.meters, self.generator)
            self.progress.load_state_dict(state["progress"])
        self.model.load_state_dict(state["model"])
        load_state(self.optimizer, state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        if state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        for name, part in self.hooks.state.items():
            part.load_state_dict(state["hooks"][name])
        self.early_stopping.load_state_dict(state["early_stopping"])
        if self.validator:
            self.validator.hits.load_state_dict(state.get("hits"))
