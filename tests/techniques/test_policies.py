"""What RandAugment and its relatives draw for each image: torchvision's tables, evenly, and what becomes of it."""

import math
from collections import Counter

import pytest
import torch
from test_augmentation import apply, random_images
from test_image_operations import one
from torchvision.transforms import InterpolationMode, v2

from trainer.techniques import augmentation
from trainer.techniques.images import policies
from trainer.techniques.images.image_operations import NAMES

THEIRS = {name: name.title().replace("_", "") for name in NAMES} | {"autocontrast": "AutoContrast"}
SPACES = {
    "AUTO": v2.AutoAugment._AUGMENTATION_SPACE,
    "RAND": v2.RandAugment._AUGMENTATION_SPACE,
    "TRIVIAL": v2.TrivialAugmentWide._AUGMENTATION_SPACE,
    "MIX": v2.AugMix._AUGMENTATION_SPACE,
    "MIX_WITHOUT_BLENDS": v2.AugMix._PARTIAL_AUGMENTATION_SPACE,
}


@pytest.mark.parametrize("name", SPACES)
def test_operations_and_strengths_are_torchvisions(name):
    space, height, width = getattr(policies, name), 20, 28
    drawn = [THEIRS[each] for each in space.operations if not (name == "AUTO" and each == "identity")]
    assert sorted(drawn) == sorted(SPACES[name])
    table = policies.magnitudes(space, height, width, torch.device("cpu"))
    for index, operation in enumerate(NAMES):
        if THEIRS[operation] in SPACES[name]:
            strengths, signed = SPACES[name][THEIRS[operation]]
            strengths = strengths(space.bins, height, width)
            expected = torch.zeros(space.bins) if strengths is None else strengths.float()
            assert torch.equal(table[index], expected), operation
            assert signed == (policies.FIRST_SIGNED <= index <= policies.LAST_SIGNED)


@pytest.mark.parametrize("name", policies.POLICIES)
def test_the_policies_are_torchvisions(name):
    ours = policies._policy(name, torch.device("cpu"))
    theirs = v2.AutoAugment(v2.AutoAugmentPolicy(name))._policies
    read = [
        tuple((THEIRS[NAMES[index]], probability, step) for index, probability, step in zip(*line, strict=True))
        for line in zip(*(part.tolist() for part in ours), strict=True)
    ]
    flat = [value or 0 for line in theirs for part in line for value in part]
    assert [value for line in read for part in line for value in part] == pytest.approx(flat)


def recorded(monkeypatch, name, images, **options):
    """Return the result, and [(operation, strength, interpolation)] of each step for each image."""
    steps, operate = [], policies.operate

    def listen(given, operation, magnitude, mode):
        steps.append(
            [(NAMES[index], value, mode) for index, value in zip(operation.tolist(), magnitude.tolist(), strict=True)]
        )
        return operate(given, operation, magnitude, mode)

    monkeypatch.setattr(policies, "operate", listen)
    result, _ = apply(name, images, classes=1, **options)
    return result, list(zip(*steps, strict=True))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("rand_augment", {"num_ops": 3, "magnitude": 20}),
        ("trivial_augment", {}),
        *(("auto_augment", {"policy": policy}) for policy in policies.POLICIES),
    ],
    ids=str,
)
def test_each_image_becomes_what_torchvision_makes_of_its_draw(monkeypatch, name, options, channels):
    """A byte that is one level off may be far off after the next operation: in few images at most."""
    images = random_images(48, (channels, 12, 12))
    results, draws = recorded(monkeypatch, name, images, **options)
    equal = 0
    for image, result, steps in zip(images, results, draws, strict=True):
        expected = image
        for operation, strength, mode in steps:
            expected = one(operation, expected, strength, InterpolationMode(mode))
        equal += torch.equal(result, expected)
    assert equal >= 46


COUNT = 6000


def assert_share(times, share, count=COUNT):
    assert abs(times - share * count) < 4.5 * math.sqrt(count * share * (1 - share)) + 1e-9


def test_rand_augment_draws_its_operations_and_signs_evenly(monkeypatch):
    _, draws = recorded(monkeypatch, "rand_augment", torch.zeros(COUNT, 1, 4, 4), num_ops=2, magnitude=10)
    first, second = (Counter(step[place][0] for step in draws) for place in (0, 1))
    for name in policies.RAND.operations:
        assert_share(first[name], 1 / 14)
        assert_share(second[name], 1 / 14)
    assert_share(sum(step[0][0] == step[1][0] for step in draws), 1 / 14)  # the two steps draw apart
    assert {strength for step in draws for name, strength, _ in step if name == "rotate"} == {-10.0, 10.0}
    signed = policies.NAMES[policies.FIRST_SIGNED : policies.LAST_SIGNED + 1]
    signs = Counter(strength > 0 for step in draws for name, strength, _ in step if name in signed)
    assert_share(signs[True], 1 / 2, sum(signs.values()))


def test_trivial_augment_draws_its_strength_evenly(monkeypatch):
    _, draws = recorded(monkeypatch, "trivial_augment", torch.zeros(COUNT, 1, 4, 4))
    angles = Counter(abs(step[0][1]) for step in draws if step[0][0] == "rotate")
    assert len(angles) == 31 and max(angles) == 135
    for times in angles.values():
        assert_share(times, 1 / 31, sum(angles.values()))


def test_auto_augment_draws_a_line_and_each_operation_with_its_probability(monkeypatch):
    _, draws = recorded(monkeypatch, "auto_augment", torch.zeros(COUNT, 1, 4, 4), policy="svhn")
    lines = policies._policy("svhn", torch.device("cpu"))
    expected = Counter()
    for (first, second), (one_, other), _ in zip(*(part.tolist() for part in lines), strict=True):
        for left, share in ((first, one_), (0, 1 - one_)):
            for right, portion in ((second, other), (0, 1 - other)):
                expected[NAMES[left], NAMES[right]] += share * portion / len(lines[0])
    drawn = Counter((step[0][0], step[1][0]) for step in draws)
    assert drawn.keys() <= {pair for pair, share in expected.items() if share > 0}
    for pair, share in expected.items():
        assert_share(drawn[pair], share)


@pytest.mark.parametrize(
    "options", [{}, {"severity": 10, "mixture_width": 2, "chain_depth": 4, "all_ops": False}], ids=str
)
def test_aug_mix_blends_the_image_with_its_chains(monkeypatch, options):
    """Its shares are set by hand: 0.4 of the image, and of the rest each chain its part."""
    images, width, depth = (
        random_images(24, (3, 12, 12)),
        options.get("mixture_width", 3),
        options.get("chain_depth", 3),
    )
    parts = torch.arange(1.0, width + 1) / sum(range(1, width + 1))
    monkeypatch.setattr(augmentation, "_beta", lambda images, draw, alpha: torch.full((len(images),), 0.6))
    monkeypatch.setattr(
        augmentation, "_log_gammas", lambda images, draw, alpha, count: parts.log()[:, None].expand(-1, len(images))
    )
    results, draws = recorded(monkeypatch, "aug_mix", images, **options)
    off = 0
    for image, result, steps in zip(images, results, draws, strict=True):
        assert {mode for _, _, mode in steps} == {"bilinear"} and len(steps) == width * depth
        expected = 0.4 * image / 255
        for number, part in enumerate(parts.tolist()):
            chain = image
            for operation, strength, mode in steps[number * depth : (number + 1) * depth]:
                chain = one(operation, chain, strength, InterpolationMode(mode))
            expected = expected + 0.6 * part * chain / 255
        off += not torch.allclose(result, expected, rtol=0, atol=1e-5)
    assert off <= 1
    used = {operation for steps in draws for operation, _, _ in steps}
    assert bool(used & set(policies.BLENDS)) == options.get("all_ops", True)
    assert ("identity" in used) == ("chain_depth" not in options)  # after a chain of one or two


def test_aug_mix_draws_the_length_of_each_chain_and_weak_strengths(monkeypatch):
    _, draws = recorded(monkeypatch, "aug_mix", torch.zeros(2000, 1, 4, 4), mixture_width=1, severity=3)
    lengths = Counter(sum(operation != "identity" for operation, _, _ in steps) for steps in draws)
    assert lengths.keys() == {1, 2, 3}
    for times in lengths.values():
        assert_share(times, 1 / 3, 2000)
    angles = {abs(strength) for steps in draws for operation, strength, _ in steps if operation == "rotate"}
    assert sorted(angles) == pytest.approx([0.0, 30 / 9, 60 / 9])


def test_the_shares_of_the_chains_are_dirichlet_distributed():
    """Dirichlet(α, α, α): sum 1, mean ⅓, variance ⅓ · ⅔ / (3α + 1); four standard errors of the mean."""
    count, alpha = 20_000, 0.7
    draw = torch.Generator().manual_seed(1)
    shares = augmentation._log_gammas(torch.zeros(count, 1), draw, alpha, 3).softmax(0).double()
    variance = (1 / 3) * (2 / 3) / (3 * alpha + 1)
    assert (shares.mean(1) - 1 / 3).abs().max() < 4 * math.sqrt(variance / count)
    assert (shares.var(1) - variance).abs().max() < 0.03 * variance
