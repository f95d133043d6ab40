"""`python -m trainer finalize STUDY`: the winner, trained on all images, read on the test set once, as a card."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from trainer.cli.common import Parser, count, device
from trainer.errors import ConfigError
from trainer.evaluation.finalize import _finalize
from trainer.runtime.files import expanded, make_folder
from trainer.runtime.lock import locked
from trainer.storage.untrusted import refuse_links

if TYPE_CHECKING:
    pass

DESCRIPTION = """\
Takes the best configuration of a finished study, by the mean of its validation runs, trains it anew on training and
validation images together, for the number of epochs that these runs chose (the median of their best epochs; the
schedule stays as it was validated), and reads the test set once for all seeds. What came of it is a card in the
study's folder: card.md for people, finalize.json for programs."""

EPILOG = """\
The same command goes on after a stop; seeds that are trained are not trained again, and a test result that is in the
ledger is not read again.

examples:
  python -m trainer finalize outputs/sweeps/STUDY
  python -m trainer finalize outputs/sweeps/STUDY seeds=10 ensemble=5

exit code 0: done. 1: the study is not finished or damaged, or a training failed. 2: the command is wrong, the ledger
is not whole or the test images cannot be read; nothing was trained."""


def parser() -> Parser:
    """Return the parser of the command."""
    options = Parser("finalize", DESCRIPTION, EPILOG)
    options.add_argument("study", metavar="STUDY", help="folder of a study: outputs/sweeps/…")
    options.add_argument("--seeds", type=count, default=5, metavar="N", help="networks to train; default: 5")
    options.add_argument(
        "--ensemble", type=count, nargs="?", const=0, metavar="M", help="average the first M of them; default: all"
    )
    options.add_argument("--why", metavar="TEXT", help="what the number is for; stands in the ledger")
    options.add_argument("--data-dir", metavar="DIR", help="where the data lie; default: where the study had them")
    options.add_argument("--device", type=device, metavar="NAME", help="default: as the study was told")
    return options


def main(arguments: Sequence[str]) -> int:
    request = parser().read(arguments)
    folder = expanded(request.study)
    if not (folder / "study.json").is_file():
        raise ConfigError(f"{request.study}: is not the folder of a study, {folder / 'study.json'} does not exist")
    averaged = 0 if request.ensemble is None else request.ensemble or request.seeds
    if averaged == 1:
        raise ConfigError("--ensemble 1: an ensemble has at least two members")
    refuse_links(folder)
    with locked(make_folder(folder / "final")):
        return _finalize(folder, max(request.seeds, averaged), averaged, request.device, request.data_dir, request.why)
