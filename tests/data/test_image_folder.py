"""The user's own pictures: files that are read or left out, the cache, deep pictures, the validation part."""

import os
import pwd
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import PICTURES, compose, draw_pictures, metrics, quick
from full_disk import fill, mounted, unmount
from PIL import Image

from trainer.data import image_folder, loader, picture_files, sources
from trainer.data.images import Images
from trainer.data.splits import split
from trainer.errors import ConfigError, RunError
from trainer.run import train

EPOCH_1980 = (315532800, 315532800)


@pytest.fixture
def own():
    draw_pictures(Path("own/train"), a=10, b=10)
    return Path("own")


def cache() -> Path:
    return Path(os.environ["XDG_CACHE_HOME"]) / "ablation-trainer" / "images"


def picture(value: int, path: Path) -> None:
    Image.new("RGB", (8, 8), (value, value, value)).save(path)
    os.utime(path, EPOCH_1980)


# The cache


@pytest.mark.parametrize("in_place", [True, False])
def test_a_picture_of_the_same_size_and_time_is_not_taken_for_the_one_before(own, in_place, monkeypatch):
    monkeypatch.setattr(picture_files, "CLOCK_NS", 0)  # else pictures as new as these are read again anyway
    path = own / "train" / "a" / "000.bmp"
    picture(10, path)
    assert sources.image_folder(own, "train", image_size=8).pixels[0].unique().tolist() == [10]
    assert len(list(cache().glob("*.listing"))) == 1
    if in_place:
        picture(200, path)
    else:  # as a synchronization does, which keeps all times
        picture(200, own / "other.bmp")
        (own / "other.bmp").replace(path)
    assert path.stat().st_mtime == EPOCH_1980[0]
    assert sources.image_folder(own, "train", image_size=8).pixels[0].unique().tolist() == [200]


def test_pictures_that_may_change_within_a_tick_of_the_clock_are_read_again(own, monkeypatch):
    sources.image_folder(own, "train")
    assert list(cache().glob("*.listing")) == []
    monkeypatch.setattr(picture_files, "CLOCK_NS", 0)
    sources.image_folder(own, "train")
    assert len(list(cache().glob("*.listing"))) == 1


def test_pictures_that_change_while_they_are_read_are_not_cached(own, monkeypatch):
    real, path = image_folder.decode, own / "train" / "a" / "000.png"
    monkeypatch.setattr(image_folder, "decode", lambda *each: (path.touch(), real(*each))[1])
    with pytest.raises(RunError, match=r"own/train/a/000.png was changed while the pictures were read: start again"):
        sources.image_folder(own, "train")
    assert list(cache().iterdir()) == []


UNUSABLE = ", where decoded pictures are kept, cannot be used "
ELSEWHERE = "name another place by the environment variable XDG_CACHE_HOME"


def test_a_cache_that_cannot_be_made_names_the_variable_that_moves_it(own, monkeypatch):
    for place, reason in {
        "/proc/x": "No such file or directory",
        str(own / "train/a/000.png"): "Not a directory",
    }.items():
        monkeypatch.setenv("XDG_CACHE_HOME", place)
        with pytest.raises(ConfigError) as caught:
            sources.image_folder(own, "train")
        assert str(caught.value) == f"{place}/ablation-trainer/images{UNUSABLE}({reason}): {ELSEWHERE}"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME")

    def nobody(_):
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", nobody)  # a container's user without a name
    with pytest.raises(ConfigError) as caught:
        sources.image_folder(own, "train")
    assert str(caught.value) == (
        "decoded pictures are kept in the home folder, and ~/.cache: ~ is nobody's home folder on this machine: "
        + ELSEWHERE
    )


def test_a_full_cache_names_the_variable_that_moves_it(own, monkeypatch):
    small = Path("small")
    if not mounted(small):
        pytest.skip("only root may mount a disk")
    try:
        monkeypatch.setenv("XDG_CACHE_HOME", str(small))
        monkeypatch.setattr(image_folder, "refuse_too_large", lambda *_: None)  # the disk fills later
        sources.image_folder(own, "train", image_size=16)
        fill(small)
        with pytest.raises(ConfigError) as caught:
            sources.image_folder(own, "train", image_size=32)
        assert str(caught.value) == f"small/ablation-trainer/images{UNUSABLE}(No space left on device): {ELSEWHERE}"
        assert len(sources.image_folder(own, "train", image_size=16)) == 20  # what it holds can be read
    finally:
        unmount(small)


def test_a_data_dir_that_the_system_refuses_names_the_setting():
    (run,) = compose([*PICTURES, f"data_dir={'x' * 300}", "device=cpu"])
    with pytest.raises(
        ConfigError, match=r"^data_dir=x{300} cannot be used \(x{300}/train: File name too long\): name"
    ):
        loader.load(run.dataset, Path(run.data_dir), torch.device("cpu"))
    with pytest.raises(RunError, match=r"\(/proc cannot be written \(No such .*\): name another folder by data_dir\)"):
        sources.cifar10(Path("/proc"), "train")


# Files that are left out


def heic(own):
    for number in range(3):
        (own / "train" / "a" / f"{number}.HEIC").write_bytes(b"x")
    (own / "train" / "b" / "notes.txt").touch()


def links(own):
    (own / "train" / "a" / "gone.png").symlink_to("nowhere.png")
    (own / "train" / "a" / "self.png").symlink_to("self.png")
    (own / "train" / "a" / "more").symlink_to("../b")


@pytest.mark.parametrize(
    ("add", "said"),
    [
        (heic, "own/train: 4 files are left out because of the suffix: .heic (3), .txt (1). Read are .bmp, .gif, "),
        (links, "own/train: 3 links are left out, to a folder, to nothing or to a place outside"),
        (
            lambda own: shutil.copy(own / "train/a/000.png", own / "train/x.png"),
            "own/train: 1 picture is left out, in no class folder",
        ),
        (
            lambda own: draw_pictures(own / "val", a=2, c=3),
            "own/val: 5 pictures are left out, as the validation images are drawn from train/. To validate on this"
            " folder: dataset.validation=folder",
        ),
    ],
)
def test_what_is_left_out_of_training_is_said(own, add, said, capsys):
    assert len(sources.image_folder(own, "train")) == 20
    assert capsys.readouterr().err == ""
    add(own)
    for _ in range(2):  # when it is decoded, and when it comes from the cache
        assert len(sources.image_folder(own, "train")) == 20
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"trainer: warning: {said}")


def test_pictures_of_unknown_classes_are_left_out_of_a_test_and_said(own, capsys):
    draw_pictures(own / "test", a=2, b=2, zebra=3, yak=1)
    assert sources.image_folder(own, "test").labels.tolist() == [0, 0, 1, 1]
    said = "own/test: 4 pictures are left out, of classes that train/ does not have: zebra (3), yak (1)"
    assert capsys.readouterr().err == f"trainer: warning: {said}\n"


def test_pictures_lie_at_any_depth_below_their_class(own, capsys):
    draw_pictures(own / "train" / "a" / "2023", spring=3)
    for suffix in ("jfif", "jpe"):  # as browsers name JPEGs
        Image.new("RGB", (8, 8)).save(own / "train" / "b" / f"x.{suffix}", "JPEG")
    assert sources.image_folder(own, "train").labels.bincount().tolist() == [13, 12]
    assert capsys.readouterr().err == ""


def test_hidden_files_and_those_of_file_managers_are_passed_over(own, capsys):
    for name in ("._000.png", ".DS_Store", "Thumbs.db", "desktop.ini"):
        (own / "train" / "a" / name).write_bytes(bytes(4096))
    for name in (".ipynb_checkpoints", "__MACOSX", "@eaDir"):
        (own / "train" / name).mkdir()
        (own / "train" / name / "x.png").write_bytes(bytes(4096))
    images = sources.image_folder(own, "train")
    assert (len(images), images.classes) == (20, ("a", "b"))
    assert capsys.readouterr().err == ""


def test_pictures_that_cannot_be_decoded_are_named_by_every_run(own, capsys):
    (own / "train" / "a" / "000.png").write_bytes(b"x")
    for _ in range(2):
        assert len(sources.image_folder(own, "train", on_corrupt_image="skip")) == 19
        sentence = "1 of 20 pictures cannot be decoded and are left out: own/train/a/000.png\n"
        assert capsys.readouterr().err.endswith(sentence)


# Pictures and their values


def test_pictures_whose_range_is_unknown_are_refused(own):
    path, values = own / "train" / "a" / "x.tif", np.arange(64).reshape(8, 8) * 4
    for dtype, kind in {
        np.int32: "signed or 32-bit integer",
        np.uint32: "signed or 32-bit integer",
        np.int16: "signed or 32-bit integer",
        np.float32: "floating-point",
    }.items():
        Image.fromarray(values.astype(dtype)).save(path)
        with pytest.raises(RunError) as caught:
            sources.image_folder(own, "train")
        assert str(caught.value).startswith(
            f"{path.absolute()} cannot be decoded ({kind} pictures have no known range of values: save it with 8 bits,"
            " or 16 without a sign)"
        )


def test_deep_pictures_of_a_known_range_keep_their_brightness(own):
    twelve_bits = b"".join(  # one row of eight pixels of 12 bits, two of which take three bytes
        [
            *(b"II*\0" + (8).to_bytes(4, "little"), (8).to_bytes(2, "little")),
            *(
                tag.to_bytes(2, "little")
                + kind.to_bytes(2, "little")
                + (1).to_bytes(4, "little")
                + value.to_bytes(4, "little")
                for tag, kind, value in (
                    *((256, 4, 8), (257, 4, 1), (258, 3, 12), (259, 3, 1), (262, 3, 1)),
                    *((273, 4, 110), (277, 3, 1), (279, 4, 12)),
                )
            ),
            bytes(4),
            *[b"\x80\x08\x00"] * 4,
        ]
    )
    (own / "train" / "a" / "x.tif").write_bytes(twelve_bits)
    (own / "train" / "a" / "y.pgm").write_bytes(b"P5 8 8 1023\n" + np.full(64, 512).astype(">u2").tobytes())
    pixels = sources.image_folder(own, "train", image_size=1, grayscale=True).pixels
    assert pixels[10:12].flatten().tolist() == [127, 127]


def test_what_pillow_warns_of_is_one_line_that_names_the_files(own, capfd):
    for number in range(4):  # its entry is said to lie beyond the end
        exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x1a\x01\x05\0\x01\0\0\0\xff\x7f\0\0"
        Image.new("RGB", (8, 8)).save(own / "train" / "a" / f"x{number}.jpg", exif=exif)
    (own / "train" / "b" / "9.png").write_bytes(b"x")
    assert len(sources.image_folder(own, "train", on_corrupt_image="skip")) == 24
    told = capfd.readouterr().err.splitlines()
    place = own.absolute() / "train" / "a"
    assert told[0].startswith("trainer: warning: 4 pictures may look different (Truncated File Read")
    assert told[0].endswith(f"): {place / 'x0.jpg'}, {place / 'x1.jpg'}, {place / 'x2.jpg'}, …")
    assert len(told) == 2


# Validation


def test_a_folder_of_validation_pictures_is_validated_on(own, capsys):
    draw_pictures(own / "val", a=3, b=4, zebra=2)
    settings = [*PICTURES, "data_dir=own", "dataset.validation=folder", "output_dir=run", "device=cpu", "epochs=2"]
    run = train(compose([*settings, "wandb.mode=disabled"])[0])
    assert (run.training_images, run.validation_images) == (20, 7)
    said = "own/val: 2 pictures are left out, of classes that train/ does not have: zebra (2)"
    assert said in capsys.readouterr().err
    images = sources.image_folder(own, "train", image_size=8, validation="folder")
    training, validation = split(images, 0)
    alone = sources.image_folder(own, "train", image_size=8)
    assert torch.equal(training.pixels, alone.pixels) and training.labels.tolist() == [0] * 10 + [1] * 10
    assert validation.labels.tolist() == [0, 0, 0, 1, 1, 1, 1]
    whole, nothing = split(images, 0, validation_size=0)  # as `finalize` trains
    assert (len(whole), nothing) == (27, None)
    (own / "val" / "a" / "000.png").rename(own / "train" / "b" / "last.png")
    loader._last_loaded.clear()
    with pytest.raises(RunError, match="20 → 21 training images, 7 → 6 validation images"):
        train(compose(["resume=run", "epochs=3"])[0])


def test_without_a_folder_or_beside_a_split_it_is_refused(own, capsys):
    with pytest.raises(
        ConfigError, match=r"^dataset.validation=folder: data_dir=own holds no folder val/ \(nor valid/"
    ):
        sources.image_folder(own, "train", validation="folder")
    for setting in ("dataset.validation_size=0.2", "split_seed=1"):
        with pytest.raises(ConfigError, match=rf"^{setting} acts on a split of train/, and dataset.validation=folder"):
            compose([*PICTURES, "dataset.validation=folder", setting])
    with pytest.raises(ConfigError, match=r"^dataset.folds=3 acts on a split of train/"):
        compose([*PICTURES, "dataset.validation=folder", "dataset.folds=3", "dataset.fold=0"])
    draw_pictures(own / "valid", a=3)
    draw_pictures(own / "validation", b=4)
    images = sources.image_folder(own, "train", validation="folder")
    assert split(images, 0)[1].labels.tolist() == [0, 0, 0]
    assert capsys.readouterr().err == (
        "trainer: warning: own/validation: 4 pictures are left out, as the validation images are in valid/\n"
        "trainer: warning: 1 class has no validation images, so that the validation accuracy says nothing about it: b\n"
    )
    for path in (own / "valid" / "a").iterdir():
        path.write_bytes(b"x")
    with pytest.raises(
        RunError, match=r"none of the pictures to validate on can be decoded, such as .*valid/a/000.png"
    ):
        sources.image_folder(own, "train", validation="folder", on_corrupt_image="skip")


def test_a_run_recorded_before_the_setting_existed_continues(own):
    from trainer.storage import checkpoint

    quick(*PICTURES, "data_dir=own", "output_dir=run")
    path, last = Path("run/config.yaml"), Path("run/last.safetensors")
    written = path.read_text().replace("  validation: split\n", "")
    path.write_text(written.partition("# checksum")[0])
    state = checkpoint.load(last)
    del state.config["dataset"]["validation"]
    checkpoint.save(last, state)
    assert train(compose(["resume=run", "epochs=3"])[0]).epochs == 3
    assert len(metrics(Path("run"))) == 3


def labelled(*counts: int) -> Images:
    labels = torch.cat([torch.full((count,), label) for label, count in enumerate(counts)])
    return Images(torch.zeros(len(labels), 1, 2, 2, dtype=torch.uint8), labels, tuple("abcdefgh")[: len(counts)])


def test_a_split_is_checked_for_each_class(capsys):
    for seed in range(3):
        with pytest.raises(ConfigError) as caught:
            split(labelled(5, 1, 54), seed, validation_size=0.1)
        assert str(caught.value) == (
            "dataset.validation_size=0.1 must leave each class images to train and to validate on, and there are too"
            " few of b (1): add images, or leave the class out"
            " (dataset.classes)"
        )
    with pytest.raises(ConfigError, match=r"dataset.validation_size=57 must leave .* too few of a \(2\)"):
        split(labelled(2, 58), 0, validation_size=57)
    training, validation = split(labelled(3, 3, 54), 0, validation_size=0.05)
    assert training.labels.bincount().min() >= 2
    unseen = [name for name, count in validation.class_counts().items() if not count]
    told = capsys.readouterr().err
    assert unseen and told.endswith(f"so that the validation accuracy says nothing about them: {', '.join(unseen)}\n")
