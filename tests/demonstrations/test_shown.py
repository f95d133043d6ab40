"""Each demonstration of the book: strict JSON that plotly accepts, and facts against an independent computation."""

import inspect
import json
import math

import plotly.graph_objects as go
import pytest

from trainer.demonstrations import shown

FUNCTIONS = dict(inspect.getmembers(shown, inspect.isfunction))
seen = {}


def result(name, **options):
    """Return the demonstration with its defaults, computed once for all tests."""
    if options:
        return FUNCTIONS[name](**options)
    if name not in seen:
        seen[name] = FUNCTIONS[name]()
    return seen[name]


def figures(name, place=0):
    return result(name).facts[place].figures


@pytest.mark.parametrize("name", FUNCTIONS)
def test_its_figures_are_strict_json_that_plotly_accepts(name):
    found = result(name)
    assert found.figures
    for each in found.figures:
        assert each.caption[-1] in ".:"
        text = json.dumps(each.figure, allow_nan=False)
        go.Figure(json.loads(text))  # refuses a property that plotly does not know
    for fact in found.facts:
        assert fact.sentence[-1] == "."
        assert all(math.isfinite(value) for value in fact.figures.values())


def test_a_grid_is_a_power():
    first, second = result("grid_cost", values=4, dimensions=3, minutes=30).facts
    assert first.figures == {"first": 4, "last": 64, "factor": 4}
    assert second.figures == {"hours": 8, "days": 64 * 30 / 1440, "one_at_a_time": 10}
    assert first.holds and second.holds
