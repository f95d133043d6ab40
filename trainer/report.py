"""`python -m trainer.report STUDY`: the arms of a study, and what their runs can tell. Imports no torch."""

from collections.abc import Sequence
from pathlib import Path

from trainer.commands import Parser, start
from trainer.errors import ConfigError
from trainer.study.reading import lines, read

DESCRIPTION = """\
Says which arm of a study is better, by how much, and whether its runs can tell.

An arm is named as in the table: by the value that is varied (none, batch), or in full ('optimizer=adam lr=0.01').
Three runs an arm (seed=0,1,2) are the fewest that can tell anything; how many more would tell is said."""

EPILOG = """\
examples:
  python -m trainer.report outputs/sweeps/STUDY
  python -m trainer.report outputs/sweeps/STUDY --baseline none

exit code 0: done. 2: the folder or the arm's name is wrong."""


def show(folder: Path, baseline: str | None) -> None:
    """Prints the table of arms, best first, and the sentences. Raises ConfigError before anything is printed."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    reading = read(folder)
    told = lines(reading, baseline)
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
    for line in told:
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
