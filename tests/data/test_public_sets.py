"""The public data sets on small archives in their real formats: the pixels and labels that torchvision reads."""

import bz2
import functools
import gzip
import hashlib
import io
import pickle
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from test_untrusted import told
from torchvision import datasets

from trainer.config.schema import techniques
from trainer.data import cifar100, emnist, imagenette, mnist, sources, stl10, svhn, usps
from trainer.data.download import DOWNLOADED
from trainer.data.loader import refuse_malformed
from trainer.errors import RunError

PARTS = ("train", "test")
RNG = np.random.default_rng(0)


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def random_bytes(*shape):
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def idx(array):
    code, kind = (8, "u1") if array.dtype == np.uint8 else (12, ">i4")
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape) + array.astype(kind).tobytes()


def tar_of(path, members):
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return md5(path.read_bytes())


def write_idx(monkeypatch, name, root):
    """Write packed and unpacked files, whose checksums count as the published ones."""
    raw = root / name / "raw"
    raw.mkdir(parents=True)
    for number, part in enumerate(PARTS):
        labels = np.arange(12 + number, dtype=np.uint8) % 10
        if name == "QMNIST":
            labels = np.stack([labels, *random_bytes(7, len(labels))], 1).astype(np.int32) * (1, *[70_000] * 7)
            labels = labels.astype(np.int32)
        for file, array in zip(mnist._files(name, part), (random_bytes(len(labels), 28, 28), labels), strict=True):
            packed = gzip.compress(idx(array))
            (raw / file).write_bytes(idx(array))
            (raw / f"{file}.gz").write_bytes(packed)
            monkeypatch.setitem(mnist.PACKED_MD5, f"{name}/{file}", md5(packed))


def kmnist(monkeypatch, root):
    write_idx(monkeypatch, "KMNIST", root)
    return lambda part: datasets.KMNIST(root, train=part == "train")


def qmnist(monkeypatch, root):
    write_idx(monkeypatch, "QMNIST", root)
    return lambda part: datasets.QMNIST(root, train=part == "train")


def emnist_of(split, first=0):
    def made(monkeypatch, root):
        raw = root / "EMNIST" / "raw"
        raw.mkdir(parents=True)
        with zipfile.ZipFile(raw / "gzip.zip", "w") as archive:
            for part in PARTS:
                labels = np.arange(first, 10, dtype=np.uint8)
                arrays = {"images-idx3": random_bytes(len(labels), 28, 28), "labels-idx1": labels}
                for kind, array in arrays.items():
                    name = f"emnist-{split}-{part}-{kind}-ubyte"
                    archive.writestr(f"gzip/{name}.gz", gzip.compress(idx(array)))
                    (raw / name).write_bytes(idx(array))
        monkeypatch.setattr(emnist, "MD5", md5((raw / "gzip.zip").read_bytes()))
        return lambda part: datasets.EMNIST(root, split, train=part == "train")

    return made


def usps_files(monkeypatch, root):
    for part in PARTS:
        name = usps.FILES[part][0]
        values = RNG.uniform(-1, 1, (11, 256))
        values[0] = -1  # black, and the other end
        values[1] = 1
        lines = [
            f"{label} " + " ".join(f"{place}:{value:.6g}" for place, value in enumerate(row, 1))
            for label, row in zip([*range(1, 11), 1], values, strict=True)
        ]
        (root / name).write_bytes(bz2.compress("\n".join([*lines, ""]).encode()))
        monkeypatch.setitem(usps.FILES, part, (name, md5((root / name).read_bytes())))
    return lambda part: datasets.USPS(root, train=part == "train")


def svhn_files(monkeypatch, root):
    for part in PARTS:
        name = f"{part}_32x32.mat"
        labels = np.array([[10], [1], [9], [5]], np.uint8)
        savemat(root / name, {"X": random_bytes(32, 32, 3, 4), "y": labels}, do_compression=True)
        digest = md5((root / name).read_bytes())
        monkeypatch.setitem(svhn.MD5, name, digest)
        monkeypatch.setitem(datasets.SVHN.split_list, part, ["", name, digest])
    return lambda part: datasets.SVHN(root, part)


def cifar100_archive(monkeypatch, root):
    names = {"fine_label_names": [f"kind {n}" for n in range(100)], "coarse_label_names": [f"g{n}" for n in range(20)]}
    made = {"meta": pickle.dumps(names, 2)}
    for number, part in enumerate(PARTS):
        fine = [0, 99, 7, 3 + number]
        labels = {"fine_labels": fine, "coarse_labels": [label // 5 for label in fine]}
        made[part] = pickle.dumps({"data": random_bytes(4, 3072), **labels}, 2)
    digests = {name: md5(content) for name, content in made.items()}
    whole = tar_of(root / cifar100.ARCHIVE.name, {f"cifar-100-python/{name}": each for name, each in made.items()})
    monkeypatch.setattr(cifar100, "ARCHIVE", cifar100.ARCHIVE._replace(md5=whole))
    monkeypatch.setattr(cifar100, "MD5", digests)
    for name in PARTS:
        monkeypatch.setattr(datasets.CIFAR100, f"{name}_list", [[name, digests[name]]])
    monkeypatch.setitem(datasets.CIFAR100.meta, "md5", digests["meta"])
    return lambda part: datasets.CIFAR100(root, train=part == "train")


def stl10_archive(monkeypatch, root):
    made = {}
    for part in PARTS:
        made |= {f"{part}_X.bin": random_bytes(3, 3, 96, 96).tobytes(), f"{part}_y.bin": bytes([10, 1, 4])}
    members = {
        "stl10_binary/more.txt": b"not asked for",
        **{f"stl10_binary/{name}": each for name, each in made.items()},
    }
    whole = tar_of(root / stl10.ARCHIVE.name, members)
    monkeypatch.setattr(stl10, "ARCHIVE", stl10.ARCHIVE._replace(md5=whole))
    monkeypatch.setattr(stl10, "MD5", {name: md5(content) for name, content in made.items()})
    for part in PARTS:
        files = [[name, md5(content)] for name, content in made.items() if name.startswith(part)]
        monkeypatch.setattr(datasets.STL10, f"{part}_list", files)
    return lambda part: datasets.STL10(root, part)


def imagenette_archive(monkeypatch, root):
    members = {"imagenette2-160/noisy.csv": b"not asked for", "imagenette2-160/val/n01440764/../x.JPEG": b"theirs"}
    for here in ("train", "val"):
        for wnid in imagenette.CLASSES:
            content = io.BytesIO()
            Image.fromarray(random_bytes(8, 8, 3)).save(content, "JPEG")
            members[f"imagenette2-160/{here}/{wnid}/{here}_1.JPEG"] = content.getvalue()
    whole = tar_of(root / "imagenette2-160.tgz", members)
    monkeypatch.setitem(imagenette.ARCHIVES, 160, ("imagenette2-160", whole))
    return lambda part: datasets.Imagenette(root, "train" if part == "train" else "val", "160px")


SETS = {
    "kmnist": (kmnist, "kmnist", {}),
    "qmnist": (qmnist, "qmnist", {}),
    "emnist": (emnist_of("balanced"), "emnist", {}),
    "emnist's letters": (emnist_of("letters", 1), "emnist", {"split": "letters"}),
    "usps": (usps_files, "usps", {}),
    "svhn": (svhn_files, "svhn", {}),
    "cifar100": (cifar100_archive, "cifar100", {}),
    "stl10": (stl10_archive, "stl10", {}),
    "imagenette": (imagenette_archive, "imagenette", {"image_size": 8}),
}
CLASSES = {"usps": tuple("0123456789"), "svhn": tuple("0123456789"), "qmnist": tuple("0123456789")}


@pytest.fixture
def data_dir(tmp_path):
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.mark.parametrize("name", SETS)
def test_pixels_and_labels_are_those_of_torchvision(name, data_dir, monkeypatch):
    make, option, options = SETS[name]
    reference = make(monkeypatch, data_dir)
    for part in PARTS:
        images = refuse_malformed(getattr(sources, option)(data_dir, part, **options), option, part)
        expected = reference(part)
        pixels = np.stack([np.asarray(picture) for picture, _ in expected])
        pixels = pixels[:, None] if pixels.ndim == 3 else pixels.transpose(0, 3, 1, 2)
        assert images.pixels.dtype == torch.uint8 and np.array_equal(images.pixels.numpy(), pixels)
        first = 1 if name == "emnist's letters" else 0
        assert images.labels.tolist() == [int(label) - first for _, label in expected]
        named = CLASSES.get(option) or getattr(expected, "classes", stl10.CLASSES)
        named = [each[0] if isinstance(each, tuple) else each for each in named][first:]
        assert list(images.classes) == named
    assert (data_dir / DOWNLOADED[option][0]).exists()
    assert not list(data_dir.rglob(".unpack-*")) and not list(data_dir.rglob("x.JPEG"))


def test_names_addresses_and_checksums_are_those_that_torchvision_has():
    for source in (datasets.KMNIST, datasets.QMNIST):
        name = source.__name__
        files = source.resources if name == "KMNIST" else [each for part in PARTS for each in source.resources[part]]
        assert {f"{name}/{Path(file).name.removesuffix('.gz')}": digest for file, digest in files} == {
            key: digest for key, digest in mnist.PACKED_MD5.items() if key.startswith(f"{name}/")
        }
    assert datasets.QMNIST.resources["test"][0][0].startswith(mnist.ADDRESSES["QMNIST"][0])
    assert tuple(datasets.KMNIST.mirrors) == mnist.ADDRESSES["KMNIST"]
    assert tuple(datasets.KMNIST.classes) == mnist.CLASSES["KMNIST"]
    assert (datasets.EMNIST.url, datasets.EMNIST.md5) == (emnist.ADDRESS, emnist.MD5)
    lists = {split: tuple(names) for split, names in datasets.EMNIST.classes_split_dict.items()}
    assert {**lists, "letters": lists["letters"][1:]} == emnist.CLASSES
    assert {part: (usps.ADDRESS + name, name, digest) for part, (name, digest) in usps.FILES.items()} == {
        part: tuple(entry) for part, entry in datasets.USPS.split_list.items()
    }
    for part in PARTS:
        address, name, digest = datasets.SVHN.split_list[part]
        assert (address, digest) == (svhn.ADDRESSES[0] + name, svhn.MD5[name])
    for source, archive, digests in (
        (datasets.CIFAR100, cifar100.ARCHIVE, cifar100.MD5),
        (datasets.STL10, stl10.ARCHIVE, stl10.MD5),
    ):
        assert (source.filename, source.tgz_md5, source.base_folder) == (archive.name, archive.md5, archive.folder)
        assert source.url in archive.addresses
        published = dict(source.train_list) | dict(source.test_list)
        assert all(published.get(name, digest) == digest for name, digest in digests.items())
    assert datasets.CIFAR100.meta["md5"] == cifar100.MD5["meta"]
    sizes = {160: "160px", 320: "320px", None: "full"}
    for side, (name, digest) in imagenette.ARCHIVES.items():
        assert datasets.Imagenette._ARCHIVES[sizes[side]] == (f"{imagenette.ADDRESS}{name}.tgz", digest)
    assert {wnid: names[0] for wnid, names in datasets.Imagenette._WNID_TO_CLASS.items()} == imagenette.CLASSES


def test_the_groups_of_cifar100_are_its_coarse_labels(data_dir, monkeypatch):
    cifar100_archive(monkeypatch, data_dir)
    images = sources.cifar100(data_dir, "train", labels="coarse")
    assert images.labels.tolist() == [0, 19, 1, 0] and len(images.classes) == 20


def test_stl10_is_resized_with_anti_aliasing(data_dir, monkeypatch):
    reference = stl10_archive(monkeypatch, data_dir)
    images = sources.stl10(data_dir, "train", image_size=32)
    picture = Image.fromarray(np.asarray(reference("train")[0][0])).resize((32, 32), Image.Resampling.BILINEAR)
    difference = np.abs(images.pixels[0].permute(1, 2, 0).numpy().astype(int) - np.asarray(picture))
    assert images.shape == (3, 32, 32) and difference.max() <= 1


@pytest.mark.parametrize("name", ["svhn", "usps", "emnist", "cifar100", "stl10", "imagenette"])
def test_an_altered_file_is_refused_by_name(name, data_dir, monkeypatch):
    make, option, options = SETS[name]
    make(monkeypatch, data_dir)
    path = next(data_dir / place for place in DOWNLOADED[option] if (data_dir / place).exists())
    path = path / "gzip.zip" if path.is_dir() else path
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    sentence = told(RunError, functools.partial(getattr(sources, option), **options), data_dir, "train")
    assert sentence.startswith(f"{path} is damaged or altered: its md5 is not ")


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("svhn", b"MATLAB 5.0", "train_32x32.mat is damaged: "),
        ("usps", bz2.compress(b"1 1:0.5 2:x\n"), "usps.bz2 does not hold a label and 256 numbers in each line"),
        ("usps", bz2.compress(b"11" + b" 1:0" * 256), "usps.bz2 holds labels that are not from 1 to 10"),
        ("usps", bz2.compress(b"1" + b" 1:7" * 256), "usps.bz2 does not hold a label and 256 numbers from -1 to 1"),
        ("usps", b"no bz2", "usps.bz2 cannot be unpacked: "),
        ("usps", bz2.compress(bytes(5000)), "usps.bz2 unpacks to more than 4000 bytes"),
    ],
)
def test_a_file_with_a_right_checksum_and_another_content_is_refused(name, content, sentence, data_dir, monkeypatch):
    file = {"svhn": "train_32x32.mat", "usps": "usps.bz2"}[name]
    (data_dir / file).write_bytes(content)
    monkeypatch.setattr(usps, "MAX_BYTES", 4000)
    if name == "svhn":
        monkeypatch.setitem(svhn.MD5, file, md5(content))
    else:
        monkeypatch.setitem(usps.FILES, "train", (file, md5(content)))
    assert told(RunError, getattr(sources, name), data_dir, "train").startswith(f"{data_dir / sentence}")


def test_without_a_network_one_line_says_what_to_place_where(data_dir, monkeypatch):
    monkeypatch.setattr(svhn, "ADDRESSES", ("http://127.0.0.1:9/",))
    sentence = told(RunError, sources.svhn, data_dir, "test")
    assert sentence.startswith(
        "test_32x32.mat could not be downloaded (Connection refused). Place the file (md5 "
        f"{svhn.MD5['test_32x32.mat']}) at {data_dir / 'test_32x32.mat'} and start again"
    )


def test_every_downloaded_set_knows_its_places():
    without = {"digits", "bag_of_words", "arrays", "image_folder"}
    assert DOWNLOADED.keys() == techniques("dataset").keys() - without
