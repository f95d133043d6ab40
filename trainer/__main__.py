"""`python -m trainer …`: the arguments, the runs they ask for, the exit code."""

import os
import sys

from trainer.commandline import compose
from trainer.errors import ConfigError, RunError


def main() -> None:
    """Exit code 0: done. 1: a run failed. 2: the command or the configuration is wrong. 130: Ctrl-C."""
    arguments = sys.argv[1:]
    try:
        if not {"-h", "--help", "--version"}.isdisjoint(arguments):
            from trainer.help import show

            show(arguments)
            return sys.stdout.flush()
        runs = compose(arguments)
        if not runs:
            return None
        # torch's threads wait for each other in a busy loop. Where the machine has other work to do they wait for
        # long: two trainings at once on two cores ran at a tenth of the speed of one. This many turns, told before
        # torch is imported, cost nothing alone and keep half the speed each (measured, libgomp, batch 512).
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
        from trainer.console import fail, say, waiting

        # Imported late: a mistake is told, and a name completed, without waiting for torch.
        with waiting("Loading torch"):
            from trainer.run import train

        failed = 0
        for number, run in enumerate(runs, 1):
            if len(runs) > 1:
                say(f"\nRun {number} of {len(runs)}", "bold")
            try:
                train(run)
            except (RunError, OSError) as error:
                failed += 1
                fail(error)
        if len(runs) > 1:
            say(f"\n{len(runs) - failed} of {len(runs)} runs done, {failed} failed", "bold")
        sys.exit(1 if failed else 0)
    except ConfigError as error:
        print(f"trainer: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # the reader of a pipe, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
