"""The reader of Imagenette: pictures of ten classes of ImageNet, in the smallest archive that has the wanted size."""

import re
from dataclasses import replace
from pathlib import Path

from trainer.data.archives import Archive, unpack
from trainer.data.download import refuse_mistyped
from trainer.data.image_folder import read_pictures
from trainer.data.images import Images, Part
from trainer.data.picture_files import class_names, pictures_in
from trainer.errors import RunError

MAX_BYTES = 20_000_000  # of a picture
ADDRESS = "https://s3.amazonaws.com/fast-ai-imageclas/"
# Longest side that an archive serves → its name and md5, as in torchvision.
ARCHIVES = {
    160: ("imagenette2-160", "e793b78cc4c9e9a4ccc0c1155377a412"),
    320: ("imagenette2-320", "3df6f0d01a2c9592104656642f5e78a3"),
    None: ("imagenette2", "fe2fc210e6bb7c5664d602c3cd71e612"),
}
CLASSES = {
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}
PICTURES = re.compile(r"(train|val)/n\d{8}/\w+\.JPEG")


def read(data_dir: Path, part: Part, image_size: int) -> Images:
    """Read one part, after a download if it is absent; the part that is called val there is the test part.

    Raises RunError naming a file that is damaged or missing.
    """
    refuse_mistyped("Imagenette", data_dir)
    name, md5 = next(value for side, value in ARCHIVES.items() if side is None or image_size <= side)
    folder = data_dir / name
    if not folder.is_dir():
        archive = f"{name}.tgz"
        unpack(data_dir, Archive(archive, (ADDRESS + archive,), md5, name), PICTURES, MAX_BYTES)
    found = class_names(folder / "train")
    if found != tuple(CLASSES):
        raise RunError(
            f"{folder / 'train'} does not hold the ten classes of Imagenette. Delete {folder} and start again"
        )
    here = "train" if part == "train" else "val"
    pictures = pictures_in(folder, here, found)
    images = read_pictures(folder / here, pictures, [], found, (3, image_size, image_size), skip=False)
    return replace(images, classes=tuple(CLASSES.values()))
