"""`python -m trainer predict RUN PICTURE …`: classify image files with a checkpoint, or export its network."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.cli.common import Parser, count, device
from trainer.errors import ConfigError, printable
from trainer.records.layout import best_of
from trainer.runtime.text import complain
from trainer.storage.places import named_folder

if TYPE_CHECKING:
    import torch

    from trainer.evaluation.inference import TrainedNetwork

BATCH, BATCH_BYTES = 256, 64_000_000  # the most images, and bytes of decoded pixels, at once

DESCRIPTION = """\
Classify images with a trained network, or export the network.

The checkpoint suffices: it holds the network, the class names and the image size. Pictures are prepared like those of
dataset=image_folder: rotated upright, resized by the shorter side, cropped to the centre, and converted to grayscale
for a network that was trained on grayscale images. A file .npy holds one image or several, with values as in training;
a network that was trained on other values than bytes, or on other channels, takes no pictures.

--export writes the network for other programs, runs the written file and compares its output with the original."""

EPILOG = """\
Written to a file or a pipe, the output is one line per image: its path, then pairs of class and probability, separated
by tabs.

examples:
  python -m trainer predict outputs/RUN cat.png holiday/ --top 3
  python -m trainer predict outputs/RUN scans.npy
  python -m trainer predict outputs/RUN --export model.onnx           (needs the extra "export")

exit code 0: done. 1: a picture or the checkpoint cannot be read. 2: the command is wrong."""


def parser() -> Parser:
    """Return the parser of the command."""
    options = Parser("predict", DESCRIPTION, EPILOG)
    options.add_argument("run", metavar="RUN", help="folder of a run, or a checkpoint file")
    options.add_argument(
        "pictures", nargs="*", metavar="PICTURE", help="picture files, folders with pictures, or .npy files"
    )
    options.add_argument("--top", type=count, default=1, metavar="N", help="number of classes to print; default: 1")
    options.add_argument("--export", type=Path, metavar="FILE", help="write the network: .onnx or .safetensors")
    options.add_argument("--device", type=device, default="auto", help="auto, cpu, cuda, cuda:N, mps; default: auto")
    return options


def main(arguments: Sequence[str]) -> int:
    """Classify the pictures, export the network. Return 0, or 1 if a picture could not be decoded."""
    from trainer.evaluation.export import require

    request = parser().read(arguments)
    path = best_of(request.run)
    if not request.pictures and not request.export:
        raise ConfigError("PICTURE: name pictures or a folder of them, or --export FILE")
    if request.export:
        require(request.export)
    files = [file for each in request.pictures for file in _pictures(named_folder(each))]
    from trainer.runtime.console import waiting

    with waiting("Loading torch"):
        from trainer.evaluation.inference import load_network
        from trainer.training.build import pick_device
    snapshot = load_network(path)
    where, top = pick_device(request.device), min(request.top, len(snapshot.classes))
    code = _predict(snapshot, files, top, where) if files else 0
    if request.export:
        from trainer.evaluation.export import export
        from trainer.runtime.console import say

        difference = export(snapshot, request.export)
        say(f"Written: {request.export}. Largest difference of a probability from the original: {difference:.1e}")
    return code


def _pictures(place: Path) -> list[Path]:
    from trainer.data.decode import SUFFIXES
    from trainer.data.picture_files import find

    if place.is_file():
        return [place]
    if not place.is_dir():
        raise ConfigError(f"{place}: there is no such picture or folder")
    root = place.resolve()
    found, pictures = find(place), list[Path]()
    for entry in found.pictures:
        if entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(root):
            found.links += 1  # a link may not lead out of the folder
        else:
            pictures.append(Path(entry.path))
    if not pictures:
        raise ConfigError(f"{place}: holds no picture ({', '.join(SUFFIXES)})")
    for sentence in found.left_out():
        complain(f"warning: {place}: {sentence}")
    return pictures


def _predict(snapshot: "TrainedNetwork", files: Sequence[Path], top: int, where: "torch.device") -> int:
    """Print a line for each picture, batch by batch. Return 0, or 1 if one could not be decoded."""
    from rich.markup import escape

    from trainer.runtime.console import out

    plain, failed = not out.file.isatty(), 0
    width = min(max(len(str(file)) for file in files), 60)  # of the column of paths, in letters
    for chunk, pixels, wrong in _inputs(files, snapshot):
        failed += wrong
        if not chunk:
            continue
        values, labels = snapshot.probabilities([pixels], where).topk(top)
        for file, shares, names in zip(chunk, values.tolist(), labels.tolist(), strict=True):
            pairs = [(snapshot.classes[name], share) for name, share in zip(names, shares, strict=True)]
            # Names of files and classes may be untrusted: without control characters and without rich's markup.
            if plain:
                print(
                    "\t".join(
                        [printable(str(file)), *(word for name, share in pairs for word in (name, f"{share:.6f}"))]
                    )
                )
            else:
                first, *more = [f"{escape(name)} {share:.1%}" for name, share in pairs]
                rest = f"  [dim]{', '.join(more)}[/dim]" if more else ""
                out.print(f"{escape(printable(str(file))):<{width}}  [bold]{first}[/bold]{rest}")
    return 1 if failed else 0


def _inputs(
    files: Sequence[Path], snapshot: "TrainedNetwork"
) -> Iterator[tuple[Sequence[Path | str], "torch.Tensor", int]]:
    """Yield (names, pixels [B, C, H, W], number of files that could not be decoded): pictures, then arrays."""
    from trainer.evaluation.array_inputs import SUFFIX, array_batches, refuse_pictures

    arrays = [file for file in files if file.suffix.lower() == SUFFIX]
    if pictures := [file for file in files if file not in set(arrays)]:
        refuse_pictures(snapshot)
        yield from _batches(pictures, snapshot.shape)
    for names, pixels in array_batches(arrays, snapshot, BATCH):
        yield names, pixels, 0


def _batches(files: Sequence[Path], shape: tuple[int, int, int]) -> Iterator[tuple[list[Path], "torch.Tensor", int]]:
    """Yield (files, their pixels [B, C, H, W] as uint8, number of files that could not be decoded) for each batch."""
    import torch

    from trainer.data.decode import decode, decode_error
    from trainer.runtime.console import progress

    channels, height, width = shape
    # Large pictures make smaller batches, so that the memory of one batch is limited.
    batch = max(1, min(BATCH, BATCH_BYTES // (channels * height * width)))
    starts = range(0, len(files), batch)
    for first in progress(starts, f"Reading {len(files)} pictures") if len(files) > batch else starts:
        chunk, content, failed = list[Path](), bytearray(), 0
        for file in files[first : first + batch]:
            try:
                decoded = decode(str(file), shape)
                content += decoded.pixels
                chunk.append(file)
                for message in decoded.warnings:
                    complain(f"warning: {file} may look different ({message})")
            except Exception as error:  # Pillow's decoders raise nearly anything on a damaged file
                complain(decode_error(str(file), error))
                failed += 1
        # `decode` gives bytes in the order H, W, C; `frombuffer` refuses an empty buffer.
        pixels = torch.frombuffer(content, dtype=torch.uint8) if content else torch.empty(0, dtype=torch.uint8)
        yield chunk, pixels.view(len(chunk), height, width, channels).permute(0, 3, 1, 2), failed
