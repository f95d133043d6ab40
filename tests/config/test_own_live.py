"""Functions of the running Python as techniques: their text, what belongs to it, and what cannot be taken."""

import linecache
import sys
import textwrap
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
import torch
from test_api import FAST

import trainer
from trainer.cli.main import main
from trainer.config.own import using
from trainer.config.own_record import technique_hash
from trainer.errors import ConfigError

LION = '''
import torch
from torch import Tensor as Values
from trainer.config.types import Fraction, Positive

RATES = (0.9, 0.99)
HISTORY = []
LOGGER = __name__

def sign(values: Values):
    return values.sign()

class Lynx(torch.optim.Optimizer):
    """The optimizer."""

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for parameter in group["params"]:
                moment = self.state[parameter].setdefault("moment", torch.zeros_like(parameter))
                update = sign(moment.lerp(parameter.grad, 1 - RATES[0]))
                parameter.mul_(1 - group["lr"] * group["weight_decay"]).sub_(update, alpha=group["lr"])
                moment.lerp_(parameter.grad, 1 - RATES[1])

def lynx(params, lr, weight_decay, *, betas: tuple[Fraction, Fraction] = (0.9, 0.99)):
    """The sign of a momentum. Chen et al. 2023."""
    assert __name__ != "__main__"
    model = Lynx(params, dict(lr=lr, weight_decay=weight_decay))  # `model` is a global name as well
    return model
'''


class Notebook:
    """A module that is filled by cells, as the kernel of a notebook does it."""

    def __init__(self) -> None:
        self.module = ModuleType("__main__")
        self.module.In = []
        self.names = []

    def run(self, cell: str):
        """Execute a cell whose text Python can find; return the module."""
        name, text = f"<cell {id(self)} {len(self.names)}>", textwrap.dedent(cell)
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
        self.names.append(name)
        self.module.In.append(text)
        exec(compile(text, name, "exec", dont_inherit=True), vars(self.module))
        return self.module


@pytest.fixture
def notebook(monkeypatch):
    made = Notebook()
    monkeypatch.setitem(sys.modules, "__main__", made.module)
    yield made
    for name in made.names:
        del linecache.cache[name]


def composed(function, *settings):
    return trainer.compose(*FAST, "optimizer=lynx", *settings, techniques={"optimizer": function})


def hashed(function) -> str:
    config = composed(function)
    with using([config.optimizer.own]):
        return technique_hash("optimizer", "lynx")


def test_a_function_is_taken_with_all_that_it_uses_and_no_more(notebook):
    module = notebook.run(LION + "\nmodel = object()\n")
    files = {each.key: each.text for each in composed(module.lynx).optimizer.own.modules.values()}
    assert files["own/optimizer.py"].startswith(
        "from .cells import Lynx\nfrom trainer.config.types import Fraction\n\n\ndef lynx(params,"
    )
    assert files["own/cells.py"].startswith(
        "from torch import Tensor as Values\nimport torch\n\n\nRATES = (0.9, 0.99)\n\n\ndef sign(values: Values):\n"
    )
    assert "HISTORY" not in files["own/cells.py"] and "class Lynx(torch.optim.Optimizer):" in files["own/cells.py"]


def test_it_trains_like_the_same_text_in_a_file_and_is_the_same_run(notebook, in_empty_folder):
    run = trainer.train(composed(notebook.run(LION).lynx, "epochs=1", "lr=0.001"), progress=False)
    kept = run.folder / "techniques"
    assert sorted(path.name for path in kept.iterdir()) == ["cells.py.txt", "index.json", "optimizer.py.txt"]
    with pytest.raises(ConfigError, match=r"uses optimizer=lynx, a function that was given in Python: give it again"):
        trainer.load(run.folder).resume(epochs=2)
    Path("mine").mkdir()
    for name in ("cells", "optimizer"):
        Path(f"mine/{name}.py").write_text((kept / f"{name}.py.txt").read_text())
    assert main([f"resume={run.folder}", "epochs=2", "--strict", "--techniques=mine"]) == 0
    whole = trainer.train(composed(notebook.module.lynx, "epochs=2", "lr=0.001"), progress=False)
    losses = [[row["validation_loss"] for row in each.rows] for each in (trainer.load(run.folder), whole)]
    assert losses[0] == losses[1] and len(losses[0]) == 2


def test_another_cell_with_the_same_name_is_another_technique(notebook, in_empty_folder, capsys):
    module = notebook.run(LION)
    first, settings = hashed(module.lynx), (*FAST, "optimizer=lynx,sgd", "epochs=1")
    before = trainer.study(*settings, techniques={"optimizer": [module.lynx]}, progress=False)
    notebook.run("HISTORY = [1]\n\ndef unrelated():\n    return 1\n")
    assert hashed(module.lynx) == first
    notebook.run("RATES = (0.5, 0.99)")
    changed = hashed(module.lynx)
    notebook.run("RATES = (0.9, 0.99)\n\ndef sign(values):\n    return 2 * values.sign()\n")
    assert len({first, changed, hashed(module.lynx)}) == 3
    capsys.readouterr()
    after = trainer.study(*settings, techniques={"optimizer": module.lynx})
    assert after.folder != before.folder and "1 is finished already" in capsys.readouterr().out
    values = [{row["arm"]: row["mean"] for row in each.rows} for each in (before, after)]
    assert values[0]["sgd"] == values[1]["sgd"] and values[0]["lynx"] != values[1]["lynx"]


def test_a_config_keeps_the_text_that_it_was_composed_with(notebook):
    config = composed(notebook.run(LION).lynx)
    notebook.run("def sign(values):\n    return 5 * values.sign()\n")

    def update(config):
        weight = torch.zeros(1, requires_grad=True)
        weight.grad = torch.ones(1)
        config.optimizer.function()([{"params": [weight]}], 1.0, 0.0).step()
        return weight.item()

    assert (update(config), update(composed(notebook.module.lynx))) == (-1.0, -5.0)


def test_paths_and_functions_may_be_given_together_and_several_groups(notebook, in_empty_folder):
    module = notebook.run("RATE = 0.5\n\ndef half(lr, epochs):\n    '''Half.'''\n    return lambda epoch: lr * RATE\n")
    Path("activation.py").write_text(
        "import torch\nfrom trainer.techniques.activation import Activation\n\n\ndef cube():\n"
        "    return Activation(torch.nn.Identity, gain=1.0)\n"
    )
    notebook.run(LION)
    given = ["activation.py", {"scheduler": module.half, "optimizer": (module.lynx,)}]
    config = trainer.compose(*FAST, "optimizer=lynx", "scheduler=half", "activation=cube", techniques=given)
    assert config.scheduler.function()(1.0, 3)(0.0) == 0.5
    assert trainer.train(config.model_copy(update={"epochs": 1}), progress=False).result.epochs == 1


def test_a_class_without_methods_a_decorator_an_alias_and_a_module_are_found(notebook, in_empty_folder, monkeypatch):
    Path("helpers_of_a_test.py").write_text("import math\n\n\ndef root(value):\n    return math.sqrt(value)\n")
    monkeypatch.syspath_prepend(str(in_empty_folder))
    module = notebook.run(
        """
        from __future__ import annotations
        import functools, math as m
        from helpers_of_a_test import root as square_root
        import torch

        QUARTER = 0.25

        class Rates:
            low = QUARTER

        @functools.cache
        @torch.no_grad()
        def quarter():
            return QUARTER

        def doubled(function):
            @functools.wraps(function)
            def inner(*values):
                twice = function(*values)
                return lambda epoch: 2 * twice(epoch)
            return inner

        @doubled
        def flat(lr: NoSuchName, epochs):
            return lambda epoch: m.floor(lr) * square_root(Rates.low) * quarter()
        """
    )
    config = trainer.compose(*FAST, "scheduler=flat", techniques={"scheduler": module.flat})
    assert config.scheduler.function()(3.5, 3)(0.0) == 2 * 3 * 0.5 * 0.25
    (cells,) = (each for each in config.scheduler.own.modules.values() if each.name.endswith("cells"))
    assert "import math\n" in cells.text and "def root(value):" in cells.text
    del sys.modules["helpers_of_a_test"]


def within():
    def lynx(params, lr, weight_decay): ...

    return lynx


@pytest.mark.parametrize(
    ("cell", "sentence"),
    [
        ("lynx = lambda params, lr, weight_decay: None", "techniques={'optimizer': <lambda>}: must be a function"),
        ("class lynx: ...", "techniques={'optimizer': lynx}: must be a function that is defined with def, or a list"),
        ("def _lynx(params, lr, weight_decay): ...\nlynx = _lynx", "techniques={'optimizer': _lynx}: the name of a"),
        ("def lynx(params): ...", "python:optimizer.py, line 1: lynx must be a function of (params, lr, weight_decay,"),
        (
            "import torch\nRATE = torch.ones(3)\ndef lynx(params, lr, weight_decay):\n    return RATE\n",
            "techniques: lynx uses RATE, a value of type Tensor, which cannot be written down as text: make it within",
        ),
        (
            "import test_own_live\ndef lynx(params, lr, weight_decay):\n    return test_own_live\n",
            "techniques: lynx uses the module test_own_live, which is no installed package: import its functions by",
        ),
        (
            "from test_own_live import within\nlynx = within()\n",
            "techniques: lynx is defined within a function, from which it may hold values: define it at the top",
        ),
        (
            "from test_own_live import hashed\ndef composed(): ...\ndef lynx(params, lr, weight_decay):\n"
            "    return hashed, composed\n",
            "techniques: composed is the name of two definitions that are used: rename one",
        ),
        ("exec('def lynx(params, lr, weight_decay): ...')", "techniques: the text of lynx cannot be found: define it"),
    ],
)
def test_what_cannot_be_taken_is_told_in_one_line(notebook, cell, sentence):
    with pytest.raises(ConfigError) as caught:
        composed(notebook.run(cell).lynx)
    assert str(caught.value).startswith(sentence) and "\n" not in str(caught.value)


def test_another_group_and_other_objects_are_refused(notebook):
    module = notebook.run(LION)
    with pytest.raises(ConfigError, match=r"^techniques={'optimiser': …}: there is no such group. Accepted: dataset,"):
        trainer.compose(techniques={"optimiser": module.lynx})
    with pytest.raises(ConfigError, match="must be a function that is defined with def"):
        composed(partial(module.lynx))


def test_a_launcher_takes_techniques_from_paths_alone(notebook, in_empty_folder):
    with pytest.raises(
        ConfigError, match=r"^hydra/launcher=joblib trains in other processes, which do not have the fun"
    ):
        trainer.study(*FAST, "hydra/launcher=joblib", "seed=0,1", techniques={"optimizer": notebook.run(LION).lynx})
    assert not [*in_empty_folder.iterdir()]
