"""Networks of the literature against the parameter counts of their papers and against independent code."""

import importlib.metadata

import pytest
import torch
from conftest import ROOT, compose, narrow, smallest
from networks import composed, network, trainer
from torch import nn
from torch.nn import functional as F
from torchvision.models import vgg11_bn, vgg13_bn
from torchvision.models.vgg import cfgs, make_layers

from trainer.config import own_record
from trainer.config.own_record import libraries, technique_hash
from trainer.config.schema import techniques
from trainer.errors import ConfigError
from trainer.techniques.networks.resnets import PaddedShortcut
from trainer.training.network import network_to_load

# Trained on CIFAR-10 with batch normalization; the papers' words are 0.27M, 0.46M, 0.85M, 2.7M and 36.5M.
COUNTS = {
    "resnet20": 269_722,
    "resnet32": 464_154,
    "resnet56": 853_018,
    "resnet20 model.shortcut=projection": 269_722 + (16 * 32 + 2 * 32) + (32 * 64 + 2 * 64),
    "wide_resnet": 2_748_890,
    "wide_resnet model.depth=28 model.widen_factor=10": 36_479_194,
}


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


def copied(target, source):
    """The target with the values of the source, entry by entry in their order."""
    pairs = zip(target.state_dict().items(), source.state_dict().items(), strict=True)
    target.load_state_dict({name: value.view_as(into) for (name, into), (_, value) in pairs})
    return target


def stirred(model):
    """The model with scales, shifts and running statistics that leave a trace."""
    draw = torch.Generator().manual_seed(3)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d | nn.LayerNorm):
            for value in (layer.weight, layer.bias, *layer.buffers()):
                if value.is_floating_point():
                    value.data.copy_(0.5 + torch.rand(value.shape, generator=draw))
    return model


def unbuilt(*arguments):
    """The network for CIFAR-10 on torch's "meta" device, in no time."""
    return network_to_load(composed(*arguments), (3, 32, 32), tuple("0123456789"))


def pictures(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("arguments", "expected"), COUNTS.items(), ids=COUNTS)
def test_the_parameters_are_those_of_the_paper(arguments, expected):
    assert count(unbuilt(*f"model={arguments}".split(), "normalization=batch")) == expected


def test_resnet20_is_the_plain_one(monkeypatch):
    """That of `scripts/plain_resnet20.py`, with the same values."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    from plain_resnet20 import resnet20

    plain = stirred(resnet20())
    model = network("model=resnet20", "normalization=batch")
    images = pictures(4, 3, 32, 32)
    copied(model[1], plain)
    for mode in (True, False):
        torch.testing.assert_close(model[1].train(mode)(images), plain.train(mode)(images), rtol=1e-4, atol=1e-5)


def test_resnet20_is_trained_as_plain_torch_does_it(monkeypatch):
    """Six steps of SGD with Nesterov's momentum on the same batches, the last of each epoch a smaller one."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    from plain_resnet20 import resnet20

    chosen = ("model=resnet20", "normalization=batch", "optimizer=nesterov", "lr=0.02")
    run = trainer(*chosen, "weight_decay=5e-4", "weight_decay_scope=all", "batch_size=16", "epochs=2")
    plain = copied(resnet20(4), run.model[1])
    optimizer = torch.optim.SGD(plain.parameters(), 0.02, momentum=0.9, weight_decay=5e-4, nesterov=True)
    for epoch in range(2):
        for positions in run.train.positions(0, epoch):
            images, labels = run.train.at(positions)
            optimizer.zero_grad()
            F.cross_entropy(plain(run.model[0](images)), labels).backward()
            optimizer.step()
    before = run.model[1][-1].weight.clone()
    list(run.train_loop())
    ours, theirs = run.model[1].eval(), plain.eval()
    torch.testing.assert_close(ours[-1].weight, theirs[-1].weight, rtol=1e-3, atol=1e-4)
    assert (ours[-1].weight - before).abs().max() > 0.01
    images = run.model[0](run.train.at(torch.arange(40))[0])
    torch.testing.assert_close(ours(images), theirs(images), rtol=1e-2, atol=1e-2)


def test_a_padded_shortcut_fits_maxout():
    """Pieces of a unit lie side by side: the largest of F₁ + x and F₂ + x is the largest of F₁ and F₂, plus x."""
    x, features = pictures(2, 3, 4, 6), torch.randn(2, 10, 2, 3, generator=torch.Generator().manual_seed(1))
    sums = features + PaddedShortcut(5, 2, 2)(x)
    expected = features.view(2, 5, 2, 2, 3).amax(2)
    expected[:, :3] += x[:, :, ::2, ::2]
    torch.testing.assert_close(sums.view(2, 5, 2, 2, 3).amax(2), expected)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_wide_resnet_is_its_forward_pass_written_out(dropout):
    """Normalization and activation before each convolution; a shortcut of another shape starts behind them."""
    model = network("model=wide_resnet", "model.depth=10", "model.width=2", "normalization=batch", f"dropout={dropout}")
    stirred(model).train()
    tensors = iter(list(model[1].parameters()))
    images = pictures(4, 3, 16, 16)

    def active(x):
        gamma, beta = next(tensors), next(tensors)
        return F.relu(F.batch_norm(x, None, None, gamma, beta, training=True))

    x = F.conv2d(images, next(tensors), padding=1)
    torch.manual_seed(5)
    for stride in (1, 2, 2):
        a = active(x)
        shortcut = F.conv2d(a, next(tensors), stride=stride)
        y = F.dropout(active(F.conv2d(a, next(tensors), stride=stride, padding=1)), dropout)
        x = F.conv2d(y, next(tensors), padding=1) + shortcut
    expected = F.linear(active(x).mean((2, 3)), next(tensors), next(tensors))
    torch.manual_seed(5)
    torch.testing.assert_close(model[1](images), expected, rtol=1e-4, atol=1e-5)
    assert next(tensors, None) is None


@pytest.mark.parametrize(("depth", "column", "whole"), [(11, "A", vgg11_bn), (13, "B", vgg13_bn)])
def test_vgg_is_torchvisions(depth, column, whole):
    """With a sixteenth of the channels; and with all of them, the number of parameters."""
    features = stirred(make_layers([each if each == "M" else each // 16 for each in cfgs[column]], batch_norm=True))
    model = network("model=vgg", f"model.depth={depth}", "model.width=4", "normalization=batch")[1]
    copied(model[:-3], features)
    images = pictures(2, 3, 32, 32)
    for mode in (True, False):
        torch.testing.assert_close(model[:-3].train(mode)(images), features.train(mode)(images), rtol=1e-4, atol=1e-5)
    assert [type(layer) for layer in model[-3:]] == [nn.AdaptiveAvgPool2d, nn.Flatten, nn.Linear]
    with torch.device("meta"):
        ours = unbuilt("model=vgg", f"model.depth={depth}", "normalization=batch")
        assert count(ours) == count(whole().features) + 512 * 10 + 10


def test_convmixer_is_timms():
    timm = pytest.importorskip("timm")
    options = {"dim": 8, "depth": 3, "kernel_size": 5, "patch_size": 2}
    theirs = stirred(timm.models.ConvMixer(num_classes=7, **options))
    chosen = ("model.width=8", "model.depth=3", "activation=gelu", "normalization=batch")
    model = copied(network("model=convmixer", *chosen, classes=7)[1], theirs)
    images = pictures(3, 3, 16, 20)
    for mode in (True, False):
        torch.testing.assert_close(model.train(mode)(images), theirs.train(mode)(images), rtol=1e-4, atol=1e-5)
    assert count(unbuilt("model=convmixer", "normalization=batch")) == 594_186


def test_vit_is_timms():
    timm = pytest.importorskip("timm")
    options = {"img_size": (16, 24), "patch_size": 4, "num_classes": 7, "embed_dim": 12, "depth": 2, "num_heads": 3}
    theirs = stirred(timm.models.VisionTransformer(**options, norm_layer=nn.LayerNorm)).train()
    draw = torch.Generator().manual_seed(2)
    for value in (theirs.cls_token, *(block.attn.qkv.weight for block in theirs.blocks)):
        nn.init.normal_(value, generator=draw)  # else every token attends to all alike
    chosen = ("model.width=12", "model.depth=2", "activation=gelu", "normalization=layer")
    model = network("model=vit", *chosen, shape=(3, 16, 24), classes=7)[1]
    # The order of the parts is another one; their names tell which is which.
    names = {"class_token": "cls_token", "positions": "pos_embed", "patches": "patch_embed.proj", "head": "head"}
    names |= {"normalization.0": "norm"}
    for block in range(2):
        parts = {"0.0.0": "norm1", "0.1.queries_keys_values": "attn.qkv", "0.1.output": "attn.proj"}
        parts |= {"1.0.0": "norm2", "1.0.1": "mlp.fc1", "1.0.3": "mlp.fc2"}
        names |= {f"blocks.{block}.{ours}": f"blocks.{block}.{name}" for ours, name in parts.items()}
    values = theirs.state_dict()
    for ours, name in names.items():
        for kind in ("", ".weight", ".bias"):
            if name + kind in values:
                model.get_parameter(ours + kind).data.copy_(values.pop(name + kind))
    assert not values and count(model) == count(theirs)
    images = pictures(3, 3, 16, 24)
    torch.testing.assert_close(model(images), theirs(images), rtol=1e-4, atol=1e-5)
    with torch.device("meta"):
        tiny = timm.models.VisionTransformer(img_size=32, patch_size=4, num_classes=10, embed_dim=192, num_heads=3)
    assert count(unbuilt("model=vit", "model.depth=12", "normalization=layer")) == count(tiny)


def test_the_note_000_cnn_is_the_notes_class():
    """CNNWithBatchNorm, whose linear layer takes 64 features: it fits images of 3×3."""

    class CNNWithBatchNorm(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 64, 3)
            self.bn1 = nn.BatchNorm2d(64)
            self.fc1 = nn.Linear(64, 10)
            self.bn_fc = nn.BatchNorm1d(10)

        def forward(self, x):
            x = F.relu(self.bn1(self.conv1(x)))
            x = x.flatten(1)
            x = self.bn_fc(self.fc1(x))
            return x

    theirs = stirred(CNNWithBatchNorm())
    model = copied(network("model=note_000_cnn", "normalization=batch", shape=(3, 3, 3))[1], theirs)
    images = pictures(5, 3, 3, 3)
    for mode in (True, False):
        torch.testing.assert_close(model.train(mode)(images), theirs.train(mode)(images))
    whole = unbuilt("model=note_000_cnn", "normalization=batch")
    assert count(whole) == (27 * 64 + 64) + 128 + (64 * 30 * 30 * 10 + 10) + 20


def layer_shapes(*arguments, shape=(3, 32, 32)):
    layers = network(*arguments, shape=shape).modules()
    return [tuple(each.weight.shape) for each in layers if isinstance(each, nn.Conv2d | nn.Linear)]


def test_the_lectures_cnn_in_other_depths():
    """Three convolutions of 3×3 leave 32 → 15 → 6 → 2 pixels, two hidden layers follow; or none does."""
    deep = ("model.channels=[4,6,8]", "model.kernel_size=3", "model.hidden=[20,12]")
    shapes = [(4, 3, 3, 3), (6, 4, 3, 3), (8, 6, 3, 3), (20, 8 * 2 * 2), (12, 20), (10, 12)]
    assert layer_shapes("model=lecture_cnn", *deep) == shapes
    assert layer_shapes("model=lecture_cnn", "model.hidden=[]") == [(6, 3, 5, 5), (16, 6, 5, 5), (10, 400)]
    assert layer_shapes("model=ensemble", "model.members=2", *deep) == shapes * 2
    assert layer_shapes("model=hard_sharing", *deep) == [*shapes, (2, 12)]
    assert layer_shapes("model=soft_sharing", *deep) == [*shapes[:-1] * 2, shapes[-1], (2, 12)]
    names = network("model=lecture_cnn", "normalization=batch", "dropout=0.5").state_dict().keys()
    assert {"1.0.0.weight", "1.0.2.running_mean", "1.0.4.weight", "1.0.10.weight", "1.1.weight"} <= names  # as ever


SLOTS = [
    ("relu", "none"),
    ("maxout", "batch"),
    ("relu", "layer"),
    ("maxout", "group"),
    ("prelu", "instance"),
    ("maxout", "rms"),
    ("relu", "weight"),
]
FILLED = ("resnet20", "wide_resnet", "vgg", "convmixer", "vit", "note_000_cnn", "lecture_cnn", "timm")


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "activation", "normalization"),
    [(name, *each) for name in FILLED for each in SLOTS if (name, each[1]) != ("vit", "instance")],
)
def test_every_slot_is_filled_or_told(name, activation, normalization):
    """Gradients reach every parameter, and each slot that is chosen has its layers in the network."""
    small = [f"model.{option}={value}" for option, value in narrow(name).items()]
    side = smallest(name)
    chosen = (f"activation={activation}", f"normalization={normalization}", "dropout=0.5")
    model = network(f"model={name}", *small, *chosen, shape=(3, side, side)).train()
    model(pictures(4, 3, side, side)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    if name == "timm":
        return
    kinds = {type(layer).__name__ for layer in model.modules()}
    assert {"relu": "ReLU", "maxout": "Maxout", "prelu": "PReLU"}[activation] in kinds and "Dropout" in kinds
    found = {each.lower().partition("norm")[0] for each in kinds if "Norm" in each or each == "WeightMarker"}
    assert found == {"none": set(), "weight": {"weightmarker", "weight"}}.get(normalization, {normalization})


@pytest.mark.parametrize("name", ["resnet20", "wide_resnet", "convmixer", "note_000_cnn", "vgg"])
@pytest.mark.parametrize("shape", [(1, 32, 34), (2, 44, 36)])
def test_any_channel_count_size_and_number_of_classes(name, shape):
    small = [f"model.{option}={value}" for option, value in narrow(name).items()]
    model = network(f"model={name}", *small, "normalization=batch", "activation=maxout", shape=shape, classes=7)
    assert model(torch.randint(0, 256, (3, *shape), dtype=torch.uint8)).shape == (3, 7)


REFUSED = {
    "model=vgg dataset=digits dataset.image_size=31": "model=vgg needs dataset.image_size of at least 32",
    "model=lecture_cnn model.kernel_size=9 dataset=digits dataset.image_size=24": "needs dataset.image_size of at"
    " least 28",
    "model=ensemble model.channels=[4,4,4] dataset=digits": "needs dataset.image_size of at least 36",
    "model=lecture_cnn model.channels=[]": r"model.channels=\[\] lists no convolution: at least one, or model=mlp",
    "model=vit dataset=digits dataset.image_size=18": "model.patch_size=4 must divide the images of model=vit, which"
    " have 18×18 pixels",
    "model=convmixer dataset=digits dataset.image_size=15": "model.patch_size=2 must divide the images",
    "model=vit model.heads=5": "model.heads=5 must divide model.width=192",
    "model=wide_resnet model.depth=20": r"model.depth=20: wide_resnet has 6n \+ 4 layers, such as 10, 16, 22",
    "model=wide_resnet model.depth=4": r"model.depth=4: wide_resnet has 6n \+ 4 layers",
    "model=vgg model.depth=16": "one of 11, 13",
}


@pytest.mark.parametrize(("arguments", "sentence"), REFUSED.items(), ids=REFUSED)
def test_what_a_network_cannot_be_is_refused_before_the_data_are_read(arguments, sentence):
    with pytest.raises(ConfigError, match=sentence):
        compose(arguments.split())


@pytest.mark.parametrize(
    ("name", "shape", "sentence"),
    [
        ("vgg", (3, 28, 28), "model=vgg needs images of at least 32×32 pixels, these have 28×28"),
        ("note_000_cnn", (3, 2, 9), "model=note_000_cnn needs images of at least 3×3 pixels, these have 2×9"),
        ("vit", (3, 32, 30), "model.patch_size=4 must divide the images of model=vit, which have 32×30 pixels"),
    ],
)
def test_images_of_a_size_known_later_are_refused_too(name, shape, sentence):
    with pytest.raises(ConfigError, match=sentence):
        network(f"model={name}", shape=shape)


def test_timm_is_asked_for_its_network():
    timm = pytest.importorskip("timm")
    for architecture, shape in (("test_resnet", (1, 20, 28)), ("test_vit", (3, 32, 32))):
        model = network("model=timm", f"model.architecture={architecture}", "dropout=0.25", shape=shape, classes=7)[1]
        assert type(model).__module__.startswith("timm.models")
        assert 0.25 in [getattr(each, "p", None) or getattr(each, "drop_rate", None) for each in model.modules()]
        assert model(pictures(2, *shape)).shape == (2, 7)
        assert count(model) == count(
            timm.create_model(
                architecture, in_chans=shape[0], num_classes=7, **({"img_size": 32} if "vit" in architecture else {})
            )
        )


def test_images_that_leave_timms_network_without_weights_are_too_small():
    pytest.importorskip("timm")
    expected = r"mixer_s32_224: images of 3×8×8 are too small, they leave no number in its weight blocks\.0\.\S+$"
    with pytest.raises(ConfigError, match=expected):
        network("model=timm", "model.architecture=mixer_s32_224", shape=(3, 8, 8))


def test_a_name_that_timm_does_not_know_gets_its_neighbours():
    pytest.importorskip("timm")
    version = importlib.metadata.version("timm")
    expected = rf"model.architecture=resnet19 is no network of timm {version}: did you mean resnet\d+ or \w+ or \w+\?$"
    with pytest.raises(ConfigError, match=expected):
        network("model=timm", "model.architecture=resnet19")
    with pytest.raises(ConfigError, match=r"model.architecture=hf-hub:x/y is no network of timm"):
        network("model=timm", "model.architecture=hf-hub:x/y")


def test_what_timm_cannot_build_or_compute_is_one_line():
    pytest.importorskip("timm")
    expected = "model.architecture=nest_tiny: timm cannot build it for images of 3×20×28: Model only handles square"
    with pytest.raises(ConfigError, match=expected):
        network("model=timm", "model.architecture=nest_tiny", shape=(3, 20, 28))
    expected = r"timm: model=timm: AssertionError: Input height \(20\) should be divisible by patch size \(16\)\.$"
    with pytest.raises(ConfigError, match=expected):
        trainer("model=timm", "model.architecture=test_vit", shape=(3, 20, 28))


def test_the_version_of_timm_is_part_of_a_runs_identity(monkeypatch):
    pytest.importorskip("timm")
    assert libraries(composed("model=timm")) == {"timm": importlib.metadata.version("timm")}
    assert libraries(composed("model=resnet20")) == {}
    before = {name: technique_hash("model", name) for name in techniques("model")}
    known = own_record._version
    monkeypatch.setattr(own_record, "_version", lambda name: "99.0" if name in ("timm", "torch") else known(name))
    own_record._reached.cache_clear()
    changed = {name for name in techniques("model") if technique_hash("model", name) != before[name]}
    own_record._reached.cache_clear()
    assert changed == {"timm"}


def test_without_timm_the_line_has_the_command(monkeypatch):
    from trainer.runtime import extras

    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"^model=timm needs timm: pip install 'ablation-trainer\[timm\]'"):
        compose(["model=timm"])
