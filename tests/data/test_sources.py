"""Splits, batches and statistics; the readers on small files; messages for missing and damaged files."""

import functools
import gzip
import hashlib
import http.server
import os
import pickle
import re
import struct
import sys
import tarfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SHARED_DATA, compose, tiny_images
from PIL import Image

from trainer.data import cifar10, loader, mnist, picture_cache, sources
from trainer.data.download import fetch
from trainer.data.images import Images
from trainer.data.loader import DeviceLoader
from trainer.data.splits import split
from trainer.data.statistics import statistics
from trainer.errors import ConfigError, RunError
from trainer.run import train
from trainer.runtime.memory import physical_memory

CPU = torch.device("cpu")


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


# Splits, batches, statistics


def test_the_split_is_stratified_disjoint_whole_and_seeded():
    images = tiny_images(200)
    training, validation = split(images, 3, validation_size=40)
    assert (len(training), len(validation)) == (160, 40)
    assert validation.labels.bincount().tolist() == [10, 10, 10, 10]
    together = torch.cat([training.pixels, validation.pixels]).flatten(1)
    assert {tuple(row.tolist()) for row in together} == {tuple(row.tolist()) for row in images.pixels.flatten(1)}
    assert torch.equal(split(images, 3, validation_size=0.2)[1].pixels, validation.pixels)
    assert not torch.equal(split(images, 4, validation_size=40)[1].pixels, validation.pixels)


def test_folds_are_disjoint_stratified_and_cover_the_training_part():
    images = tiny_images(103)
    parts = [split(images, 0, folds=5, fold=fold)[1] for fold in range(5)]
    rows = [tuple(row.tolist()) for part in parts for row in part.pixels.flatten(1)]
    assert len(rows) == len(set(rows)) == 103
    for part in parts:
        shares = zip(part.labels.bincount(), images.labels.bincount(), strict=True)
        assert all(abs(held - whole / 5) < 1 for held, whole in shares)


def test_a_rare_class_keeps_its_share():
    labels = torch.tensor([0] * 900 + [1] * 90 + [2] * 10)
    images = Images(torch.zeros(1000, 1, 2, 2, dtype=torch.uint8), labels, ("a", "b", "c"))
    for seed in range(5):
        assert split(images, seed, validation_size=0.1)[1].labels.bincount().tolist() == [90, 9, 1]


def test_a_split_that_the_images_do_not_allow_is_refused():
    with pytest.raises(ConfigError, match=r"dataset.validation_size=99 does not suit these 40 images: "):
        split(tiny_images(40), 0, validation_size=99)
    with pytest.raises(ConfigError, match=r"dataset.folds=30 does not suit these 40 images: "):
        split(tiny_images(40), 0, folds=30, fold=0)


def test_every_image_once_per_epoch_in_an_order_of_seed_and_epoch():
    data = DeviceLoader(Images(torch.arange(10).view(10, 1, 1, 1).to(torch.uint8), torch.arange(10), ("a",)), 4, CPU)
    first = [data.at(positions)[1].tolist() for positions in data.positions(0, 0)]
    assert [len(batch) for batch in first] == [4, 4, 2]
    assert sorted(label for batch in first for label in batch) == list(range(10))
    for pixels, labels in map(data.at, data.positions(0, 0)):
        assert pixels.flatten().tolist() == labels.tolist()
    assert first == [data.at(positions)[1].tolist() for positions in data.positions(0, 0)]
    assert first != [data.at(positions)[1].tolist() for positions in data.positions(0, 1)]
    assert first != [data.at(positions)[1].tolist() for positions in data.positions(1, 0)]


def test_a_lone_last_image_joins_the_batch_before_it():
    data = DeviceLoader(tiny_images(41), 20, CPU)
    assert len(data) == 2
    assert list(map(len, data.positions(0, 0))) == [20, 21]
    assert list(map(len, DeviceLoader(tiny_images(5), 1, CPU).positions(0, 0))) == [1] * 5
    assert list(map(len, DeviceLoader(tiny_images(5), 99, CPU).positions(0, 0))) == [5]


def test_statistics_are_those_of_the_pixels():
    images = tiny_images(5000, (3, 5, 4))
    mean, std = statistics(images)
    scaled = images.pixels.double() / 255
    torch.testing.assert_close(mean.double(), scaled.mean((0, 2, 3)), rtol=1e-6, atol=0)
    torch.testing.assert_close(std.double(), scaled.std((0, 2, 3), correction=0), rtol=1e-6, atol=0)
    flat = Images(torch.full((4, 1, 2, 2), 7, dtype=torch.uint8), torch.zeros(4).long(), ("a",))
    assert statistics(flat)[1].tolist() == [1.0]


def test_digits_are_the_real_ones_and_the_parts_are_disjoint():
    train, test = (sources.digits(Path(), part) for part in ("train", "test"))
    assert (len(train), len(test), train.shape) == (1500, 297, (1, 32, 32))
    assert train.pixels.max() == 255
    shown = {tuple(row.tolist()) for row in train.pixels.flatten(1)}
    assert not shown & {tuple(row.tolist()) for row in test.pixels.flatten(1)}


def test_one_word_decides_a_made_up_document_and_rare_topics_have_many_rare_words():
    train, test = (sources.bag_of_words(Path(), part) for part in ("train", "test"))
    assert (len(train), len(test), train.shape) == (4000, 1000, (1, 16, 16))
    assert train.fingerprint == sources.bag_of_words(Path(), "train").fingerprint == "8cbc89e3eb736060"
    words = train.pixels.flatten(1) == 255
    assert train.pixels[~words.view_as(train.pixels)].eq(0).all()
    assert words.sum(1).min() >= 2 and words.sum(1).max() <= 9
    fillers, common, rare = words[:, :56], words[:, 56:96].view(-1, 5, 8), words[:, 96:].view(-1, 5, 32)
    told = torch.cat([common.sum(2), rare.sum(2)], 1)  # words of each topic in each document
    assert torch.equal(told, torch.nn.functional.one_hot(train.labels, 10))
    assert fillers.float().mean(0)[0] > 10 * fillers.float().mean(0)[-1]
    documents = rare.flatten(1).sum(0)
    assert documents.float().median() < 10 < common.flatten(1).sum(0).min()


# MNIST


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


@pytest.fixture
def mnist_files(tmp_path, monkeypatch):
    """A small MNIST in its real format, whose checksums count as the published ones."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    rng = np.random.default_rng(0)
    made = {
        "train-images-idx3-ubyte": idx_bytes(rng.integers(0, 256, (30, 28, 28))),
        "train-labels-idx1-ubyte": idx_bytes(np.arange(30) % 10),
    }
    for name, content in made.items():
        (raw / name).write_bytes(content)
        monkeypatch.setitem(mnist.UNPACKED_MD5, f"MNIST/{name}", md5(content))
    return raw, made


def test_mnist_is_read_from_its_files_without_the_test_part(mnist_files):
    raw, made = mnist_files
    images = sources.mnist(raw.parent.parent, "train")
    assert (images.shape, len(images), images.classes) == ((1, 28, 28), 30, tuple("0123456789"))
    assert images.pixels[3, 0].numpy().tobytes() == made["train-images-idx3-ubyte"][16 + 3 * 784 : 16 + 4 * 784]
    assert images.labels.tolist() == [n % 10 for n in range(30)]


def test_mnist_is_read_from_its_packed_files(mnist_files, monkeypatch):
    raw, made = mnist_files
    for name, content in made.items():
        packed = gzip.compress(content)
        (raw / f"{name}.gz").write_bytes(packed)
        (raw / name).unlink()
        monkeypatch.setitem(mnist.PACKED_MD5, f"MNIST/{name}", md5(packed))
    assert len(sources.mnist(raw.parent.parent, "train")) == 30
    (raw / "train-labels-idx1-ubyte.gz").write_bytes(packed[:-3])
    with pytest.raises(
        RunError, match=r"train-labels-idx1-ubyte.gz is damaged or altered: its md5 is not [0-9a-f]{32}"
    ):
        sources.mnist(raw.parent.parent, "train")


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b[:-1] + b"x", lambda b: b""])
def test_a_truncated_or_altered_file_is_refused_by_name(mnist_files, damage):
    raw, made = mnist_files
    (raw / "train-images-idx3-ubyte").write_bytes(damage(made["train-images-idx3-ubyte"]))
    with pytest.raises(RunError, match=r"MNIST/raw/train-images-idx3-ubyte is damaged or altered: its md5 is not "):
        sources.mnist(raw.parent.parent, "train")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"\0\0\x08\x01\0\0\0\x05abc", "is damaged: 11 bytes where its header asks for 13"),
        (b"GIF89a", "is not an IDX file"),
    ],
)
def test_fashion_mnist_without_a_published_checksum_is_checked_by_its_header(tmp_path, content, sentence):
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(RunError, match=sentence):
        sources.fashion_mnist(tmp_path, "train")


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the real MNIST is not on this machine")
def test_the_real_mnist():
    images = sources.mnist(SHARED_DATA, "train")
    assert (len(images), images.shape) == (60000, (1, 28, 28))
    assert images.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    mean, std = statistics(images)
    assert (round(mean.item(), 4), round(std.item(), 4)) == (0.1307, 0.3081)


# CIFAR-10


@pytest.fixture
def cifar_archive(tmp_path, monkeypatch):
    """A small CIFAR-10 archive in its real format, whose checksums count as the published ones."""
    folder = tmp_path / "made" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    names = [f"data_batch_{n}" for n in range(1, 6)] + ["test_batch"]
    contents = {
        name: pickle.dumps({"data": rng.integers(0, 256, (4, 3072), dtype=np.uint8), "labels": [0, 1, 2, 9]})
        for name in names
    }
    contents["batches.meta"] = pickle.dumps({"label_names": [f"kind {n}" for n in range(10)]})
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    monkeypatch.setattr(cifar10, "MD5", {name: md5(content) for name, content in contents.items()})
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    archive = data_dir / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, "cifar-10-batches-py")
    monkeypatch.setattr(cifar10, "ARCHIVE_MD5", md5(archive.read_bytes()))
    return data_dir


def test_cifar10_is_unpacked_and_read(cifar_archive):
    images = sources.cifar10(cifar_archive, "train")
    assert (len(images), images.shape, images.classes[9]) == (20, (3, 32, 32), "kind 9")
    with (cifar_archive / "cifar-10-batches-py" / "data_batch_2").open("rb") as file:
        second = pickle.load(file)
    assert images.pixels[4].flatten().tolist() == second["data"][0].tolist()
    assert sorted(path.name for path in cifar_archive.iterdir()) == ["cifar-10-batches-py", "cifar-10-python.tar.gz"]


def test_cifar10_is_read_though_the_test_part_is_gone(cifar_archive):
    sources.cifar10(cifar_archive, "train")
    (cifar_archive / "cifar-10-batches-py" / "test_batch").unlink()
    assert len(sources.cifar10(cifar_archive, "train")) == 20
    with pytest.raises(RunError, match=r"test_batch is missing \(md5 [0-9a-f]{32} expected\)"):
        sources.cifar10(cifar_archive, "test")


def test_an_altered_cifar10_is_refused_by_name(cifar_archive):
    sources.cifar10(cifar_archive, "train")
    path = cifar_archive / "cifar-10-batches-py" / "data_batch_3"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(RunError, match=r"data_batch_3 is damaged or altered \(md5 [0-9a-f]{32} expected\)"):
        sources.cifar10(cifar_archive, "train")


def test_a_truncated_archive_leaves_nothing_half_unpacked(cifar_archive):
    archive = cifar_archive / "cifar-10-python.tar.gz"
    archive.write_bytes(archive.read_bytes()[:-20])
    with pytest.raises(RunError, match=r"cifar-10-python.tar.gz is damaged or altered: its md5 is not "):
        sources.cifar10(cifar_archive, "train")
    assert [path.name for path in cifar_archive.iterdir()] == ["cifar-10-python.tar.gz"]


def test_without_a_network_one_line_says_what_to_place_where(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar10, "ADDRESSES", ("http://127.0.0.1:9/cifar-10-python.tar.gz",))
    with pytest.raises(RunError) as caught:
        sources.cifar10(Path("data"), "train")
    assert str(caught.value) == (
        "cifar-10-python.tar.gz could not be downloaded (Connection refused). Place the file"
        " (md5 c58f30108f718f92721af3b95e74349a) at data/cifar-10-python.tar.gz and start again,"
        " or train without a download: dataset=digits"
    )
    assert list(tmp_path.iterdir()) == []


def test_the_next_address_is_tried_and_a_wrong_file_is_not_kept(tmp_path, capfd):
    (tmp_path / "good").write_bytes(b"the real file")
    (tmp_path / "bad").write_bytes(b"another file")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        absent, bad, good = (f"http://127.0.0.1:{server.server_port}/{name}" for name in ("absent", "bad", "good"))
        target = fetch("file", [absent, bad, good], md5(b"the real file"), tmp_path / "data")
        assert target.read_bytes() == b"the real file"
        with pytest.raises(RunError, match=r"could not be downloaded \(File not found or corrupted.\)"):
            fetch("other", [bad], md5(b"the real file"), tmp_path / "data")
        server.shutdown()
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["file"]


# torchvision


def test_names_addresses_and_checksums_are_those_that_torchvision_has():
    from torchvision.datasets import CIFAR10, MNIST, FashionMNIST

    assert (CIFAR10.filename, CIFAR10.tgz_md5, CIFAR10.base_folder) == (
        cifar10.ARCHIVE,
        cifar10.ARCHIVE_MD5,
        cifar10.FOLDER,
    )
    assert {
        **dict(CIFAR10.train_list),
        **dict(CIFAR10.test_list),
        cifar10.CLASS_NAMES: CIFAR10.meta["md5"],
    } == cifar10.MD5
    assert CIFAR10.meta["filename"] == cifar10.CLASS_NAMES
    for source in (MNIST, FashionMNIST):
        name = source.__name__
        assert {f"{name}/{file.removesuffix('.gz')}": digest for file, digest in source.resources} == {
            key: digest for key, digest in mnist.PACKED_MD5.items() if key.startswith(f"{name}/")
        }
        assert set(mnist.ADDRESSES[name]) == set(source.mirrors)
        assert mnist.CLASSES[name] == tuple(text.partition(" - ")[0] for text in source.classes)


def test_files_that_are_there_are_read_and_trained_on_without_torchvision(mnist_files, cifar_archive, monkeypatch):
    """Its import takes half a second at every start."""
    for name in ("torchvision", *(name for name in sys.modules if name.startswith("torchvision."))):
        monkeypatch.setitem(sys.modules, name, None)  # an import fails
    assert len(sources.cifar10(cifar_archive, "train")) == 20
    asked = ["dataset=mnist", f"data_dir={mnist_files[0].parent.parent}", "dataset.validation_size=10", "batch_size=20"]
    asked += ["model=mlp", "model.hidden=[8]", "device=cpu", "epochs=1", "wandb.mode=disabled"]
    assert train(compose(asked)[0]).training_images == 20


# The user's own pictures


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(0)
    for number, name in enumerate(("cat", "dog")):
        folder = tmp_path / "own" / "train" / name
        folder.mkdir(parents=True)
        for index in range(3):
            array = np.full((40, 50, 3), 100 * number + index, np.uint8)
            Image.fromarray(array).save(folder / f"{index}.png")
    Image.fromarray(rng.integers(0, 256, (32, 32), dtype=np.uint8)).save(folder / "gray.bmp")
    (folder / "notes.txt").write_text("not a picture")
    return tmp_path / "own"


def test_pictures_are_resized_and_labelled_by_folder(pictures):
    images = sources.image_folder(pictures, "train", image_size=16)
    assert (images.shape, images.classes, images.labels.tolist()) == (
        (3, 16, 16),
        ("cat", "dog"),
        [0, 0, 0, 1, 1, 1, 1],
    )
    assert images.pixels[4].unique().tolist() == [101]
    assert sources.image_folder(pictures, "train", grayscale=True).shape == (1, 32, 32)


def test_the_second_reading_decodes_nothing_and_a_change_is_noticed(pictures, monkeypatch):
    from trainer.data import image_folder

    decoded = []
    real = image_folder.decode
    monkeypatch.setattr(image_folder, "decode", lambda path, *rest: (decoded.append(path), real(path, *rest))[1])
    first = sources.image_folder(pictures, "train")
    assert len(decoded) == 7
    assert torch.equal(sources.image_folder(pictures, "train").pixels, first.pixels)
    assert len(decoded) == 7
    path = pictures / "train" / "cat" / "0.png"
    path.touch()  # same content, another time: the key is the content
    sources.image_folder(pictures, "train")
    assert len(decoded) == 7
    Image.fromarray(np.full((40, 50, 3), 255, np.uint8)).save(path)
    assert sources.image_folder(pictures, "train").pixels[0].unique().tolist() == [255]
    assert len(decoded) == 14


def test_a_broken_picture_is_named_and_refused_or_skipped(pictures, capsys):
    path = pictures / "train" / "dog" / "1.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(RunError) as caught:
        sources.image_folder(pictures, "train")
    assert str(caught.value).startswith(f"{path} cannot be decoded (")
    assert str(caught.value).endswith(". Remove it, or leave such pictures out: dataset.on_corrupt_image=skip")
    images = sources.image_folder(pictures, "train", on_corrupt_image="skip")
    assert images.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert f"1 of 7 pictures cannot be decoded and are left out: {path}" in capsys.readouterr().err


def test_folders_without_pictures_are_refused(pictures, tmp_path):
    with pytest.raises(ConfigError, match=r"data_dir=.*nowhere: must hold train/<class>/ with pictures"):
        sources.image_folder(tmp_path / "nowhere", "train")
    with pytest.raises(ConfigError, match=r"own: has no test part, .*own/test/<class>/ with pictures$"):
        sources.image_folder(pictures, "test")
    (pictures / "train" / "bird").mkdir()
    with pytest.raises(ConfigError, match=r"own/train/bird: holds no picture"):
        sources.image_folder(pictures, "train")


def test_deep_and_transparent_pictures_keep_their_brightness(pictures):
    folder = pictures / "train" / "cat"
    Image.fromarray(np.full((32, 32), 60 * 257, np.uint16)).save(folder / "3.png")
    Image.new("RGBA", (32, 32), (200, 200, 200, 0)).save(folder / "4.png")
    (folder / "folder.png").mkdir()
    pixels = sources.image_folder(pictures, "train").pixels
    assert pixels[3].unique().tolist() == [60]
    assert pixels[4].unique().tolist() == [0]


# Memory


def test_a_data_set_lies_in_memory_once_however_many_runs_and_parts_there_are():
    (config,) = compose(["dataset=digits", "device=cpu"])
    images = loader.load(config.dataset, Path("data"), CPU)
    again = loader.load(config.dataset, Path("data"), CPU)
    parts = [part for fold in range(3) for part in split(again, 0, folds=3, fold=fold)]
    places = {DeviceLoader(part, 100, CPU).images.storage.data_ptr() for part in parts}
    assert places == {images.storage.data_ptr()}
    (other,) = compose(["dataset=digits", "device=cpu", "dataset.image_size=8", "model=mlp"])
    assert loader.load(other.dataset, Path("data"), CPU).shape == (1, 8, 8)


def test_pictures_are_mapped_not_read(pictures):
    images = sources.image_folder(pictures, "train")
    place = images.storage.data_ptr()
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, end = (int(number, 16) for number in line.split()[0].split("-"))
        if start <= place < end:
            assert line.endswith("/pixels")
            return
    raise AssertionError("the pixels lie nowhere")


def test_pictures_that_no_disk_holds_are_refused_before_any_is_decoded(pictures):
    with pytest.raises(ConfigError) as caught:
        sources.image_folder(pictures, "train", image_size=10_000_000)
    assert re.fullmatch(
        rf"data_dir={pictures}: 7 pictures at 3×10000000×10000000 need 2.1e\+06 GB in .*images, which has \S+ GB free\."
        " Use a smaller dataset.image_size, fewer pictures, or another disk: XDG_CACHE_HOME",
        str(caught.value),
    )
    assert not list((Path(os.environ["XDG_CACHE_HOME"])).rglob("*.writing"))


def test_the_remains_of_a_kill_are_ignored_and_removed_after_a_week(pictures):
    cache = Path(os.environ["XDG_CACHE_HOME"]) / "ablation-trainer" / "images"
    for name in ("old", "new"):
        (cache / f".{name}.1.writing").mkdir(parents=True)
        (cache / f".{name}.1.writing" / "pixels").write_bytes(b"x")
    eight_days_ago = time.time() - 8 * 24 * 3600
    os.utime(cache / ".old.1.writing", (eight_days_ago, eight_days_ago))
    assert len(sources.image_folder(pictures, "train")) == 7
    assert [path.name for path in cache.glob(".*")] == [".new.1.writing"]


def test_a_file_larger_than_the_memory_is_mapped(tmp_path):
    """A sparse file of twice the memory, which takes no space on the disk."""
    size = 2 * physical_memory()
    with (tmp_path / "pixels").open("wb") as file:
        file.truncate(size)
        file.seek(size - 3)
        file.write(bytes([1, 2, 3]))
    pixels, _ = picture_cache.map_file(tmp_path / "pixels")
    assert (pixels.numel(), pixels[-3:].tolist(), pixels[size // 2].item()) == (size, [1, 2, 3], 0)


def advice(place):
    """Return the access advice of the mapping at this address: `sr` is sequential reading, `rr` random."""
    within = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if bounds := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            within = int(bounds[1], 16) <= place < int(bounds[2], 16)
        elif within and line.startswith("VmFlags:"):
            return {"sr", "rr"} & set(line.split())
    raise AssertionError("the pixels lie nowhere")


def test_a_pass_over_all_pictures_reads_ahead_and_a_batch_does_not(pictures, monkeypatch):
    """Otherwise statistics and fingerprint of a set larger than the memory wait for the disk every 4096 bytes."""
    images = sources.image_folder(pictures, "train").to(CPU)
    training, _ = split(images, 0, validation_size=2)
    real, seen = Images.at, []
    monkeypatch.setattr(
        Images, "at", lambda self, chosen: (seen.append(advice(self.storage.data_ptr())), real(self, chosen))[1]
    )
    statistics(training)
    loader = DeviceLoader(training, 2, CPU)
    loader.at(next(loader.positions(0, 0)))
    assert seen == [{"sr"}, {"rr"}]


def test_images_that_do_not_fit_on_a_gpu_are_one_line_with_numbers(monkeypatch):
    """torch keeps blocks of the previous run on the device, which count as used until they are released."""
    (config,) = compose(["dataset=digits", "dataset.image_size=64"])
    kept = [1_000_000]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", kept.clear)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2_000_000 - sum(kept), 2_000_000))
    loader._refuse_too_large(sources.digits("", "train"), torch.device("cuda"))  # 1 536 000 bytes
    with pytest.raises(ConfigError) as caught:
        loader.load(config.dataset, Path("data"), torch.device("cuda"))
    assert str(caught.value) == (
        "1500 images 1×64×64 need 0.00614 GB on cuda, which has 0.002 GB free. Use fewer or smaller ones"
        " (dataset.image_size), or device=cpu"
    )
