"""`python -m trainer …`: the arguments, the runs they ask for, the exit code."""

import os
import sys

from trainer.commandline import compose
from trainer.errors import ConfigError, RunError


def main() -> None:
    """Exit code 0: done. 1: a run failed. 2: the command or the configuration is wrong. 130: Ctrl-C."""
    arguments = sys.argv[1:]
    if not {"-h", "--help", "--version"}.isdisjoint(arguments):
        from trainer.help import show

        return show(arguments)
    try:
        runs = compose(arguments)
        if not runs:
            return None
        # torch's threads wait for each other in a busy loop, unless told otherwise before it is imported: on a
        # machine that has other work to do as well, a training of 2 s was seen to take 30 s.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
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
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
