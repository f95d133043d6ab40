"""`python -m trainer new GROUP NAME --techniques DIR`: a technique to fill in, which works as it is written."""

import ast
import builtins
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from keyword import iskeyword
from pathlib import Path

from trainer.cli.common import Parser, not_empty
from trainer.config.own import refuse_record
from trainer.config.schema import CONF, GROUPS, techniques
from trainer.config.shell import command
from trainer.config.suggestions import nearest
from trainer.errors import ConfigError
from trainer.runtime.console import say
from trainer.runtime.files import expanded, make_folder, write_text

TEMPLATES = Path(__file__).with_name("templates")
FOLDER = "folder of own techniques, made if it does not exist"

DESCRIPTION = """\
Write a technique to fill in: a function in DIR/GROUP.py and its settings in DIR/conf/GROUP/NAME.yaml.

It works as it is written, and is added at the end of a file that exists. Nothing is overwritten."""

EPILOG = f"""\
groups: {", ".join(GROUPS)}

examples:
  python -m trainer new optimizer tiger --techniques mine
  python -m trainer new metric cost --techniques mine

exit code 0: written. 2: the command is wrong, or the name is taken; nothing is written then."""


@dataclass(frozen=True)
class Template:
    """A technique under its new name. `imports`: statements; `body`: the function and what belongs to it."""

    purpose: str
    imports: tuple[ast.Import | ast.ImportFrom, ...]
    body: str
    yaml: str


def parser() -> Parser:
    """Return the parser of the command."""
    options = Parser("new", DESCRIPTION, EPILOG)
    options.add_argument("group", metavar="GROUP", help="such as optimizer, model or loss")
    options.add_argument("name", metavar="NAME", help="name of the function and of the option")
    options.add_argument("--techniques", type=not_empty, required=True, dest="folder", metavar="DIR", help=FOLDER)
    return options


def main(arguments: Sequence[str]) -> int:
    """Write the technique and print what to do next. Return 0."""
    given = parser().read(arguments)
    group, name, folder = given.group, given.name, expanded(given.folder)
    _refuse_words(group, name)
    refuse_record(given.folder, folder.absolute())
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--techniques {given.folder} (command line): must be a folder")
    file, settings = folder / f"{group}.py", folder / "conf" / group / f"{name}.yaml"
    if settings.exists():
        raise ConfigError(f"{settings}: exists; give the technique another name")
    template = _template(group, name)
    if name in dir(builtins) or name in _bound(ast.Module([*template.imports], [])):
        raise ConfigError(f"{name} (command line): has a meaning in Python or in the technique: give another name")
    text = _added(file, template, name) if file.exists() else _whole(template)
    for place, content in ((file, text), (settings, template.yaml)):
        make_folder(place.parent)
        write_text(place, content)
    line = next(node.lineno for node in ast.parse(text).body if isinstance(node, ast.FunctionDef) and node.name == name)
    say(f"Written: {file}, line {line}, and {settings}. Next:")
    own, chosen = f"--techniques={given.folder}", f"{group}=[{name}]" if GROUPS[group].listed else f"{group}={name}"
    data = [] if group == "dataset" else ["dataset=digits"]
    say(f"  {command('--help', f'{group}={name}', own)}")
    say(f"  {command('check-techniques', given.folder, name)}")
    say(f"  {command(*data, chosen, own)}")
    return 0


def _refuse_words(group: str, name: str) -> None:
    """Raise ConfigError for a group that does not exist, and for a name that is none or is taken."""
    if group not in GROUPS:
        near = nearest(group, GROUPS)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ConfigError(f"{group} (command line): there is no such group.{hint} Accepted: {', '.join(GROUPS)}")
    if not name.isidentifier() or not name.isascii() or iskeyword(name) or name.startswith("_"):
        raise ConfigError(
            f"{name} (command line): must be a name of Python, of letters, digits and _, which begins with a letter"
        )
    if name in techniques(group) or (CONF / group / f"{name}.yaml").exists():
        raise ConfigError(f"{name} (command line): {group}={name} is one of the project's: give another name")


def _template(group: str, name: str) -> Template:
    source = (TEMPLATES / f"{group}.py").read_text(encoding="utf-8")
    camel = "".join(part[:1].upper() + part[1:] for part in name.split("_"))
    source = re.sub(r"\b_Technique\b", f"_{camel}", re.sub(r"\btechnique\b", name, source))
    tree, lines = ast.parse(source), source.splitlines()
    imports = tuple(node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom))
    function = next(node for node in tree.body if isinstance(node, ast.FunctionDef))
    indent = "  " if GROUPS[group].listed else ""
    head = [f"# {(ast.get_docstring(function) or '').splitlines()[0]}", f"{name}:" if indent else f"name: {name}"]
    settings = [
        f"{indent}{argument.arg}: {ast.unparse(default)}  # {lines[argument.lineno - 1].partition('# ')[2]}"
        for argument, default in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
        if default
    ]
    body = "\n".join(lines[function.lineno - 1 :]) + "\n"
    return Template(ast.get_docstring(tree) or "", imports, body, "\n".join([*head, *settings]) + "\n")


def _whole(template: Template) -> str:
    """Return the text of a new file."""
    parts = ([node for node in template.imports if _is_standard(node) is standard] for standard in (True, False))
    imports = "\n\n".join("\n".join(map(ast.unparse, part)) for part in parts if part)
    return f'"""{template.purpose}"""\n\n{imports}\n\n\n{template.body}'


def _is_standard(node: ast.Import | ast.ImportFrom) -> bool:
    """Return whether an import is one of the standard library, which stand above all others."""
    name = node.module or "" if isinstance(node, ast.ImportFrom) else node.names[0].name
    return name.partition(".")[0] in sys.stdlib_module_names


def _added(file: Path, template: Template, name: str) -> str:
    """Return the text of a file with the technique at its end and the imports that it lacks.

    Raises ConfigError with the line for a file that is no Python, or that has one of the names already.
    """
    try:
        raw = file.read_bytes().decode("utf-8")
        text = raw.replace("\r\n", "\n")
        tree = ast.parse(text)
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise ConfigError(f"{file}{line}: {getattr(error, 'msg', error)}; mend it first") from None
    bound, body = _bound(tree), ast.parse(template.body).body
    defined = [node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    for each in defined:
        if each in bound:
            raise ConfigError(f"{file}, line {bound[each][1]}: {each} is there already: give another name than {name}")
    missing = list[str]()
    for node in template.imports:
        lacking = [alias for alias in node.names if not _is_bound(bound, node, alias, file)]
        if lacking:
            same = ast.Import(lacking) if isinstance(node, ast.Import) else ast.ImportFrom(node.module, lacking, 0)
            missing.append(ast.unparse(same))
    whole = _with_imports(text, tree, missing).rstrip("\n") + f"\n\n\n{template.body}"
    return whole.replace("\n", "\r\n") if "\r\n" in raw else whole


Bound = dict[str, tuple[str, int]]


def _bound(tree: ast.Module) -> Bound:
    """Return {name at the top level: (what it is imported as, or "" for a definition; line)}."""
    found: Bound = {}
    for node in tree.body:
        if isinstance(node, ast.Import):
            found |= {each.asname or each.name.partition(".")[0]: (each.name, node.lineno) for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {each.asname or each.name: (f"{node.module}.{each.name}", node.lineno) for each in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            found[node.name] = "", node.lineno
        else:
            stored = [each for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)]
            found |= {each.id: ("", node.lineno) for each in stored}
    return found


def _is_bound(bound: Bound, node: ast.Import | ast.ImportFrom, alias: ast.alias, file: Path) -> bool:
    """Return whether the file has an import already. Raises ConfigError if the name is another thing there."""
    name = alias.asname or alias.name
    if name not in bound:
        return False
    wanted = alias.name if isinstance(node, ast.Import) else f"{node.module}.{alias.name}"
    if bound[name][0].partition(".")[0] != wanted.partition(".")[0]:
        raise ConfigError(f"{file}, line {bound[name][1]}: {name} must be {wanted} in it, which a new technique needs")
    return True


def _with_imports(text: str, tree: ast.Module, missing: Sequence[str]) -> str:
    """Return the text with further imports: each joins the statement that imports from the same module, or follows."""
    lines = text.splitlines()
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    docstring = tree.body[:1] if ast.get_docstring(tree) is not None else []
    after = max((node.end_lineno or 0 for node in [*imports, *docstring]), default=0)
    follow = list[str]()
    changes = list[tuple[int, int, str]]()  # first line, last line, their new text
    for statement in missing:
        (new,) = ast.parse(statement).body
        same = [
            node
            for node in imports
            if isinstance(node, ast.ImportFrom) and isinstance(new, ast.ImportFrom) and node.module == new.module
            and not node.level and _is_alone(node, lines)
        ]  # fmt: skip
        if same:
            assert isinstance(new, ast.ImportFrom)
            names = sorted([*same[0].names, *new.names], key=lambda alias: alias.name)
            joined = ast.unparse(ast.ImportFrom(new.module, names, 0))
            changes.append((same[0].lineno, same[0].end_lineno or same[0].lineno, joined))
        else:
            follow.append(statement)
    head = [*([""] if after and not imports else []), *follow] if follow else []
    changes += [(after + 1, after, "\n".join(head))] if head else []
    for first, last, new_text in sorted(changes, reverse=True):
        lines[first - 1 : last] = new_text.splitlines()
    return "\n".join(lines)


def _is_alone(node: ast.stmt, lines: Sequence[str]) -> bool:
    """Return whether nothing else stands on the lines of a statement, neither a comment nor another statement."""
    own = lines[node.lineno - 1 : node.end_lineno]
    return node.col_offset == 0 and "#" not in "".join(own) and not own[-1][node.end_col_offset :].strip()
