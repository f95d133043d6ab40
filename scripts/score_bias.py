"""Measure how much each rule of `sweep.score` flatters a run: its score minus the accuracy on images it never saw.

    python scripts/score_bias.py                          40 runs an arm, about four minutes on one core

Two arms are trained on 600 of the digits: one whose rate falls to zero, so that its last epochs are alike, and one with
a high, constant rate, whose accuracy jumps from epoch to epoch. Each run has a split of its own: 100 or 300 validation
images, and the remaining ones, which neither train nor choose an epoch. They are compared at the very epochs that the
rule chose. How much easier the validation images of a split happen to be is the mean difference over the later two
thirds of the epochs, which no rule has chosen; it is subtracted, as it would hide what is measured. The table is that
of docs/studies.md.
"""

import argparse
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track

from trainer.config.compose import interpret
from trainer.config.run_config import RunConfig
from trainer.data.images import Images
from trainer.data.loader import DeviceLoader, read_part
from trainer.records.scoring import score_of
from trainer.training.build import build_trainer

SMALL = ["dataset=digits", "model=mlp", "model.hidden=[32]", "epochs=30", "batch_size=32", "early_stop_patience=null"]
ARMS = {
    "rate falls to zero": ["optimizer=sgd", "lr=0.1", "scheduler=cosine"],
    "high, constant rate": ["optimizer=adam", "lr=0.01"],
}
RULES = ("best", "cross", "last", "mean:5")
TRAINING, CPU = 600, torch.device("cpu")
METRIC = "validation_accuracy"
out = Console(highlight=False, width=120)


def config_of(arm: str, seed: int) -> RunConfig:
    """Return the configuration of a run."""
    config = interpret([*SMALL, *ARMS[arm], f"seed={seed}", f"split_seed={seed}", "wandb.mode=disabled"])
    assert isinstance(config, RunConfig)
    return config


def run(config: RunConfig, images: Images, validation: int) -> dict[str, tuple[float, float]]:
    """Train a run; return, by rule, its score and the accuracy on equally easy unseen images at the same epochs."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(config.split_seed))
    parts = [images.select(part.sort().values) for part in order.tensor_split([TRAINING, TRAINING + validation])]
    training, held_out, unseen = parts
    trainer = build_trainer(config, training, held_out, CPU)
    rows = list[dict[str, Any]]()
    for report in trainer.train_loop():
        assert report
        value = accuracy(trainer.evaluated, DeviceLoader(unseen, 256, CPU))
        rows.append({**report.row(), "halves": report.halves, "unseen": value})
    easier = statistics.mean(row[METRIC] - row["unseen"] for row in rows[len(rows) // 3 :])
    best = min(rows, key=lambda row: row["validation_loss"])
    found = {"best": (best[METRIC], best["unseen"] + easier)}
    # The same rows, whose figures are those of the unseen images: the rule then chooses the same epochs.
    swapped = [{**row, METRIC: row["unseen"]} for row in rows]
    for row in swapped:
        row["halves"] = [{**half, METRIC: row["unseen"]} for half in row["halves"]]
    for rule in RULES[1:]:
        scores = [score_of(each, rule) for each in (rows, swapped)]
        found[rule] = (number(scores[0]), number(scores[1]) + easier)
    return found


def number(scores: dict[str, float | None] | None) -> float:
    """Return the accuracy among the scores of a run."""
    value = (scores or {}).get(METRIC)
    assert value is not None
    return value


@torch.inference_mode()
def accuracy(network: torch.nn.Module, images: DeviceLoader) -> float:
    """Return the share of images that are classified correctly."""
    network.eval()
    hits = [(network(pixels).argmax(1) == labels).float() for pixels, labels in images.in_order()]
    return float(torch.cat(hits).mean())


def table(runs: int, sizes: Sequence[int]) -> Iterator[str]:
    """Yield the rows of the table in Markdown: in points, the flattery ± its standard error, and the deviation."""
    yield "| validation images | rule | " + " | ".join(ARMS) + " | gap between them | sd of a score |"
    yield "|---|---|" + "---|" * (len(ARMS) + 2)
    images = read_part(config_of("high, constant rate", 0).dataset, Path("data"), "train")
    for size in sizes:
        seeds = track(range(runs), f"{size} validation images", console=out, transient=True)
        found = [{arm: run(config_of(arm, seed), images, size) for arm in ARMS} for seed in seeds]
        for rule in RULES:
            biases = [[100 * (score - unseen) for score, unseen in (each[arm][rule] for each in found)] for arm in ARMS]
            gaps = [second - first for first, second in zip(*biases, strict=True)]
            cells = [f"{statistics.mean(each):+.2f} ± {error(each):.2f}" for each in (*biases, gaps)]
            spread = statistics.mean(statistics.stdev(100 * each[arm][rule][0] for each in found) for arm in ARMS)
            yield f"| {size} | {rule} | {' | '.join(cells)} | {spread:.2f} |"


def error(values: Sequence[float]) -> float:
    """Return the standard error of the mean."""
    return statistics.stdev(values) / len(values) ** 0.5


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=40, help="of each arm (default: 40)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 300], help="validation images")
    request = parser.parse_args(arguments)
    torch.set_num_threads(1)
    for line in list(table(request.runs, request.sizes)):
        out.print(line)


if __name__ == "__main__":
    main()
