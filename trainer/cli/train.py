"""`python -m trainer SETTING …`: train one run or, with `-m`, a study."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.runtime.process import gc_paused
from trainer.runtime.signals import WARNINGS, defer_signals
from trainer.runtime.stdio import stdout_exit_code

if TYPE_CHECKING:
    from trainer.study.plan import Plan


def main(arguments: Sequence[str]) -> int:
    """Train a run or a study. Return 0 if all was trained, 1 if a run failed, 2 if the configuration is wrong."""
    if not {"-h", "--help", "--version"}.isdisjoint(arguments):
        from trainer.cli.help import show

        show(arguments)
        return stdout_exit_code()
    if not {"-sc", "--shell-completion"}.isdisjoint(arguments):
        from trainer.cli.completion import main as complete

        complete(arguments)
        return stdout_exit_code()
    # Imported late: a mistake is reported without the seconds that torch takes to load.
    from trainer.config.compose import Multirun, interpret
    from trainer.errors import ConfigError, RunError

    request = interpret(arguments)
    if request is None:
        return stdout_exit_code()
    if isinstance(request, Multirun):
        from trainer.study.plan import plan_of

        return conduct(plan_of(request))  # without torch: all runs of a study are checked before the wait for it
    train, _, fail = _load()
    try:
        train(request)
        return 0
    except (RunError, ConfigError, OSError) as error:
        fail(error)
        return 2 if isinstance(error, ConfigError) else 1


def conduct(plan: "Plan", home: Path | None = None) -> int:
    """Run a study, or the rest of it, and send its verdict to W&B; return the exit code. `home`: where it lies."""
    from trainer.errors import ConfigError, RunError

    _, run_study, fail = _load()
    try:
        result = run_study(plan, home)
        # Also where every run was taken from other studies.
        if result.folder and (result.trained or not (result.folder / "wandb").is_dir()):
            from trainer.reports.wandb_report import log_verdict

            log_verdict(result.folder)
        if result.folder:
            from trainer.lecture.ending import tell_claims

            tell_claims(result.folder, plan.arguments)
        return result.exit_code
    except (RunError, ConfigError, OSError) as error:
        fail(error)
        return 2 if isinstance(error, ConfigError) else 1


def _load() -> tuple[Callable[..., Any], Callable[..., Any], Callable[[Exception], None]]:
    """Import torch and all that uses it. Return the functions that train a run, run a study and report a failure.

    Raises Preempted if a cluster's warning signal arrived meanwhile: an exception in the middle of an import could be
    swallowed by the imported library.
    """
    from trainer.runtime.console import fail, waiting

    with gc_paused(), waiting("Loading torch"), defer_signals(WARNINGS) as warned:
        from trainer.run import train
        from trainer.study.execute import run_study
    if warned:
        raise warned.error()
    return train, run_study, fail
