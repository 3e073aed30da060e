import math

import pytest

from nncore.errors import InputError
from nncore.sweep.grid import combine, read_axes, settings_text


def values(text):
    (axis,) = read_axes([f"l2={text}"])
    return list(axis.values)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.1,0.03,1e-3", [0.1, 0.03, 0.001]),
        ("true,null,-1", [True, None, -1]),
        ("adam,sgd", ["adam", "sgd"]),
        ('"adam","a,b"', ["adam", "a,b"]),
        ('{"type":"cosine"},{"type":"step","every":5}', [{"type": "cosine"}, {"type": "step", "every": 5}]),
        ("[3,5],3 , [[1,2],[3]]", [[3, 5], 3, [[1, 2], [3]]]),
        ('{"type":"cosine", x', ['{"type":"cosine"', "x"]),
        ("1.5x,2", ["1.5x", 2]),
        ("NaN,1e999,1", ["NaN", "1e999", 1]),
        (f"{'[' * 100_000},1", ["[" * 100_000, 1]),
        ("1..", ["1.."]),
    ],
)
def test_values_are_json_where_they_can_be_and_commas_inside_it_part_nothing(text, expected):
    assert values(text) == expected
    assert [type(value) for value in values(text)] == [type(value) for value in expected]


def test_all_combinations_are_tried_and_the_last_fields_values_change_first():
    axes = read_axes(["optimizer.learning_rate=0.1,0.01", "network[0].units=4,16,64"])
    assert combine(axes, None, 1) == [
        {"optimizer.learning_rate": rate, "network.0.units": units}
        for rate in (0.1, 0.01)
        for units in (4, 16, 64)
    ]


def test_drawn_combinations_are_different_and_the_same_for_the_same_seed():
    axes = read_axes(["optimizer.learning_rate=0.0001..0.1", "network.0.units=1..3", "l2=0,1"])
    drawn = combine(axes, 200, 1)
    assert drawn == combine(axes, 200, 1)
    assert drawn != combine(axes, 200, 2)
    assert drawn[:50] == combine(axes, 50, 1)
    assert len({settings_text(changes) for changes in drawn}) == 200
    assert {changes["network.0.units"] for changes in drawn} == {1, 2, 3}
    assert {changes["l2"] for changes in drawn} == {0, 1}
    assert all(type(changes["network.0.units"]) is int for changes in drawn)


@pytest.mark.parametrize("text", ["0.0001..0.1", "1e-4..1000", "1..1000000000", "1..1000.0"])
def test_a_range_above_0_is_drawn_by_its_logarithm(text):
    drawn = sorted(changes["l2"] for changes in combine(read_axes([f"l2={text}"]), 500, 1))
    low, high = map(float, text.split(".."))
    assert low <= drawn[0] < drawn[-1] <= high
    middle = math.log(drawn[250] / low) / math.log(high / low)
    assert 0.4 < middle < 0.6


@pytest.mark.parametrize("text", ["-1.0..1", "-500..500", "0.0..0.3"])
def test_other_ranges_are_drawn_evenly(text):
    drawn = sorted(changes["l2"] for changes in combine(read_axes([f"l2={text}"]), 500, 1))
    low, high = map(float, text.split(".."))
    assert low <= drawn[0] < drawn[-1] <= high
    assert 0.4 < (drawn[250] - low) / (high - low) < 0.6


def test_both_ends_of_whole_numbers_are_drawn():
    drawn = combine(read_axes(["epochs=0..1", "l2=3..4"]), 4, 1)
    assert {tuple(changes.values()) for changes in drawn} == {(0, 3), (0, 4), (1, 3), (1, 4)}


@pytest.mark.parametrize(
    ("grid", "random", "message"),
    [
        (["l2"], None, "--grid: must be FIELD=VALUE,VALUE, not 'l2'"),
        (["=1"], None, "--grid: must be FIELD=VALUE,VALUE, not '=1'"),
        (["l2="], None, "--grid: must be FIELD=VALUE,VALUE, not 'l2='"),
        (["l2=1,,2"], None, "--grid: l2 must have a value on both sides of a comma"),
        (["l2=1,2,"], None, "--grid: l2 must have a value on both sides of a comma"),
        (["l2=0.1,0.10"], None, "--grid: l2 has the value 0.1 twice"),
        (["l2=\udcff"], None, "--grid: l2 has a value that is no text"),
        (["network.0.units=1", "network[0].units=2"], None, "--grid: network.0.units is given twice: "),
        (["dataset=xor,line"], None, "--grid: dataset cannot be varied: figures on other rows cannot be "),
        (["dataset.path=a,b"], None, "--grid: dataset cannot be varied: "),
        (["l2=0..1"], None, "--grid: l2 is a range, from which values are drawn: add --random N"),
        (["l2=1..0"], 2, "--grid: l2 must be LOW..HIGH, the smaller number first, not 1..0"),
        (["l2=1..1"], 2, "--grid: l2 must be LOW..HIGH, the smaller number first, not 1..1"),
        (["l2=-1e308..1e308"], 2, "--grid: l2 must be LOW..HIGH"),
        (
            [f"l2={','.join(map(str, range(40)))}", f"epochs={','.join(map(str, range(1, 41)))}"],
            None,
            "--grid: has 1,600 combinations, more than 1,000: name fewer values, or have some drawn with ",
        ),
        (["l2=0,1"], 0, "--random: must be 1 to 1,000, not 0"),
        (["l2=0,1"], 1001, "--random: must be 1 to 1,000, not 1001"),
        (["l2=0,1", "epochs=1,2"], 5, "--random: must be at most 4, the combinations of the grid, not 5"),
        (["l2=0..1", "epochs=1,2"], 5, "--random: only 4 different combinations were found, not 5"),
    ],
)  # fmt: skip
def test_what_is_no_grid_is_an_error_that_says_what_would_be_right(grid, random, message):
    with pytest.raises(InputError) as caught:
        combine(read_axes(grid), random, 1)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1, "l2=0.1"),
        ("adam", "l2=adam"),
        ("3", 'l2="3"'),
        ("a,b", 'l2="a,b"'),
        ("\x1b[2J", 'l2="\\u001b[2J"'),
        ({"type": "cosine"}, 'l2={"type":"cosine"}'),
        (None, "l2=null"),
    ],
)
def test_settings_are_told_as_they_would_be_given(value, text):
    assert settings_text({"l2": value}) == text
    assert values(text.partition("=")[2]) == [value]
