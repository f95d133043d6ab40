"""`python -m trainer check-techniques PATH`: try own techniques in seconds, on digits, before they are trained with."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from trainer.cli.common import Parser, device
from trainer.config.own import OwnTechniques, active, read, using
from trainer.config.schema import GROUPS, OwnFunction, own_functions
from trainer.config.suggestions import nearest
from trainer.errors import ConfigError

if TYPE_CHECKING:
    from trainer.checking.technique import Row

Found = tuple[str, OwnFunction]

DESCRIPTION = """\
Try the functions of --techniques PATH, in seconds, on a few handwritten digits, and say in one table what they keep.

PATH is a folder, a file such as optimizer.py, or pkg:NAME, and its code is run. All functions are checked, or those
that are named. The training is the real one: the same loop, checkpoints and options."""

EPILOG = """\
SETTING is any setting of a training, such as lr=0.01; a setting of an option, such as optimizer.beta=0.9, goes to the
functions that have it. Without a setting, a small CNN trains 18 steps of 16 digits of 16×16 pixels.

columns:
  seed      two trainings from one seed have the same bits
  resume    stopped in the middle of an epoch and continued from its checkpoint, a run has the same bits
  random    nothing draws from Python's or NumPy's global generator, which no checkpoint saves
  bf16      a step with precision=bf16 leaves finite weights
  contract  the promises of its group:
              optimizer: it follows the rate of the schedule, decays weights, spares groups that have no decay, keeps
                the rates of groups apart; the gradients of a step are counted
              augmentation: shape, range and labels, also mixed ones; draws for each image, from its generator alone
              model: 1 and 3 channels, both modes, one image alone; gradients for all parameters; the slots it ignores
              loss: a finite mean over the images, with a gradient; labels [N] and [N, K] lead to the same value
              metric: a finite number. scheduler: finite rates, and its memory is restored. init: it sets weights
              activation, normalization: shapes and finite gradients. regularization: where it acts. dataset: it reads
  step      time of a training step beside that of the built-in default of the group; it decides nothing

examples:
  python -m trainer check-techniques mine
  python -m trainer check-techniques mine tiger lr=0.0001 optimizer.beta=0.95
  python -m trainer check-techniques mine/model.py dataset=cifar10 --device cuda

exit code 0: all checks are passed. 1: one failed; the reason stands below the table. 2: the command is wrong."""


def parser() -> Parser:
    """Return the parser of the command."""
    options = Parser("check-techniques", DESCRIPTION, EPILOG)
    options.add_argument("path", metavar="PATH", help="a folder, a file named as its group, or pkg:NAME")
    options.add_argument("words", nargs="*", metavar="NAME|SETTING", help="a function to check; a setting of the runs")
    options.add_argument("--device", type=device, default="cpu", help="device to train on; default: cpu")
    options.add_argument("--test-part", action="store_true", help="let own data sets also read their test part")
    return options


def main(arguments: Sequence[str]) -> int:
    """Check the techniques and print a table. Return 0 if all checks are passed, else 1."""
    given = parser().read(arguments)
    own = read(given.path, [*GROUPS])
    with using([*(each for each in active() if each.key != own.key), own]):
        settings = [word for word in given.words if "=" in word]
        chosen = _chosen(own, [word for word in given.words if "=" not in word])
        _refuse_idle(settings, chosen)
        rows = _checked(own, chosen, settings, given.device, given.test_part)
    _show(rows)
    return int(any(row.failures for row in rows))


def _chosen(own: OwnTechniques, names: Sequence[str]) -> list[Found]:
    """Return (group, function) of the functions with these names, or of all. Raises ConfigError for an unknown one."""
    found = [
        (group, function)
        for group in own.groups
        for place, function in own_functions(group).values()
        if place.key == own.key
    ]
    if not found:
        raise ConfigError(f"{own.typed}: has no public function: the name of a technique does not begin with _")
    for name in names:
        if not any(_is_named(each, name) for each in found):
            known = [function.name for _, function in found]
            near = nearest(name, known)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise ConfigError(f"{name}: there is no such function in {own.typed}.{hint} There are: {', '.join(known)}")
    return [each for each in found if not names or any(_is_named(each, name) for name in names)]


def _is_named(found: Found, name: str) -> bool:
    return name in (found[1].name, f"{found[0]}.{found[1].name}", f"{found[0]}={found[1].name}")


def _refuse_idle(settings: Sequence[str], chosen: Sequence[Found]) -> None:
    """Raise ConfigError for an option that none of the functions has, though its group is checked."""
    groups = {group for group, _ in chosen}
    for text in settings:
        group, dot, _ = text.partition("=")[0].partition(".")
        if dot and group in groups and not any(_takes(each, text) for each in chosen if each[0] == group):
            names = ", ".join(function.name for each, function in chosen if each == group)
            raise ConfigError(f"{text} (command line): none of the functions that are checked has it: {names}")


def _takes(found: Found, text: str) -> bool:
    """Return whether a setting belongs to the run of a function: not if it is an option of others of its group."""
    from trainer.config.schema import shared_parameters

    group, function = found
    first, dot, rest = text.partition("=")[0].partition(".")
    if first != group:
        return True
    if not dot:  # optimizer=extragradient: for the runs of the other groups
        return False
    if GROUPS[group].listed:
        return rest.partition(".")[0] == function.name
    return rest in {**function.parameters, **shared_parameters(group)}


def _checked(
    own: OwnTechniques, chosen: Sequence[Found], settings: Sequence[str], device_name: str, test_part: bool
) -> "list[Row]":
    # Imported late: `--help` and a mistake are shown without the seconds that torch takes to load.
    from trainer.runtime.console import waiting
    from trainer.runtime.process import gc_paused

    with gc_paused(), waiting("Loading torch"):
        from trainer.checking.subject import Subject
        from trainer.checking.technique import checked
        from trainer.training.build import pick_device

        where, rows = pick_device(device_name), []
    for number, (group, function) in enumerate(chosen, 1):
        with waiting(f"Checking {group}={function.name} ({number} of {len(chosen)})"):
            taken = tuple(text for text in settings if _takes((group, function), text))
            rows.append(checked(Subject(group, function.name, own, function, taken, where, test_part)))
    return rows


def _show(rows: "Sequence[Row]") -> None:
    from rich.text import Text

    from trainer.checking.technique import COLUMNS, FAILED
    from trainer.errors import printable
    from trainer.runtime.console import new_table, say, show_table

    table = new_table(*((name, "left") for name in ("technique", *COLUMNS, "contract", "step")))
    for row in rows:
        kept, count = row.contract
        cells = [Text(printable(text), "red" if text == FAILED else "") for text in row.texts]
        cells[-2].style = "red" if kept < count else ""
        table.add_row(*cells)
    show_table(table)
    for row in rows:
        if row.notes:
            say(f"{row.title}: {'; '.join(row.notes)}")
    for row in rows:
        for sentence in row.failures:
            place = "" if sentence.startswith(row.place.partition(",")[0]) else f" ({row.place})"
            say(f"FAILED {row.title}{place}: {sentence}", "red")
    failed = [row.title for row in rows if row.failures]
    say(f"{len(rows) - len(failed)} of {len(rows)} pass" + (f"; not {', '.join(failed)}" if failed else ""))
