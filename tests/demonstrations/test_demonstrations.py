"""Each demonstration of techniques is run once with few images; the numbers in its figure are checked."""

import base64
import io
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path

import plotly.graph_objects as go
import pytest
import torch
from conftest import ROOT, metrics, quick, sync_playwright
from PIL import Image
from torch import nn
from torch.nn import functional as F

from trainer.cli.demonstrate import demonstrations, main
from trainer.config.help import options
from trainer.demonstrations import (
    augmentations,
    descent,
    dropout,
    figures,
    gradient_descent,
    loss_landscape,
    moving_average,
    normalization,
    optimizer_paths,
    page,
    pictures,
    surfaces,
)
from trainer.errors import ConfigError
from trainer.evaluation.inference import load_network
from trainer.techniques.augmentation import crop, cutout, mixup
from trainer.techniques.networks.input_layers import InputScaling
from trainer.training.network import build_model

NAMES = list(demonstrations())

with_chromium = pytest.mark.skipif(not shutil.which("chromium"), reason="no Chromium on the path")


def written(name, *arguments, capsys) -> str:
    """Return the text around the figures on the page of the demonstration."""
    assert main([name, *arguments]) == 0
    path = Path("outputs/figures", f"{name}.html")
    assert capsys.readouterr().out.splitlines()[-1] == str(path)
    text = path.read_text(encoding="utf-8")
    body = text[text.index("</script></head>") :]
    assert not re.search(r"<link|src=", body)  # nothing to be fetched
    return body


def options_of(group):
    return {name.removesuffix(" *") for name, _ in options(group)}


@pytest.mark.parametrize("name", NAMES)
def test_each_has_a_help_with_its_own_command(name, capsys):
    with pytest.raises(SystemExit) as left:
        main([name, "--help"])
    shown = capsys.readouterr().out
    assert left.value.code == 0
    assert " ".join(shown.split()).startswith(f"usage: python -m trainer demonstrate {name} [-h] ")
    assert f"examples:\n  python -m trainer demonstrate {name}\n" in shown
    assert f"outputs/figures/{name}.html" in " ".join(shown.split())


def test_gradient_descent_ends_where_the_formula_says(capsys):
    body = written("gradient_descent", capsys=capsys)
    assert "Rate 0.2 converges: x = 0.0604662 after 10 steps from 10." in body
    assert "Rate 0.02 creeps: x = 6.64833 after 10 steps" in body
    assert "Rate 0.9 oscillates: x = 1.07374 after 10 steps" in body
    assert "Rate 1.1 diverges: x = 61.9174 after 10 steps" in body
    path = gradient_descent.walk(10, 0.2, 10)
    assert path == pytest.approx([10 * 0.6**step for step in range(11)], rel=1e-12)
    shown = go.Figure(gradient_descent.parabola(path, "red")).data[1]
    assert (list(shown.x), list(shown.y)) == (path, [x * x for x in path])
    assert gradient_descent.behaviour(gradient_descent.walk(-3, 1.0, 4)) == "oscillates"


def test_gradient_descent_that_leaves_all_numbers_ends_there():
    path = gradient_descent.walk(1e300, 3.0, 100)
    assert path[:3] == [1e300, -5e300, 2.5e301]
    assert all(map(math.isfinite, path)) and len(path) < 100


def test_every_optimizer_walks_every_surface(capsys):
    body = written("optimizer_paths", "--steps", "4", "--lr", "adam=0.25", capsys=capsys)
    assert body.count("<figcaption>") == 3
    for surface in surfaces.SURFACES.values():
        paths = optimizer_paths.walk(surface, {"adam": 0.25}, 4)
        assert list(paths) == surfaces.OPTIMIZERS
        figure = go.Figure(optimizer_paths.draw(surface, paths))
        named = {line.name: line for line in figure.data if line.name}
        assert set(named) == {f"{name} {lr:g}" for name, (lr, _) in paths.items()}
        assert len({(line.line.color, line.line.dash) for line in named.values()}) == len(named)
        # Adam's first step is its learning rate in each direction, whatever the gradient.
        x, y = named["adam 0.25"].x, named["adam 0.25"].y
        assert (x[0], y[0]) == surface.begin
        assert (abs(x[1] - x[0]), abs(y[1] - y[0])) == pytest.approx((0.25, 0.25), abs=1e-5)
        assert [len(frame.data[0].x) for frame in figure.frames] == [1, 2, 3, 4, 5]
        assert [frame.data[1].x[0] for frame in figure.frames] == list(figure.data[-2 * len(paths)].x)


def test_paths_do_what_the_captions_say():
    walked = {name: optimizer_paths.walk(each, {}, each.steps) for name, each in surfaces.SURFACES.items()}
    ends = {name: {optimizer: path[-1] for optimizer, (_, path) in paths.items()} for name, paths in walked.items()}
    # sgd on a quadratic: each step multiplies x by 1 − lr·0.1 and y by 1 − lr·4.
    assert ends["ravine"]["sgd"] == pytest.approx((-9 * 0.955**60, 1.8 * (-0.8) ** 60), rel=1e-9)
    assert {name for name, (x, _) in ends["local_minimum"].items() if x > 0} == {"momentum", "nesterov"}
    halfway = {name: path[15][1] for name, (_, path) in walked["saddle"].items()}
    assert halfway["sgd"] < 0.06
    assert min(halfway["adam"], halfway["rmsprop"], halfway["adagrad"]) > 0.1
    for surface in surfaces.SURFACES.values():
        for minimum in surface.minima:
            point = torch.tensor(minimum, dtype=torch.float64, requires_grad=True)
            (slope,) = torch.autograd.grad(surface.loss(*point.unbind()), point)
            assert slope.abs().max() < 1e-3


def test_moving_average_is_the_table_of_the_note(capsys):
    written("moving_average", capsys=capsys)
    table = {
        0.2: [120.0, 192.0, 294.4, 198.9, 151.8, 230.4, 230.1, 150.0, 270.0, 278.0, 335.6, 251.1],
        0.5: [75.0, 142.5, 231.3, 203.1, 171.6, 210.8, 220.4, 175.2, 237.6, 258.8, 304.4, 267.2],
        0.8: [30.0, 66.0, 116.8, 128.4, 130.8, 154.6, 169.7, 161.7, 189.4, 207.5, 236.0, 234.8],
    }
    for alpha, expected in table.items():
        found = moving_average.average(moving_average.VALUES, alpha)
        assert found == pytest.approx(expected, abs=0.0501)  # the note rounds to one decimal
        assert list(go.Figure(moving_average.curves(moving_average.VALUES, {alpha: found})).data[1].y) == found
    assert moving_average.table([2.0], {0.5: [1.0]})["data"][0]["cells"]["values"] == [["0"], ["2"], ["1.00"]]


def test_landscape_has_the_trained_loss_in_its_middle(capsys):
    run = quick("dataset.validation_size=60", "normalization=batch", "lr=0.01").folder
    loss = min(row["validation_loss"] for row in metrics(run))
    body = written("loss_landscape", str(run), "--resolution", "3", "--radius", "0.5", capsys=capsys)
    assert f"loss {loss:.4g} at the trained weights (×), on 60 validation images" in body
    snapshot = load_network(run / "best.safetensors")
    images = loss_landscape.validation_images(snapshot, None, 1000, torch.device("cpu"))
    some = loss_landscape.validation_images(snapshot, None, 7, torch.device("cpu"))
    assert torch.equal(some.pixels, images.pixels[[0, 8, 17, 25, 34, 42, 51]])
    with pytest.raises(ConfigError, match=r"^data_dir=data: these are not the images that .* was trained on$"):
        loss_landscape.validation_images(replace(snapshot, shape=(3, 32, 32)), None, 7, torch.device("cpu"))
    before = {name: value.clone() for name, value in snapshot.network.state_dict().items()}
    axis, losses = loss_landscape.landscape(snapshot.network, images, 0.5, 3, seed=0)
    assert axis.tolist() == [-0.5, 0.0, 0.5]
    assert losses[1, 1].item() == pytest.approx(loss, rel=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in snapshot.network.state_dict().items())
    step = loss_landscape.direction(snapshot.network, torch.Generator().manual_seed(0))
    layers = [layer for layer in snapshot.network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    for layer, change in zip(layers, step, strict=True):
        torch.testing.assert_close(change.flatten(1).norm(dim=1), layer.weight.flatten(1).norm(dim=1))
        layer.weight += 0.5 * change
    moved = F.cross_entropy(snapshot.network(images.pixels), images.labels).item()
    assert losses[1, 2].item() == pytest.approx(moved, rel=1e-5)
    shown = go.Figure(loss_landscape.contour(axis, losses)).data[0]
    assert [10**value for value in shown.z[1]] == pytest.approx(losses[1].tolist())
    assert list(loss_landscape.surface(axis, losses)["data"][0]["z"][2]) == losses[2].tolist()


@pytest.mark.long
def test_every_augmentation_is_a_row_of_real_images(capsys):
    words = ["augmentation.crop.padding=7", "augmentation.cutout.size=20"]
    written("augmentations", "--images", "4", "--seed", "5", *words, capsys=capsys)
    images = pictures.of_each_class(pictures.training_split([]), 4)
    assert images.labels.tolist() == [0, 1, 2, 3]
    rows = augmentations.augmented(images, words, seed=5)
    assert set(rows) == {path.stem for path in (ROOT / "conf" / "augmentation").glob("*.yaml")}
    for function, given in ((crop, {"padding": 7}), (cutout, {"size": 20}), (mixup, {})):
        draw = torch.Generator().manual_seed(5)
        pixels, labels = function(images.pixels, images.labels, 10, draw, **given)
        expected = pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels
        torch.testing.assert_close(rows[function.__name__], (expected, labels))
    figure = go.Figure(augmentations.draw(images, rows))
    assert list(figure.layout.yaxis.ticktext) == list(rows)
    file = base64.b64decode(figure.data[0].source.partition(",")[2])
    with Image.open(io.BytesIO(file)) as picture:
        assert picture.size == (4 * 34 - 2, len(rows) * 34 - 2)
        column, row = 2, list(rows).index("crop")
        cell = picture.crop((column * 34, row * 34, column * 34 + 32, row * 34 + 32)).convert("RGB")
        shown = torch.frombuffer(bytearray(cell.tobytes()), dtype=torch.uint8).view(32, 32, 3)
    assert torch.equal(shown[..., 0], (rows["crop"][0][column, 0] * 255).round().to(torch.uint8))
    labels = dict(zip(rows, [list(line.text) for line in figure.data[1:]], strict=True))
    assert labels["flip"] == ["flip: 0", "flip: 1", "flip: 2", "flip: 3"]
    assert sum(int(share) for share in re.findall(r"(\d+)%", labels["cutmix"][0])) == 100


def test_dropout_shows_mask_scale_and_mean(capsys):
    body = written("dropout", "dropout=0.2", "--images", "12", capsys=capsys)
    share, before, after, mask = dropout.passes(["dropout=0.2"], None, 12)
    assert (share, before.shape, mask.shape) == (0.2, (12, 128), (12, 128))
    torch.testing.assert_close(after[0], torch.where(mask, before * 1.25, torch.zeros(())))
    dropped = 1 - mask.float().mean().item()
    assert dropped == pytest.approx(0.2, abs=0.04)
    assert f"In training: {dropped:.1%} are dropped (orange), the others ×1.25." in body
    assert after.mean().item() == pytest.approx(before.mean().item(), rel=0.01)
    cells = [cell for row in dropout.grid(after[0], mask, 1.0)["data"][0]["z"] for cell in row]
    assert cells.count(1) == int((~mask[:, :48]).sum())
    averaged = dropout.average(before, after)["data"][0]["y"]
    assert (averaged[0], averaged[-1]) == pytest.approx((after[0].mean().item(), after.mean().item()), rel=1e-5)


def test_normalization_shows_what_comes_to_each_layer(capsys):
    body = written("normalization", "--images", "64", capsys=capsys)
    found = {name: normalization.entering(name, [], 64) for name in normalization.normalizations()}
    assert set(found) == options_of("normalization") - {"instance"}
    assert {len(values) for values in found.values()} == {8}
    # By hand: the first linear layer's output on the scaled images.
    training = pictures.training_split([])
    batch = pictures.of_each_class(training, 64)
    network = build_model(descent.settings(*normalization.DEFAULT), training)
    scaling, first = (next(m for m in network.modules() if isinstance(m, kind)) for kind in (InputScaling, nn.Linear))
    torch.testing.assert_close(found["none"][0], first(scaling(batch.pixels).flatten(1)).flatten().detach())
    last = {name: values[-1].std().item() for name, values in found.items()}
    assert last["none"] < 0.1
    assert [last[name] for name in ("batch", "layer", "group")] == pytest.approx([1, 1, 1], abs=0.02)
    assert f"{last['none']:.3g} in the last." in body
    shown = {line["name"]: line["y"][-1] for line in normalization.spreads(found)["data"]}
    assert shown == pytest.approx(last)


MISTAKES = [
    ("gradient_descent", ["--rate", "0"], "rate=0: must be a number above 0"),
    ("gradient_descent", ["--count", "0"], "count=0: must be a whole number of at least 1"),
    ("gradient_descent", ["--rate", "fast"], "argument --rate: fast: must be a number"),
    ("gradient_descent", ["--start", "0"], "start=0.0: must be a number other than 0"),
    ("gradient_descent", ["--output", "x.svg"], "x.svg: must be a file that ends in .html or .png"),
    ("optimizer_paths", ["--surface", "hill"], "surface=hill: there is none of this name. Accepted: ravine, saddle"),
    ("optimizer_paths", ["--lr", "adm=1"], "lr=adm=1: there is no optimizer adm. Accepted: "),
    ("optimizer_paths", ["--lr", "fast"], "lr=fast: must be a number above 0"),
    ("moving_average", ["--alpha", "1"], "alpha: must be numbers above 0 and below 1"),
    ("loss_landscape", ["none"], "none: there is no such run or checkpoint"),
    ("loss_landscape", ["run", "--resolution", "4"], "resolution=4: must be odd and at least 3"),
    ("augmentations", ["augmentation.crp.padding=2"], "crp"),
    ("augmentations", ["augmentation.crop.padding=x"], "augmentation.crop.padding='x' (command line): must be"),
    ("dropout", ["dropout=0.0"], "dropout=0 leaves no dropout layer to look at"),
    ("dropout", ["--layer", "3"], "layer=3: this network has 2 dropout layers"),
    ("normalization", ["--images", "1"], "images=1: must be a whole number of at least 2"),
]


@pytest.mark.parametrize(("name", "arguments", "told"), MISTAKES)
def test_a_mistake_is_one_line_and_leaves_nothing(name, arguments, told):
    with pytest.raises(ConfigError) as refusal:
        main([name, *arguments])
    assert told in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert not Path("outputs").exists()


def test_without_a_name_the_demonstrations_are_listed(capsys):
    assert main([]) == 0
    listed = capsys.readouterr().out
    assert all(f"\n  {name} " in listed for name in NAMES)
    with pytest.raises(ConfigError, match=r"^drop-out: there is no such demonstration. Did you mean dropout\? "):
        main(["drop-out"])


def test_the_facts_are_printed_and_stand_on_the_page(capsys):
    assert main(["grid_cost", "--values", "2", "--dimensions", "3", "--output", "cost.html"]) == 0
    first, _, path = capsys.readouterr().out.splitlines()
    assert first == (
        "✓ Each further setting multiplies the grid by 2: 2 trainings for one setting, 4 for two, 8 for 3."
    )
    assert path == "cost.html"
    assert f'<li class="holds"><b>✓</b> {first[2:]}</li>' in Path("cost.html").read_text(encoding="utf-8")


def test_what_is_not_finite_is_null_on_the_page(capsys):
    body = written("gradient_descent", "--rate", "3", "--start", "1e300", "--others", "1", capsys=capsys)
    assert ",null" in body
    assert not re.search(r"\b(NaN|Infinity)\b", body)


@with_chromium
def test_a_page_plays_in_a_browser_without_a_network(capsys):
    """The file in Chromium: nothing is fetched, the slider sets the step, dark mode has light letters."""
    written("optimizer_paths", "--surface", "ravine", "--steps", "9", capsys=capsys)
    address, fetched, complaints = Path("outputs/figures/optimizer_paths.html").absolute().as_uri(), [], []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"))
        view = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme="dark")
        view.on("request", lambda request: fetched.append(request.url))
        view.on("console", lambda message: complaints.append(message.text))
        view.on("pageerror", lambda error: complaints.append(str(error)))
        view.goto(address)
        plot = "document.querySelector('figure > div')"
        view.wait_for_function(f"{plot}.data")
        assert view.evaluate(f"{plot}._fullLayout.font.color") == page.TEXT["dark"]
        assert view.evaluate("document.documentElement.scrollWidth") == 390
        blue = f"{plot}.data.find(line => line.name).line.color"
        assert view.evaluate(blue) == "#3b8ad0"
        view.emulate_media(color_scheme="light")
        view.wait_for_function(f"{blue} == '#0072B2'")
        view.evaluate(f"Plotly.animate({plot}, ...{plot}.layout.sliders[0].steps[3].args)")
        assert view.evaluate(f"{plot}.querySelectorAll('.contourlayer path').length") > 20
        assert view.evaluate(f"{plot}.data.filter(line => line.name).map(line => line.x.length)") == [4] * len(
            surfaces.OPTIMIZERS
        )
        browser.close()
    assert (fetched, complaints) == ([address], [])


@pytest.mark.long
@with_chromium
def test_a_png_keeps_the_colours_of_thin_lines():
    assert main(["gradient_descent", "--output", "shown.png", "--width", "500"]) == 0
    with Image.open("shown.png") as picture:
        assert picture.width == 500
        colors = [color for _, color in picture.convert("RGB").getcolors()]
    for wanted in figures.COLORS[:5]:
        red, green, blue = bytes.fromhex(wanted[1:])
        assert min(abs(r - red) + abs(g - green) + abs(b - blue) for r, g, b in colors) < 12, wanted
