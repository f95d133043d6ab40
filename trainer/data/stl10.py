"""The reader of STL-10's labelled images: files of bytes, whose md5 is checked."""

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from trainer.data.archives import Archive, unpack, verify_files
from trainer.data.download import refuse_mistyped
from trainer.data.images import Images, Part
from trainer.errors import RunError

SIDE = 96  # pixels
MAX_BYTES = 300_000_000  # of a file in the archive; the largest of those that are read has 221 million
CLASSES = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
# Names and md5 as in torchvision.
ARCHIVE = Archive(
    "stl10_binary.tar.gz",
    ("http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",),
    "91f7769df0f17e558f3565bffb0c7dfb",
    "stl10_binary",
)
MD5 = {
    "train_X.bin": "918c2871b30a85fa023e0c44e0bee87f",
    "train_y.bin": "5a34089d4802c674881badbb80307741",
    "test_X.bin": "7f263ba9f9e0b06b93213547f721ac82",
    "test_y.bin": "36f9794fa4beb8a2c72628de14fa638e",
}


def read(data_dir: Path, part: Part, image_size: int) -> Images:
    """Read one part, after a download if it is absent. Raises RunError naming a file that is damaged or missing."""
    refuse_mistyped("STL-10", data_dir)
    folder = data_dir / ARCHIVE.folder
    if not folder.is_dir():
        unpack(data_dir, ARCHIVE, MD5, MAX_BYTES)
    names = (f"{part}_X.bin", f"{part}_y.bin")
    verify_files(folder, {name: MD5[name] for name in names})
    content, numbers = (torch.frombuffer(bytearray((folder / name).read_bytes()), dtype=torch.uint8) for name in names)
    if not len(numbers) or len(content) != len(numbers) * 3 * SIDE * SIDE:
        raise RunError(f"{folder / names[0]} does not hold {len(numbers)} images of 3×{SIDE}×{SIDE} bytes")
    labels = numbers.long() - 1
    if int(labels.min()) < 0 or int(labels.max()) >= len(CLASSES):
        raise RunError(f"{folder / names[1]} holds labels that are not from 1 to {len(CLASSES)}")
    pixels = content.view(-1, 3, SIDE, SIDE).transpose(2, 3)  # a column after the other
    return Images(_resized(pixels, image_size), labels, CLASSES)


def _resized(pixels: Tensor, side: int) -> Tensor:
    """Return images [N, C, H, W] with another side, bilinearly with anti-aliasing."""
    if side == SIDE:
        return pixels.contiguous()
    parts = []
    for part in pixels.split(256):  # as floats they take four times the memory
        resized = F.interpolate(part.float(), (side, side), mode="bilinear", align_corners=False, antialias=True)
        parts.append(resized.round().clamp(0, 255).to(torch.uint8))
    return torch.cat(parts)
