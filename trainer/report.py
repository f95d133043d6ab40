"""`python -m trainer.report STUDY`: the arms of a study, and what their runs can tell. Imports no torch."""

import difflib
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.commands import Parser, start
from trainer.errors import ConfigError
from trainer.strangers import harmless, read_json, run_folder
from trainer.study.space import ARM, REPLICATES, arm_of
from trainer.study.verdict import Arm, Setting, Verdict, judge

UNITS = {"seed": "seed", "split_seed": "split", "dataset.fold": "fold"}

DESCRIPTION = """\
Says which arm of a study is better, by how much, and whether its runs can tell.

An arm is named as in the table: by the value that is varied (none, batch), or in full ('optimizer=adam lr=0.01').
Three runs an arm (seed=0,1,2) are the fewest that can tell anything; how many more would tell is said."""

EPILOG = """\
examples:
  python -m trainer.report outputs/sweeps/STUDY
  python -m trainer.report outputs/sweeps/STUDY --baseline none

exit code 0: done. 2: the folder or the arm's name is wrong."""


@dataclass(frozen=True)
class Reading:
    """A study as its folder holds it. `states` counts the runs of (arm's name, state)."""

    setting: Setting
    arms: tuple[Arm, ...]
    states: Mapping[tuple[str, str], int]


def read(folder: Path) -> Reading:
    """Raises ConfigError if this is no study. Of several stages the last one counts: its runs are equally long."""
    manifest = _json(folder / "study.json", f"{folder}: is no study, it holds no study.json")
    try:
        sweep, every = manifest["sweep"], manifest["runs"]
        if sweep["metric"] not in ("validation_accuracy", "validation_loss"):
            raise ValueError(sweep["metric"])
        for entry in every:
            harmless([entry["point"], entry["texts"]])
        last = max((entry["stage"] for entry in every), default=1)
        entries = [entry for entry in every if entry["stage"] == last]
        varied = list(dict.fromkeys(key for entry in entries for key in entry["point"]))
        replicates = [key for key in varied if key in REPLICATES]
        direction = sweep["direction"] or ("minimize" if sweep["metric"].endswith("loss") else "maximize")
        names = _arm_names(entries)
        values: dict[str, dict[str, float]] = {name: {} for name in names}
        results = [_result(run_folder(folder, entry["folder"])) for entry in entries]
        for name, entry, result in zip(names, entries, results, strict=True):
            value = result.get(sweep["metric"])
            if result.get("state") == "finished" and value is not None and math.isfinite(value):
                values[name][" ".join(entry["point"][key] for key in replicates)] = value
        images = min((int(each["validation_images"]) for each in results if each.get("validation_images")), default=0)
        states = Counter((name, result.get("state", "queued")) for name, result in zip(names, results, strict=True))
    except ConfigError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise ConfigError(f"{folder / 'study.json'} is damaged, or of another version") from None
    setting = Setting(
        metric=sweep["metric"],
        sign=1 if direction == "maximize" else -1,
        unit="seed" if not replicates else UNITS[replicates[0]] if len(replicates) == 1 else "run",
        paired=bool({*replicates} - {"seed"}),  # another split, another fold: other images to be scored on
        images=images,
    )
    return Reading(setting, tuple(Arm(name, each) for name, each in values.items()), states)


def _arm_names(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Of each run: "batch" where one setting is varied and its values explain themselves, else "lr=0.1 init=zeros"."""
    points = [arm_of(entry["point"]) for entry in entries]
    words = all(len(point) == 1 and re.match(r"(?!(true|false|null)$)[a-z]", *point.values()) for point in points)
    return [
        " ".join(value if words or key == ARM else f"{key}={value}" for key, value in point.items()) or "the only point"
        for point in points
    ]


def verdict_lines(folder: Path, baseline: str | None = None) -> list[str]:
    """What a study's runs can tell, a sentence each. Raises ConfigError as `read` does, and for an unknown arm."""
    return _lines(read(folder), baseline)


def _lines(reading: Reading, baseline: str | None) -> list[str]:
    return [*verdict(reading, baseline).lines(), *_missing(reading)]


def verdict(reading: Reading, baseline: str | None = None) -> Verdict:
    """Raises ConfigError if no arm of finished runs has the baseline's name."""
    if baseline is None:
        return judge(reading.arms, reading.setting)
    by_name = {arm.name: arm for arm in reading.arms}
    wanted = sorted(baseline.split())
    found = next((name for name in by_name if sorted(name.split()) == wanted), None)
    if found is None:
        near = difflib.get_close_matches(baseline, list(by_name), n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ConfigError(f"--baseline={baseline}: the study has no such arm.{hint} Accepted: {', '.join(by_name)}")
    if not by_name[found].values:
        raise ConfigError(f"--baseline={baseline}: none of its runs has finished")
    return judge(reading.arms, reading.setting, found)


def _missing(reading: Reading) -> list[str]:
    """Runs that are left out; where they failed it flatters their arm."""
    lines = []
    for arm in reading.arms:
        states = {state: count for (name, state), count in reading.states.items() if name == arm.name}
        asked, failed, pruned = sum(states.values()), states.get("failed", 0), states.get("pruned", 0)
        left = asked - failed - pruned - states.get("finished", 0)
        flattered = "; its mean is of those that went well" if arm.values else ""
        told = {
            f"failed{flattered}": failed,
            "were stopped by sweep.pruner and are not compared": pruned,
            "have not finished": left,
        }
        lines += [f"{arm.name}: {count} of {asked} runs {what}" for what, count in told.items() if count]
    return lines


def _json(path: Path, missing: str) -> Any:
    try:
        return read_json(path)
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(missing) from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise ConfigError(f"{path} is damaged") from None


def _result(folder: Path) -> Mapping[str, Any]:
    path = folder / "result.json"
    result: Mapping[str, Any] = _json(path, "") if path.is_file() else {}
    if not isinstance(result.get("state", "queued"), str):
        raise ConfigError(f"{path} is damaged")
    return result


def show(folder: Path, baseline: str | None) -> None:
    """Prints the table of arms, best first, and the sentences. Raises ConfigError before anything is printed."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    reading = read(folder)
    lines = _lines(reading, baseline)
    console, setting = Console(highlight=False, soft_wrap=True), reading.setting
    form = ".2%" if setting.share else ".4f"
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("arm", overflow="fold")
    for title in (f"{setting.metric.replace('_', ' ')} ± sd", f"{setting.unit}s"):
        table.add_column(title, justify="right", no_wrap=True)
    for arm in sorted(reading.arms, key=lambda arm: (not arm.values, -setting.sign * arm.mean if arm.values else 0.0)):
        spread = f" ± {arm.deviation:{form}}" if arm.deviation is not None else ""
        value = f"{arm.mean:{form}}{spread}" if arm.values else "—"
        table.add_row(Text(arm.name), value, str(len(arm.values)))
    console.print(table)
    for line in lines:
        console.print(Text(line))


def main(arguments: Sequence[str]) -> int:
    parser = Parser("trainer.report", DESCRIPTION, EPILOG)
    parser.add_argument("study", type=Path, nargs="?", metavar="STUDY", help="its folder, under outputs/sweeps")
    parser.add_argument("--baseline", metavar="ARM", help="compare with this arm; default: with the best one")
    asked = parser.read(arguments)
    if asked.study is None:
        raise ConfigError("STUDY: no study is named. See python -m trainer.report --help")
    show(asked.study, asked.baseline)
    return 0


if __name__ == "__main__":
    start(main)
