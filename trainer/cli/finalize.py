"""`python -m trainer finalize STUDY`: train the winner on all images, score it on the test set once, write a card."""

from collections.abc import Sequence

from trainer.cli.common import Parser, count, device, not_empty
from trainer.errors import ConfigError
from trainer.evaluation.finalize import _finalize
from trainer.runtime.files import make_folder
from trainer.runtime.lock import locked
from trainer.storage.places import named_study
from trainer.storage.untrusted import refuse_links

DESCRIPTION = """\
Train the best configuration of a finished study on all images, and score it on the test set once.

The best configuration is the one with the best mean over its validation runs. It is trained anew on the training and
validation images together, for the median of the best epochs of these runs, with the schedule that was validated.
The test set is read once for all seeds. The result is in the study's folder: card.md for people, finalize.json for
programs."""

EPILOG = """\
After a stop the same command continues: it trains no seed twice, and reads no test result twice that is in the ledger.

examples:
  python -m trainer finalize outputs/sweeps/STUDY
  python -m trainer finalize outputs/sweeps/STUDY seeds=10 ensemble=5

exit code 0: done. 1: the study is not finished or damaged, or a run failed. 2: the command is wrong, the ledger was
changed, or the test images cannot be read; nothing was trained."""


def parser() -> Parser:
    """Return the parser of the command."""
    options = Parser("finalize", DESCRIPTION, EPILOG)
    options.add_argument("study", metavar="STUDY", help="folder of a study: outputs/sweeps/…")
    options.add_argument(
        "--seeds", type=count, default=5, metavar="N", help="number of networks, one per seed; default: 5"
    )
    options.add_argument(
        "--ensemble",
        type=count,
        nargs="?",
        const=0,
        metavar="M",
        help="also score the average of the first M networks; without M: of all",
    )
    options.add_argument(
        "--block", metavar="NAME", help="of a study of several data sets: the one to finalize; its card is card-NAME.md"
    )
    options.add_argument("--why", metavar="TEXT", help="the purpose of the reading, for the ledger")
    options.add_argument(
        "--data-dir", type=not_empty, metavar="DIR", help="folder of the data; default: that of the study"
    )
    options.add_argument(
        "--device", type=device, metavar="NAME", help="auto, cpu, cuda, cuda:N, mps; default: that of the study"
    )
    return options


def main(arguments: Sequence[str]) -> int:
    """Finalize the study. Return 0, or 1 if a run failed."""
    request = parser().read(arguments)
    folder = named_study(request.study)
    averaged = 0 if request.ensemble is None else request.ensemble or request.seeds
    if averaged == 1:
        raise ConfigError("--ensemble 1: an ensemble has at least two members")
    # Before the first file is written, as a folder from elsewhere may hold links.
    refuse_links(folder)
    with locked(make_folder(folder / "final")):
        seeds = max(request.seeds, averaged)
        return _finalize(folder, seeds, averaged, request.device, request.data_dir, request.why, request.block)
