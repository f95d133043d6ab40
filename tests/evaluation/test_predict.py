"""Pictures through a checkpoint alone, and the network written for other programs."""

import importlib.util
import json
from pathlib import Path

import pytest
import safetensors
import torch
from conftest import program, quick
from PIL import Image
from test_evaluate import TINY

from trainer.cli import predict
from trainer.data.decode import decode
from trainer.data.sources import image_folder
from trainer.errors import ConfigError, RunError
from trainer.evaluation import export
from trainer.evaluation.inference import load_network


def trained(*more: str) -> Path:
    return quick(*TINY, "epochs=3", "output_dir=run", *more).folder


def pictures(place: Path, count: int = 3) -> list[Path]:
    place.mkdir(parents=True)
    draw = torch.Generator().manual_seed(1)
    paths = [place / f"{number}.png" for number in range(count)]
    for path in paths:
        Image.fromarray(torch.randint(0, 256, (12, 9, 3), generator=draw, dtype=torch.uint8).numpy()).save(path)
    return paths


def rows(printed: str) -> list[list[str]]:
    return [line.split("\t") for line in printed.splitlines()]


def test_class_and_probability_are_the_networks_own(capsys, monkeypatch):
    run, paths = trained(), pictures(Path("album/below"))
    Path("data").mkdir(exist_ok=True)
    capsys.readouterr()
    monkeypatch.setattr(predict, "BATCH", 2)
    assert predict.main([str(run), "album", str(paths[0]), "top=3"]) == 0
    snapshot = load_network(run / "best.safetensors")
    pixels = [torch.frombuffer(bytearray(decode(str(path), (1, 8, 8)).pixels), dtype=torch.uint8) for path in paths]
    with torch.inference_mode():
        shares = snapshot.network(torch.stack(pixels).view(-1, 1, 8, 8)).double().softmax(1)
    found = rows(capsys.readouterr().out)
    assert [row[0] for row in found] == [*map(str, paths), str(paths[0])]
    for row, expected in zip(found, [*shares, shares[0]], strict=True):
        values, labels = expected.topk(3)
        assert row[1::2] == [snapshot.classes[label] for label in labels]
        assert [float(text) for text in row[2::2]] == pytest.approx(values.tolist(), abs=1e-6)


def test_a_picture_is_prepared_as_a_folder_of_pictures_is():
    """The same file through both ways: the pixels that were trained on are the pixels that are classified."""
    for name in ("cat", "dog"):
        pictures(Path("own/train") / name)
    images = image_folder(Path("own"), "train", image_size=8)
    (chunk, pixels, failed), *_ = predict._batches(sorted(Path("own/train").rglob("*.png")), (3, 8, 8))
    assert failed == 0 and len(chunk) == 6
    assert torch.equal(pixels, images.pixels)


def test_a_broken_picture_is_told_and_the_others_are_classified(capsys, in_empty_folder):
    run, paths = trained(), pictures(Path("album"))
    paths[1].write_bytes(b"no picture")
    done = program("predict", str(run), "album", cwd=in_empty_folder)
    assert done.returncode == 1
    assert done.stderr == (
        "trainer: album/1.png cannot be decoded (it is no picture of a known kind:"
        " BMP, GIF, JPEG, PNG, PPM, TIFF, WEBP)\n"
    )
    assert [row[0] for row in rows(done.stdout)] == ["album/0.png", "album/2.png"]
    paths[0].write_bytes(b"")
    paths[2].write_bytes(b"")
    assert predict.main([str(run), "album"]) == 1


def test_what_is_no_picture_is_left_out_and_said_and_what_pillow_warns_of_names_the_file(capsys, tmp_path):
    run, _ = trained(), pictures(tmp_path / "album" / "below")
    (tmp_path / "album" / "._0.png").write_bytes(bytes(4096))
    (tmp_path / "album" / "Thumbs.db").touch()
    capsys.readouterr()
    assert predict.main([str(run), str(tmp_path / "album")]) == 0
    printed = capsys.readouterr()
    assert (len(rows(printed.out)), printed.err) == (3, "")
    (tmp_path / "album" / "0.heic").touch()
    (tmp_path / "album" / "away.png").symlink_to(Path(run).absolute() / "config.yaml")
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x1a\x01\x05\0\x01\0\0\0\xff\x7f\0\0"  # it lies beyond the end
    Image.new("RGB", (8, 8)).save("odd.jpg", exif=exif)
    assert predict.main([str(run), str(tmp_path / "album"), "odd.jpg"]) == 0
    printed = capsys.readouterr()
    suffix, link, warning = printed.err.splitlines()
    assert len(rows(printed.out)) == 4
    place = f"trainer: warning: {tmp_path / 'album'}: 1"
    assert suffix.startswith(f"{place} file is left out because of the suffix: .heic (1). Read are .bmp, ")
    assert link == f"{place} link is left out, to a folder, to nothing or to a place outside"
    assert warning == "trainer: warning: odd.jpg may look different (Truncated File Read)"


def test_no_data_are_needed(monkeypatch, capsys):
    run = trained()

    def unread(*_, **__):
        raise AssertionError("data were read")

    monkeypatch.setattr("trainer.data.sources.digits", unread)
    (path,) = pictures(Path("album"), 1)
    assert predict.main([str(run / "last.safetensors"), str(path)]) == 0


MISTAKES = {
    "run": "PICTURE: name pictures or a folder of them, or --export FILE",
    "run nowhere.png": "nowhere.png: there is no such picture or folder",
    "run empty": "empty: holds no picture (.bmp, .gif, ",
    "run --export model.txt": "--export model.txt: must end in .onnx or .safetensors",
    "run --export nowhere/model.onnx": "--export nowhere/model.onnx: there is no folder nowhere",
    "run x.png --top 0": "argument --top: 0: must be a whole number of at least 1.",
    "nowhere x.png": "nowhere: there is no such run or checkpoint",
}


@pytest.mark.parametrize("typed", MISTAKES)
def test_a_mistake_is_one_line(typed):
    Path("empty").mkdir()
    Path("run").mkdir()
    Path("run/best.safetensors").touch()
    with pytest.raises(ConfigError) as caught:
        predict.main(typed.split())
    assert str(caught.value).startswith(MISTAKES[typed])


def test_what_is_not_installed_is_named_with_its_extra(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else real(name))
    Path("run").mkdir()
    Path("run/best.safetensors").touch()
    with pytest.raises(ConfigError) as caught:
        predict.main(["run", "--export", "model.onnx"])
    assert str(caught.value).startswith("--export model.onnx needs onnxscript: pip install 'ablation-trainer[export]'")


def test_safetensors_holds_every_weight_and_what_it_needs_to_be_used(capsys):
    run = trained()
    capsys.readouterr()
    predict.main([str(run), "--export", "model.safetensors"])
    assert capsys.readouterr().out == (
        "Written: model.safetensors. Largest difference of a probability from the original: 0.0e+00\n"
    )
    with safetensors.safe_open("model.safetensors", "pt") as file:
        description = json.loads(file.metadata()["description"])
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dictionary
    expected = load_network(run / "best.safetensors").network.state_dict()
    assert weights.keys() == expected.keys() and all(torch.equal(weights[name], expected[name]) for name in weights)
    assert (description["classes"], description["shape"]) == (list("0123456789"), [1, 8, 8])
    assert load_network(Path("model.safetensors")).name == "model.safetensors"  # a checkpoint itself


def test_onnx_gives_the_same_probabilities_for_any_number_of_images(capsys):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    run = trained()
    predict.main([str(run), "--export", "model.onnx"])
    session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
    for count in (1, 5):
        images = torch.rand(count, 1, 8, 8)
        (got,) = session.run(["probabilities"], {"images": images.numpy()})
        with torch.inference_mode():
            expected = load_network(run / "best.safetensors").network(images).softmax(1)
        assert torch.allclose(torch.from_numpy(got), expected, atol=1e-6)


def test_an_export_that_differs_is_refused_and_leaves_no_file(monkeypatch):
    run = trained()
    real = export._safetensors

    def wrong(snapshot, network):
        with torch.no_grad():
            network[1][1].weight += 0.1
        return real(snapshot, network)

    monkeypatch.setattr(export, "_safetensors", wrong)
    with pytest.raises(
        RunError, match=r"^model.safetensors is not written: its probabilities differ .* more than 1e-04"
    ):
        predict.main([str(run), "--export", "model.safetensors"])
    assert not Path("model.safetensors").exists()
