"""The import of own techniques, when the first run is built: from the text that was read, checked and hashed."""

import sys
from importlib import import_module
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType
from typing import Any

from trainer.config.own import OwnModule, OwnTechniques
from trainer.errors import ConfigError


class _Texts(MetaPathFinder):
    """The finder of packages that consist of texts, by the name of their package."""

    def __init__(self) -> None:
        self.packages: dict[str, OwnTechniques] = {}

    def find_spec(self, fullname: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return how a module of an own package is made; None for all others."""
        own = self.packages.get(fullname.partition(".")[0])
        if own is None:
            return None
        if (module := own.modules.get(fullname)) is None:
            folder = any(name.startswith(f"{fullname}.") for name in own.modules)
            return ModuleSpec(fullname, None, is_package=True) if folder else None  # a namespace: it runs nothing
        return ModuleSpec(fullname, _Loader(module), origin=str(module.path), is_package=module.is_package)


class _Loader(InspectLoader):
    """A loader of one text, which writes no `__pycache__` beside the file."""

    def __init__(self, module: OwnModule) -> None:
        self.module = module

    def is_package(self, fullname: str) -> bool:
        """Return whether the file is the `__init__.py` of a folder."""
        return self.module.is_package

    def get_source(self, fullname: str) -> str:
        """Return the text."""
        return self.module.text

    def get_code(self, fullname: str) -> CodeType:
        """Return the compiled text, whose tracebacks name the file."""
        return compile(self.module.text, str(self.module.path), "exec", dont_inherit=True)


_FINDER = _Texts()


def load(own: OwnTechniques, group: str, name: str) -> Any:
    """Return an own function, importing its file if that has not been done. Raises ConfigError with one line."""
    if not own.installed:
        _FINDER.packages[own.package] = own
        if _FINDER not in sys.meta_path:
            sys.meta_path.append(_FINDER)
    module = own.groups[group]
    try:
        return getattr(import_module(module.name), name)
    except (Exception, SystemExit) as error:
        reason = described(error).replace(f"{own.package}.", ".").replace(" (unknown location)", "")
        reason = reason.replace(f"'{own.package}'", "'.'")
        raise ConfigError(f"{place_of(error, own) or module.shown}: {reason}") from None


def forget() -> None:
    """Let the next run import own techniques anew, whose modules may hold what an earlier run has left in them."""
    for name in [name for name in sys.modules if name.partition(".")[0] in _FINDER.packages]:
        del sys.modules[name]


def described(error: BaseException) -> str:
    """Return the type and the first line of an error."""
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}".rstrip(": ")


def place_of(error: BaseException, own: OwnTechniques) -> str:
    """Return "mine/model.py, line 12", the innermost line of own code that an error passed through, or ""."""
    files, place, trace = {str(each.path): each.shown for each in own.modules.values()}, "", error.__traceback__
    while trace:
        shown = files.get(trace.tb_frame.f_code.co_filename)
        place = f"{shown}, line {trace.tb_lineno}" if shown else place
        trace = trace.tb_next
    return place
