"""What differs between arms besides what is compared is said before anything is trained, with its figures."""

from pathlib import Path

import pytest
import torch
from conftest import interpret

from trainer.config.own import read, using
from trainer.config.schema import CONF, GROUPS
from trainer.data.images import Images
from trainer.errors import ConfigError
from trainer.study.execute import run_study
from trainer.study.fairness import Fairness, examine, refuse_ignored_settings
from trainer.study.gradients import gradients_per_step

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
LONGER = ", which may explain a difference between them"

# Of every experiment what is unfair in it, and what follows from the question it asks; the others: nothing.
UNFAIR = {
    "activations": f"activation=maxout has 109 690 parameters, activation=sigmoid 55 490 (+98%){LONGER}",
    "augmentation_lecture": (
        f"augmentation=lecture epochs=60 trains 1 320 steps, augmentation=none epochs=30 660{LONGER}"
    ),
    "normalization": f"normalization=layer has 58 898 parameters, normalization=none 55 490 (+6%){LONGER}",
}
CONSEQUENCES = {
    "batch_size": "batch_size=1 trains 1 350 000 steps, batch_size=45000 30",
    "depth_activation": (
        f"model.hidden=[{','.join(['64'] * 16)}] has 259 722 parameters, model.hidden=[64] 197 322 (+32%)"
    ),
    "ensembles": "model=ensemble model.members=5 has 277 450 parameters, model=ensemble model.members=1 55 490",
    "multi_task": "model=soft_sharing has 109 948 parameters, model=lecture_cnn 55 490 (+98%)",
    "training_size": "dataset.train_size=1200 trains 760 steps, dataset.train_size=100 80",
    "optimizers": "The optimizers are compared at one learning rate, 0.001: it suits some of them better",
}


def cifar(_config=None, count=50_000) -> Images:
    """As many images as CIFAR-10 trains on, all of them the same black one."""
    labels, pixels = torch.arange(count) * 10 // count, torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    return Images(pixels, labels, CLASSES, torch.zeros(count, dtype=torch.int64))


def examined(*arguments: str) -> Fairness:
    return examine(interpret(["-m", *arguments]), cifar)


@pytest.mark.long
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_what_each_experiment_compares_besides_its_question(experiment):
    found = examined(f"experiment={experiment}", "seed=0,1")
    assert found.unfair == ((UNFAIR[experiment],) if experiment in UNFAIR else ())
    assert found.consequences[:1] == ((CONSEQUENCES[experiment],) if experiment in CONSEQUENCES else ())


def test_the_lectures_augmentation_is_fair_at_equal_epochs():
    assert examined("experiment=augmentation_lecture", "epochs=30").unfair == ()


@pytest.mark.parametrize(
    ("arguments", "setting"),
    [
        ("model=timm activation=relu,tanh", "activation"),
        ("model=mlp,timm normalization=none,batch", "normalization"),
        ("model=mlp model.hidden=[] dropout=0,0.5", "dropout"),
    ],
)
def test_a_setting_that_a_network_has_no_place_for_is_not_varied(arguments, setting):
    """timm's networks keep their own activation and normalization; without a hidden layer there is none either."""
    pytest.importorskip("timm")
    with pytest.raises(ConfigError, match=f"^{setting} is varied, and model=.* has no place for it: its runs would be"):
        refuse_ignored_settings(interpret(["-m", *arguments.split()]), cifar)


@pytest.mark.parametrize("arguments", ["model=timm dropout=0,0.5", "activation=relu,tanh", "model=mlp,timm"])
def test_a_setting_that_has_its_place_may_vary(arguments):
    pytest.importorskip("timm")
    refuse_ignored_settings(interpret(["-m", *arguments.split()]), cifar)


ARMS = {
    "arms of different seeds": (
        "dropout=0.0 seed=0 | dropout=0.5 seed=1",
        "dropout=0.0 seed=0 and dropout=0.5 seed=1 have different seeds: give every arm the same ones, as seed=0,1,2",
    ),
    "arms of different splits": (
        "dropout=0.0 | dropout=0.5 split_seed=1",
        "dropout=0.0 and dropout=0.5 split_seed=1 are scored on different images: their split differs",
    ),
    "arms that stop by different rules": (
        "dropout=0.0 | dropout=0.5 early_stop_patience=3",
        "dropout=0.0 and dropout=0.5 early_stop_patience=3 stop early by different rules: early_stop_patience,"
        " early_stop_min_delta, validate_every",
    ),
    "arms of different training images": (
        "dropout=0.0 | dropout=0.5 dataset.label_noise=0.1",
        "dropout=0.0 and dropout=0.5 dataset.label_noise=0.1 are trained on other images or labels: dataset.train_size,"
        " dataset.imbalance, dataset.label_noise, dataset.label_noise_kind",
    ),
    "more steps by a smaller batch": (
        "dropout=0.0 batch_size=1000 | dropout=0.5 batch_size=500",
        f"dropout=0.5 batch_size=500 trains 2 700 steps, dropout=0.0 batch_size=1000 1 350{LONGER}",
    ),
    "as many steps of larger batches": (
        "dropout=0.0 batch_size=500 epochs=10 | dropout=0.5 batch_size=1000 epochs=20",
        "dropout=0.5 batch_size=1000 epochs=20 sees 900 000 images, dropout=0.0 batch_size=500 epochs=10 450 000,"
        " which may explain a difference between them",
    ),
    "the same batch size in all arms, and other lengths": (
        "dropout=0.0 batch_size=1000 epochs=10 | dropout=0.5 batch_size=1000 epochs=20",
        f"dropout=0.5 batch_size=1000 epochs=20 trains 900 steps, dropout=0.0 batch_size=1000 epochs=10 450{LONGER}",
    ),
    "one arm tuned": (
        "optimizer=sgd lr=0.1 | optimizer=sgd lr=0.01 | optimizer=adam lr=0.001",
        "optimizer=sgd is tried with 2 settings, optimizer=adam with 1: the best of more tries looks better by luck",
    ),
}


def test_what_a_study_varies_of_the_data_is_its_question():
    sizes = examined("dataset.train_size=1000,4000", "batch_size=100")
    assert sizes.unfair == () and sizes.consequences == (
        "dataset.train_size=4000 trains 1 200 steps, dataset.train_size=1000 300",
    )
    noise = examined("dataset.label_noise=0.0,0.2", "dataset.label_noise_kind=symmetric,pair")
    assert (noise.unfair, noise.consequences) == ((), ())
    classes = examined("dataset.classes=2,10", "dataset.train_size=1000")
    assert classes == Fairness(
        (), ("scores are compared within each of dataset.classes=2 and dataset.classes=10, and never between them",)
    )


@pytest.mark.parametrize("case", ARMS)
def test_arms_that_differ_in_what_was_not_asked(case, tmp_path):
    arms, sentence = ARMS[case]
    own = tmp_path / "own" / "experiment"
    own.mkdir(parents=True)
    listed = "".join(f"    - {arm}\n" for arm in arms.split(" | "))
    (own / "mine.yaml").write_text(f"# @package _global_\nsweep:\n  arms:\n{listed}")
    assert examined("--config-dir", str(own.parent), "experiment=mine").unfair == (sentence,)


def test_what_is_varied_itself_is_the_question():
    assert examined("epochs=30,60") == Fairness((), ("epochs=60 trains 1 320 steps, epochs=30 660",))
    assert examined("early_stop_patience=3,5") == Fairness((), ())
    assert examined("seed=0,1,2", "split_seed=0,1") == Fairness((), ())
    crossed = examined("augmentation=none,lecture", "epochs=30,60")  # each augmentation at both lengths
    assert crossed == Fairness((), ("epochs=60 trains 1 320 steps, epochs=30 660",))
    assert examined("optimizer=sgd,adam", "lr=0.1,0.001") == Fairness((), ())
    grown = examined("model=mlp", "model.hidden=[8],[16]").consequences
    assert grown == ("model.hidden=[16] has 49 338 parameters, model.hidden=[8] 24 674 (+100%)",)


def test_runs_on_other_images_are_blocks_whose_arms_are_not_compared():
    found = examined("dataset=cifar10,mnist", "batch_size=500")
    sentence = "scores are compared within each of dataset=cifar10 and dataset=mnist, and never between them"
    assert found == Fairness((), (sentence,))
    (sentence,) = examined("dataset.validation_size=5000,10000").consequences
    assert sentence == (
        "scores are compared within each of dataset.validation_size=5000 and dataset.validation_size=10000, and never"
        " between them"
    )
    within = examined("dataset=cifar10,mnist", "batch_size=500,1000", "seed=0,1").consequences
    assert within[1:] == ("batch_size=500 trains 2 700 steps, batch_size=1000 1 350",)


def test_a_setting_that_some_of_the_arms_have_no_place_for_is_told():
    found = examined("model=mlp", "model.hidden=[],[8]", "dropout=0.5").unfair
    assert found == ("dropout is given, and model.hidden=[] has no place for it, while model.hidden=[8] has",)
    assert examined("model=mlp", "model.hidden=[],[8]").unfair == ()  # nobody has asked for it
    assert examined("model=mlp", "model.hidden=[8],[16]", "dropout=0.5").unfair == ()


def test_networks_within_one_per_cent_are_equally_large():
    assert examined("normalization=none,batch").unfair == ()  # 55 490 and 55 730: 0.4 %


def test_a_search_over_techniques_that_tunes_them_unequally_is_told_with_a_fair_command():
    search = examined("sweep.method=tpe", "optimizer=sgd,adam", "lr=interval(0.001,0.1)", "epochs=int(interval(2,4))")
    assert search == Fairness(
        (
            "sweep.method=tpe tries options of optimizer more often if they score better, so their tuning budgets"
            " differ. Equal budgets: python -m trainer -m optimizer=sgd,adam 'tune.lr=interval(0.001,0.1)'"
            " 'tune.epochs=int(interval(2,4))' tune.trials=10 tune.method=tpe seed=0,1,2,3,4",
        ),
        ("epochs=4 trains 88 steps, epochs=2 44",),
    )
    random = ("sweep.method=random", "sweep.trials=12")
    space = ("optimizer=sgd,adam,momentum", "lr=tag(log,interval(1e-5,0.1))", "seed=5,6,7")
    assert examined(*random, *space).unfair == (
        "adam is tried at 6 points, momentum at 4, sgd at 2: the best of more trials looks better by luck. Equal"
        " budgets: python -m trainer -m optimizer=sgd,adam,momentum 'tune.lr=tag(log,interval(1e-05,0.1))'"
        " tune.trials=4 seed=5,6,7",
    )
    assert examined(*random, "dropout=0.0,0.5").unfair == ()  # what is searched is no technique
    assert examined("sweep.method=random", "sweep.trials=2", "optimizer=sgd,adam").unfair == ()  # each once
    assert examined("optimizer=sgd,adam", "tune.epochs=2,4").unfair == (
        "tune.epochs lets each arm be trained for another number of epochs",
    )
    tuned = examined("optimizer=sgd,adam", "tune.lr=interval(0.001,0.1)")
    assert tuned == Fairness((), ())  # without the note that one learning rate suits one of them better


def test_the_check_leaves_no_trace_and_reads_the_data_once():
    torch.manual_seed(1)
    before, reads = torch.get_rng_state(), []

    def counted(config):
        reads.append(config)
        return cifar()

    examine(interpret(["-m", "activation=relu,maxout", "seed=0,1,2", "lr=0.1,0.2"]), counted)
    assert len(reads) == 1 and torch.equal(torch.get_rng_state(), before)
    assert list(Path().iterdir()) == []


def test_real_data_are_counted():
    found = examine(interpret(["-m", "dataset=digits", "batch_size=32,64", "epochs=2"]))
    assert found.consequences == ("batch_size=32 trains 76 steps, batch_size=64 38",)


def test_an_unfair_study_is_warned_of_or_refused(in_empty_folder, capsys):
    arms = ["-m", "experiment=augmentation_lecture", "dataset=digits", "device=cpu", "wandb.mode=disabled"]
    with pytest.raises(ConfigError, match=r"^sweep.fairness_check=strict: .*, which may explain a difference"):
        run_study(interpret([*arms, "sweep.fairness_check=strict"]))
    assert not list(in_empty_folder.iterdir())
    run_study(interpret([*arms, "sweep.dry_run=true"]))
    assert "trainer: warning: not a fair comparison: augmentation=lecture epochs=60 trains" in capsys.readouterr().err
    run_study(interpret([*arms, "sweep.dry_run=true", "sweep.fairness_check=off"]))
    assert "fair" not in capsys.readouterr().err
    run_study(
        interpret(["-m", "experiment=augmentation", *arms[2:], "sweep.fairness_check=strict", "sweep.dry_run=true"])
    )


MINE = """
from torch.optim import LBFGS, Optimizer
from .parts import Thrice

class SAM(Optimizer):
    gradients_per_step: int = 2

class ASAM(SAM):
    def step(self, closure): ...

def _built(params, lr):
    return ASAM(params, {"lr": lr})

def asam(params, lr, weight_decay):
    'The gradient at the worst place nearby.'
    return _built(params, lr)

def thrice(params, lr, weight_decay):
    'Three gradients.'
    return Thrice(params, lr)

def once(params, lr, weight_decay):
    'One gradient.'
    return LBFGS(params, lr)
"""
PARTS = "import torch\n\nclass Thrice(torch.optim.SGD):\n    gradients_per_step = 3\n"


def test_the_gradients_of_a_step_are_read_from_the_text():
    names = ("asam", "thrice", "once", "nobody")
    assert [gradients_per_step([MINE, PARTS], name) for name in names] == [2, 3, 1, 1]


def test_an_optimizer_of_two_gradients_a_step_has_twice_the_compute(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "optimizer.py").write_text(MINE)
    (folder / "parts.py").write_text(PARTS)
    lr = "The optimizers are compared at one learning rate, 0.001: it suits some of them better"
    with using([read(str(folder), [*GROUPS])]):
        assert examined("optimizer=adam,asam", "lr=0.1,0.2").consequences == (
            "optimizer=asam takes 2 gradients a step, optimizer=adam 1: twice the compute",
        )
        assert examined("optimizer=adam,asam,thrice").consequences == (
            "optimizer=thrice takes 3 gradients a step, optimizer=adam 1: 3 times the compute",
            lr,
        )
        assert examined("optimizer=adam,once").consequences == (lr,)
    assert examined("optimizer=adam,sam", "lr=0.1,0.2").consequences == (  # its class lies in another file
        "optimizer=sam takes 2 gradients a step, optimizer=adam 1: twice the compute",
    )


def test_compute_is_told_of_passes_through_the_network_and_of_all_steps():
    assert "regularization=r_drop runs the network 2 times a step, regularization=l2 1: more compute" in (
        examined("regularization=l2,r_drop", "dropout=0.5").consequences
    )
    short, long = "sweep.arms.two=optimizer=sam epochs=2", "sweep.arms.one=optimizer=adam epochs={}"
    for epochs, told in ((4, "as many in all, 8"), (3, "8 and 6 in all")):
        found = examined(short, long.format(epochs), "dataset.train_size=512", "batch_size=256").consequences
        assert f"optimizer=sam epochs=2 takes 2 gradients a step, optimizer=adam epochs={epochs} 1: {told}" in found
