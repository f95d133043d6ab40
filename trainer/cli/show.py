"""`python -m trainer show RUN`: what a run is, the settings that it does not leave as they are, and its result."""

from collections.abc import Iterable, Sequence

from trainer.cli.common import Parser
from trainer.config.recorded import with_defaults
from trainer.config.shell import command
from trainer.errors import ConfigError
from trainer.records.layout import BEST, MANIFEST
from trainer.records.metrics import in_words, shown_figure
from trainer.reports.content import Content
from trainer.reports.facts import data_text, moment
from trainer.reports.run_content import of_run
from trainer.reports.run_files import Run
from trainer.runtime.console import closing_table, say, show_columns
from trainer.storage.checksums import unchecked
from trainer.storage.places import named_folder, named_run
from trainer.study.rerun import command_of

DESCRIPTION = """\
Show a run: the settings that differ from the default, its data, its command, its result, and where it lies.

A setting of a technique is compared with the default of that technique. A run of a study has its own folder in that of
the study, and its command is the one that trains it alone."""

EPILOG = """\
examples:
  python -m trainer show outputs/RUN
  python -m trainer show outputs/sweeps/STUDY/RUN
  python -m trainer show outputs/RUN --all

exit code 0: done. 1: the run is damaged. 2: the command is wrong."""


def parser() -> Parser:
    """Return the parser of the command."""
    options = Parser("show", DESCRIPTION, EPILOG)
    options.add_argument("run", metavar="RUN", help="folder of a run")
    options.add_argument("--all", action="store_true", help="show every setting, not only those that differ")
    return options


def main(arguments: Sequence[str]) -> int:
    """Print the run. Return 0."""
    request = parser().read(arguments)
    path = named_folder(request.run)
    if (path / MANIFEST).is_file():
        raise ConfigError(f"{request.run}: is a study, which is shown by {command('study', path)}")
    content = of_run(named_run(request.run))
    (run,) = content.arms[0].runs
    rows = [(each.key, each.value, each.default) for each in with_defaults(run.config) if request.all or each.differs]
    say(content.title, "bold")
    say("")
    if rows:
        show_columns(("setting", "value", "default"), rows, ())
    else:
        say("No setting differs from the default")
    say("")
    closing_table(_facts(content, run))
    say("")
    for sentence in content.verdict:
        say(sentence)
    return 0


def _facts(content: Content, run: Run) -> Iterable[tuple[str, str]]:
    """Yield what the folder says besides the settings, by name."""
    yield "Data", data_text(run.config, run.outcome)
    yield "Command", command_of(run.folder) or "none is recorded that trains it alone"
    if content.started:
        yield "Started", moment(content.started)
    yield from content.facts
    if run.outcome.validation_accuracy is not None:
        yield "Best epoch", str(run.outcome.best_epoch)
        yield "Validation accuracy", content.format_value(run.outcome.validation_accuracy)
        if run.outcome.validation_loss is not None:
            yield "Validation loss", f"{run.outcome.validation_loss:.4f}"
        for name, value in run.outcome.further.items():
            yield in_words(name), "—" if value is None else shown_figure(name, value)
    if (accuracy := run.outcome.train_eval_accuracy) is not None:
        gap = ""
        if run.outcome.gap is not None:
            side = "below" if run.outcome.gap < 0 else "above"
            gap = f", {100 * abs(run.outcome.gap):.2f} points {side} the validation accuracy"
        yield "Training accuracy", f"{content.format_value(accuracy)} in evaluation mode{gap}"
    if run.best:
        yield "Parameters", str(run.best.parameters)
    yield from (row for row in content.environment if row[0] in ("Device", "Commit"))
    yield "Folder", str(run.folder)
    if names := unchecked(run.folder):
        yield "No checksum", f"{', '.join(names)}: of an earlier version, or edited by hand"
    if (run.folder / BEST).is_file():
        yield "Best network", str(run.folder / BEST)
    above = run.folder.resolve().parent
    if (above / MANIFEST).is_file():
        yield "Study", str(run.folder.parent if run.folder.parent.resolve() == above else above)
