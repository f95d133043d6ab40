"""`python -m trainer clean`: how much room runs and studies take, and what can be deleted. Imports no torch."""

from collections.abc import Sequence
from pathlib import Path

from trainer.cli.common import Parser, confirmed, count
from trainer.config.shell import command
from trainer.records.disk_usage import KINDS, Spare, Usage, delete, freed_by, usage_of
from trainer.runtime.console import say, show_columns, waiting
from trainer.runtime.text import counted, file_size
from trainer.storage.places import named_place, output_root, picture_place

DESCRIPTION = """\
Show how much room the runs and studies below a folder take, and what of it can be spared; delete what is named.

Without a KIND nothing is deleted. Runs that are being trained, or have not ended, are not touched.

kinds:
""" + "\n".join(f"  {kind.name:9} {kind.what}.\n            Lost: {kind.lost}" for kind in KINDS)

EPILOG = """\
examples:
  python -m trainer clean
  python -m trainer clean outputs previous torn --dry-run
  python -m trainer clean outputs previous states --yes

exit code 0: done. 1: something could not be deleted, or nothing was, as you said no. 2: the command is wrong."""

NAMES = tuple(kind.name for kind in KINDS)


def parser() -> Parser:
    """Return the parser of the command."""
    options = Parser("clean", DESCRIPTION, EPILOG)
    help_ = f"folder to look below; default: {output_root()}. And kinds to delete"
    options.add_argument("words", nargs="*", metavar="ROOT|KIND", help=help_)
    options.add_argument("--dry-run", action="store_true", help="list what would be deleted")
    options.add_argument("--yes", action="store_true", help="delete without asking")
    options.add_argument("--limit", type=count, default=10, metavar="N", help="show the N largest; default: 10")
    return options


def main(arguments: Sequence[str]) -> int:
    """Show the room that is taken, or delete the named kinds. Return 0, or 1 if the person said no."""
    request = parser().read(arguments)
    kinds = [word for word in request.words if word in NAMES]
    roots = [word for word in request.words if word not in NAMES]
    if len(roots) > 1:
        parser().error(f"one ROOT is expected, {len(roots)} are named: {', '.join(roots)}. Kinds: {', '.join(NAMES)}")
    root = named_place(roots[0] if roots else str(output_root()))
    with waiting("Measuring"):
        usage = usage_of(root, picture_place())
    if not kinds:
        _show(root, usage, request.limit)
        return 0
    spares = [spare for spare in usage.spares if spare.kind in kinds]
    if not spares:
        say(f"{root}: there is nothing of kind {', '.join(kinds)}")
        return 0
    room, things = file_size(freed_by(spare.path for spare in spares)), _things(spares)
    if request.dry_run:
        for spare in spares:
            say(f"{spare.kind}: {spare.path}")
        say(f"{things} would be deleted: {room}. Nothing was deleted", "bold")
        return 0
    for kind in (kind for kind in KINDS if kind.name in kinds):
        say(f"{kind.name}: {kind.what}. Lost: {kind.lost}")
    if not confirmed(f"Delete {things} below {root}, {room}?", request.yes):
        say("Nothing was deleted")
        return 1
    for spare in spares:
        delete(spare)
    say(f"{things} deleted: {room}", "bold")
    return 0


def _show(root: Path, usage: Usage, limit: int) -> None:
    """Print the largest folders, and the room that each kind would free."""
    largest = sorted(usage.sizes, key=lambda folder: -usage.sizes[folder])[:limit]
    if largest:
        show_columns(("folder", "size"), [(str(folder), file_size(usage.sizes[folder])) for folder in largest], {1})
    left = len(usage.sizes) - len(largest)
    more = f", of which the {len(largest)} largest are shown" if left else ""
    say(f"{root}: {file_size(usage.total)} in {counted(len(usage.sizes), 'study or run', 'studies and runs')}{more}")
    rows = []
    for kind in KINDS:
        paths = [spare.path for spare in usage.spares if spare.kind == kind.name]
        if paths:
            rows.append((kind.name, file_size(freed_by(paths)), kind.what, kind.lost))
    if not rows:
        say("Nothing can be spared")
        return
    say("")
    show_columns(("kind", "frees", "what", "lost if deleted"), rows, {1})
    say(f"To delete some of it: {command('clean', root, rows[0][0])}; --dry-run lists the files")


def _things(spares: Sequence[Spare]) -> str:
    folders = sum(spare.path.is_dir() for spare in spares)
    files = len(spares) - folders
    return " and ".join(
        text for number, text in ((files, counted(files, "file")), (folders, counted(folders, "folder"))) if number
    )
