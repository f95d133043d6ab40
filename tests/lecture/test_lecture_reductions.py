"""Reductions over a further setting: each number follows from a few values by a sum done in the head."""

import itertools
import math

import pytest

from trainer.errors import ConfigError
from trainer.lecture.measuring import reductions, searches
from trainer.lecture.named import Named, functions, measures_of, unit_of

INF, NAN = math.inf, math.nan
RATES = {"0.001": 30.0, "0.01": 90.0, "0.1": 80.0, "1": 10.0}


@pytest.mark.parametrize(
    ("reduction", "value"),
    [
        ("spread", 80),
        ("best", 90),
        ({"take": "best", "lowest": True}, 10),
        ("worst", 10),
        ({"take": "worst", "lowest": True}, 90),
        ("mean", 52.5),
        ("median", 55),
        ("best_minus_median", 35),
        ({"take": "best_minus_median", "lowest": True}, 45),
        ({"take": "at", "value": 0.01}, 90),
        ({"take": "at", "value": "1e-3"}, 30),
        ({"take": "difference", "first": 0.1, "second": 0.001}, 50),
        ("last_minus_first", -20),
        ("last_below_best", 80),
        ({"take": "largest_reaching", "least": 80}, -1),
        ({"take": "largest_reaching", "least": 10}, 0),
        ({"take": "largest_reaching", "least": 91}, -4),
        ({"take": "largest_within", "points": 10}, -1),
        ({"take": "largest_within", "points": 9.5}, -2),
        ({"take": "share_reaching", "least": 80}, 50),
        ("rank_correlation", -0.4),
        ("slope_log", (3 * math.log10(1 / 3) + math.log10(8 / 9)) / 10),
    ],
    ids=str,
)
def test_a_reduction_of_four_rates(reduction, value):
    assert Named.model_validate(reduction).call("reduction", RATES) == pytest.approx(value)


def test_every_reduction_is_nan_where_a_value_is():
    options = {
        "at": {"value": 1},
        "difference": {"first": 1, "second": 1},
        "largest_reaching": {"least": 1},
        "largest_within": {"points": 1},
        "share_reaching": {"least": 1},
        "random_minus_grid": {"side": 1},
        "coarse_to_fine_minus_grid": {"trials": 4},
        "border_minus_inside": {"width": 1},
    }
    for name in functions("reduction"):
        beside = [{"1": 2.0}] if measures_of(name) == 2 else []
        for values in ({"1": 2.0, "2": NAN}, {}):
            found = Named(take=name, **options.get(name, {})).call("reduction", values, *beside)
            assert math.isnan(found), name


def test_only_reductions_of_their_own_unit_name_one():
    named = {name: unit_of("reduction", name) for name in functions("reduction")}
    assert {name: unit for name, unit in named.items() if unit} == {
        "largest_reaching": "decades",
        "largest_within": "decades",
        "share_reaching": "points",
        "border_minus_inside": "points",
    }


def test_never_counts_as_larger_than_every_number():
    some, none = {"1": 3.0, "2": INF, "3": 5.0}, {"1": INF, "2": INF}
    assert reductions.spread(some) == reductions.mean(some) == reductions.best(some) == INF
    assert reductions.best(some, lowest=True) == 3
    assert reductions.median(some) == 5
    assert reductions.difference(some, first=2, second=1) == INF
    assert reductions.difference(some, first=1, second=2) == -INF
    assert reductions.rank_correlation(some) == 0.5
    assert reductions.share_reaching(some, least=5) == pytest.approx(200 / 3)
    assert math.isnan(reductions.slope_log(some))
    assert reductions.spread(none) == reductions.last_minus_first(none) == 0
    assert reductions.best_minus_median(none) == reductions.difference(none, first=1, second=2) == 0


def test_the_largest_rate_where_none_reaches_it_is_a_step_below_the_axis():
    assert reductions.largest_reaching({"0.01": 1.0, "0.1": 2.0}, least=3) == pytest.approx(-3)
    assert reductions.largest_reaching({"0.1": 2.0, "0.01": 1.0}, least=3) == pytest.approx(-3)
    assert reductions.largest_reaching({"0.01": 1.0}, least=3) == pytest.approx(-3)
    assert reductions.largest_reaching({"1": 1.0, "4": 1.0}, least=3) == pytest.approx(-math.log10(4))


def test_settings_without_a_size_are_ranked_by_their_place():
    assert reductions.rank_correlation({"small": 1.0, "middle": 2.0, "large": 5.0}) == pytest.approx(1)
    assert reductions.rank_correlation({"10": 1.0, "2": 2.0, "1": 3.0}) == pytest.approx(-1)
    assert reductions.rank_correlation({"1": 3.0, "2": 3.0}) == 0
    # Ranks 1, 2, 3, 4 against 1½, 1½, 3, 4: the sums of products of their deviations are 4.5, 5 and 4.5.
    ties = {"1": 0.0, "2": 0.0, "3": 1.0, "4": 9.0}
    assert reductions.rank_correlation(ties) == pytest.approx(4.5 / math.sqrt(5 * 4.5))


def test_the_slope_is_the_exponent_of_a_power_law():
    assert reductions.slope_log({str(n): 7 * n**-1.5 for n in (1, 4, 16, 100)}) == pytest.approx(-1.5)
    assert math.isnan(reductions.slope_log({"1": 1.0, "2": 0.0}))
    assert math.isnan(reductions.slope_log({"1": 1.0}))


def test_a_switch_is_named_as_in_yaml():
    assert reductions.difference({"false": 1.0, "true": 4.0}, first=True, second=False) == 3


@pytest.mark.parametrize(
    ("reduction", "values", "told"),
    [
        ({"take": "at", "value": 2}, RATES, "2: no value of the setting. There are: 0.001, 0.01, 0.1, 1"),
        ({"take": "at", "value": "adam"}, {"sgd": 1.0}, "adam: no value of the setting. There are: sgd"),
        ("slope_log", {"adam": 1.0}, "adam: must be a number"),
        ({"take": "largest_reaching", "least": 1}, {"0": 1.0, "1": 1.0}, "0: must be above 0"),
        ({"take": "random_minus_grid", "side": 1}, RATES, "the settings must be pairs"),
        ({"take": "random_minus_grid", "side": 1}, {"a=1 b=1": 1.0, "a=2 b=2": 1.0}, "a=1 b=2 is not"),
        ({"take": "random_minus_grid", "side": 2}, {"a=1 b=1": 1.0}, "side=2: must be from 1 to 1"),
    ],
    ids=str,
)
def test_a_setting_that_does_not_suit_is_one_line(reduction, values, told):
    with pytest.raises(ConfigError) as caught:
        Named.model_validate(reduction).call("reduction", values)
    assert told in str(caught.value)


def test_a_pick_is_worth_less_on_fresh_data_than_on_the_data_that_picked_it():
    train, fresh = {"a": 99.0, "b": 98.0, "c": 97.0}, {"a": 80.0, "b": 91.0, "c": 90.0}
    assert searches.optimism(train, fresh) == 19
    assert searches.picked(train, fresh) == 80
    assert searches.picked(fresh, fresh) == 91
    assert searches.optimism({"a": 1.0, "b": 1.0}, {"a": 0.5, "b": 0.0}) == 0.5  # the first of equal ones


def surface(rows, columns, value):
    return {f"lr={row} dropout={column}": value(row, column) for row in range(rows) for column in range(columns)}


def test_random_points_try_more_values_of_the_setting_that_matters():
    # Only lr matters, and one of its four values is right. A grid of 2 × 2 tries two of them, in two layouts;
    # four random points of 16 miss the right row in C(12, 4) of C(16, 4) choices.
    one = surface(4, 4, lambda row, column: float(row == 2))
    assert searches.random_minus_grid(one, side=2) == pytest.approx(1 - math.comb(12, 4) / math.comb(16, 4) - 0.5)


def test_the_expected_best_of_random_points_is_that_of_all_choices():
    values = surface(3, 4, lambda row, column: float((7 * row + 5 * column) % 11))
    choices = list(itertools.combinations(values.values(), 4))
    # Of three rows the step is 1 (two layouts), of four columns 2 (two layouts).
    grids = [
        max(values[f"lr={row} dropout={column}"] for row in (top, top + 1) for column in (left, left + 2))
        for top in (0, 1)
        for left in (0, 1)
    ]
    expected = sum(map(max, choices)) / len(choices) - sum(grids) / 4
    assert searches.random_minus_grid(values, side=2) == pytest.approx(expected)


def test_one_point_is_as_good_by_chance_as_on_a_grid():
    values = surface(3, 3, lambda row, column: float(row + column))
    assert searches.random_minus_grid(values, side=1) == pytest.approx(0)


def test_a_pick_by_both_parts_does_not_count_which_of_them_is_the_easier():
    first, second = {"a": 90.0, "b": 92.0}, {"a": 82.0, "b": 81.0}  # picks b, 11 better; the other way a, 8 worse
    assert searches.optimism(first, second, both_ways=True) == (11 - 8) / 2


def test_a_search_in_two_stages_finds_what_an_even_grid_leaves_out():
    # A peak at place 6 of 9: two trials at places 0 and 4, 1 and 5, …, then two more on both sides of the better one.
    peak = {str(place): -abs(place - 6.0) for place in range(9)}
    grids = [[0, 2, 4, 6], [1, 3, 5, 7], [2, 4, 6, 8]]
    searched = [[0, 4, 3, 5], [1, 5, 4, 6], [2, 6, 5, 7], [3, 7, 6, 7], [4, 8, 5, 7]]
    best = [max(peak[str(place)] for place in places) for places in grids]
    found = [max(peak[str(place)] for place in places) for places in searched]
    expected = sum(found) / len(found) - sum(best) / len(best)
    assert searches.coarse_to_fine_minus_grid(peak, peak, trials=4) == pytest.approx(expected)
    flat = dict.fromkeys(peak, 50.0)
    assert searches.coarse_to_fine_minus_grid(peak, flat, trials=4) == 0
    with pytest.raises(ConfigError, match="trials=10: must be from 4 to 9"):
        searches.coarse_to_fine_minus_grid(peak, peak, trials=10)


def test_a_best_value_on_a_border_has_a_better_one_beyond():
    # Ranges of three around a peak in the middle: on its slopes the best is on the border, at the peak it is inside.
    slope = {str(place): -abs(place - 3.0) for place in range(7)}
    assert searches.border_minus_inside(slope, width=3) == pytest.approx(100 * (2 / 4))
    assert math.isnan(searches.border_minus_inside({"1": 1.0, "2": 2.0, "3": 3.0}, width=2))
