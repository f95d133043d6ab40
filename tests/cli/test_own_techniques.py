"""Runs and studies with techniques of one's own: trained, read again, compared, and never run from a record."""

import json
import os
import shutil
import textwrap
from pathlib import Path

import pytest
import torch
from conftest import QUICK, TINY, metrics
from torch import nn

from trainer.cli.main import main
from trainer.config.own import read, using
from trainer.config.schema import GROUPS
from trainer.data.loader import load
from trainer.evaluation.inference import load_network
from trainer.storage.untrusted import read_json

OPTIMIZER = '''
import torch

from .helpers import sign


def lynx(params, lr, weight_decay):
    """The sign of a momentum."""
    return _Lion(params, dict(lr=lr, weight_decay=weight_decay))


def plain(params, lr, weight_decay):
    """Steps without a momentum."""
    return torch.optim.SGD(params, lr)


class _Lion(torch.optim.Optimizer):
    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for parameter in group["params"]:
                moment = self.state[parameter].setdefault("moment", torch.zeros_like(parameter))
                parameter.sub_(sign(moment.lerp(parameter.grad, 0.1)), alpha=group["lr"])
                moment.lerp_(parameter.grad, 0.01)
'''
MODEL = '''
from torch import nn


def flat(shape, classes, slots):
    """One linear layer."""
    return nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], len(classes)))


def wrong(shape, classes, slots):
    """A mistake."""
    return nn.Sequential(nn.Conv2d(shape[0], 2, 3, strides=2), nn.Flatten())


def none_at_all(shape, classes, slots):
    """No module."""
    return [nn.Flatten()]
'''
HELPERS = "def sign(values):\n    return values.sign()\n"
OWN_RUN = ("--techniques=mine", *QUICK, *TINY, "optimizer=lynx", "lr=0.001")


@pytest.fixture
def mine(in_empty_folder) -> Path:
    Path("mine").mkdir()
    for name, text in (("optimizer", OPTIMIZER), ("model", MODEL), ("helpers", HELPERS)):
        Path("mine", f"{name}.py").write_text(textwrap.dedent(text))
    return Path("mine")


def edit(file: Path, was: str, becomes: str) -> None:
    text = file.read_text()
    assert was in text
    file.write_text(text.replace(was, becomes))


def run(*arguments: str) -> int:
    return main([str(argument) for argument in arguments])


def told(capsys) -> str:
    """What was printed, each run of blanks and line ends as one blank."""
    printed = capsys.readouterr()
    return " ".join((printed.out + printed.err).split())


def test_a_run_keeps_copies_and_is_read_again_with_the_techniques_that_it_uses(mine, capsys):
    assert run(*OWN_RUN, "output_dir=whole", "epochs=4") == 0
    assert run(*OWN_RUN, "output_dir=parts", "epochs=2") == 0
    kept = Path("parts/techniques")
    assert (kept / "optimizer.py.txt").read_text() == OPTIMIZER and (kept / "helpers.py.txt").read_text() == HELPERS
    index = json.loads((kept / "index.json").read_text())
    assert index["optimizer.lynx"]["source"] == "mine/optimizer.py" and not list(kept.glob("*.py"))
    capsys.readouterr()
    missing = (
        "trainer: parts uses optimizer=lynx of mine/optimizer.py, which is no technique of this program: add"
        " --techniques mine. Its folder techniques holds a copy to read, which is not run"
    )
    for again in (["resume=parts", "epochs=4"], ["reproduce", "parts"], ["doctor", "parts"]):
        assert run(*again) == 2 and told(capsys) == missing
    assert run("evaluate", "parts", "--device", "cpu") == 0  # needs the network, no optimizer
    assert run("show", "parts") == 0 and "optimizer=lynx of mine/optimizer.py" in told(capsys)
    assert run("list", ".", "optimizer=lynx") == 0 and "parts" in told(capsys)
    assert run("list", ".", "optimizer=lnyx") == 2 and "there is no such optimizer" in told(capsys)
    assert run("report", "parts") == 0 and "mine/optimizer.py" in Path("parts/report.html").read_text()
    shutil.move("mine", "elsewhere")
    assert run("--techniques", "elsewhere", "resume=parts", "epochs=4") == 0
    assert "differs" not in told(capsys)
    same = ("train_loss", "validation_loss", "validation_accuracy")
    assert [[row[key] for key in same] for row in metrics(Path("parts"))] == [
        [row[key] for key in same] for row in metrics(Path("whole"))
    ]
    assert run("--techniques", "elsewhere", "reproduce", "whole") == 0
    assert "Equal to the last bit" in told(capsys)


def test_a_technique_that_was_edited_since_is_told_and_refused_under_strict(mine, capsys):
    assert run(*OWN_RUN, "output_dir=run", "epochs=1") == 0
    edit(mine / "helpers.py", "values.sign()", "2 * values.sign()")
    capsys.readouterr()
    assert run("--techniques=mine", "--strict", "resume=run", "epochs=2") == 2
    assert told(capsys) == (
        "trainer: optimizer=lynx: mine/helpers.py is not what run was trained with: 1 line differs. The copy that was"
        " kept: run/techniques"
    )
    kept = Path("run/techniques/helpers.py.txt")
    text = kept.read_text()
    kept.unlink()
    os.mkfifo(kept)  # in a record that was sent
    assert run("--techniques=mine", "--strict", "resume=run", "epochs=2") == 2 and "the code is not" in told(capsys)
    kept.unlink()
    kept.write_text(text)
    assert run("--techniques=mine", "--techniques=./mine/", "resume=run", "epochs=2") == 0
    printed = told(capsys)
    assert "warning: optimizer=lynx: mine/helpers.py is not what run was trained with: 1 line differs" in printed
    assert "other code of the trainer" not in printed
    edit(mine / "optimizer.py", "def lynx", "def puma")
    assert run("--techniques=mine", "resume=run", "epochs=3") == 2
    assert "run uses optimizer=lynx of mine/optimizer.py, where it is not any more: there is puma, plain" in told(
        capsys
    )
    assert not Path("run/techniques/model.py.txt").exists()  # which it does not use
    stamps = read_json(Path("run/environment.json"))
    command = "python -m trainer --strict --techniques mine dataset=digits optimizer=lynx"
    Path("run/environment.json").write_text(json.dumps([stamp | {"command": command} for stamp in stamps]))
    assert run("show", "run") == 0
    printed = told(capsys)
    assert "doctor run --techniques=mine" in printed
    assert "python -m trainer dataset=digits optimizer=lynx --techniques=mine" in printed


def test_a_study_trains_again_what_its_techniques_change_and_no_more(mine, capsys):
    study = ("-m", *OWN_RUN[:-2], "lr=0.01", "optimizer=lynx,plain,adam")
    assert run(*study) == 0
    printed = told(capsys)
    assert "lynx (yours: mine/optimizer.py)" in printed and "--techniques=mine" in printed
    (folder,) = Path("outputs/sweeps").glob("digits_*")
    assert "--techniques" not in json.dumps(read_json(folder / "study.json")["command"])
    assert run(*study) == 0 and "3 are finished already" in told(capsys)
    edit(mine / "optimizer.py", "SGD(params, lr)", "SGD(params, lr / 2)")
    assert run(*study) == 0 and "2 are finished already" in (printed := told(capsys))
    assert "of the same command, with other code of optimizer=plain of mine/optimizer.py: what they decide" in printed
    edit(mine / "optimizer.py", '"""The sign of a momentum."""', '"""Other words."""')
    edit(mine / "helpers.py", "values.sign()", "values.sign().clone()")
    assert run(*study) == 0 and "2 are finished already" in told(capsys)


@pytest.mark.long
def test_a_study_is_continued_with_the_techniques_that_are_typed_and_by_joblib(mine, capsys):
    study = ("-m", *OWN_RUN, "seed=0,1", "sweep.name=own", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    assert run(*study) == 0
    (folder,) = Path("outputs/sweeps").glob("own-*")
    assert len(list(folder.glob("*/best.safetensors"))) == 2 and "Yours: optimizer=lynx of mine" in told(capsys)
    assert run("study", folder, "continue") == 2 and "add --techniques mine" in told(capsys)
    assert run("--techniques=mine", "study", folder, "add", "seed=2", "hydra/launcher=basic") in (0, 2)


def test_a_strangers_folder_is_read_and_nothing_in_it_is_run(mine, capsys):
    edit(mine / "optimizer.py", "import torch\n", "import torch\nfrom pathlib import Path\n\nPath('was_run').touch()\n")
    assert run(*OWN_RUN, "output_dir=run", "epochs=1") == 0 and Path("was_run").exists()
    shutil.move("run", "sent")
    shutil.copy("mine/optimizer.py", "sent/techniques/optimizer.py")
    Path("was_run").unlink()
    for command in (["show", "sent"], ["report", "sent"], ["list", "."], ["compare", "sent", "sent"],
                    ["export", "sent", "--csv", "out"], ["evaluate", "sent", "--device", "cpu"], ["doctor", "sent"],
                    ["reproduce", "sent"], ["resume=sent", "epochs=2"], ["finalize", "sent"]):  # fmt: skip
        run(*command)
    assert run("--techniques", "sent/techniques", "resume=sent", "epochs=2") == 2
    assert "from which no code is run" in told(capsys)
    assert not Path("was_run").exists()


def test_a_mistake_in_a_model_is_told_as_what_it_is(mine, capsys):
    assert run(*QUICK, "--techniques=mine", "model=wrong", "output_dir=run") == 2
    assert "trainer: mine/model.py, line 12: model=wrong: TypeError:" in (printed := told(capsys))
    assert "'strides'" in printed and not Path("run").exists()
    assert run(*QUICK, "--techniques=mine", "model=none_at_all", "output_dir=run") == 2
    assert "mine/model.py: model=none_at_all returned list, which must be torch.nn.Module" in told(capsys)


PARTS = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, shape, classes):
        super().__init__()
        self.linear = nn.Linear(shape[0] * shape[1] * shape[2], classes)

    def forward(self, images):
        logits = self.linear(images.flatten(1))
        if self.training:
            self.missing
        return logits
"""
NET = """
from torch import nn

from .parts import Net


def net(shape, classes, slots):
    return Net(shape, len(classes))


def sequence(shape, classes, slots):
    return nn.Sequential(nn.Flatten(), nn.Linear(3, len(classes)))
"""
SMALL = (*QUICK[:3], "dataset.image_size=8", "epochs=1", "--techniques=mine", "output_dir=run")


@pytest.mark.parametrize(
    ("was", "becomes", "line"),
    [
        (", classes)\n", ", classes + 1)\n", "model=net returned [2, 11] for 2 images, where [2, 10] is expected"),
        (", classes)\n", ", classes - 1)\n", "model=net returned [2, 9] for 2 images, where [2, 10] is expected"),
        ("return logits", "pass", "model=net returned None for 2 images, where [2, 10] is expected"),
        ("return logits", "return [logits]", "model=net returned a list for 2 images, where [2, 10] is expected"),
        ("return logits", "return logits.argmax(1)", "returned [2] of torch.int64 for 2 images, where [2, 10]"),
        (
            "logits = ",
            "logits = images.wrong + ",
            "parts.py, line 12: model=net: AttributeError: 'Tensor' object",
        ),
    ],
)
def test_what_a_model_returns_is_tried_before_the_run(mine, capsys, was, becomes, line):
    (mine / "model.py").write_text(NET)
    (mine / "parts.py").write_text(PARTS)
    edit(mine / "parts.py", was, becomes)
    assert run(*SMALL, "model=net") == 2
    assert line in (printed := told(capsys)) and printed.count("\n") == 0 and "Traceback" not in printed
    assert not Path("run").exists()


def test_a_model_of_torchs_layers_that_do_not_fit_is_named(mine, capsys):
    (mine / "model.py").write_text(NET)
    (mine / "parts.py").write_text(PARTS)
    assert run(*SMALL, "model=sequence") == 2
    assert "trainer: mine/model.py: model=sequence: RuntimeError: mat1 and mat2 shapes" in told(capsys)


FAULTY = {
    "loss": "def bad(logits, labels):\n    return logits.mean() if len(labels) == 2 else logits.wrong",
    "metric": "from trainer.techniques.metric import Maximized\n\n\n"
    "def bad(logits, labels) -> Maximized:\n    return logits.wrong",
    "augmentation": "def bad(images, labels, classes, generator):\n    return images.wrong, labels",
    "regularization": "from trainer.techniques.hooks import StepHooks\n\n\n"
    "def bad(model):\n    return StepHooks(after_step=lambda: model.wrong)",
}


def test_an_error_of_a_technique_during_the_training_is_one_line_and_its_traceback_a_file(mine, capsys):
    (mine / "model.py").write_text(NET)
    (mine / "parts.py").write_text(PARTS)
    assert run(*SMALL, "model=net") == 1
    line = "mine/parts.py, line 14: model=net: AttributeError: 'Net' object has no attribute 'missing'"
    printed = told(capsys)
    assert f"trainer: {line}. Saved: 0 of 1 epoch, in run. " in printed and "Traceback: run/traceback.txt" in printed
    assert "most recent call" not in printed and read_json(Path("run/result.json"))["reason"] == line
    assert "self.missing" in Path("run/traceback.txt").read_text()
    edit(mine / "parts.py", "self.missing", "pass")
    assert run("--techniques=mine", "resume=run") == 0 and not Path("run/traceback.txt").exists()


@pytest.mark.parametrize("group", FAULTY)
def test_an_error_in_what_a_step_calls_names_the_technique(mine, capsys, group):
    (mine / f"{group}.py").write_text(FAULTY[group])
    assert run(*SMALL, *TINY[:2], f"{group}=bad" if group == "loss" else f"{group}=[bad]") == 1
    number = FAULTY[group].count("\n") + 1
    assert f"trainer: mine/{group}.py, line {number}: {group}=bad: AttributeError:" in (printed := told(capsys))
    assert "most recent call" not in printed


def test_an_error_of_a_technique_is_the_reason_of_a_studys_run(mine, capsys):
    (mine / "loss.py").write_text(FAULTY["loss"])
    assert run("-m", *SMALL[:-1], *TINY[:2], "loss=bad,cross_entropy", "sweep.name=own") == 1
    assert "mine/loss.py, line 2: loss=bad: AttributeError: 'Tensor' object has no attribute" in told(capsys)
    (log,) = (path for path in Path("outputs/sweeps").glob("own-*/*/log.txt") if "wrong" in path.read_text())
    assert "Traceback (most recent call last)" in log.read_text()


def test_a_loss_that_takes_no_mixed_labels_is_told_before_the_run(mine, capsys):
    (mine / "loss.py").write_text(
        "def poly1(logits, labels):\n    return -logits.log_softmax(1).gather(1, labels[:, None]).mean()\n"
    )
    assert run(*SMALL, *TINY[:2], "loss=poly1", "augmentation=[flip]") == 0
    assert run(*SMALL[:-1], *TINY[:2], "loss=poly1", "augmentation=[mixup]", "output_dir=mixed") == 2
    assert "loss=poly1 does not go with augmentation=[mixup], which mixes images" in (printed := told(capsys))
    assert "(mine/loss.py, line 2)" in printed and not Path("mixed").exists()
    study = ("-m", *SMALL[:-1], *TINY[:2], "loss=poly1", "augmentation=[flip],[mixup]", "sweep.dry_run=true")
    assert run(*study) == 1 and "loss=poly1 does not go with augmentation=[mixup]" in told(capsys)


BELIEF = """
import torch


def belief(params, lr, weight_decay):
    return Belief(params, dict(lr=lr))


class Belief(torch.optim.Optimizer):
    def __init__(self, params, defaults):
        super().__init__(params, defaults)
        self.t, self.rates, self.slow = 0, [], {}

    @torch.no_grad()
    def step(self):
        ADVANCE
        for group in self.param_groups:
            for weight in group["params"]:
                self.state[weight]["seen"] = self.state[weight].get("seen", 0) + 1
                self.last = self.state[weight]["seen"]
                weight.sub_(weight.grad, alpha=group["lr"] / (1 + self.t))
"""
RESTORED = """
    def state_dict(self):
        return {**super().state_dict(), "steps": self.t}

    def load_state_dict(self, state):
        self.t = state["steps"]
        super().load_state_dict({key: state[key] for key in ("state", "param_groups")})
"""
COUNTING = """
class Counting:
    def __init__(self, lr):
        self.lr, self.calls = lr, 0

    def __call__(self, epoch):
        self.calls += 1
        return self.lr / self.calls


def counting(lr, epochs):
    return Counting(lr)


def closed(lr, epochs):
    calls = []
    return lambda epoch: calls.append(epoch) or lr / len(calls)
"""


@pytest.mark.parametrize(
    ("advance", "name"),
    [
        ("self.t += 1", "t"),
        ("self._t = getattr(self, '_t', 0) + 1", "_t"),
        ("self.t = torch.as_tensor(self.t) + 1", "t"),
        ("self.rates.append(0.1)", "rates"),
        ("self.slow.update({weight: weight + 1 for weight in self.param_groups[0]['params']})", None),
        ("self.slow.setdefault(0, self.param_groups[0]['params'][0].clone()).mul_(0.5)", "slow"),
        ("pass", None),
    ],
)
def test_an_optimizer_whose_memory_is_not_saved_is_told_before_the_run(mine, capsys, advance, name):
    (mine / "optimizer.py").write_text(BELIEF.replace("ADVANCE", advance))
    code = run(*SMALL, *TINY[:2], "optimizer=belief")
    assert code == (2 if name else 0) and Path("run").exists() == (not name)
    assert not name or (
        f"mine/optimizer.py: optimizer=belief keeps `{name}` outside of state and param_groups, where it is not saved:"
        " keep it in self.state[weight] or in the parameter group, or return it from state_dict()" in told(capsys)
    )


def test_a_memory_that_the_state_holds_is_kept(mine):
    (mine / "optimizer.py").write_text(BELIEF.replace("ADVANCE", "self.t += 1") + RESTORED)
    assert run(*SMALL, *TINY[:2], "optimizer=belief") == 0
    edit(mine / "optimizer.py", 'self.t = state["steps"]', "pass")
    assert run(*SMALL[:-1], "output_dir=other", *TINY[:2], "optimizer=belief") == 2


def test_a_schedule_that_remembers_its_calls_is_told_before_the_run(mine, capsys):
    (mine / "scheduler.py").write_text(COUNTING)
    assert run(*SMALL, *TINY[:2], "scheduler=counting") == 2
    assert "mine/scheduler.py: scheduler=counting keeps `calls`, which is not saved: compute the" in told(capsys)
    assert run(*SMALL, *TINY[:2], "scheduler=closed") == 2
    assert "mine/scheduler.py: scheduler=closed remembers its calls, and would say" in told(capsys)
    assert not Path("run").exists()


def test_a_metric_that_is_never_finite_is_told_and_decides_nothing(mine, capsys):
    (mine / "metric.py").write_text(
        "from trainer.techniques.metric import Minimized\n\n\n"
        "def tail_error(logits, labels) -> Minimized:\n    return float('nan')\n"
    )
    several = (*SMALL[:4], "epochs=2", "--techniques=mine", *TINY[:2], "metric=[tail_error]")
    assert run(*several, "output_dir=run") == 0
    assert told(capsys).count("warning: metric tail_error was nan in epoch") == 1
    assert run("-m", *several, "optimizer=sgd,adam", "sweep.metric=tail_error", "sweep.name=own") == 1
    printed = told(capsys)
    said = "validation_tail_error was not finite on a half of the validation images of 2 of 2 runs: there is nothing to"
    assert f"{said} compare Study: " in printed
    assert "No run has finished" not in printed
    edit(mine / "metric.py", "float('nan')", "float('nan') if logits.abs().max() > 5 else 1.0")
    assert run("-m", *several, "lr=1e-6,0.1", "sweep.metric=tail_error", "sweep.name=some") == 0
    said = "lr=0.1: validation_tail_error was not finite on a half of the validation images in 1 of 1 run, which cannot"
    assert said in told(capsys)


def test_a_setting_that_a_model_has_no_place_for_is_told_and_not_varied(mine, capsys):
    own = ("--techniques=mine", *QUICK, "dataset.image_size=8", "model=flat")
    assert run(*own, "normalization=layer", "output_dir=run") == 0
    assert "normalization=layer does nothing: model=flat has no place for it" in told(capsys)
    assert run("-m", *own, "normalization=none,layer") == 2
    assert "normalization is varied, and model=flat has no place for it: its runs would be the same" in told(capsys)
    assert not Path("outputs/sweeps").exists()


def test_a_shell_completes_own_techniques_and_commands_show_their_flag(mine, capsys, monkeypatch):
    monkeypatch.setenv("COMP_LINE", "trainer --techniques mine optimizer=ly")
    assert run("--shell-completion", "query=bash") == 0 and capsys.readouterr().out == "optimizer=lynx\n"
    assert run("evaluate", "run", "techniques=mine") == 2
    assert "techniques=mine: must be typed as --techniques=mine" in told(capsys)
    assert run("--tecniques", "mine") == 2 and "Did you mean --techniques?" in told(capsys)
    with pytest.raises(SystemExit):
        run("reproduce", "--help")
    assert "--techniques PATH own techniques that the run uses" in told(capsys)


CHANGES = '''
from torch import nn


def halved(model: nn.Module) -> None:
    """Halve what the last layer returns."""
    last = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    last.register_forward_hook(lambda module, inputs, output: output / 2)


def talkative(model: nn.Module) -> None:
    """A mistake."""
    return "done"
'''


def test_a_regularization_that_changes_the_network_is_applied_once_and_needed_to_evaluate(mine, capsys):
    """Its hook is in the network that is trained, validated, measured and evaluated, and only once."""
    (mine / "regularization.py").write_text(CHANGES)
    changed = ("--techniques=mine", *QUICK, *TINY, "regularization=[halved,ema]", "output_dir=run")
    assert run(*changed, "layer_stats_every=1") == 0
    assert json.loads(Path("run/techniques/index.json").read_text())["regularization.halved"]["changes_network"]
    capsys.readouterr()
    assert run("evaluate", "run", "--device", "cpu") == 2
    assert "run uses regularization=halved of mine/regularization.py" in told(capsys)
    assert run("--techniques=mine", "evaluate", "run", "--device", "cpu") == 0
    assert "no technique of this program" not in told(capsys)
    Path("alone").mkdir()
    shutil.copy("run/best.safetensors", "alone")
    load_network(Path("alone/best.safetensors"))
    assert "best.safetensors was trained with regularization=halved, which is no technique" in told(capsys)
    with using([read("mine", GROUPS)]):
        for name in ("best", "last"):
            loaded = load_network(Path(f"run/{name}.safetensors"))
            last = [module for module in loaded.network.modules() if isinstance(module, nn.Linear)][-1]
            assert len(last._forward_hooks) == 1
            images = load(loaded.config.dataset, Path(), torch.device("cpu"))
            _, validation = loaded.config.dataset.shared_function()(images, loaded.config.split_seed)
            with torch.no_grad():
                loss = nn.functional.cross_entropy(loaded.network(validation.pixels), validation.labels)
            recorded = metrics(Path("run"))[loaded.epoch - 1]["validation_loss"]
            assert loss.item() == pytest.approx(recorded, rel=1e-5)
    assert run(*changed[:-2], "regularization=[talkative]") == 2
    assert "regularization=talkative returned str; with the annotation -> None it changes the network" in told(capsys)
