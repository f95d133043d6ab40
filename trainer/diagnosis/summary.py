"""The short diagnosis at the end of a run: what can be told from its epochs and a look or two into the network."""

import shlex
from pathlib import Path

import torch

from trainer.config.run_config import RunConfig
from trainer.diagnosis.examine import class_counts
from trainer.diagnosis.inputs import Evidence, LayerStats
from trainer.diagnosis.layer_stats import IMAGES, layer_stats_of
from trainer.diagnosis.rules import diagnose
from trainer.diagnosis.thresholds import FITTED, fit
from trainer.records.metrics import read_metrics
from trainer.runtime.console import closing_table
from trainer.runtime.memory import skip_on_oom
from trainer.training.build import first_network, parameter_groups
from trainer.training.trainer import ClassificationTrainer

FINDINGS = 3
SECONDS = 0.03  # of training, in images: what one look may cost
FEWEST = 64  # images: of fewer a unit is called dead too easily, and the look is left out


def print_summary(trainer: ClassificationTrainer, config: RunConfig, folder: Path) -> None:
    """Prints at most three findings, the causes first; nothing where there is no memory for a look."""
    with skip_on_oom():
        found = diagnose(evidence_of(trainer, config, folder))
        lines = [f"{finding.name}: {finding.seen}. Try {shlex.quote(finding.override)}" for finding in found[:FINDINGS]]
        titles = ["Diagnosis", *[""] * FINDINGS]
        closing_table(zip(titles, lines or ["nothing found at a glance"], strict=False))


def evidence_of(trainer: ClassificationTrainer, config: RunConfig, folder: Path) -> Evidence:
    """Without the answers to the validation images, and with a look at the first weights only where it learnt badly."""
    rows = read_metrics(folder)
    images, validation = trainer.train.images, trainer.validation
    known = Evidence(
        config,
        rows,
        class_counts(images),
        0 if validation is None else len(validation.labels),
        stopped_early=trainer.early_stopping.exhausted and trainer.epoch < trainer.epochs,
    )
    count = min(IMAGES, int(SECONDS * rows[-1]["images_per_second"]))
    if count < min(FEWEST, len(images)):
        return known
    final = layer_stats_of(trainer, config, count)
    initial = _initial(trainer, config, count) if fit(known) < FITTED else None
    return Evidence(**{**vars(known), "initial": initial, "final": final})


def _initial(trainer: ClassificationTrainer, config: RunConfig, count: int) -> LayerStats:
    """The look into the network as it was before the first step."""
    scaling = next(iter(trainer.model.children()))
    mean, std = (getattr(scaling, name).flatten().cpu() for name in ("mean", "std"))
    with torch.random.fork_rng([]):
        network = first_network(config, trainer.train.images, mean, std).to(trainer.device)
    groups = parameter_groups(network, config.weight_decay, config.weight_decay_scope)
    optimizer = config.optimizer.function()(groups, config.lr, config.weight_decay)
    return layer_stats_of(trainer, config, count, network, optimizer)
