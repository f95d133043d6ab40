"""Check the verdict for false positives (A/A) and power, on recorded run-to-run noise.

    python scripts/verdict_calibration.py                 first trains 60 seeds of three small arms on digits, once
    python scripts/verdict_calibration.py --study FOLDER  resamples an existing study with many seeds per arm

It resamples the values of one arm into studies with identical arms, and counts how often a test reports a difference:
at most 5 %, within the sampling error shown. Then it shifts one arm by a true difference and finds the number of seeds
at which the difference is reported 4 times in 5. The training is a study of the project, which continues after a stop.
"""

import argparse
import csv
import math
import os
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy import stats

from trainer.stats.arms import Arm
from trainer.stats.corrections import LEVEL, Bound
from trainer.stats.verdict import Design, judge

# Three arms of unequal noise: a learning rate that is low, about right and high for so few epochs.
RECORDED = (
    "dataset=digits", "dataset.image_size=16", "epochs=8", "early_stop_patience=null", "device=cpu",
    "wandb.mode=disabled", "lr=0.001,0.003,0.01", "sweep.name=aa_check",
)  # fmt: skip
ARMS, SEEDS = (2, 3, 6), (2, 3, 6, 10)
LADDER = (3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 30, 40, 60)
Pairs = tuple[tuple[int, int], ...]
out = Console(highlight=False)


def pairs_of(arms: int) -> Pairs:
    return tuple(combinations(range(arms), 2))


def differences(values: np.ndarray) -> np.ndarray:
    """Return the differences of the means: [studies, arms, seeds] → [studies, pairs]."""
    first, second = zip(*pairs_of(values.shape[1]), strict=True)
    means = values.mean(2)
    return means[:, first] - means[:, second]


def pooled_error(values: np.ndarray) -> np.ndarray:
    """Return the standard error of a difference with one variance for all arms, [studies, 1]."""
    return np.sqrt(2 * values.var(2, ddof=1).mean(1, keepdims=True) / values.shape[2])


def pair_error(values: np.ndarray) -> np.ndarray:
    """Return the standard error of each pair from its two arms alone, [studies, pairs]."""
    first, second = zip(*pairs_of(values.shape[1]), strict=True)
    each = values.var(2, ddof=1) / values.shape[2]
    return np.sqrt(each[:, first] + each[:, second])


def tukey(values: np.ndarray) -> np.ndarray:
    _, arms, seeds = values.shape
    return np.abs(differences(values)) > Bound(arms, False)(arms * (seeds - 1)) * pooled_error(values)


def larger_error(values: np.ndarray) -> np.ndarray:
    """Return Tukey's bound with the larger of the pooled error and the pair's own."""
    _, arms, seeds = values.shape
    error = np.maximum(pooled_error(values), pair_error(values))
    return np.abs(differences(values)) > Bound(arms, False)(arms * (seeds - 1)) * error


def games_howell(values: np.ndarray) -> np.ndarray:
    """Return Tukey's bound for each pair's own error and Welch's degrees of freedom. Games and Howell 1976."""
    return _own_errors(values, Bound(values.shape[1], False))


def _own_errors(values: np.ndarray, bound: Bound) -> np.ndarray:
    """Return no conclusion for pairs in which neither arm varies."""
    _, arms, seeds = values.shape
    first, second = zip(*pairs_of(arms), strict=True)
    each = values.var(2, ddof=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        df = (seeds - 1) * (each[:, first] + each[:, second]) ** 2 / (each[:, first] ** 2 + each[:, second] ** 2)
    rows = np.linspace(seeds - 1, 2 * (seeds - 1), 17)
    bounds = np.interp(np.nan_to_num(df, nan=seeds - 1), rows, [bound(row) for row in rows])
    error = pair_error(values)
    return (np.abs(differences(values)) > bounds * error) & (error > 1e-12)


def welch_dunnett(values: np.ndarray) -> np.ndarray:
    """Return Dunnett's bound for each pair's own error. The first arm is the baseline; other pairs are not compared."""
    return _own_errors(values, Bound(values.shape[1], True)) & _with_first(values.shape[1])


def dunnett(values: np.ndarray) -> np.ndarray:
    """Return Dunnett's test on the pooled variance, as in scipy.stats.dunnett."""
    _, arms, seeds = values.shape
    bound = Bound(arms, True)(arms * (seeds - 1))
    return (np.abs(differences(values)) > bound * pooled_error(values)) & _with_first(arms)


def _with_first(arms: int) -> np.ndarray:
    return np.array([0 in pair for pair in pairs_of(arms)])


def paired_t(values: np.ndarray) -> np.ndarray:
    apart = paired(values)
    error = apart.std(2, ddof=1) / math.sqrt(apart.shape[2])
    t = np.abs(apart.mean(2)) / np.maximum(error, 1e-12)
    return holm(np.where(error > 1e-12, 2 * stats.t.sf(t, apart.shape[2] - 1), 1.0))


def sign_flip(values: np.ndarray) -> np.ndarray:
    """Test all sign combinations of the paired differences; of more than 12 seeds 4 096 random ones."""
    apart = paired(values)
    seeds = apart.shape[2]
    if seeds <= 12:
        signs = 1.0 - 2.0 * ((np.arange(2**seeds)[:, None] >> np.arange(seeds)) & 1)
    else:
        signs = np.vstack([np.ones(seeds), np.random.default_rng(0).choice([-1.0, 1.0], (4095, seeds))])
    sums = np.abs(apart @ signs.T)
    return holm((sums >= np.abs(apart.sum(2, keepdims=True)) - 1e-12).mean(2))


def paired(values: np.ndarray) -> np.ndarray:
    """Return the differences seed by seed, [studies, pairs, seeds]."""
    first, second = zip(*pairs_of(values.shape[1]), strict=True)
    return values[:, first] - values[:, second]


def holm(p: np.ndarray) -> np.ndarray:
    """Return the pairs whose p-values are significant, [studies, pairs]. Holm 1979."""
    order = p.argsort(1)
    falling = np.take_along_axis(p, order, 1) <= LEVEL / np.arange(p.shape[1], 0, -1)
    concluded = np.zeros_like(falling)
    np.put_along_axis(concluded, order, np.logical_and.accumulate(falling, axis=1), 1)
    return concluded


Test = Callable[[np.ndarray], np.ndarray]
TESTS: dict[str, Test] = {
    "Games-Howell": games_howell,
    "Tukey, pooled": tukey,
    "Tukey, larger error": larger_error,
    "paired t, Holm": paired_t,
    "sign flip, Holm": sign_flip,
    "Welch-Dunnett": welch_dunnett,
    "Dunnett, pooled": dunnett,
}
TO_BASELINE = (welch_dunnett, dunnett)


def reported(values: np.ndarray, test: Test) -> np.ndarray:
    """Return for each study True if a difference from the best arm or the baseline is reported, [studies]."""
    concluded, best = test(values), values.mean(2).argmax(1)
    if test in TO_BASELINE:
        return concluded.any(1)
    with_best = np.array([[arm in pair for pair in pairs_of(values.shape[1])] for arm in range(values.shape[1])])
    return (concluded & with_best[best]).any(1)


def is_reported(values: np.ndarray, test: Test) -> np.ndarray:
    """Return for each study True if the first arm is reported to be better than the second, [studies]."""
    concluded = test(values)[:, 0] & (differences(values)[:, 0] > 0)
    return concluded if test in TO_BASELINE else concluded & (values.mean(2).argmax(1) == 0)


def resample(
    recorded: list[np.ndarray], studies: int, arms: int, seeds: int, draw: np.random.Generator, shared: bool = False
) -> np.ndarray:
    """Return simulated values, [studies, arms, seeds]: each arm draws from the next recorded one, without its mean.

    shared: the arms of a study draw the same seeds, as in a real one.
    """
    each = [recorded[arm % len(recorded)] for arm in range(arms)]
    chosen = draw.integers(0, min(map(len, recorded)), (1 if shared else arms, studies, seeds))
    return np.stack([(values - values.mean())[chosen[arm % len(chosen)]] for arm, values in enumerate(each)], 1) + 0.5


def by_the_verdict(values: np.ndarray) -> np.ndarray:
    """Return the conclusions of the project's own verdict, study by study."""
    studies = track(values, "The verdict itself", console=out, transient=True, disable=not out.is_terminal)
    return np.array([
        any(comparison.concluded for comparison in judge(_arms(study), Design()).comparisons) for study in studies
    ])  # fmt: skip


def _arms(study: np.ndarray) -> list[Arm]:
    return [Arm(str(arm), {str(seed): float(v) for seed, v in enumerate(row)}) for arm, row in enumerate(study)]


def aa_table(title: str, recorded: list[np.ndarray], studies: int, shared: bool = False) -> None:
    table = Table(title=f"{title}: per cent of {studies} studies that report a difference", title_justify="left")
    for column in ("arms", "seeds", "the verdict", *TESTS):
        table.add_column(column, justify="right")
    draw = np.random.default_rng(0)
    for arms in ARMS:
        for seeds in SEEDS if arms <= len(recorded) or not shared else ():
            values = resample(recorded, studies, arms, seeds, draw, shared)
            rates = [by_the_verdict(values)]
            rates += [reported(values, test) for test in TESTS.values()]
            table.add_row(str(arms), str(seeds), *(_rate(each) for each in rates))
    out.print(table)


def _rate(hits: np.ndarray) -> str:
    """Return a percentage with Wilson's 95 % interval: "4.5 (2–8)"."""
    low, high = stats.binomtest(int(hits.sum()), len(hits)).proportion_ci(method="wilson")
    return f"{100 * hits.mean():.1f} ({100 * low:.0f}–{100 * high:.0f})"


def power_table(recorded: np.ndarray, studies: int, arms: int) -> None:
    table = Table(title=f"Seeds that tell one better of {arms} arms 4 times in 5", title_justify="left")
    for column in ("better by", *TESTS):
        table.add_column(column, justify="right")
    for points in (0.5, 1.0, 2.0, 4.0):
        cells = [_seeds_needed(recorded, studies, arms, points / 100, test) for test in TESTS.values()]
        table.add_row(f"{points:g} points", *cells)
    out.print(table)


def _seeds_needed(recorded: np.ndarray, studies: int, arms: int, better: float, test: Test) -> str:
    for seeds in LADDER:
        values = resample([recorded], studies, arms, seeds, np.random.default_rng(seeds))
        values[:, 0] += better
        if is_reported(values, test).mean() >= 0.8:
            return str(seeds)
    return f"> {LADDER[-1]}"


def read(folder: Path) -> dict[str, np.ndarray]:
    """Return for each arm of a study the validation accuracy of its finished runs, by seed."""
    with (folder / "table.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["state"] == "finished"]
    beside = {"id", "stage", "trial", "seed", "state", "epochs", "best_epoch", "reason"}
    beside |= {key for key in rows[0] if key.startswith("validation_")}
    arms: dict[str, dict[int, float]] = {}
    for row in rows:
        name = " ".join(f"{key}={value}" for key, value in row.items() if key not in beside)
        arms.setdefault(name, {})[int(row["seed"])] = float(row["validation_accuracy"])
    return {name: np.array([values[seed] for seed in sorted(values)]) for name, values in arms.items()}


def record(seeds: int) -> Path:
    """Train the unfinished runs of the small study in this folder's outputs."""
    from trainer.study.execute import run_study
    from trainer.study.plan import plan_from

    plan = plan_from(["-m", *RECORDED, f"seed=range({seeds})"])
    assert run_study(plan).exit_code == 0
    folders = [path.parent for path in Path("outputs/sweeps").glob("aa_check-*/table.csv")]
    return max(folders, key=lambda folder: (folder / "table.csv").stat().st_mtime)


def main() -> None:
    """Print the recorded noise, both A/A tables and the power tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, help="a study's folder, instead of training")
    parser.add_argument("--seeds", type=int, default=60, help="to train of each arm (60)")
    parser.add_argument("--studies", type=int, default=200, help="to simulate for each number (200)")
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    recorded = read(arguments.study or record(arguments.seeds))
    for name, values in recorded.items():
        out.print(f"{name}: {len(values)} seeds, {values.mean():.2%} ± {values.std(ddof=1):.2%}")
    for first, second in combinations(recorded, 2):
        count = min(len(recorded[first]), len(recorded[second]))
        both = np.corrcoef(recorded[first][:count], recorded[second][:count])[0, 1]
        out.print(f"correlation of {first} and {second} over the seeds they share: {both:+.2f}")
    for name, values in recorded.items():
        aa_table(f"Identical arms, {name}", [values], arguments.studies)
    each = list(recorded.values())
    aa_table("One arm four times as noisy", [4 * each[0], *[each[0]] * 5], arguments.studies)
    if len(each) > 1:
        aa_table("Equal means, the noise of each arm, seeds shared", each, arguments.studies, shared=True)
    for name, values in recorded.items():
        out.print(f"Noise of {name}: ± {values.std(ddof=1):.2%}")
        for arms in (2, 6):
            power_table(values, max(arguments.studies, 1000), arms)


if __name__ == "__main__":
    main()
