"""What `test_fuzz.py` tries a little of and `scripts/fuzz.py` a lot: mutated input, and what may come of it.

Of each the outcome is right, or one line; whatever else is raised is a bug.
"""

from functools import cache
from pathlib import Path

import yaml
from conftest import compose, interpret
from fuzzing_files import (
    NO_FILE,
    READ,
    REFUSED,
    TINY,
    checkpoints,
    cifar_files,
    idx_files,
    mutated,
    one_line,
    pictures,
    try_checkpoint,
    try_cifar,
    try_idx,
    try_picture,
)
from hypothesis import strategies as st

from trainer.config.run_config import RunConfig
from trainer.config.schema import CONF, GROUPS
from trainer.errors import ConfigError
from trainer.study.plan import Plan

# The command line

# fmt: off
ODD = [
    *("", "null", "true", "0", "1", "-1", "2.5", "1e-3", "1e400", "nan", "inf", "-inf", "1" + 22 * "0", "0x1F"),
    *("[]", "{}", "[1,2]", "[a,a]", "{a:1}", "{a:{b:[c]}}", "[[[[[]]]]]", "???", "'", '"', "a b", "'a b'", "\\", "="),
    *("${lr}", "${oc.env:HOME}", "${oc.env:HOME,x}", "${nope}", "${", "${a:${b}}", "$(id)", "`id`", "%s", "~", "~/x"),
    *("../../x", "/etc/passwd", "os.system", "!!python/object:os.system", "adam", "none", "cifar10", "é中🙂", "a=b"),
    *("\x1b[2J", "\n", "\t", "\x00", "\u202e", "1,2", "range(3)", "range(1000000000)", "range(0,1,0)", "choice(a,b)"),
    *("interval(0,1)", "tag(log,interval(1e-4,1))", "tag(log,interval(0,1))", "interval(1,1)", "int(interval(1,9))"),
    *("glob(*)", "shuffle(range(5))", "sort(3,1)", "str(1)", "float(nan)", "extend_list(1)", "9" * 5000, "[" * 200),
]
FLAGS = ["-m", "--multirun", "--cfg", "job", "--resolve", "--nope", "-x", "--", "-", "--config-dir", "--package", "-p",
         "--config-dir=/nope", "-r", "--run", "-c", "hydra", "--info=nope", "--cfg=all", "-m=1", "--config-dir=conf"]
LEAVES = [None, True, -1, 0, 2.5, float("nan"), float("inf"), 10**30, "", "x", "${oc.env:HOME}", "\x1b[2J", [],
          {}, [[1]], {"a": 1}, ["a", "a"], "../../x", "os.system", "9" * 5000, {"name": "adam"},
          {"name": None}, [None] * 30]
# fmt: on


@cache
def keys() -> list[str]:
    tree = yaml.safe_load((CONF / "config.yaml").read_text())
    nested = [f"{key}.{option}" for key, value in tree.items() if isinstance(value, dict) for option in value]
    files = [(file.parent.name, yaml.safe_load(file.read_text()) or {}) for file in CONF.glob("*/*.yaml")]
    options = [f"{group}.{option}" for group, values in files if group in GROUPS for option in values]
    strange = [
        "",
        "a",
        "optimizer@x",
        "model.nope.deep",
        "hydra.run.dir",
        "hydra/launcher",
        "lr.x",
        "0",
        "a.",
        ".a",
        "[a]",
    ]
    return sorted({*tree, *nested, *GROUPS, "experiment", *options, *strange})


def settings() -> st.SearchStrategy[str]:
    chosen = [f"{file.parent.name}={file.stem}" for file in CONF.glob("*/*.yaml")]
    value = st.one_of(
        st.sampled_from(ODD),
        st.integers().map(str),
        st.floats().map(repr),
        st.text(max_size=8),
        st.lists(st.sampled_from(ODD), max_size=3).map(",".join),
        st.lists(st.integers(-3, 300), max_size=3).map(lambda each: str(each).replace(" ", "")),
    )
    prefix = st.sampled_from(["", "", "", "", "+", "++", "~", "+++", "-"])
    typed = st.builds(lambda start, key, value: f"{start}{key}={value}", prefix, st.sampled_from(keys()), value)
    return st.one_of(typed, typed, st.sampled_from(chosen), st.sampled_from(FLAGS), st.text(max_size=12))


def command_lines() -> st.SearchStrategy[list[str]]:
    return st.lists(settings(), min_size=1, max_size=5)


def try_command_line(arguments: list[str]) -> None:
    try:
        asked = interpret(arguments)
    except ConfigError as error:
        one_line(error)
    else:
        assert asked is None or isinstance(asked, RunConfig | Plan)


# The YAML of a run that goes on


def yaml_files() -> st.SearchStrategy[bytes]:
    (config,) = compose(TINY)
    tree = config.tree()
    places = [(key,) for key in tree] + [
        (key, option) for key in tree if isinstance(tree[key], dict) for option in tree[key]
    ]

    def changed(changes: list[tuple[tuple[str, ...], object]]) -> bytes:
        copy = yaml.safe_load(yaml.safe_dump(tree))
        for (*path, last), value in changes:
            node = copy
            for key in path:
                node = node[key] if isinstance(node, dict) and key in node else {}
            if isinstance(node, dict):
                node.pop(last, None) if value == "gone" else node.update({last: value})
        return yaml.safe_dump(copy).encode()

    extra = st.tuples(st.sampled_from([*places, ("nope",), ("wandb", "nope")]), st.sampled_from([*LEAVES, "gone"]))
    whole = yaml.safe_dump(tree).encode()
    bombs = b"".join(b"a%d: &a%d [*a%d, *a%d]\n" % (n, n, n - 1, n - 1) for n in range(1, 40))
    tags = [
        b"!!python/object/apply:os.system ['id']",
        b"lr: !!python/name:os.system ''",
        b"a0: &a0 [x]\n" + bombs,
        b"- 1",
    ]
    tags += [b"\xff\xfe", b"", b"[" * 5000, b"lr: 2001-01-01", b"? {a: 1}\n: 2", b"<<: *nope", b"a: !!set {b}", b"1: 2"]
    lines = st.lists(extra, min_size=1, max_size=3).map(changed)
    return st.one_of(
        lines, lines, mutated(whole), st.sampled_from(tags).map(lambda tag: whole + tag), st.sampled_from(tags)
    )


def try_yaml(content: bytes, folder: Path) -> None:
    (folder / "config.yaml").write_bytes(content)
    try_command_line([f"resume={folder}"])


TARGETS = {
    "yaml": (yaml_files, try_yaml),
    "checkpoint": (checkpoints, try_checkpoint),
    "idx": (idx_files, try_idx),
    "cifar": (cifar_files, try_cifar),
    "picture": (pictures, try_picture),
}
# Of these ends each is to come to a share of the examples, or what lies behind the first check is not tried.
ENDS = {
    "checkpoint": (NO_FILE, REFUSED, READ),
    "idx": (REFUSED, READ),
    "cifar": (REFUSED, READ),
    "picture": (REFUSED, READ),
}
