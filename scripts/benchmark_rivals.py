"""The contenders of scripts/benchmark.py, one process each: the same network, images, split and batch size.

Each trains the lecture's CNN with Adam at 0.001 and validates after every epoch. It reports the time of its first step,
the duration of each epoch including validation and logging, the last validation accuracy and its peak memory.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any


class Task:
    """The settings of one contender and its stopwatch: `stamp` at the first step and at the end of every epoch."""

    def __init__(self, arguments: argparse.Namespace, overrides: list[str]) -> None:
        self.data, self.data_dir = Path(arguments.data), arguments.data_dir
        self.batch_size, self.epochs, self.augment = arguments.batch_size, arguments.epochs, arguments.augment
        self.overrides = overrides  # for the trainer
        self.stamps: list[float] = []
        self.accuracy = float("nan")

    def stamp(self) -> None:
        self.stamps.append(time.time())

    def arrays(self) -> dict[str, Any]:
        """Return images uint8 [N, C, H, W] and labels int64 [N] of both parts, and statistics of the training part."""
        import numpy as np

        with np.load(self.data) as stored:
            return dict(stored)


def lecture_cnn() -> Any:
    from torch import nn

    return nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 6, 5), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(6, 16, 5), nn.MaxPool2d(2), nn.ReLU()),
        nn.Sequential(nn.Flatten(), nn.Linear(400, 128), nn.ReLU(), nn.Linear(128, 10)),
    )


def device() -> Any:
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def floor(task: Task) -> None:
    """A plain loop over normalized float tensors in memory: nothing augmented, logged or saved."""
    import torch

    stored = task.arrays()
    mean, std = (torch.from_numpy(stored[key]).view(-1, 1, 1) for key in ("mean", "std"))
    parts = {
        part: (
            torch.from_numpy(stored[f"{part}_pixels"]).float().div_(255).sub_(mean).div_(std).to(device()),
            torch.from_numpy(stored[f"{part}_labels"]).to(device()),
        )
        for part in ("train", "validation")
    }
    del stored
    images, labels = parts["train"]

    def training() -> Iterator[Any]:
        for chosen in torch.randperm(len(labels), device=device()).split(task.batch_size):
            yield images[chosen], labels[chosen]

    _plain_loop(
        task, training, lambda: zip(*(part.split(task.batch_size) for part in parts["validation"]), strict=True)
    )


def _plain_loop(task: Task, training: Callable[[], Any], validation: Callable[[], Any]) -> None:
    """Train by a plain loop. `training` and `validation` yield the (images, labels) of an epoch on the device."""
    import torch
    from torch.nn import functional as F

    model = lecture_cnn().to(device())
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    task.stamp()
    for _ in range(task.epochs):
        model.train()
        for images, labels in training():
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()
        model.eval()
        with torch.inference_mode():
            right = [(model(images).argmax(1) == labels) for images, labels in validation()]
        task.accuracy = float(torch.cat(right).float().mean())
        task.stamp()


def trainer(task: Task) -> None:
    """This project with the command of a user, `trainer …`, with all settings at their defaults."""
    from trainer.cli.main import console_script
    from trainer.training.trainer import ClassificationTrainer

    loop = ClassificationTrainer.train_loop

    def stamped(self: ClassificationTrainer, pause: Any) -> Any:
        task.stamp()
        for report in loop(self, pause):
            task.accuracy = report.validation_accuracy if report else task.accuracy
            try:
                yield report
            finally:  # after it has been shown, logged and saved; the last one ends the loop
                if report:  # else it is a pause within the epoch
                    task.stamp()

    ClassificationTrainer.train_loop = stamped  # type: ignore[method-assign]
    augmentation = {"none": "none", "flip_crop": "[flip,crop]", "lecture": "lecture"}[task.augment]
    overrides = [f"epochs={task.epochs}", f"batch_size={task.batch_size}", f"augmentation={augmentation}"]
    sys.argv = ["trainer", "dataset=image_folder", f"data_dir={task.data_dir}", *overrides, *task.overrides]
    try:
        console_script()
    except SystemExit as exit:  # 0 as well: the figures are still to be handed in
        if exit.code:
            raise


def loader(task: Task) -> None:
    """The usual loop: DataLoader with two workers, torchvision's transforms on PIL images."""
    training, validation = (
        lambda loader=each: (tuple(part.to(device(), non_blocking=True) for part in batch) for batch in loader)
        for each in _loaders(task)
    )
    _plain_loop(task, training, validation)


def lightning(task: Task) -> None:
    """PyTorch Lightning over the same loaders, with its own defaults: progress bar, checkpoints, CSV log."""
    import lightning as L
    import torch
    from torch.nn import functional as F

    class Module(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = lecture_cnn()

        def training_step(self, batch: Any, _: int) -> Any:
            return F.cross_entropy(self.model(batch[0]), batch[1])

        def validation_step(self, batch: Any, _: int) -> None:
            logits = self.model(batch[0])
            self.log("validation_loss", F.cross_entropy(logits, batch[1]))
            self.log("validation_accuracy", (logits.argmax(1) == batch[1]).float().mean())

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), 1e-3)

    class Stamp(L.Callback):
        def on_train_start(self, *_: Any) -> None:
            task.stamp()

        def on_train_epoch_end(self, trainer: Any, _: Any) -> None:
            task.accuracy = float(trainer.callback_metrics["validation_accuracy"])
            task.stamp()

    training, validation = _loaders(task)
    L.Trainer(max_epochs=task.epochs, callbacks=[Stamp()]).fit(Module(), training, validation)


def keras(task: Task) -> None:
    """Keras 3 on torch: `fit` on arrays in memory, augmentation by its layers."""
    os.environ["KERAS_BACKEND"] = "torch"
    import keras as K

    class Stamp(K.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            task.stamp()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            task.accuracy = logs["val_accuracy"]
            task.stamp()

    stored = task.arrays()
    scaled = {part: _channels_last(stored, part) for part in ("train", "validation")}
    # RandomCrop leaves padded images at their full size when evaluating: a shift by up to 4 pixels is the same change.
    shift = K.layers.RandomTranslation(4 / 32, 4 / 32, fill_mode="constant", interpolation="nearest")
    change = [K.layers.RandomFlip("horizontal"), shift]
    uniform = K.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")  # torch's own; biases begin at 0 here

    def convolution(filters: int) -> list[Any]:
        return [K.layers.Conv2D(filters, 5, kernel_initializer=uniform), K.layers.MaxPooling2D(2), K.layers.ReLU()]

    head = [K.layers.Dense(size, kind, kernel_initializer=uniform) for size, kind in ((128, "relu"), (10, None))]
    begin = [K.Input((32, 32, 3)), *(change if task.augment == "flip_crop" else [])]
    model = K.Sequential([*begin, *convolution(6), *convolution(16), K.layers.Flatten(), *head])
    loss = K.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(K.optimizers.Adam(1e-3, epsilon=1e-8), loss, metrics=["accuracy"])
    model.fit(
        scaled["train"],
        stored["train_labels"],
        batch_size=task.batch_size,
        epochs=task.epochs,
        validation_data=(scaled["validation"], stored["validation_labels"]),
        callbacks=[Stamp()],
    )


def fastai(task: Task) -> None:
    """fastai's Learner and its Adam over the same loaders."""
    from fastai.callback.core import Callback
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner
    from fastai.metrics import accuracy
    from fastai.optimizer import Adam
    from torch import nn

    class Stamp(Callback):
        def before_fit(self) -> None:
            task.stamp()

        def after_epoch(self) -> None:
            task.accuracy = float(self.learn.recorder.metrics[0].value)
            task.stamp()

    dls = DataLoaders(*_loaders(task), device=device())
    adam = partial(Adam, sqr_mom=0.999, eps=1e-8)  # torch's defaults
    learner = Learner(dls, lecture_cnn(), nn.CrossEntropyLoss(), opt_func=adam, metrics=accuracy, cbs=[Stamp()])
    learner.fit(task.epochs, 1e-3, wd=0.0)


def _loaders(task: Task) -> tuple[Any, Any]:
    """Return DataLoaders over images in memory, which the workers turn into PIL images and tensors like torchvision."""
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset
    from torchvision import transforms as T

    stored = task.arrays()
    common = [T.ToTensor(), T.Normalize(stored["mean"].tolist(), stored["std"].tolist())]
    change = {
        "none": [],
        "flip_crop": [T.RandomHorizontalFlip(), T.RandomCrop(32, padding=4)],
        "lecture": [T.RandomHorizontalFlip(), T.RandomCrop(32, padding=4), T.ColorJitter(0.2, 0.2, 0.2)],
    }[task.augment]

    class Pictures(Dataset[Any]):
        def __init__(self, part: str, transform: Callable[[Any], Any]) -> None:
            self.pixels = stored[f"{part}_pixels"].transpose(0, 2, 3, 1).copy()
            self.labels = stored[f"{part}_labels"]
            self.transform = transform

        def __len__(self) -> int:
            return len(self.labels)

        def __getitem__(self, index: int) -> Any:
            return self.transform(Image.fromarray(self.pixels[index])), int(self.labels[index])

    options: dict[str, Any] = {"batch_size": task.batch_size, "num_workers": min(8, os.cpu_count() or 2)}
    options |= {"persistent_workers": True, "pin_memory": device().type == "cuda"}
    training = DataLoader(Pictures("train", T.Compose([*change, *common])), shuffle=True, **options)
    return training, DataLoader(Pictures("validation", T.Compose(common)), **options)


def _channels_last(stored: dict[str, Any], part: str) -> Any:
    pixels = stored.pop(f"{part}_pixels").transpose(0, 2, 3, 1).astype("float32", order="C")
    pixels /= 255  # in place: one copy in memory, as the floor has
    pixels -= stored["mean"]
    pixels /= stored["std"]
    return pixels


def _peak_bytes() -> int:
    """Return the peak memory of this process in bytes, without a loader's workers and W&B's own process."""
    status = Path("/proc/self/status").read_text()  # getrusage never goes below what the benchmark itself has needed
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


CONTENDERS = {contender.__name__: contender for contender in (floor, trainer, loader, keras, lightning, fastai)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=CONTENDERS)
    for option in ("--data", "--data-dir", "--result", "--augment"):
        parser.add_argument(option, required=True)
    for option in ("--batch-size", "--epochs"):
        parser.add_argument(option, type=int, required=True)
    arguments, overrides = parser.parse_known_args()
    task = Task(arguments, overrides)
    try:
        CONTENDERS[arguments.name](task)
    except ModuleNotFoundError as error:
        sys.exit(f"{error.name} is not installed: pip install '.[bench]'")
    result = {"stamps": task.stamps, "accuracy": task.accuracy, "peak_bytes": _peak_bytes()}
    Path(arguments.result).write_text(json.dumps(result))


if __name__ == "__main__":
    main()
