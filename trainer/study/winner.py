"""What a finished study says about its best configuration, read from its folder."""

import shlex
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.config import check_sweep
from trainer.errors import ConfigError, RunError
from trainer.strangers import read_json, texts
from trainer.study.record import DONE, MANIFEST, Entry, Outcome, entries_of, read_outcome
from trainer.study.space import ARM, arm_of, shown


@dataclass(frozen=True)
class Winner:
    """The best point by the mean of its runs. `epochs`: the median of `best_epochs`; `config`: of its first run.

    `tried`: how many points and runs the study has. `code`, `data`: the fingerprints it was run with.
    """

    folder: Path
    point: Mapping[str, str]
    command: str
    config: Mapping[str, Any]
    epochs: int
    best_epochs: tuple[int, ...]
    metric: str
    values: tuple[float, ...]
    tried: tuple[int, int]
    code: str
    data: frozenset[str]

    @property
    def mean(self) -> float:
        return statistics.mean(self.values)

    @property
    def deviation(self) -> float | None:
        return statistics.stdev(self.values) if len(self.values) > 1 else None


def winner_of(folder: Path) -> Winner:
    """Raises ConfigError if this is no study, RunError if it is damaged, has not ended or no run of it finished."""
    path = folder / MANIFEST
    if not path.is_file():
        raise ConfigError(f"{folder}: is not the folder of a study, {path} does not exist")
    try:
        manifest = read_json(path)
        entries = entries_of(manifest, folder)
        sweep = check_sweep(manifest["sweep"])
        arguments, code, data = texts(manifest["command"]), manifest["code"], frozenset(manifest["data"].values())
        axes = [text.partition("=")[0] for text in (*manifest["axes"], *manifest["replicates"])]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise RunError(f"{path} is damaged: {type(error).__name__}: {error}") from None
    outcomes = {entry.id: read_outcome(folder / entry.folder) for entry in entries}
    arms: dict[Any, list[Entry]] = {}
    for entry in entries:
        arms.setdefault((entry.stage, entry.trial, tuple(sorted(arm_of(entry.point).items()))), []).append(entry)
    _refuse_unfinished(folder, arguments, outcomes, arms, 1 if sweep.method == "grid" else _points(sweep))
    last = [each for (stage, *_), each in arms.items() if stage == sweep.stages]
    scored = [(_values(each, outcomes, sweep.metric), each) for each in last]
    scored = [(values, each) for values, each in scored if values]
    if not scored:
        raise RunError(f"{folder}: no run came to its end, so there is no best one")
    values, best = max(scored, key=lambda pair: sweep.sign * statistics.mean(pair[0]))
    finished = [outcomes[entry.id] for entry in best if outcomes[entry.id].state == "finished"]
    best_epochs = tuple(outcome.best_epoch for outcome in finished)
    return Winner(
        folder,
        arm_of(best[0].point),
        _command(arguments, axes, arm_of(best[0].texts)),
        best[0].config,
        statistics.median_high(best_epochs),
        best_epochs,
        sweep.metric,
        tuple(values),
        (len(arms), len(entries)),
        code,
        data,
    )


def _points(sweep: Any) -> int:
    """How many points the last stage of a search has."""
    return max(1, int(sweep.trials) // 2 ** (int(sweep.stages) - 1))


def _values(entries: Sequence[Entry], outcomes: Mapping[str, Outcome], metric: str) -> list[float]:
    found = [outcomes[entry.id].value(metric) for entry in entries]
    return [value for value in found if value is not None]


def _refuse_unfinished(
    folder: Path, arguments: Sequence[str], outcomes: Mapping[str, Outcome], arms: Mapping[Any, Any], points: int
) -> None:
    """A winner among some of the runs would be another one among all."""
    waiting = sum(outcome.state not in (*DONE, "failed") for outcome in outcomes.values())
    last = max((stage for stage, *_ in arms), default=1)
    missing = points - sum(stage == last for stage, *_ in arms)
    if waiting or missing > 0:
        what = (
            f"{waiting} of its {len(outcomes)} runs have not ended" if waiting else f"{missing} points were not tried"
        )
        again = shlex.join(["python", "-m", "trainer", "-m", *arguments])
        raise RunError(f"{folder} is not finished: {what}. Go on with: {again}")


def _command(arguments: Sequence[str], axes: Sequence[str], texts: Mapping[str, str]) -> str:
    """The command that trains this point alone, as a person types it."""
    own = [text for text in arguments if not text.startswith("-")]
    own = [text for text in own if (key := text.lstrip("+").partition("=")[0]) not in axes and not _of_study(key)]
    varied = [word for key, text in texts.items() for word in (shown(text).split(" ") if key == ARM else [shown(text)])]
    return shlex.join(["python", "-m", "trainer", *map(shown, own), *varied])


def _of_study(key: str) -> bool:
    return key.partition(".")[0] in ("sweep", "force", "hydra", "hydra/launcher")
