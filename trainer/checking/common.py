"""The checks that hold for every technique that is trained with: the same bits, resumed or not, in 16 bits as well."""

import ast
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

import torch

from trainer.checking.subject import Subject, ended, fail, figures, first_difference, state_of, stirred, take_steps
from trainer.config.own import OwnTechniques
from trainer.config.schema import GROUPS, Choice
from trainer.records.recorder import Recorder
from trainer.records.run_folder import restore
from trainer.training.trainer import ClassificationTrainer

TIMED_STEPS, TIMED_SECONDS, FEWEST = 20, 1.0, 3
# What the time of a step is compared with: the default of the group, without options. None has no time of a step.
BUILT_IN = {
    "preprocessing": "standardize",
    "model": "lecture_cnn",
    "activation": "relu",
    "normalization": "none",
    "optimizer": "adam",
    "scheduler": "constant",
    "loss": "cross_entropy",
    "regularization": "none",
    "augmentation": "none",
}
FROM = {"random": "Python's random", "numpy.random": "NumPy's global generator", "torch": "torch's global generator"}


def same_bits(subject: Subject) -> str | None:
    """Train twice from one seed, with other states of the global generators around, and compare everything."""
    if (name := first_difference(subject.undisturbed, ended(subject.exact_trainer, 2))) is not None:
        fail(
            f"two trainings from the same seed differ ({name}): every draw must come from the run's seed, by torch or"
            " by a generator that is given, and nothing may be kept from one run to the next"
        )
    return None


def resumed(subject: Subject) -> str | None:
    """Stop in the middle of an epoch, go on in a new trainer from the checkpoint file, and compare everything."""
    steps, training = len(subject.trainer().train), subject.parts[0]
    stop = steps + steps // 2
    with TemporaryDirectory() as place, stirred(3):
        folder, trainer, done = Path(place), subject.exact_trainer(), iter(range(1, stop))
        recorder, reports = Recorder(folder, subject.config, training, {}, 0), list[tuple[Any, ...]]()
        for report in trainer.train_loop(lambda: next(done, None) is None):
            recorder.save(trainer, report)
            if report is None:
                break
            reports.append(figures(report))
        recorder.close()
        del trainer
        torch.manual_seed(4)
        other = subject.exact_trainer()
        restore(other, folder, subject.config, {})
        reports += [figures(report) for report in other.train_loop() if report]
        state = state_of(other, reports)
    if (name := first_difference(subject.undisturbed, state)) is not None:
        fail(
            f"stopped after step {stop - steps} of epoch 2 and resumed, the run is another one than undisturbed ({name}"
            f" differs): {_kept(subject.group)}"
        )
    return None


def _kept(group: str) -> str:
    """Return where a technique of a group has to keep what it remembers from step to step."""
    return {
        "optimizer": "all that it remembers must be in self.state, in param_groups, or in its own state_dict",
        "scheduler": "all that it remembers must be in its state_dict",
        "regularization": "all that it remembers must be in StepHooks(state={name: object with state_dict})",
        "augmentation": "it may remember nothing, and draws from the generator that it is given",
        "preprocessing": "all that it remembers must be a buffer",
        "model": "all that it remembers must be a parameter or a buffer",
    }.get(group, "it may remember nothing from step to step")


def no_global_draws(subject: Subject) -> str | None:
    """Train an epoch and see whether Python's or NumPy's global generator was drawn from: no checkpoint saves them."""
    with stirred(5) as drawn:
        take_steps(subject.trainer(), 6)
        names = [name for name in drawn() if name != "torch"]  # torch's is seeded in every epoch, and saved
    if names:
        fail_of_draw(subject, names[0], "which no checkpoint saves: draw with torch")
    return None


def fail_of_draw(subject: Subject, name: str, reason: str) -> NoReturn:
    """Let a check fail because a global generator was drawn from, with the first line that names it."""
    line = _line_with(subject.own, name)
    fail(f"{FROM[name]} is drawn from{f' ({line})' if line else ''}, {reason}")


def _line_with(own: OwnTechniques, name: str) -> str:
    """Return the first place in own files that uses a module for random numbers by its usual names."""
    starts = {"random": ("random.",), "numpy.random": ("np.random.", "numpy.random."), "torch": ("torch.rand",)}[name]
    for module in own.modules.values():
        for node in (each for each in ast.walk(module.tree()) if isinstance(each, ast.Call)):
            if (text := ast.unparse(node)).startswith(starts) and "generator=" not in text:
                return f"{module.shown}, line {node.lineno}"
    return ""


def half_precision(subject: Subject) -> str | None:
    """Take a step with precision=bf16, after which loss and weights are finite."""
    with stirred(6):
        trainer = subject.trainer(precision="bf16")
        take_steps(trainer, 1)
        if wrong := [name for name, value in trainer.model.named_parameters() if not value.isfinite().all()]:
            fail(f"after a step with precision=bf16 {wrong[0]} is not finite")
    return None


def step_time(subject: Subject) -> str:
    """Return the time of a step as in "1.3× adam", the median of several; "—" if it says nothing of the technique."""
    name = BUILT_IN.get(subject.group)
    if name is None:
        return "—"
    default: Any = () if GROUPS[subject.group].listed else Choice(subject.group, name, {}, subject.choice.shared)
    if subject.group == "model":
        default = Choice("model", name)
    with stirred(7):
        try:
            trainers = [subject.trainer(), subject.trainer(**{subject.group: default})]
        except Exception:  # the built-in model does not take images of every size
            return "—"
        for trainer in trainers:
            take_steps(trainer, 2)
        # By turns, and the median of the faster half: another program may disturb for a while.
        times, end = list[tuple[float, float]](), time.perf_counter() + TIMED_SECONDS
        while len(times) < FEWEST or (len(times) < TIMED_STEPS and time.perf_counter() < end):
            times.append((_seconds(trainers[0]), _seconds(trainers[1])))
    own, built_in = (statistics.median(sorted(each)[: len(times) // 2 + 1]) for each in zip(*times, strict=True))
    return f"{own / built_in:.1f}× {name}"


def _seconds(trainer: ClassificationTrainer) -> float:
    positions = next(trainer.train.positions(0, 0))
    started = time.perf_counter()
    trainer.train_step(positions)
    if trainer.device.type == "cuda":
        torch.cuda.synchronize(trainer.device)
    return time.perf_counter() - started


def passes(subject: Subject) -> str | None:
    """Count the gradients and the forward passes of a step, which are told if there is more than one."""
    steps = 2
    with stirred(8):
        trainer, forwards = subject.trainer(), list[int]()
        trainer.model.register_forward_hook(lambda *_: forwards.append(1))
        take_steps(trainer, steps)
    gradients = trainer.meters.gradients / steps if trainer.takes_closure else 1
    declared = getattr(trainer.optimizer, "gradients_per_step", None)
    if declared is not None and declared != gradients:
        fail(f"gradients_per_step is {declared}, and a step takes {gradients:g}")
    if gradients == 1 and len(forwards) == steps:
        return None
    hint = "" if declared or gradients == 1 else "; gradients_per_step in its class would tell studies"
    return f"{gradients:g} gradient{'s' * (gradients != 1)} and {len(forwards) / steps:g} forward passes a step{hint}"
