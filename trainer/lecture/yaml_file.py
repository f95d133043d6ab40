"""A YAML file of a course: plain values, each key once. Imports no torch."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from trainer.errors import ConfigError, reason_of


class _Loader(yaml.SafeLoader):
    """Plain values only; a key that stands twice is a mistake, as its first value would be lost."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode) and key.value in lines:
                told = f"{key.value} is given twice, in line {lines[key.value]} and here. Give it once"
                raise yaml.MarkedYAMLError(problem=told, problem_mark=key.start_mark)
            lines[key.value if isinstance(key, yaml.ScalarNode) else ""] = line
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> Any:
    """Return what a YAML file holds. Raises ConfigError with the line of a mistake."""
    try:
        return _Loader(path.read_text(encoding="utf-8")).get_single_data()  # a safe loader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "is not YAML"
        raise ConfigError(f"{path}{place}: {problem}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: must be a text in UTF-8 ({error.reason} at byte {error.start})") from None
    except RecursionError:
        raise ConfigError(f"{path}: values nested too deep") from None
    except (OSError, ValueError) as error:  # a ValueError: a date such as 2026-02-30
        raise ConfigError(f"{path}: cannot be read: {reason_of(error)}") from None
