"""Cutout, random erasing, mixup and cutmix by hand: areas, label weights, and the distribution of the proportion."""

import math

import pytest
import torch
from test_augmentation import HEIGHT, WIDTH, apply, hand_set, random_images

from trainer.techniques import augmentation


def black(images):
    """[N, H, W]: where white images were made black."""
    return (images == 0).all(1)


@pytest.mark.parametrize(
    ("size", "centre", "rows", "columns"),
    [
        (8, (6, 10), range(2, 10), range(6, 14)),  # 64 pixels
        (8, (0, 0), range(4), range(4)),  # a quarter of the square is inside
        (8, (11, 19), range(7, 12), range(15, 20)),
        (3, (1, 1), range(3), range(3)),
        (1, (5, 7), range(5, 6), range(7, 8)),
        (50, (6, 10), range(12), range(20)),
    ],
    ids=str,
)
def test_cutout_by_hand(monkeypatch, size, centre, rows, columns):
    hand_set(monkeypatch, (centre[0] + 0.5) / HEIGHT, (centre[1] + 0.5) / WIDTH)
    cut, _ = apply("cutout", torch.full((1, 3, HEIGHT, WIDTH), 200, dtype=torch.uint8), size=size)
    expected = torch.full((3, HEIGHT, WIDTH), 200)
    expected[:, rows.start : rows.stop, columns.start : columns.stop] = 0
    assert cut[0].tolist() == expected.tolist()


def test_the_area_of_cutout_over_all_centres():
    """Every centre is equally likely, so the mean area is known; each area is a rectangle; four standard errors."""
    cut, _ = apply("cutout", torch.ones(5000, 3, HEIGHT, WIDTH), classes=1)
    holes = black(cut)
    heights, widths = holes.any(2).sum(1), holes.any(1).sum(1)
    assert torch.equal(holes.sum((1, 2)), heights * widths)

    def inside(length):
        lengths = torch.tensor([min(length, centre + 4) - max(0, centre - 4) for centre in range(length)]).double()
        return lengths.mean(), lengths.square().mean()

    (rows, rows_squared), (columns, columns_squared) = inside(HEIGHT), inside(WIDTH)
    error = (rows_squared * columns_squared - (rows * columns) ** 2).sqrt() / math.sqrt(5000)
    assert abs(holes.sum((1, 2)).double().mean() - rows * columns) < 4 * error
    assert holes.sum((1, 2)).max() == 64
    assert holes.any(0).all()


def drawn_rectangle(height, width, shares, shapes, places, areas, ratios):
    """Return (top, left, rows, columns) as torchvision's RandomErasing computes it from its draws; None without one."""
    for share, shape in zip(shares, shapes, strict=True):
        area = height * width * (areas[0] + (areas[1] - areas[0]) * share)
        ratio = math.exp(math.log(ratios[0]) + (math.log(ratios[1]) - math.log(ratios[0])) * shape)
        rows, columns = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if rows < height and columns < width:
            return int(places[0] * (height - rows + 1)), int(places[1] * (width - columns + 1)), rows, columns
    return None


@pytest.mark.parametrize(
    ("areas", "ratios"), [((0.02, 0.33), (0.3, 3.3)), ((0.3, 0.9), (0.2, 8.0)), ((1.0, 1.0), (1.0, 1.0))], ids=str
)
def test_random_erasing_by_its_draws(areas, ratios):
    """Also where most rectangles do not fit and are drawn again, and where none fits in ten tries."""
    count, options = 200, {"min_area": areas[0], "max_area": areas[1], "min_ratio": ratios[0], "max_ratio": ratios[1]}
    images = torch.full((count, 3, HEIGHT, WIDTH), 200, dtype=torch.uint8)
    erased, _ = apply("random_erasing", images, classes=1, probability=1.0, **options)
    draw = torch.Generator().manual_seed(0)
    shares, shapes = torch.rand((2, 10, count), generator=draw).double()
    places = torch.rand((2, count, 1), generator=draw).double().squeeze(2)
    for index, hole in enumerate(black(erased)):
        draws = (shares[:, index].tolist(), shapes[:, index].tolist(), places[:, index].tolist())
        found, expected = (
            drawn_rectangle(HEIGHT, WIDTH, *draws, areas, ratios),
            torch.zeros(HEIGHT, WIDTH, dtype=torch.bool),
        )
        if found:
            top, left, rows, columns = found
            expected[top : top + rows, left : left + columns] = True
        assert torch.equal(hole, expected), index
    assert black(erased).any() == (areas[0] < 1)


@pytest.mark.parametrize("kind", ["bytes", "floats"])
def test_random_erasing_with_random_values(kind):
    """Each pixel and channel its own of all 256 levels, in the share of images that the probability says."""
    images = (
        torch.full((2000, 3, HEIGHT, WIDTH), 0.5) if kind == "floats" else torch.full((2000, 3, HEIGHT, WIDTH), 128)
    )
    images = images if kind == "floats" else images.to(torch.uint8)
    erased, _ = apply("random_erasing", images, classes=1, probability=0.25, fill="random")
    changed = erased != images
    assert erased.dtype == images.dtype
    assert abs(changed.flatten(1).any(1).float().mean().item() - 0.25) < 4 * math.sqrt(0.25 * 0.75 / 2000)
    values = (erased[changed] * 255).round() if kind == "floats" else erased[changed].float()
    assert len(values.unique()) >= 255 and abs(values.mean().item() - 127.5) < 4 * 74 / math.sqrt(len(values))
    assert ((changed[:, 0] != changed[:, 1]).sum() / changed.sum()).item() < 0.01  # a rectangle in all channels


def test_mixup_blends_image_and_label_in_the_same_proportion():
    """With a class of its own for each image, the label lists what it is made of: two images, mixed again four."""
    images, labels = random_images(), torch.arange(32)
    mixed = images
    for seed, most in enumerate((2, 4)):
        mixed, labels = apply("mixup", mixed, labels, seed=seed, classes=32, alpha=1.0)
        torch.testing.assert_close(mixed, torch.einsum("nk,kchw->nchw", labels, images / 255), rtol=0, atol=1e-6)
        assert (labels > 0).sum(1).max() == most


def test_mixup_by_hand(monkeypatch):
    """λ = ¾ and ¼: each image keeps its share, and is the other of exactly one."""
    monkeypatch.setattr(augmentation, "_beta", lambda images, draw, alpha: torch.tensor([0.75, 0.25]))
    monkeypatch.setattr(torch, "randperm", lambda count, **_: torch.tensor([1, 0]))
    images = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1)
    mixed, labels = apply("mixup", images, torch.tensor([2, 0]), classes=3)
    assert mixed.flatten().tolist() == [0.25, 0.25]
    assert labels.tolist() == [[0.25, 0.0, 0.75], [0.25, 0.0, 0.75]]


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_every_image_is_the_other_of_exactly_one(name):
    """What each label lacks of its own class is one other class's, and these are a permutation."""
    for seed in range(5):
        _, labels = apply(name, random_images(), seed=seed, alpha=5.0)
        others = (labels - labels.diagonal().diag() > 0).float()
        assert others.sum(0).max() <= 1 and others.sum(1).max() <= 1
        assert others.sum() >= 26


@pytest.mark.parametrize("alpha", [0.01, 0.2, 1.0, 3.0])
def test_the_proportion_of_mixup_is_beta_distributed(monkeypatch, alpha):
    """Beta(α, α): mean ½, variance 1/(4(2α + 1)), excess kurtosis −6/(2α + 3); four standard errors."""
    monkeypatch.setattr(torch, "randperm", lambda count, **_: torch.arange(count).roll(1))
    images = torch.zeros(200, 1, 1, 1)
    shares = torch.cat([apply("mixup", images, seed=seed, alpha=alpha)[1].diagonal() for seed in range(50)]).double()
    count, variance = len(shares), 1 / (4 * (2 * alpha + 1))
    assert 0 <= shares.min() < shares.max() <= 1
    assert abs(shares.mean().item() - 0.5) < 4 * math.sqrt(variance / count)
    error = variance * math.sqrt((2 - 6 / (2 * alpha + 3)) / count)
    assert abs(shares.var().item() - variance) < 4 * error


def test_mixup_with_a_tiny_alpha_stays_finite():
    """Both Gamma draws may underflow; 0/0 would be no proportion."""
    mixed, labels = apply("mixup", random_images(), alpha=1e-3)
    assert mixed.isfinite().all() and labels.isfinite().all()
    torch.testing.assert_close(labels.sum(1), torch.ones(32))


@pytest.mark.parametrize(
    ("share", "centre", "rows", "columns"),
    [
        (0.75, (4, 8), range(2, 6), range(6, 10)),  # side √¼·8 = 4: 16 of 128 pixels
        (0.75, (0, 0), range(2), range(2)),  # cut at the border: 4 of 128
        (0.75, (7, 15), range(5, 8), range(13, 16)),
        (0.0, (4, 8), range(8), range(4, 12)),  # side 8, the smaller side of the image
        (1.0, (4, 8), range(0), range(0)),
    ],
    ids=str,
)
def test_cutmix_by_hand(monkeypatch, share, centre, rows, columns):
    """Labels mix by the area that was pasted in, not by λ."""
    monkeypatch.setattr(augmentation, "_beta", lambda images, draw, alpha: torch.full((2,), share))
    monkeypatch.setattr(torch, "randperm", lambda count, **_: torch.tensor([1, 0]))
    hand_set(monkeypatch, (centre[0] + 0.5) / 8, (centre[1] + 0.5) / 16)
    images = torch.tensor([10, 20], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 1, 8, 16)
    mixed, labels = apply("cutmix", images, torch.tensor([0, 2]), classes=3)
    expected = torch.full((8, 16), 10)
    expected[rows.start : rows.stop, columns.start : columns.stop] = 20
    assert mixed[0, 0].tolist() == expected.tolist()
    assert mixed[1, 0].tolist() == (30 - expected).tolist()
    pasted = len(rows) * len(columns) / 128
    assert labels.tolist() == [[1 - pasted, 0.0, pasted], [pasted, 0.0, 1 - pasted]]


def test_cutmix_weighs_labels_by_pixels():
    """Images of one colour each: the mean colour is the label's mean of colours."""
    colours = torch.linspace(0.1, 0.9, 32)
    mixed, labels = apply("cutmix", colours.view(-1, 1, 1, 1).expand(-1, 3, HEIGHT, WIDTH))
    torch.testing.assert_close(mixed.mean((1, 2, 3)), labels @ colours, rtol=0, atol=1e-5)
    assert (labels.diagonal() < 0.9).sum() > 10
