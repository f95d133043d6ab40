"""Techniques of one's own: read as text, checked like those of the program, imported when the first run is built."""

import os
import textwrap
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from conftest import compose

from trainer.cli.main import main
from trainer.config.definitions import Reach
from trainer.config.own import active, read, using
from trainer.config.own_record import _version, technique_hash
from trainer.config.schema import GROUPS
from trainer.errors import ConfigError

LYNX = '''
from pathlib import Path

import torch

from trainer.config.types import Fraction, Positive

from .helpers import sign

Path("imported").touch()  # a test sees whether the file was run


def lynx(params, lr, weight_decay, *, betas: tuple[Fraction, Fraction] = (0.9, 0.99), scale: Positive = 1.0):
    """The sign of a momentum.

    Chen et al. 2023.
    """
    return Lynx(params, dict(lr=lr, weight_decay=weight_decay, betas=betas, scale=scale))


class Lynx(torch.optim.Optimizer):
    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for parameter in group["params"]:
                moment = self.state[parameter].setdefault("moment", torch.zeros_like(parameter))
                first, second = group["betas"]
                update = sign(moment.lerp(parameter.grad, 1 - first))
                parameter.mul_(1 - group["lr"] * group["weight_decay"]).sub_(update, alpha=group["lr"])
                moment.lerp_(parameter.grad, 1 - second)
'''
HELPERS = "def sign(values):\n    return values.sign()\n"


@pytest.fixture
def mine(in_empty_folder) -> Path:
    return write("mine", optimizer=LYNX, helpers=HELPERS)


def write(folder: str, **files: str) -> Path:
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        Path(folder, f"{name}.py").write_text(textwrap.dedent(text))
    return Path(folder)


def own(*typed: str):
    return using([read(each, [*GROUPS]) for each in typed])


def refusal(*arguments: str, capsys) -> str:
    """The one line with which a command line is refused."""
    assert main(list(arguments)) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("trainer: ") and printed.count("\n") == 1, printed
    return printed.removeprefix("trainer: ").strip()


def test_help_settings_and_hints_read_an_own_technique_and_run_nothing(mine, capsys):
    assert main(["--techniques", "mine", "--help", "optimizer=lynx"]) == 0
    shown = capsys.readouterr().out
    assert "The sign of a momentum. (yours: mine/optimizer.py)" in " ".join(shown.split())
    assert "optimizer.betas=[0.9,0.99]" in shown and "a number above 0" in shown
    assert main(["--help", "--techniques=mine"]) == 0 and "  lynx " in capsys.readouterr().out
    assert main(["--techniques=mine", "--cfg", "job", "optimizer=lynx", "optimizer.scale=2"]) == 0
    assert "optimizer:\n  name: lynx\n  betas:\n  - 0.9\n  - 0.99\n  scale: 2\n" in capsys.readouterr().out
    typed = ["--techniques=mine", "dataset=digits"]
    assert "Did you mean lynx?" in refusal(*typed, "optimizer=lnyx", capsys=capsys)
    assert refusal(*typed, "optimizer=lynx", "optimizer.scale=0", capsys=capsys) == (
        "optimizer.scale=0 (command line): must be a number above 0"
    )
    assert refusal(*typed, "optimizer=lynx", "optimizer.beta=0", capsys=capsys) == (
        "optimizer.beta (command line): lynx has no such option. Did you mean betas? Accepted: betas, scale"
    )
    assert "lr='fast'" in refusal("-m", *typed, "optimizer=lynx,adam", "lr=0.1,fast", capsys=capsys)
    assert not Path("imported").exists()
    with own("mine"):
        (run,) = compose(["optimizer=lynx"])
        run.optimizer.function()
    assert Path("imported").exists() and not list(Path("mine").glob("__pycache__"))


def test_without_the_flag_an_own_technique_is_none(mine, capsys):
    with own("mine"):
        (run,) = compose(["optimizer=lynx"])
    assert refusal("optimizer=lynx", capsys=capsys).startswith(
        "optimizer=lynx (command line): there is no such optimizer."
    )
    assert run.optimizer.own and active() == ()


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("nowhere", "--techniques nowhere (command line): there is no such folder or file"),
        ("", "--techniques  (command line): there is no such folder or file"),
        ("empty", "--techniques empty: holds no file of a group: dataset.py, preprocessing.py,"),
        (
            "mine/helpers.py",
            "--techniques mine/helpers.py: a file must have the name of a group: dataset.py, preprocessing.py,",
        ),
        ("pkg:no_such_package", "--techniques pkg:no_such_package (command line): there is no installed package"),
        ("pkg:a b", "--techniques pkg:a b (command line): there is no installed package a b"),
        ("run/techniques", "--techniques run/techniques: lies in the record of a run,"),
        ("study/deep/er", "--techniques study/deep/er: lies in the record of a study,"),
        ("pkg:run.techniques", "--techniques pkg:run.techniques: lies in the record of a run,"),
        ("run/link", "--techniques run/link: lies in the record of a run,"),
        ("link", "--techniques link: lies in the record of a run,"),
        ("part/techniques", "--techniques part/techniques: lies in the record of a run,"),
        ("moved/optimizer.py", "--techniques moved/optimizer.py: lies in the record of a run's techniques,"),
    ],
)
def test_a_place_that_brings_no_techniques_is_refused(mine, capsys, monkeypatch, typed, sentence):
    monkeypatch.syspath_prepend(Path.cwd())
    Path("empty").mkdir()
    for folder, name in (("run/techniques", "../environment.json"), ("study/deep/er", "../../study.json")):
        write(folder, optimizer=LYNX, helpers=HELPERS)
        Path(folder, name).write_text("[]")
    for folder in ("part/techniques", "moved"):
        write(folder, optimizer=LYNX, helpers=HELPERS)
        Path(folder, "index.json").touch()
    for file in ("run/config.yaml", "part/config.yaml", "moved/optimizer.py.txt"):
        Path(file).touch()
    Path("run/link").symlink_to(Path("mine").absolute())
    Path("link").symlink_to("run/techniques")
    assert refusal("--techniques", typed, "optimizer=lynx", capsys=capsys).startswith(sentence)


def test_the_flag_needs_a_value(in_empty_folder, capsys):
    assert refusal("optimizer=adam", "--techniques", capsys=capsys) == (
        "--techniques (command line): needs a folder, a file such as optimizer.py, or pkg:NAME"
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("def adam(params, lr, weight_decay): ...", "line 1: optimizer=adam is one of the project's: rename yours"),
        (
            "def lynx(params, lr): ...",
            "line 1: lynx must be a function of (params, lr, weight_decay, *, …): the trainer",
        ),
        (
            "def lynx(params, lr, weight_decay, beta=1): ...",
            "line 1: lynx must be a function of (params, lr, weight_dec",
        ),
        ("async def lynx(params, lr, weight_decay): ...", "line 1: lynx must be a function of"),
        (
            "\ndef lynx(params, lr, weight_decay, *, milestones: list[int]): ...",
            "line 2: milestones of lynx: list[int] is not a type of an option. Accepted: Count,",
        ),
        ("def lynx(params, lr, weight_decay, *, a: Literal[x]): ...", "line 1: a of lynx:"),
        (
            "def lynx(params, lr, weight_decay, *, a): ...",
            "line 1: a of lynx: an option needs a type. Accepted: Count,",
        ),
        (
            "def lynx(params, lr, weight_decay, *, a: int = f()): ...",
            "line 1: a of lynx: its default must be a plain value",
        ),
        (
            "def lynx(params, lr, weight_decay, *, scale: Positive = 0): ...",
            "line 1: lynx: scale=0 by default, which must be a number above 0",
        ),
        (
            "def lynx(params, lr, weight_decay, *, name: str = 'x'): ...",
            "line 1: lynx: name is a setting that every optimizer has: call yours otherwise",
        ),
        ("def lynx(:", "line 1: invalid syntax"),
        ("def lynx(params, lr, weight_decay, *, a: Literal[()]): ...", "line 1: a of lynx: Literal[()] is not a type"),
        (
            "def lynx(params, lr, weight_decay, *, a: int = {[]: 1}): ...",
            "line 1: a of lynx: its default must be a plain value, not {[]: 1}",
        ),
        (f"x = {'-' * 5000}1", "an expression is nested more than 100 deep"),
        (f"x = {'+'.join('1' * 5000)}", "an expression is nested more than 100 deep"),
        ("x = '\0'", "source code string cannot contain null bytes"),
        (
            "import helpers\n",
            "line 1: a file of the same folder is imported with a dot: from . import helpers, or from .helpers",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_told_with_its_line(in_empty_folder, capsys, text, sentence):
    write("mine", optimizer=text, helpers=HELPERS)
    for arguments in (["optimizer=lynx"], ["--help", "optimizer"]):
        place = "mine/optimizer.py, " if sentence.startswith("line") else "mine/optimizer.py: "
        assert refusal("--techniques=mine", *arguments, capsys=capsys).startswith(place + sentence)


def test_two_places_may_not_have_the_same_technique(mine, capsys):
    write("yours", optimizer=LYNX, helpers=HELPERS)
    assert refusal("--techniques=mine", "--techniques=yours", "optimizer=lynx", capsys=capsys) == (
        "yours/optimizer.py, line 13: optimizer=lynx is in mine/optimizer.py, line 13, too: rename one"
    )


def test_a_single_file_and_a_package_bring_techniques_as_well(mine, monkeypatch, capsys):
    Path("mine/optimizer.py").write_text("\ufeff" + LYNX)  # as some editors begin a file
    write("alone", activation='import torch\nfrom trainer.techniques.activation import Activation\n\n\ndef cube():\n'
          '    """The cube."""\n    return Activation(torch.nn.Identity, gain=1.0)\n')  # fmt: skip
    write("site/my_package", __init__="", scheduler="def flat(lr, epochs):\n    return lambda epoch: lr\n")
    monkeypatch.syspath_prepend(Path("site").absolute())
    with own("alone/activation.py", "pkg:my_package", "mine"):
        (run,) = compose(["activation=cube", "scheduler=flat", "optimizer=lynx"])
        assert run.scheduler.function()(0.1, 3)(2.0) == 0.1
        assert run.activation.function()().gain == 1.0


def test_an_own_yaml_gives_other_defaults_and_experiments(mine, capsys):
    Path("mine/conf/optimizer").mkdir(parents=True)
    Path("mine/conf/experiment").mkdir()
    Path("mine/conf/optimizer/lynx.yaml").write_text(
        "# The sign, slower.\nname: lynx\nbetas: [0.5, 0.9]  # decay rates\n"
    )
    Path("mine/conf/optimizer/fast_adam.yaml").write_text("name: adam\nbetas: [0.5, 0.9]\n")
    Path("mine/conf/optimizer/lost.yaml").write_text("name: lost\n")
    Path("mine/conf/experiment/own.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /optimizer: lynx\nlr: 0.125\n"
    )
    with own("mine"):
        (run,) = compose(["experiment=own"])
        assert (run.optimizer.name, run.optimizer.options, run.lr) == (
            "lynx",
            {"betas": (0.5, 0.9), "scale": 1.0},
            0.125,
        )
        (run,) = compose(["optimizer=fast_adam"])
        assert (run.optimizer.name, run.optimizer.options["betas"]) == ("adam", (0.5, 0.9))
    assert main(["--techniques=mine", "--help", "optimizer=lynx"]) == 0 and "slower" in capsys.readouterr().out
    assert refusal("--techniques=mine", "optimizer=lost", capsys=capsys).startswith(
        "optimizer=lost (mine/conf/optimizer/lost.yaml, line 1): trainer/techniques/optimizer.py and mine/optimizer.py"
        " has no function lost."
    )


def test_other_files_of_the_same_folder_are_another_module_in_the_same_process(mine):
    def update() -> float:
        with own("mine"):
            (run,) = compose(["optimizer=lynx"])
        weight = torch.zeros(1, requires_grad=True)
        weight.grad = torch.ones(1)
        run.optimizer.function()([{"params": [weight]}], 1.0, 0.0).step()
        return weight.item()

    assert update() == -1.0
    write("mine", helpers="def sign(values):\n    return 2 * values.sign()\n")
    assert update() == -2.0


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("- a\n", "must be lines of key: value"),
        ("name: lynx\n\tbetas: 1\n", ", line 2: found character '\\t' that cannot start any token"),
        ("name: !!python/object/apply:os.system [x]\n", ", line 1: could not determine a constructor"),
        ("name: \udcff\n", "must be a text in UTF-8 (invalid start byte at byte 6)"),
    ],
)
def test_a_yaml_file_that_cannot_be_read_is_told_by_help_in_one_line(mine, capsys, text, sentence):
    file = Path("mine/conf/optimizer/lynx.yaml")
    file.parent.mkdir(parents=True)
    file.write_bytes(text.encode(errors="surrogateescape"))
    told = refusal("--techniques=mine", "--help", "optimizer=lynx", capsys=capsys)
    assert told.startswith(str(file.absolute())) and sentence in told


def test_odd_files_beside_a_technique_do_no_harm(mine, capsys):
    write(".", mine="raise SystemExit('the file beside the folder is run')\n", time="")
    write("mine", optimizer="import time\nfrom . import helpers\n" + LYNX, time="")  # time is of Python, not this file
    Path("mine/conf/optimizer/lynx.yaml").mkdir(parents=True)
    os.mkfifo("mine/conf/optimizer/pipe.yaml")
    os.mkfifo("mine/model.py")
    write("new\nline", optimizer=LYNX.replace("lynx(", "puma("), helpers=HELPERS)
    assert main(["--techniques=mine", "--techniques=new\nline", "--help", "optimizer"]) == 0
    assert "(yours: new?line/optimizer.py)" in " ".join(capsys.readouterr().out.split())
    with own("mine"):
        (run,) = compose(["optimizer=lynx"])
        run.optimizer.function()


@pytest.mark.parametrize("where", ["", "    "])
def test_a_technique_that_leaves_the_program_is_a_mistake(in_empty_folder, where):
    text = f"import sys\n\n\ndef lynx(params, lr, weight_decay):\n    pass\n{where}sys.exit(0)\n"
    write("mine", optimizer=text)
    with own("mine"):
        (run,) = compose(["optimizer=lynx"])
        with pytest.raises(ConfigError, match=r"^mine/optimizer.py, line 6: (optimizer=lynx: )?SystemExit: 0$"):
            run.optimizer.function()([], 0.1, 0.0)


def test_a_technique_that_fails_at_import_is_told_in_one_line(in_empty_folder):
    write("mine", optimizer="import torch\n\nWIDTH = 1 / 0\n\n\ndef lynx(params, lr, weight_decay): ...\n")
    with own("mine"):
        (run,) = compose(["optimizer=lynx"])
        with pytest.raises(ConfigError, match=r"^mine/optimizer.py, line 3: ZeroDivisionError: division by zero$"):
            run.optimizer.function()


def test_the_hash_of_a_technique_covers_what_it_reaches_and_no_more(mine):
    def hashed(name: str = "lynx") -> str:
        with own("mine"):
            return technique_hash("optimizer", name)

    first = hashed()
    write("mine", optimizer=LYNX + "\n\ndef other(params, lr, weight_decay):\n    return lr\n")
    assert hashed() == first and hashed("other") != first
    write("mine", optimizer=LYNX.replace("The sign of a momentum.", "Another sentence."))
    assert hashed() == first
    write("mine", optimizer=LYNX.replace("scale: Positive = 1.0", "scale: Positive = 2.0"))
    assert hashed() != first
    write("mine", optimizer=LYNX.replace("values.sign", "values.sin"), helpers=HELPERS.replace("sign()", "sin()"))
    assert hashed() != first
    write("mine", optimizer=LYNX + "\ntorch.manual_seed(1)\n", helpers=HELPERS)  # runs whatever is called
    assert hashed() != first
    before = technique_hash("model", "resnet9")
    assert before == technique_hash("model", "resnet9") != technique_hash("model", "mlp")


def test_definitions_that_only_a_name_in_a_text_can_reach_count_all(in_empty_folder):
    write("mine", optimizer="def one(params, lr, weight_decay):\n    return globals()['two']\n\n\ndef two(params, lr,"
          " weight_decay): ...\n")  # fmt: skip
    with own("mine"):
        reach = Reach()
        reach.add(f"{active()[0].package}.optimizer", "one")
        assert set(*reach.found.values()) == {"one", "two", "*"}


USES = "def lynx(params, lr, weight_decay):\n    return _f(params)\n"
RETURN = "\n\ndef _f(p):\n    return"
REGISTER = "LIST = []\n\n\ndef _register(function):\n    LIST.append(function)\n    return function\n"
BASE = "class Base:\n    known = []\n\n    def __init_subclass__(cls):\n        Base.known.append(cls)\n"


@pytest.mark.parametrize(
    ("optimizer", "helpers", "was", "becomes"),
    [
        ("from torch import einsum\n\n\ndef _f(p):\n    return einsum('a b, b -> a', p, p)\n", "", "-> a", "-> b"),
        (f"from . import helpers\n{RETURN} 0\n", "from . import other\nother.X = 1\n", "= 1", "= 2"),
        ("from .helpers import f as _f\n", "def __getattr__(name):\n    return lambda p: 1\n", ": 1", ": 2"),
        ("from .helpers import act\n\n\ndef _f(p):\n    return act\n", "from torch import sin as act\n", "sin", "cos"),
        (f"from . import helpers\n{RETURN} helpers.act\n", "from torch import sin as act\n", "sin", "cos"),
        ("from torch import sin as g\n\nT = {}\nT[0] = g\n\n\ndef _f(p):\n    return T\n", "", "sin", "cos"),
        (f"{REGISTER}\n\n@_register\ndef _g():\n    return 1\n{RETURN} LIST\n", "", "return 1", "return 2"),
        (
            f"from .helpers import LIST, _register\n\n\n@_register\ndef _g():\n    return 1\n{RETURN} LIST\n",
            REGISTER,
            "return 1",
            "return 2",
        ),
        (f"{BASE}\n\nclass _Sub(Base):\n    x = 1\n\n\ndef _f(p):\n    return Base.known\n", "", "x = 1", "x = 2"),
        ("A = (B := 1)\n\n\ndef _f(p):\n    return B\n", "", "= 1", "= 2"),
    ],
)  # fmt: skip
def test_the_hash_sees_what_reaches_a_result_by_a_side_way(in_empty_folder, optimizer, helpers, was, becomes):
    hashes = []
    for old, new in (("", ""), (was, becomes)):
        texts = [text.replace(old, new) if old else text for text in (optimizer, helpers)]
        write("mine", optimizer=texts[0] + USES, helpers=texts[1], other="")
        with own("mine"):
            hashes.append(technique_hash("optimizer", "lynx"))
    assert hashes[0] != hashes[1]


def test_the_hash_sees_every_module_that_is_imported_under_one_name(in_empty_folder, monkeypatch):
    monkeypatch.syspath_prepend(Path("site").absolute())
    hashes = []
    for value in (1, 2):
        text = "import package_of_mine.a\nimport package_of_mine.b\n\n\ndef _f(p):\n    return package_of_mine.a.X\n"
        write("site/package_of_mine", __init__="", optimizer=text + USES, a=f"X = {value}\n", b="")
        with own("pkg:package_of_mine"):
            hashes.append(technique_hash("optimizer", "lynx"))
    assert hashes[0] != hashes[1] and _version("sklearn") == version("scikit-learn")


def test_what_a_person_alone_reads_changes_no_hash(in_empty_folder):
    told = "def _f(p):\n    '''A text.'''\n    print('A text', p)\n    assert p, 'A text'\n"
    told += "    raise ValueError('A text')\n"
    unused = f"{REGISTER}\n\n@_register\ndef _g():\n    return 'A text'\n\n\n"
    hashes = []
    for text in (told, told.replace("A text", "Other words"), "# A comment.\nimport json\n" + told, unused + told):
        write("mine", optimizer=text + USES)
        with own("mine"):
            hashes.append(technique_hash("optimizer", "lynx"))
    assert len(set(hashes)) == 1
