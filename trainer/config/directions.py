"""Which values of a figure are better, the higher or the lower ones. Imports no torch."""

import ast
from typing import Literal

from trainer.config.schema import definition, module_file, own_functions, techniques
from trainer.errors import ConfigError
from trainer.stats.times import TIMES

Direction = Literal["maximize", "minimize"]
ANNOTATIONS: dict[str, Direction] = {"Maximized": "maximize", "Minimized": "minimize"}
USUAL: dict[str, Direction] = {
    "validation_accuracy": "maximize",
    "validation_loss": "minimize",
    "validation_cross_entropy": "minimize",
}


def direction_of(figure: str) -> Direction | None:
    """Return what is better for a figure of the validation, None for one that is not known here.

    Raises ConfigError with file and line for a metric whose result is not annotated with it.
    """
    if figure in TIMES:
        return "minimize"
    name = figure.removeprefix("validation_")
    if figure in USUAL or figure == name or name not in techniques("metric"):
        return USUAL.get(figure)
    function, own = definition("metric", name), own_functions("metric")
    written = ast.unparse(function.returns) if function.returns else ""
    annotation = written.strip("\"'").rpartition(".")[2]  # "Maximized" or metric.Maximized
    if annotation not in ANNOTATIONS:
        place = own[name][1].place if name in own else f"{module_file('metric')}, line {function.lineno}"
        raise ConfigError(
            f"{place}: {name} must say which values are better by the annotation of its result:"
            f" -> {' or -> '.join(ANNOTATIONS)}"
        )
    return ANNOTATIONS[annotation]
