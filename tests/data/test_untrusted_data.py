"""Untrusted pictures, archives and caches: read as data or refused in one line."""

import hashlib
import io
import json
import os
import pickle
import stat
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import tiny_images
from PIL import Image
from test_untrusted import told

from trainer.data import cifar10, picture_files, sources
from trainer.data.download import md5_of
from trainer.data.splits import split
from trainer.errors import ConfigError, RunError


class Touch:
    def __reduce__(self):
        return (Path("harmed").touch, ())


# Pictures


@pytest.fixture
def own(tmp_path):
    for name in ("cat", "dog"):
        place = tmp_path / "own" / "train" / name
        place.mkdir(parents=True)
        for number in range(2):
            Image.new("RGB", (9, 9), (number, 100, 200)).save(place / f"{number}.png")
    return tmp_path / "own"


def test_the_content_of_a_picture_decides_not_its_name(own):
    place, blue = own / "train" / "cat", (10, 20, 200)
    frames = [Image.new("RGB", (9, 9), color) for color in (blue, (255, 0, 0))]
    frames[0].save(place / "a.gif", save_all=True, append_images=frames[1:])
    (place / "a.gif").rename(place / "a.jpg")  # animated, and by another name: its first frame
    Image.new("CMYK", (9, 9), (0, 0, 0, 255)).save(place / "b.jpg")
    Image.new("I;16", (9, 9), 60 * 257).save(place / "c.png")
    pixels = sources.image_folder(own, "train", image_size=8).pixels
    assert pixels[2, :, 0, 0].tolist() == list(blue)
    assert pixels[3].max() == 0
    assert pixels[4].unique().tolist() == [60]


PICTURES = {
    "text": (b"not a picture", "it is no picture of a known kind: BMP, GIF, JPEG, PNG, PPM, TIFF, WEBP"),
    "PostScript, which Pillow would have a program run": (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n",
        "it is no picture of a known kind",
    ),
    "bomb": (b"P6 100000 100000 255 ", "it is larger than 89478485 pixels"),
    "truncated": (b"P6 9 9 255 " + bytes(20), "image file is truncated"),
    "empty": (b"", "it is no picture of a known kind"),
}


@pytest.mark.parametrize("how", PICTURES)
def test_a_file_that_is_no_picture_is_named_in_one_line(how, own):
    content, sentence = PICTURES[how]
    path = own / "train" / "cat" / "1.png"
    path.write_bytes(content)
    text = told(RunError, sources.image_folder, own, "train")
    assert text.startswith(f"{path} cannot be decoded (") and sentence in text


def test_links_stay_within_the_folder(own, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    Image.new("RGB", (9, 9)).save(outside / "0.png")
    within = own / "train" / "cat" / "link.png"
    within.symlink_to("../dog/0.png")
    assert len(sources.image_folder(own, "train")) == 5
    within.unlink()
    within.symlink_to(outside / "0.png")
    sentence = f"cat/link.png is a link to {outside / '0.png'}, outside data_dir={own}"
    assert sentence in told(ConfigError, sources.image_folder, own, "train")
    within.unlink()
    (own / "train" / "fox").symlink_to(outside)
    assert f"train/fox is a link to {outside}, outside" in told(ConfigError, sources.image_folder, own, "train")
    (own / "train" / "fox").unlink()
    (own / "train" / "fox").symlink_to("fox")  # leads to itself: no folder
    assert sources.image_folder(own, "train").classes == ("cat", "dog")
    (own / "train" / "fox").unlink()
    (own / "train" / "fox").symlink_to("..")  # a cycle
    assert f"train/fox is a link to {own}, which holds it" in told(ConfigError, sources.image_folder, own, "train")
    (own / "test").mkdir()
    (own / "train" / "fox").unlink()
    (own / "test" / "cat").symlink_to("cat")  # leads to itself
    assert "test/cat: holds no picture" in told(ConfigError, sources.image_folder, own, "test")


@pytest.mark.parametrize("name", ["a\nb", "\x1b]0;owned\x07", "a\u202eb", os.fsdecode(b"\xff")])
def test_a_class_whose_name_cannot_be_shown_is_refused(name, own):
    (own / "train" / "cat").rename(own / "train" / name)
    encoded = all(letter < "\ud800" for letter in name)
    reason = "the name of a class must be printable" if encoded else "this name cannot be read in the locale's encoding"
    assert reason in told(ConfigError, sources.image_folder, own, "train")


def test_names_of_any_language_and_files_of_any_name_are_read(own):
    (own / "train" / "cat").rename(own / "train" / "Кошка 猫 🐈")
    place = own / "train" / "dog"
    (place / "0.png").rename(place / "a\nb.png")
    (place / "1.png").rename(place / os.fsdecode(b"\xff.png"))
    assert sources.image_folder(own, "train").classes == ("dog", "Кошка 猫 🐈")


def test_a_planted_or_damaged_cache_is_not_used(own, capsys, monkeypatch):
    monkeypatch.setattr(picture_files, "CLOCK_NS", 0)  # a listing is kept although the pictures are new
    right = sources.image_folder(own, "train").pixels.clone()
    cache = Path(os.environ["XDG_CACHE_HOME"]) / "ablation-trainer" / "images"
    (entry,) = (path for path in cache.iterdir() if path.is_dir())
    (listing,) = cache.glob("*.listing")

    def flipped():
        content = bytearray((entry / "pixels").read_bytes())
        content[5] ^= 1
        (entry / "pixels").write_bytes(content)

    def relabelled(*labels):
        """Write a file with a valid checksum, which an attacker can compute."""
        content = torch.tensor(labels).numpy().tobytes()
        (entry / "labels").write_bytes(content)
        checksums = json.loads((entry / "index.json").read_text())
        checksums["labels"] = hashlib.sha256(content).hexdigest()
        (entry / "index.json").write_text(json.dumps(checksums))

    for damage in (
        flipped,
        lambda: (entry / "pixels").write_bytes(b"short"),
        lambda: (entry / "labels").write_bytes(bytes(32)),
        lambda: (entry / "index.json").write_text("[" * 100_000),
        lambda: (entry / "index.json").write_text('{"pixels": 1}'),
        lambda: relabelled(0, 0, 1, 7),
        lambda: relabelled(0, 0, 1, -1),
        lambda: relabelled(0, 0, 1),
        relabelled,
        (entry / "pixels").unlink,
    ):
        damage()
        assert torch.equal(sources.image_folder(own, "train").pixels, right)
        assert f"{entry} is not as it was written: the pictures are decoded anew" in capsys.readouterr().err
    listing.write_text("../../../own")
    assert torch.equal(sources.image_folder(own, "train").pixels, right)
    assert capsys.readouterr().err == "" and not Path("harmed").exists()
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    cache.chmod(0o777)
    assert "can be written by everyone" in told(ConfigError, sources.image_folder, own, "train")


# Sizes

HOLES = 1 << 42  # bytes: a file with holes may have four terabytes on a small disk


def test_a_picture_with_holes_is_not_read(own, capsys):
    path = own / "train" / "cat" / "1.png"
    os.truncate(path, HOLES)
    sentence = f"{path} cannot be decoded (it has {HOLES} bytes, where at most 300000000 are read)"
    assert told(RunError, sources.image_folder, own, "train").startswith(sentence)
    assert len(sources.image_folder(own, "train", on_corrupt_image="skip")) == 3
    assert f"are left out: {path}" in capsys.readouterr().err


def test_an_idx_file_with_holes_is_not_read(tmp_path):
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    unpacked, packed = (raw / f"train-images-idx3-ubyte{end}" for end in ("", ".gz"))
    unpacked.touch()
    os.truncate(unpacked, HOLES)
    sentence = f"{unpacked} has {HOLES} bytes, where at most 100000000 are expected"
    assert told(RunError, sources.fashion_mnist, tmp_path, "train") == sentence
    unpacked.rename(packed)
    assert f"{packed} is damaged or altered" in told(RunError, sources.fashion_mnist, tmp_path, "train")


def test_a_cifar_archive_with_holes_is_not_read(tmp_path):
    archive = tmp_path / "cifar-10-python.tar.gz"
    archive.touch()
    os.truncate(archive, HOLES)
    assert f"{archive} is damaged or altered" in told(RunError, sources.cifar10, tmp_path, "train")


@pytest.mark.parametrize("wanted", [{"validation_size": 10**12}, {"folds": 10**30, "fold": 3}])
def test_a_split_larger_than_the_memory_is_refused_before_it_is_made(wanted):
    (key, size), *_ = wanted.items()
    sentence = f"dataset.{key}={size} does not suit these 40 images: it must leave each of 4 classes a share"
    assert told(ConfigError, lambda: split(tiny_images(40), 0, **wanted)) == sentence


# Archives


def packed(path: Path, **members) -> None:
    """Return a tar archive, given the content of each member, or its type and the target of its link."""
    with tarfile.open(path, "w:gz") as tar:
        for name, what in members.items():
            member = tarfile.TarInfo(name)
            if isinstance(what, bytes):
                member.size = len(what)
            else:
                member.type, member.linkname = what
            tar.addfile(member, io.BytesIO(what) if isinstance(what, bytes) else None)


@pytest.fixture
def unpack(monkeypatch):
    """Unpack an archive without the check of its md5."""

    def unpacked(data_dir: Path) -> None:
        asked = {"ARCHIVE": "a.tar.gz", "FOLDER": "base", "MD5": {"wanted": ""}}
        for name, value in (asked | {"ARCHIVE_MD5": md5_of(data_dir / "a.tar.gz")}).items():
            monkeypatch.setattr(cifar10, name, value)
        cifar10._unpack(data_dir)

    return unpacked


def test_only_the_named_members_of_an_archive_are_written(tmp_path, unpack):
    data_dir, outside = tmp_path / "data", tmp_path / "outside"
    data_dir.mkdir()
    outside.mkdir()
    (outside / "mine").write_text("mine")
    hostile = {
        "../outside/mine": b"theirs",
        "base/../../outside/mine": b"theirs",
        str(outside / "absolute"): b"theirs",
        "base/link": (tarfile.SYMTYPE, str(outside)),
        "base/link/through": b"theirs",
        "base/hard": (tarfile.LNKTYPE, "../outside/mine"),
        "base/pipe": (tarfile.FIFOTYPE, ""),
        "base/device": (tarfile.CHRTYPE, ""),
        "base/more": b"not asked for",
    }
    packed(data_dir / "a.tar.gz", **hostile, **{"base/wanted": b"right"})
    unpack(data_dir)
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == [
        "data", "data/a.tar.gz", "data/base", "data/base/wanted", "outside", "outside/mine"
    ]  # fmt: skip
    assert (outside / "mine").read_text() == "mine"
    assert (data_dir / "base" / "wanted").read_bytes() == b"right"


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE], ids=repr
)
def test_a_named_member_must_be_a_regular_file(kind, tmp_path, unpack):
    (tmp_path / "mine").write_text("mine")
    packed(tmp_path / "a.tar.gz", **{"base/mine": b"theirs", "base/wanted": (kind, str(tmp_path / "mine"))})
    assert "a.tar.gz: wanted is no file of at most 50000000 bytes" in told(RunError, unpack, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar.gz", "mine"]


def test_an_archive_whose_folder_is_a_link_is_not_followed(tmp_path, unpack):
    outside = tmp_path / "outside"
    outside.mkdir()
    packed(tmp_path / "a.tar.gz", **{"base": (tarfile.SYMTYPE, str(outside)), "base/wanted": b"right"})
    unpack(tmp_path)
    assert not list(outside.iterdir()) and not (tmp_path / "base").is_symlink()
    assert (tmp_path / "base" / "wanted").read_bytes() == b"right"


def test_the_pickle_of_a_data_set_builds_bytes_and_nothing_else(tmp_path):
    path, pixels = tmp_path / "batch", np.arange(3072, dtype=np.uint8).reshape(1, 3072)
    for protocol in (2, 4):
        path.write_bytes(pickle.dumps({b"data": pixels, b"labels": [3]}, protocol))
        read, labels = cifar10.batch(path)
        assert (read.flatten().tolist(), labels.tolist()) == (pixels.flatten().tolist(), [3])
    for content, sentence in {
        pickle.dumps(Touch()): "it needs ",
        pickle.dumps({"data": pixels.astype(float), "labels": [1]}): "the pixels are no bytes",
        pickle.dumps({"data": pixels[:, :9], "labels": [1]}): "does not hold 1 images of 3×32×32 bytes",
        pickle.dumps({"data": pixels, "labels": ["x"]}): "labels that are not whole numbers from 0 to 255",
        pickle.dumps([]): "it holds no dictionary",
        b"": "is damaged",
    }.items():
        path.write_bytes(content)
        assert sentence in told(RunError, cifar10.batch, path)
