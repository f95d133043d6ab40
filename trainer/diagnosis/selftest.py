"""The self-test of the rules: real runs with known faults, and the faults found in them, missed or wrongly found."""

import copy
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace

import torch

from trainer.config.compose import interpret
from trainer.config.run_config import RunConfig
from trainer.data.images import Images
from trainer.data.loader import load
from trainer.diagnosis.examine import Record, examine
from trainer.diagnosis.faults import BASE, FAULTS, HEALTHY
from trainer.diagnosis.rules import RULES, diagnose
from trainer.errors import RunError
from trainer.runtime.files import expanded
from trainer.training.build import build_trainer
from trainer.training.trainer import ClassificationTrainer

GOAL = 0.9
DIVERGENCE, TOO_HIGH = "divergence", "learning rate too high"


@dataclass(frozen=True)
class Trial:
    """One run: its fault (None: healthy), the index among the settings of that fault, the seed."""

    fault: str | None
    index: int
    seed: int
    settings: tuple[str, ...]


@dataclass(frozen=True)
class Score:
    """The score of one rule: runs that have its fault, those in which it was found, and runs in which it was wrong."""

    rule: str
    given: int
    found: int
    wrong: int

    @property
    def precision(self) -> float:
        """The share of right ones among the findings of this rule."""
        return self.found / (self.found + self.wrong) if self.found + self.wrong else 0.0

    @property
    def recall(self) -> float:
        """The share of the runs with this fault in which it was found."""
        return self.found / self.given


def trials(first_seed: int, data_dir: str | None = None) -> list[Trial]:
    """Return five runs with each fault and ten healthy ones, three of them on MNIST if its folder is given."""
    chosen = [
        Trial(fault.name, index, first_seed + index, settings)
        for fault in FAULTS
        for index, settings in enumerate(fault.settings)
    ]
    for index, settings in enumerate(HEALTHY):
        if data_dir and index in (0, 2, 5):
            settings = (*settings, "dataset=mnist", f"data_dir={data_dir}", "epochs=2", "batch_size=128")
        chosen.append(Trial(None, index, first_seed + index, settings))
    return chosen


def findings_in(trial: Trial) -> tuple[Trial, tuple[str, ...]]:
    """Train and diagnose a run; return the trial and the names of the findings.

    It depends on chance whether a rate that is too high ends in a loss that is not finite. The trial that is returned
    has the fault that occurred.
    """
    torch.set_num_threads(1)  # several processes share the cores
    config = interpret([*BASE, *trial.settings, f"seed={trial.seed}"])
    assert isinstance(config, RunConfig)
    fault = next((fault for fault in FAULTS if fault.name == trial.fault), None)
    alter = fault.data[trial.index] if fault and fault.data else None
    network = fault.network[trial.index] if fault and fault.network else None
    record = trained(config, alter, network)
    if trial.fault in (DIVERGENCE, TOO_HIGH):
        trial = replace(trial, fault=DIVERGENCE if len(record.rows) < config.epochs else TOO_HIGH)
    return trial, tuple(finding.name for finding in diagnose(examine(record)))


def trained(
    config: RunConfig,
    alter: Callable[[Images, int], Images] | None = None,
    network: Callable[[ClassificationTrainer], None] | None = None,
) -> Record:
    """Train a run in memory, with altered data or initial weights, and return its record."""
    device = torch.device("cpu")
    images = load(config.dataset, expanded(config.data_dir), device)
    altered = alter(images, config.seed) if alter else images
    training, validation = config.dataset.shared_function()(altered, config.split_seed)
    trainer = build_trainer(config, training, validation, device)
    rows, last, best = [], None, None
    if network:
        network(trainer)
    try:
        for report in trainer.train_loop():
            assert report is not None  # nothing pauses it
            rows.append(asdict(report))
            last = copy.deepcopy(trainer.state_dict())
            best = copy.deepcopy(trainer.evaluated.state_dict()) if report.improved else best
    except RunError:
        pass  # a divergence: the record ends before it, as in a run's folder
    return Record(config, training, validation, device, rows, last, best)


def results(chosen: Sequence[Trial], processes: int) -> Iterator[tuple[Trial, tuple[str, ...]]]:
    """Yield each trial with its findings when it is done; several processes at a time, or this one alone."""
    if processes == 1:
        yield from map(findings_in, chosen)
        return
    import multiprocessing

    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        for done in as_completed([pool.submit(findings_in, trial) for trial in chosen]):
            yield done.result()


def scores(outcomes: Sequence[tuple[Trial, tuple[str, ...]]]) -> list[Score]:
    """Return the score of every rule whose fault some run has; the companions of a fault do not count as wrong."""
    companions = {fault.name: fault.companions for fault in FAULTS}
    table = []
    for rule in RULES:
        with_fault = [findings for trial, findings in outcomes if trial.fault == rule]
        wrong = [
            trial
            for trial, findings in outcomes
            if rule in findings and trial.fault != rule and rule not in companions.get(trial.fault or "", ())
        ]
        if with_fault:
            table.append(Score(rule, len(with_fault), sum(rule in findings for findings in with_fault), len(wrong)))
    return table
