"""The YAML files of each group's options: those of `conf/`, of one's own folders, and of own functions without one.

The YAML of a function without a file is made from its signature: the name, and the defaults of its options. Imports no
torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.config.own import active
from trainer.config.schema import CONF, GROUPS, REQUIRED, OwnFunction, own_functions, shared_parameters
from trainer.errors import printable


@dataclass(frozen=True)
class SignatureFile:
    """The YAML of an own function, in place of a file."""

    group: str
    function: OwnFunction

    @property
    def stem(self) -> str:
        """The name of the option."""
        return self.function.name

    def read_text(self, encoding: str = "utf-8") -> str:
        """Return the YAML: a comment with the purpose and the place, the name, and the default of each option."""
        import yaml

        options = {
            key: "???" if default is REQUIRED else list(default) if isinstance(default, tuple) else default
            for key, (_, default) in {**self.function.parameters, **shared_parameters(self.group)}.items()
        }
        name, listed = self.function.name, GROUPS[self.group].listed
        tree: dict[str, Any] = {name: options} if listed else {"name": name, **options}
        file = printable(self.function.place.partition(", line ")[0])
        first = (self.function.purpose or "No docstring").replace("\n", " ")
        return f"# {first} (yours: {file})\n{yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)}"


OptionFile = Path | SignatureFile


def own_conf() -> list[Path]:
    """Return the folders of YAML files of the own techniques."""
    return [each.conf for each in active() if each.conf]


def option_files(group: str, config_dir: Path | None = None) -> dict[str, OptionFile]:
    """Return {option: its file} by name; a file of `conf/` goes first, as in a composition."""
    folders = [*([] if config_dir is None else [config_dir]), *own_conf(), CONF]
    files: dict[str, OptionFile] = dict(signature_files(group, folders))
    files.update({file.stem: file for folder in folders for file in (folder / group).glob("*.yaml") if file.is_file()})
    return dict(sorted(files.items()))


def signature_files(group: str, folders: Sequence[Path]) -> dict[str, SignatureFile]:
    """Return {option: the YAML of its signature} of own functions that have no file in these folders."""
    if not active() or group not in GROUPS:
        return {}
    return {
        name: SignatureFile(group, function)
        for name, (_, function) in own_functions(group).items()
        if not any((folder / group / f"{name}.yaml").is_file() for folder in folders)
    }
