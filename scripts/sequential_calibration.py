"""Check `sweep.until=decided` for false alarms over all arms and looks, for its power, and for the runs that it saves.

    python scripts/sequential_calibration.py                 the noises of verdict_calibration.py that are simulated
    python scripts/sequential_calibration.py --study FOLDER  and that of an existing study with many seeds per arm

A false alarm is a study of identical arms in which any look drops one, or one in which two arms are the best and one of
them is dropped. Then it compares studies until decided with studies of fixed seeds, which have the same power.
"""

import argparse
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from verdict_calibration import SIMULATED, Noise, read, resampled

from trainer.stats.arms import Arm
from trainer.stats.corrections import LEVEL
from trainer.stats.design import Design
from trainer.stats.intervals import wilson
from trainer.stats.sequential import look, look_counts
from trainer.stats.simulation import Looked, looked_at

ARMS, MAXIMA, CHUNK = (2, 3, 6, 10), (12, 24, 48), 4000
NEVER = 1000  # seeds: more than any study has
KINDS = {
    "the best arm": {},
    "the best arm, unpaired": {"paired_from": NEVER},
    "a named arm": {"baseline": True},
    "the best two of all": {},
}
GAPS: dict[str, tuple[float, ...]] = {
    "two arms, 1 apart": (0, 1),
    "six arms at 0, 0.3, 0.6, 1, 2, 4": (0, 0.3, 0.6, 1, 2, 4),
    "six arms, clear gaps: 0, 1.5, 2, 2, 3, 4": (0, 1.5, 2, 2, 3, 4),
    "six arms, five of them 1 worse": (0, 1, 1, 1, 1, 1),
    "ten arms at 0, 0.5, 1, …, 4.5": tuple(np.arange(10) / 2),
}
Cell = tuple[str, str, int, int]  # kind, noise, maximum, arms
out = Console(highlight=False, width=140)


def alarms(kind: str, noise: Noise, maximum: int, arms: int, studies: int) -> float:
    """Return the share of studies of `arms` arms without a difference in which a look drops one."""
    draw, found = np.random.default_rng([arms, maximum]), 0
    for start in range(0, studies, CHUNK):
        count = min(CHUNK, studies - start)
        values = noise(arms, maximum, draw, count)
        if kind == "the best two of all":
            values[:, 2:] -= 1.5 * values.std()
        # Without giving up and without a margin every look is taken that could drop an arm.
        ended = looked_at(values, look_counts(maximum), give_up=False, **KINDS[kind])  # type: ignore[arg-type]
        found += int((~ended.left[:, : 2 if kind == "the best two of all" else arms]).any(1).sum())
    return found / studies


def cells(noises: Mapping[str, Noise], studies: int) -> Iterator[tuple[Cell, float]]:
    """Yield the share of false alarms of each cell."""
    for kind in KINDS:
        for name, noise in noises.items():
            for maximum in MAXIMA:
                for arms in ARMS:
                    yield (kind, name, maximum, arms), alarms(kind, noise, maximum, arms, studies)


def alarm_tables(noises: Mapping[str, Noise], studies: int) -> tuple[float, list[str]]:
    """Print the false alarms of every cell; return the largest share, and the ranges in Markdown."""
    total = len(KINDS) * len(noises) * len(MAXIMA) * len(ARMS)
    found = dict(track(cells(noises, studies), "Simulating false alarms", total, console=out))
    for kind in KINDS:
        title = f"Per cent of {studies} studies with a false alarm against {kind}, by maximum of seeds × arms"
        table = Table(title=title, title_justify="left")
        for column in ("noise", *(f"{maximum}×{arms}" for maximum in MAXIMA for arms in ARMS), "largest"):
            table.add_column(column, justify="left" if column == "noise" else "right")
        for name in noises:
            shares = _row(found, kind, name)
            table.add_row(name, *(f"{share:.1f}" for share in (*shares, max(shares))))
        out.print(table)
    markdown = ["| noise | " + " | ".join(KINDS) + " |", "|---" * (len(KINDS) + 1) + "|"]
    for name in noises:
        ranges = [f"{min(row):.1f}–{max(row):.1f}" for row in (_row(found, kind, name) for kind in KINDS)]
        markdown.append(f"| {name} | {' | '.join(ranges)} |")
    return max(found.values()), markdown


def _row(found: Mapping[Cell, float], kind: str, noise: str) -> list[float]:
    """Return the false alarms of a noise in per cent, by maximum of seeds and number of arms."""
    return [100 * found[kind, noise, maximum, arms] for maximum in MAXIMA for arms in ARMS]


def power_table(maximum: int, studies: int, correlation: float) -> list[str]:
    """Print power and runs of studies until decided, and the runs of fixed seeds with the same power; as Markdown."""
    columns = ("gaps in deviations between seeds", "ρ", "told", "decided", "wrong", "runs", "fixed", "all")
    title = f"Power and runs at {maximum} seeds at most, seeds correlated by {correlation}, of {studies} studies"
    table, markdown = Table(title=title, title_justify="left"), list[str]()
    for column in columns:
        table.add_column(column, justify="left" if column.startswith("gaps") else "right")
    for name, gaps in track(GAPS.items(), "Simulating power", console=out):
        draw = np.random.default_rng(len(gaps))
        noise = draw.standard_normal((studies, len(gaps), maximum)) * np.sqrt(1 - correlation)
        noise += draw.standard_normal((studies, 1, maximum)) * np.sqrt(correlation)
        values = noise - np.array(gaps)[None, :, None]
        asked = min(place for place, gap in enumerate(gaps) if gap >= 1)
        ended = looked_at(values, look_counts(maximum))
        told, decided = _told(ended, asked), ended.left.sum(1) == 1
        wrong, fixed = (~ended.left[:, 0]).mean(), _fixed(values, asked, told)
        cells = (f"{correlation:g}", f"{told:.2f}", f"{decided.mean():.2f}", f"{wrong:.2%}", f"{ended.runs.mean():.0f}")
        row = (name, *cells, fixed, str(len(gaps) * maximum))
        table.add_row(*row)
        markdown.append(f"| {' | '.join(row)} |")
    out.print(table)
    return markdown


def _told(ended: Looked, arm: int) -> float:
    """Return the share of studies in which this arm was told to be worse."""
    return float((~ended.left[:, arm]).mean())


def _fixed(values: np.ndarray, arm: int, power: float) -> str:
    """Return the runs of a study with as many fixed seeds as tell this arm with the same power, or with 99 %."""
    _, arms, maximum = values.shape
    for seeds in range(3, maximum + 1):
        if _told(looked_at(values[:, :, :seeds], (seeds,), give_up=False, total=LEVEL), arm) >= min(power, 0.99):
            return str(arms * seeds)
    return f"over {arms * maximum}"


def one_by_one(study: np.ndarray, maximum: int, margin: float | None, baseline: bool) -> tuple[list[int], int, int]:
    """Return (arms left, seeds, runs) of values [arms, seeds] by the looks of a real study."""
    left, runs, before, counts = list(range(len(study))), 0, 0, look_counts(maximum)
    for number, seeds in enumerate(counts):
        arms = [Arm(str(arm), {str(seed): float(study[arm, seed]) for seed in range(seeds)}) for arm in left]
        taken = look(arms, Design(margin=margin), counts, number, "0" if baseline else None)
        runs, before = runs + len(left) * (seeds - before), seeds
        left = sorted(int(arm.name) for arm in taken.remaining)
        if taken.outcome:
            break
    return left, before, runs


def main(arguments: list[str] | None = None) -> int:
    """Print the tables; the exit code is 1 if a share of false alarms is beyond 5.3 % and the error of its count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, help="a study's folder, whose noise is resampled as well")
    parser.add_argument("--studies", type=int, default=20_000, help="to simulate in each cell (20000)")
    parser.add_argument("--power", type=int, default=4000, help="studies to simulate for the power; 0: none (4000)")
    typed = parser.parse_args(arguments)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    noises = dict(SIMULATED)
    if typed.study:
        noises["recorded, by turns"] = resampled(read(typed.study))
    largest, markdown = alarm_tables(noises, typed.studies)
    allowed = wilson(0.053, typed.studies, 3.0)[1]  # the largest of hundreds of counts may err by three deviations
    out.print(f"Largest share of false alarms: {largest:.2%}; allowed are {allowed:.2%}")
    if typed.power:
        markdown += ["", "| gaps | ρ | told | decided | wrong | runs | fixed | all |", "|---" * 8 + "|"]
        markdown += [row for correlation in (0.0, 0.4) for row in power_table(24, typed.power, correlation)]
    print("\nFor docs/statistics.md:\n", *markdown, sep="\n")
    return int(largest > allowed)


if __name__ == "__main__":
    raise SystemExit(main())
