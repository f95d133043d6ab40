"""`python -m trainer study STUDY …`: what a study has come to, and how it continues, grows or changes."""

from collections.abc import Sequence
from dataclasses import replace

from trainer.cli.common import Parser, confirmed, not_empty
from trainer.config.shell import command as shell_command
from trainer.errors import ConfigError
from trainer.runtime.console import closing_table, say
from trainer.runtime.text import counted
from trainer.storage.places import named_study
from trainer.study.manifest import Manifest

DESCRIPTION = """\
Show what a study has come to, wherever its folder lies; or continue it, let it grow, take runs out, rename it.

  STUDY                        its command, runs, table and verdict
  STUDY continue               train what is left, also of a study that was moved or whose runs are missing
  STUDY add SETTING=VALUES     train further values of an axis: seed=3,4 or optimizer=adamw. Nothing is trained twice
                               of a search: add sweep.trials=N
  STUDY drop SETTING=VALUE     take runs out of the comparison, or an arm by its name; their folders are kept
  STUDY rename NAME            give the study another name
  STUDY rename ARM NAME        give an arm another name in tables and reports

The verdict tells which runs came or went when results were known already: such a comparison errs more often."""

EPILOG = """\
examples:
  python -m trainer study outputs/sweeps/STUDY
  python -m trainer study outputs/sweeps/STUDY add seed=3,4
  python -m trainer study outputs/sweeps/STUDY add optimizer=adamw
  python -m trainer study outputs/sweeps/STUDY drop optimizer=adagrad
  python -m trainer study outputs/sweeps/STUDY rename first-try

exit code 0: done. 1: a run failed, runs are missing, or the study is damaged. 2: the command is wrong."""

VERBS = ("continue", "add", "drop", "rename")


def parser() -> Parser:
    """Return the parser of the command."""
    options = Parser("study", DESCRIPTION, EPILOG)
    options.add_argument("words", nargs="*", metavar="STUDY|CHANGE", help=f"folder of a study; {', '.join(VERBS)}")
    help_ = "folder of the study's own YAML files, as it was begun with"
    options.add_argument("--config-dir", metavar="DIR", type=not_empty, help=help_)
    options.add_argument("--yes", action="store_true", help="drop without asking")
    return options


def main(arguments: Sequence[str]) -> int:
    """Show or change a study. Return 0, or 1 if a run failed or is missing."""
    request = parser().read(arguments)
    if not request.words:
        parser().error("STUDY: is missing")
    name, *words = request.words
    study = Manifest.read(named_study(name))
    verb, *rest = words or [""]
    if verb and verb not in VERBS:
        parser().error(f"{verb}: is no change of a study. Accepted: {', '.join(VERBS)}")
    if verb in ("add", "drop") and not rest:
        parser().error(f"{verb}: names nothing, such as {verb} seed=3")
    if verb == "rename" and len(rest) not in (1, 2):
        parser().error("rename: takes NAME, or ARM and NAME")
    if verb == "continue" and rest:
        parser().error(f"continue {rest[0]}: takes nothing more. To train further values: add {rest[0]}")
    if not verb:
        return _show(study)
    from trainer.study.edit import with_config_dir

    study = with_config_dir(study, request.config_dir)
    if verb in ("continue", "add"):
        return _train(study, rest)
    if verb == "drop":
        return _drop(study, rest, request.yes)
    return _rename(study, rest)


def _show(study: Manifest) -> int:
    from trainer.cli.report import show
    from trainer.reports.content import of_manifest

    content = of_manifest(study)
    closing_table(content.facts)
    say("")
    show(content)
    return 1 if content.missing else 0


def _train(study: Manifest, added: Sequence[str]) -> int:
    from trainer.study.edit import recorded_command, with_added
    from trainer.study.plan import plan_from

    command = with_added(study, added) if added else recorded_command(study)
    plan = plan_from(["-m", *command])
    from trainer.cli.train import conduct  # imports torch: a mistake above is reported at once

    say(f"Command: {shell_command('-m', *command)}")  # of a study that was sent a person may want to read it
    return conduct(replace(plan, output_dir=None), home=study.folder)


def _drop(study: Manifest, words: Sequence[str], yes: bool) -> int:
    from trainer.study.edit import chosen, drop

    if len(words) > 1:
        raise ConfigError(f"drop {' '.join(words)}: one value or arm at a time, in quotes if it has spaces")
    entries = chosen(study, words[0])
    runs = counted(len(entries), "run")
    if not confirmed(f"Take {runs} out of {study.folder}? Their folders are kept there as dropped_…", yes):
        say("Nothing was changed")
        return 1
    for folder in drop(study, entries, words[0]):
        say(f"Kept: {folder}")
    say(f"{runs} dropped; {len(study.entries) - len(entries)} left in {study.folder}", "bold")
    return 0


def _rename(study: Manifest, words: Sequence[str]) -> int:
    from trainer.study.edit import label, rename

    if len(words) == 2:
        label(study, *words)
        say(f"{words[0]} is called {words[1]} in {study.folder}")
        return 0
    folder = rename(study, words[0])
    say(f"Study: {folder}")
    say(f"To continue it: {Manifest.read(folder).restart_command}")
    return 0
