"""`dataset=arrays`: each form of files that it reads, its values to the last bit, and each mistake in one line."""

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import compose, quick
from PIL import Image

from trainer.cli import evaluate, predict
from trainer.cli.main import main
from trainer.data import array_files, sources
from trainer.data.images import Images
from trainer.data.layout import channels_first
from trainer.data.splits import split
from trainer.errors import ConfigError, RunError
from trainer.evaluation import array_inputs, export
from trainer.evaluation.inference import load_network
from trainer.run import train
from trainer.storage import checkpoint
from trainer.storage.checkpoint_state import Last

OWN = Path("own")


@pytest.fixture(autouse=True)
def folder():
    OWN.mkdir()


def numbers(count=40, size=(8, 9), channels=(3,), dtype=np.uint8, seed=0):
    """[N, H, W, C] whose brightness tells one of two classes, and labels [N]."""
    labels = np.arange(count) % 2
    pixels = np.random.default_rng(seed).integers(0, 100, (count, *size, *channels))
    return (pixels + labels.reshape(-1, *[1] * (pixels.ndim - 1)) * 100).astype(dtype), labels


def arrays(part="train", **options) -> Images:
    return sources.arrays(OWN, part, **options)


def told(kind, part="train", **options) -> str:
    with pytest.raises(kind) as caught:
        arrays(part, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# NumPy's files


@pytest.mark.parametrize("names", [("x_{}", "y_{}"), ("X_{}", "y_{}"), ("{}_images", "{}_labels")])
def test_an_npz_with_the_names_of_keras_and_of_medmnist(names):
    parts = {part: numbers(count, seed=count) for part, count in (("train", 40), ("test", 10), ("val", 6))}
    held = {}
    for part, (pixels, labels) in parts.items():
        held |= {names[0].format(part): pixels, names[1].format(part): labels[:, None]}
    np.savez_compressed(OWN / "set.npz", **held)
    for part in ("train", "test"):
        images = arrays(part)
        assert images.storage.permute(0, 2, 3, 1).numpy().tolist() == parts[part][0].tolist()
        assert (images.labels.tolist(), images.classes) == (parts[part][1].tolist(), ("0", "1"))
    own = arrays(validation="own")
    assert (len(own), own.own_validation) == (46, 6)
    training, validation = split(own, 0)
    assert validation.pixels.permute(0, 2, 3, 1).numpy().tolist() == parts["val"][0].tolist()
    assert len(training) == 40


def test_a_validation_part_that_is_not_used_is_said(capfd):
    pixels, labels = numbers()
    np.savez(OWN / "set.npz", x_train=pixels, y_train=labels, x_val=pixels[:6], y_val=labels[:6])
    arrays()
    assert "set.npz: x_val: 6 images are left out, as the validation images are drawn" in " ".join(
        capfd.readouterr().err.split()
    )
    assert told(ConfigError, "test").startswith("data_dir=own has no test part, such as x_test and y_test beside own/")


def test_npy_files_and_names_of_classes():
    pixels, labels = numbers(size=(8, 8), channels=())
    for part, count in (("train", 40), ("test", 10)):
        np.save(OWN / f"{part}_images.npy", pixels[:count])
        np.save(OWN / f"{part}_labels.npy", labels[:count])
    (OWN / "classes.txt").write_text("cat\ndog\n")
    assert (arrays().shape, arrays("test").labels.tolist(), arrays().classes) == ((1, 8, 8), [0, 1] * 5, ("cat", "dog"))
    np.save(OWN / "test_labels.npy", labels[:10] + 1)
    assert told(ConfigError, "test") == "own/test_images.npy: label 2, where there are 2 classes"


@pytest.mark.parametrize("labels", [["dog", "cat"] * 20, [b"dog", b"cat"] * 20])
def test_labels_may_be_texts(labels):
    np.savez(OWN / "set.npz", images=numbers()[0], labels=labels)
    assert arrays().classes == ("cat", "dog")
    np.savez(OWN / "set.npz", x_train=numbers()[0], y_train=labels, classes=["dog", "ox", "cat"])
    assert (arrays().labels[:2].tolist(), arrays().classes) == ([0, 2], ("dog", "ox", "cat"))


def test_labels_without_names_are_the_values_that_occur():
    pixels, labels = numbers()
    np.savez(OWN / "set.npz", x_train=pixels, y_train=labels * 7 + 3, x_test=pixels, y_test=labels * 7 + 3)
    assert (arrays().classes, arrays("test").labels[:3].tolist()) == (("3", "10"), [0, 1, 0])


def test_the_test_part_of_an_undivided_set_is_drawn_once_and_stratified():
    pixels, labels = numbers(100)
    np.savez(OWN / "set.npz", images=pixels, labels=labels)
    train, test = arrays(), arrays("test")
    assert (len(train), test.labels.bincount().tolist()) == (80, [10, 10])
    rows = [tuple(row) for each in (train, test) for row in each.pixels.flatten(1).tolist()]
    assert set(rows) == {tuple(row) for row in pixels.transpose(0, 3, 1, 2).reshape(100, -1).tolist()}
    assert len(train.storage) == 80  # no test image is in the memory of a training
    np.savez(OWN / "set.npz", images=pixels[:9], labels=labels[:9])
    assert "there are too few of class 1 (4): at least 5 of each, or a test part (x_test" in told(ConfigError)


@pytest.mark.parametrize("dtype", ["u2", ">i2", "f2", "f4", "f8", "i8"])
def test_other_numbers_than_bytes_are_kept(dtype):
    pixels, labels = numbers()
    values = (pixels.astype(dtype) * (100 if "f" not in dtype else 1) - (0 if dtype == "u2" else 7)).astype(dtype)
    np.savez(OWN / "set.npz", x_train=values, y_train=labels)
    images = arrays()
    assert images.storage.dtype == torch.float32
    assert images.storage.permute(0, 2, 3, 1).tolist() == values.tolist()


LAYOUTS = {
    (5, 28, 28, 1): "nhwc",
    (5, 1, 28, 28): "nchw",
    (5, 32, 48, 3): "nhwc",
    (5, 13, 64, 64): "nchw",
    (5, 4, 4, 3): "nhwc",
    (5, 28, 28): "nhw",
    (5, 3, 32, 3): None,
    (5, 8, 8, 8): None,
    (5, 16, 8, 8): None,
    (5, 1, 128, 6): None,
    (5, 3, 4, 32): None,
    (5, 784, 3): None,
}


@pytest.mark.parametrize("shape", LAYOUTS)
def test_the_axis_of_the_channels_is_told_by_the_lengths_or_asked_for(shape):
    array, layout = np.arange(np.prod(shape)).reshape(shape), LAYOUTS[shape]
    if layout is None:
        with pytest.raises(ConfigError, match=r"may be in more than one order. Say which: dataset.layout="):
            channels_first(array, "auto", "x")
        return
    expected = {"nhwc": array.transpose(0, 3, 1, 2) if array.ndim == 4 else array, "nchw": array, "nhw": array[:, None]}
    assert np.array_equal(channels_first(array, "auto", "x"), expected[layout])
    assert np.array_equal(channels_first(array, layout, "x"), expected[layout])


def write(**held):
    """An .npz with two parts, in which some arrays are replaced."""
    pixels, labels = numbers()
    whole = {"x_train": pixels, "y_train": labels, "x_test": pixels[:10], "y_test": labels[:10]}
    np.savez(OWN / "set.npz", **{name: value for name, value in (whole | held).items() if value is not None})


X, Y = numbers()
BAD = {
    "lengths": ({"y_train": Y[:9]}, "train", "set.npz: x_train holds 40 images, own/set.npz: y_train 9 labels: they"),
    "empty": ({"x_train": X[:0], "y_train": Y[:0]}, "train", "set.npz: x_train is empty: [0, 8, 9, 3]"),
    "no pair": ({"y_train": None}, "train", "set.npz: x_train: there is no y_train beside it"),
    "bool": ({"x_train": X > 9}, "train", "set.npz: x_train: bool values are no pixels. Accepted: uint8, float16"),
    "complex": ({"x_train": X.astype("c8")}, "train", "set.npz: x_train: complex64 values are no pixels"),
    "objects": ({"y_train": Y.astype(object)}, "train", "y_train: an array of Python objects, which could run code"),
    "new class": ({"y_test": Y[:10] + 1}, "test", "x_test: there are images of class 2, which the training images do"),
    "one-hot": ({"y_train": np.eye(2)[Y]}, "train", "y_train: an array [40, 2], where one label an image [N] is"),
    "negative": ({"y_train": Y - 1}, "train", "x_train: label -1: a label below 0 is no class"),
    "shares": ({"y_train": Y / 2}, "train", "x_train: labels are float64. Accepted: whole numbers and texts"),
    "flat": ({"x_train": X.reshape(40, -1)}, "train", "x_train: an array [40, 216], where [N, H, W, C], [N, C, H, W]"),
    "order": ({"x_train": X[:, :3]}, "train", "x_train: an array [40, 3, 9, 3] may be in more than one order. Say"),
    "names": ({"classes": np.array([1.5, 2])}, "train", "classes: names are float64. Accepted: texts"),
    "kinds": ({"y_test": np.array(["a"] * 10)}, "test", "x_test: labels are text, those of the training images are"),
}


@pytest.mark.parametrize("case", BAD)
def test_arrays_that_are_no_images_are_told_with_file_and_name(case):
    held, part, sentence = BAD[case]
    write(**held)
    text = told(ConfigError, part)
    assert text.startswith("own/set.npz: ") and sentence in text


def test_nan_is_refused_before_training():
    write(x_train=np.full(X.shape, np.nan))
    with pytest.raises(ConfigError, match=r"own/set.npz: x_train: a pixel is NaN or infinite, as float32. Accepted: n"):
        quick("dataset=arrays", "data_dir=own", "model=mlp")


def test_options_that_do_not_apply_are_refused():
    write()
    assert told(ConfigError, image_size=9).startswith("dataset.image_size=9 acts on tables, and own/set.npz holds")
    assert told(ConfigError, layout="nhw").endswith("[40, 8, 9, 3] has 4 axes, dataset.layout=nhw has 3")
    assert told(ConfigError, file="../own/set.npz") == (
        "dataset.file=../own/set.npz: must be the name of a file or folder in data_dir=own"
    )
    assert told(ConfigError, file="other.npz").startswith("dataset.file=other.npz: there is no such")
    assert told(ConfigError, validation="own").startswith("dataset.validation=own: data_dir=own has no validation part")


def test_what_to_read_is_asked_for_if_there_are_several_or_none():
    assert told(ConfigError).startswith("data_dir=own holds no arrays. Accepted: an .npz, or .npy files, with x_train")
    write()
    np.savez(OWN / "a.npz", pixels=X)
    assert told(ConfigError).startswith("data_dir=own holds a.npz, set.npz: say which by dataset.file=a.npz")
    assert len(arrays(file="set.npz")) == 40
    assert told(ConfigError, file="a.npz").startswith("own/a.npz holds pixels. Accepted: an .npz")
    with pytest.raises(ConfigError, match=r"data_dir=own/a.npz is a file: name its folder, and dataset.file=a.npz"):
        sources.arrays(OWN / "a.npz", "train")
    with pytest.raises(ConfigError, match=r"data_dir=nowhere: "):
        sources.arrays(Path("nowhere"), "train")


def test_a_header_that_asks_for_too_much_is_refused_before_anything_is_read():
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**9, 64, 64, 3)})
    labels = io.BytesIO()
    np.lib.format.write_array_header_1_0(labels, {"descr": "<i8", "fortran_order": False, "shape": (10**9,)})
    with zipfile.ZipFile(OWN / "set.npz", "w") as archive:
        archive.writestr("images.npy", header.getvalue())
        archive.writestr("labels.npy", labels.getvalue())
    text = told(ConfigError)
    assert "values of type" in text and " GB, the memory is " in text


@pytest.mark.parametrize("how", ["no zip", "cut", "altered", "cut npy", "huge header"])
def test_a_damaged_file_is_one_line(how):
    write()
    path = OWN / "set.npz"
    content = bytearray(path.read_bytes())
    if "npy" in how or "huge" in how:
        path.unlink()
        path = OWN / "images.npy"
        np.save(path, X)
        np.save(OWN / "labels.npy", Y)
        content = bytearray(path.read_bytes())
    if how == "no zip":
        content = bytearray(b"not a zip")
    elif how == "altered":
        content[400] ^= 1
    elif how == "huge header":
        content[8:10] = b"\xff\xff"
    else:
        del content[-200:]
    path.write_bytes(content)
    text = told(RunError)
    assert text.startswith(str(path)) and "is damaged or no file of NumPy (" in text


def test_nothing_is_unpickled(monkeypatch):
    """Neither from an array of objects nor from a pickle in place of an array."""
    np.save(OWN / "images.npy", np.array([{"a": 1}], object), allow_pickle=True)
    np.save(OWN / "labels.npy", Y)
    monkeypatch.setattr("pickle.load", lambda *_, **__: pytest.fail("unpickled"))
    assert "own/images.npy: an array of Python objects" in told(ConfigError)


def test_the_test_part_is_not_read_for_training(monkeypatch):
    write()
    opened, read = [], array_files.StoredArray.read
    monkeypatch.setattr(
        array_files.StoredArray, "read", lambda self: (opened.append(self.what.split()[-1]), read(self))[1]
    )
    arrays()
    assert set(opened) == {"x_train", "y_train"}


# Tables


def encoded(array: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(array).save(content, "PNG")
    return content.getvalue()


def table(pictures, labels, names=("cat", "dog"), label="label"):
    """A table as `datasets` writes it, with its features in the metadata."""
    pyarrow = pytest.importorskip("pyarrow")
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    rows = [{"bytes": encoded(each) if isinstance(each, np.ndarray) else each, "path": None} for each in pictures]
    features = {"image": {"_type": "Image"}, label: {"_type": "ClassLabel", "names": list(names)}}
    held = pyarrow.table({"image": pyarrow.array(rows, kind), label: pyarrow.array(list(labels))})
    return held.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def save_to_disk(folder: Path, held, shards=1):
    """The files of `Dataset.save_to_disk` of datasets 5.2."""
    import pyarrow

    folder.mkdir(parents=True, exist_ok=True)
    names = [f"data-{number:05}-of-{shards:05}.arrow" for number in range(shards)]
    for number, name in enumerate(names):
        size = -(-len(held) // shards)
        with pyarrow.OSFile(str(folder / name), "wb") as file, pyarrow.ipc.new_stream(file, held.schema) as stream:
            stream.write_table(held.slice(number * size, size))
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    (folder / "dataset_info.json").write_text("{}")


def parquet(path: Path, held):
    import pyarrow.parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(held, path)


def test_a_folder_of_save_to_disk():
    held = table(X, Y)
    for name, count in (("train", 40), ("test", 10), ("validation", 6)):
        save_to_disk(OWN / name, held.slice(0, count), shards=3)
    (OWN / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test", "validation"]}))
    images = arrays(validation="own")
    assert (len(images), images.own_validation, images.classes) == (46, 6, ("cat", "dog"))
    assert images.storage[:40].permute(0, 2, 3, 1).tolist() == X.tolist()
    assert arrays("test").labels.tolist() == Y[:10].tolist()
    (OWN / "train" / "state.json").write_text(json.dumps({"_data_files": [{"filename": "../test/x.arrow"}]}))
    assert "_data_files must be names of files beside it" in told(RunError)
    (OWN / "dataset_dict.json").write_text(json.dumps({"splits": ["unsupervised"]}))
    assert told(ConfigError).startswith("own holds no part of a name that tells what it is for: train, training, test")


def test_parquet_files_by_their_names():
    parquet(OWN / "data" / "train-00000-of-00001.parquet", table(X, Y))
    parquet(OWN / "data" / "test-00000-of-00001.parquet", table(X[:10], Y[:10]))
    assert (len(arrays()), len(arrays("test")), arrays().shape) == (40, 10, (3, 8, 9))
    assert arrays(image_size=4).shape == (3, 4, 4)
    assert told(ConfigError, label_column="kind").endswith(
        "-00000-of-00001.parquet: no column for that name (it has image, label)"
    )


@pytest.mark.parametrize("stream", [True, False])
def test_arrow_files_by_their_names(stream):
    """As `datasets` keeps them in its cache, and as other programs write them."""
    import pyarrow

    held = table(X, Y)
    with pyarrow.OSFile(str(OWN / "set-train.arrow"), "wb") as file:
        new = pyarrow.ipc.new_stream if stream else pyarrow.ipc.new_file
        with new(file, held.schema) as writer:
            writer.write_table(held)
    assert arrays().storage.permute(0, 2, 3, 1).tolist() == X.tolist()
    Path(OWN, "a.png").touch()
    assert told(ConfigError, file="a.png") == (
        "dataset.file=a.png: must be an .npz, a table (.parquet, .arrow) or a folder of files"
    )


def test_pictures_of_16_bits_and_in_grey_keep_their_values():
    deep = (numbers(channels=())[0].astype(np.uint16) * 300)[..., :9]
    parquet(OWN / "all.parquet", table(deep, Y))
    whole = torch.cat([arrays(part).storage for part in ("train", "test")])
    assert sorted(whole.flatten(1).tolist()) == sorted(deep.reshape(40, -1).tolist())
    parquet(OWN / "all.parquet", table([*X[:20, :, :, 0], *X[20:]], Y))  # some in grey, some in colours
    assert arrays().shape == (3, 8, 9)


def test_lists_of_numbers_with_a_shape_and_pictures_beside_the_table():
    pyarrow = pytest.importorskip("pyarrow")
    features = {"image": {"_type": "Array3D", "shape": [3, 8, 9], "dtype": "uint8"}, "label": {"_type": "Value"}}
    held = pyarrow.table({"image": X.transpose(0, 3, 1, 2).tolist(), "label": Y})
    held = held.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    parquet(OWN / "train.parquet", held)
    assert arrays().storage.permute(0, 2, 3, 1).tolist() == X.tolist()
    (OWN / "0.png").write_bytes(encoded(X[0]))
    rows = [{"bytes": None, "path": "0.png"}] * 9
    parquet(OWN / "train.parquet", pyarrow.table({"picture": rows, "kind": ["a", "b", "c"] * 3}))
    assert arrays().storage[8].permute(1, 2, 0).tolist() == X[0].tolist()
    assert arrays().classes == ("a", "b", "c")


TABLES = {
    "sizes": ([*X[:39], X[0, :4]], Y, "pictures of several sizes, 8×9 and in row 39 4×9: dataset.image_size=8 brings"),
    "damaged": ([*X[:39], b"GIF89a?"], Y, "all.parquet, row 39 cannot be decoded ("),
    "missing": ([*X[:39], None], Y, "all.parquet, row 39: there is no picture"),
    "no label": (X, [*Y[:39].tolist(), None], "all.parquet: 1 of 40 images have no label"),
    "hidden": (X, [*Y[:39].tolist(), -1], "label -1: a label below 0 is no class"),
    "unknown": (X, [*Y[:39].tolist(), 2], "label 2, where there are 2 classes"),
}


@pytest.mark.parametrize("case", TABLES)
def test_a_table_that_holds_no_images_is_told_with_file_and_row(case):
    pictures, labels, sentence = TABLES[case]
    parquet(OWN / "all.parquet", table(pictures, labels))
    assert sentence in told((ConfigError, RunError))


def test_a_damaged_table_and_a_path_that_leads_out():
    pyarrow = pytest.importorskip("pyarrow")
    parquet(
        OWN / "all.parquet", pyarrow.table({"image": [{"bytes": None, "path": "/etc/hosts"}] * 9, "label": [0] * 9})
    )
    assert "all.parquet, row 0: the picture /etc/hosts lies outside own: put it into the table" in told(ConfigError)
    (OWN / "all.parquet").write_bytes(b"PAR1 no table PAR1")
    assert told(RunError).startswith("own/all.parquet is damaged or no table (")
    parquet(OWN / "all.parquet", pyarrow.table({"image": [b"a"], "one": [0], "two": [1]}))
    assert told(ConfigError).endswith(
        "no column for the labels: name it by dataset.label_column=NAME (it has image, one, two)"
    )


# A run from beginning to end


def scans(part: str, count: int) -> dict[str, np.ndarray]:
    """Two channels in Hounsfield units, 8×9, as doubles."""
    pixels, labels = numbers(count, channels=(2,))
    return {f"x_{part}": pixels.astype(np.float64) * 15.5 - 1000, f"y_{part}": labels}


SCANS = (
    "dataset=arrays",
    "data_dir=own",
    "model=mlp",
    "model.hidden=[8]",
    "augmentation=[flip,noise]",
    "batch_size=16",
)


def test_floats_train_resume_and_are_evaluated_predicted_and_exported(capsys):
    held = scans("train", 60) | scans("test", 20)
    np.savez(OWN / "set.npz", **held, classes=["air", "bone"])
    whole = quick(*SCANS, "output_dir=whole", "epochs=3")
    first = quick(*SCANS, "output_dir=run", "epochs=2")
    train(compose([f"resume={first.folder}", "epochs=3"])[0])
    ends = [checkpoint.load_as(Last, Path(name, "last.safetensors")) for name in ("whole", "run")]
    for name, value in ends[0].trainer["model"].items():
        assert torch.equal(value, ends[1].trainer["model"][name]), name
    assert ends[0].value_range == [held["x_train"].min(), held["x_train"].max()]
    assert main(["evaluate", "run"]) == 0
    np.save("some.npy", held["x_test"][:3])
    np.save("one.npy", held["x_test"][2].transpose(2, 0, 1))
    capsys.readouterr()
    assert main(["predict", "run", "some.npy", "one.npy", "--top", "2"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows] == ["some.npy[0]", "some.npy[1]", "some.npy[2]", "one.npy"]
    assert rows[2][1:] == rows[3][1:]
    network = load_network(Path("run/best.safetensors"))
    logits = network.network(torch.from_numpy(held["x_test"][:1].transpose(0, 3, 1, 2)).float())
    assert float(rows[0][2]) == pytest.approx(float(logits.double().softmax(1).max()), abs=1e-6)
    assert export.export(network, Path("copy.safetensors")) < 1e-6
    assert whole.validation_images == 6


def test_an_input_of_another_kind_than_was_trained_on_is_told(capsys):
    np.savez(OWN / "set.npz", **scans("train", 60))
    quick(*SCANS, "output_dir=run", "epochs=1")
    Image.new("RGB", (9, 8)).save("picture.png")
    np.save("flat.npy", np.zeros((9, 9)))
    np.save("hole.npy", np.full((2, 8, 9), np.nan))
    for name, sentence in {
        "picture.png": "run was trained on images of 2 channels: name .npy files of such",
        "flat.npy": "flat.npy: an array [9, 9], where the network takes images [2, 8, 9] or [8, 9, 2]",
        "hole.npy": "hole.npy: a value is NaN or infinite",
    }.items():
        with pytest.raises(ConfigError) as caught:
            predict.main(["run", name])
        assert str(caught.value) == sentence
    bounds = load_network(Path("run/best.safetensors"))
    grey = replace(bounds, shape=(1, 8, 9))
    with pytest.raises(
        ConfigError, match=r"run was trained on values from -1000 to .*, and a picture holds bytes: name"
    ):
        array_inputs.refuse_pictures(grey)
    array_inputs.refuse_pictures(replace(grey, value_range=(0.0, 0.99)))
    np.save("floats.npy", np.zeros((8, 9)))
    with pytest.raises(
        ConfigError, match=r"floats.npy: run was trained on bytes from 0 to 255: save the array as uint8"
    ):
        list(array_inputs.array_batches([Path("floats.npy")], replace(grey, value_range=None), 2))


def test_test_images_of_another_type_are_refused():
    pixels, labels = numbers(60, channels=(2,))
    np.savez(OWN / "set.npz", **scans("train", 60), x_test=pixels, y_test=labels)
    quick(*SCANS, "output_dir=run", "epochs=1")
    with pytest.raises(ConfigError, match=r"2×8×9 with floats as pixels of 2 .*own are images 2×8×9 of 2 classes"):
        evaluate.main(["run"])
