"""The entry of `python -m trainer …`."""

import sys

if sys.version_info < (3, 10):  # noqa: UP036 - an older Python cannot parse the other files
    sys.exit("trainer: needs Python 3.10 or later, and %s is %s" % (sys.executable, sys.version.split()[0]))  # noqa: UP031

from trainer.cli.main import console_script

if __name__ == "__main__":
    console_script()
