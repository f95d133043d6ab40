"""The Markdown page of scripts/gpu_check.py, made of its JSON."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

Row = Sequence[str]


def page(content: dict[str, Any]) -> str:
    """Return the page: the machine, then a section for each part; a part without results is said to be not measured."""
    machine, parts = content["machine"], content["parts"]
    lines = ["## One GPU", "", _table(("", ""), machine.items()), ""]
    sections: dict[str, Callable[[Any], str]] = {
        "tests": _tests,
        "steps": _steps,
        "studies": _studies,
        "contenders": _contenders,
        "recipe": _recipe,
        "recipe on the test set": _final,
    }
    for name, section in sections.items():
        part = parts.get(name)
        lines += [f"### {name.capitalize()}", ""]
        if part is None:
            lines += ["Not measured.", ""]
            continue
        lines += [f"{part['state']}; {part['seconds']:.0f} s", ""]
        try:
            text = section(part["result"]) if part["result"] else "Not measured."
        except (LookupError, TypeError, ValueError, ArithmeticError) as error:  # the other parts are shown all the same
            text = f"Not shown ({type(error).__name__}: {error}); the JSON file has what was measured."
        lines += [text, ""]
    return "\n".join(lines)


def _table(titles: Row, rows: Iterable[Sequence[Any]]) -> str:
    lines = [list(titles), ["---"] * len(titles), *([str(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _tests(result: dict[str, Any]) -> str:
    passed = result["tests"] - result["failures"] - result["errors"] - result["skipped"]
    counts = f"{passed} passed, {result['failures'] + result['errors']} failed, {result['skipped']} skipped"
    return "\n".join([counts, "", *(f"* `{name}`: {' '.join(first)}" for name, first in result["failed"])])


def _steps(rows: list[dict[str, Any]]) -> str:
    def cells(row: dict[str, Any]) -> Row:
        place = [row[key] for key in ("network", "precision", "batch size", "way")]
        if "error" in row:
            return [*map(str, place), row["error"], "", "", "", "", ""]
        same = [
            other for other in rows if all(other[key] == row[key] for key in ("network", "precision", "batch size"))
        ]
        floor = next((other.get("milliseconds") for other in same if other["way"] == "floor"), None)
        gpu = [f"{row['launches']:.0f}", f"{row['kernels']:.0f}", f"{row['idle']:.0%}"] if "idle" in row else ["–"] * 3
        ratio = f"{row['milliseconds'] / floor:.2f}" if floor else "–"  # a floor that has failed
        time = f"{row['milliseconds']:.3f} [{row['lowest']:.3f}–{row['highest']:.3f}]"
        return [*map(str, place), time, ratio, f"{row['images a second']:.0f}", f"{row['seconds an epoch']:.2f}", *gpu]

    titles = "network, precision, batch size, way, ms a step, × floor, images/s, s an epoch, launches, kernels, idle"
    return _table(titles.split(", "), [cells(row) for row in rows])


def _studies(rows: list[dict[str, Any]]) -> str:
    def cells(row: dict[str, Any]) -> Row:
        first = next(other for other in rows if (other["runs"], other["size"]) == (row["runs"], row["size"]))
        same = "yes" if row["accuracies"] == first["accuracies"] else "no"
        result = row["error"] or f"{row['seconds']:.1f}"
        ratio = f"{first['seconds'] / row['seconds']:.2f}"
        return [str(row["runs"]), str(row["size"]), row["way"], result, ratio, same]

    titles = ("runs", "batch size", "way", "seconds of the command", "× as fast as the first", "the same accuracies")
    return _table(titles, [cells(row) for row in rows])


def _contenders(tables: list[dict[str, Any]]) -> str:
    rows = [
        [name, f"{seen['epoch']:.2f}", f"{seen['whole']:.1f}", f"{seen['start']:.1f}", f"{seen['accuracy']:.1%}"]
        for table in tables
        for name, seen in table["rounds"][0].items()
    ]
    return _table(("", "s an epoch", "s of the process", "s to the first step", "accuracy"), rows)


def _recipe(runs: list[dict[str, float]]) -> str:
    rows = [[str(seed), f"{run['seconds']:.2f}", f"{run['validation']:.2%}"] for seed, run in enumerate(runs)]
    return _table(("seed", "seconds of its epochs", "validation accuracy"), rows)


def _final(result: dict[str, Any]) -> str:
    seconds = [f"{run['seconds']:.2f}" for run in result["runs"]]
    rows = zip(range(len(seconds)), seconds, [f"{each:.2%}" for each in result["accuracies"]], strict=False)
    mean = f"{sum(result['accuracies']) / len(result['accuracies']):.2%}"
    return _table(("seed", "seconds of its epochs", "test accuracy"), [*rows, ("mean", "", mean)])
