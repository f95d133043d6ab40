"""The short diagnosis at the end of a run, from its epochs and one or two statistics of its layers."""

import shlex
from pathlib import Path

import torch

from trainer.config.run_config import RunConfig
from trainer.config.shell import command
from trainer.diagnosis.examine import alike_share
from trainer.diagnosis.inputs import Evidence, Finding, LayerStats, by_cross_entropy
from trainer.diagnosis.layer_stats import IMAGES, layer_stats_of
from trainer.diagnosis.rules import diagnose
from trainer.diagnosis.thresholds import FITTED, fit
from trainer.records.metrics import read_metrics
from trainer.runtime.console import closing_table
from trainer.runtime.memory import skip_on_oom
from trainer.training.build import build_optimizer, parameter_groups
from trainer.training.network import first_network
from trainer.training.trainer import ClassificationTrainer

FINDINGS = 3  # at most
# The statistics of layers use as many images as are trained on in this time, so that they cost little: at least these
# seconds, and at most this share of the run.
SECONDS, SHARE = 0.03, 0.01
MIN_IMAGES = 64  # with fewer, a unit seems dead too easily: there are no statistics then


def print_summary(trainer: ClassificationTrainer, config: RunConfig, folder: Path) -> None:
    """Print at most three findings, causes first, and what was not checked; nothing if memory is short."""
    with skip_on_oom():
        evidence = evidence_of(trainer, config, folder)
        findings = diagnose(evidence)[:FINDINGS]
        lines = [f"{finding.name}: {finding.seen}. {_advice(finding)}" for finding in findings]
        # The doctor also asks the network about the validation images, and looks at its first weights.
        lines = lines or ["nothing found by this quick check"]
        if evidence.final is None:
            speed = evidence.rows[-1]["images_per_second"]
            lines.append(f"the layers were not checked: at {speed:,.0f} images/s that would take too long here")
        closing_table(zip(["Diagnosis", *[""] * FINDINGS], lines, strict=False))
        closing_table([("Full diagnosis", command("doctor", folder))])


def _advice(finding: Finding) -> str:
    return f"Try {shlex.quote(finding.override)}" if finding.override else finding.meaning


def evidence_of(trainer: ClassificationTrainer, config: RunConfig, folder: Path) -> Evidence:
    """Return the evidence without answers to the validation images.

    Statistics of the initial weights are part of it only if the network did not learn well.
    """
    rows = read_metrics(folder)
    images, validation = trainer.train.images, trainer.validation
    evidence = Evidence(
        config,
        by_cross_entropy(rows),
        images.class_counts(),
        0 if validation is None else len(validation.labels),
        stopped_early=trainer.early_stopping.exhausted and trainer.epoch < trainer.epochs,
        alike=alike_share(images),
    )
    seconds = max(SECONDS, SHARE * sum(row["epoch_seconds"] or 0.0 for row in rows))
    count = min(IMAGES, int(seconds * rows[-1]["images_per_second"]))
    if count < min(MIN_IMAGES, len(images)):
        return evidence
    final = layer_stats_of(trainer, config, count)
    initial = _initial(trainer, config, count) if fit(evidence) < FITTED else None
    return Evidence(**{**vars(evidence), "initial": initial, "final": final})


def _initial(trainer: ClassificationTrainer, config: RunConfig, count: int) -> LayerStats:
    """Return the statistics of the network as it was before the first step."""
    preprocessing = next(iter(trainer.model.children()))
    # Initialization seeds torch's generator, which must not change the run.
    with torch.random.fork_rng([]):
        network = first_network(config, trainer.train.images, preprocessing).to(trainer.device)
    # A new optimizer: the state of the run's own one belongs to the trained weights.
    groups = parameter_groups(network, config.weight_decay, config.weight_decay_scope)
    return layer_stats_of(trainer, config, count, network, build_optimizer(config, groups))
