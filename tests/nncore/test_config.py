import dataclasses
import difflib
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nncore.config import (
    MOST_PROBLEMS,
    choice,
    from_json,
    number,
    shorten,
    tagged,
    to_json,
    unknown,
)
from nncore.errors import RecipeError


@dataclass(frozen=True)
class Circle:
    radius: float = number(above=0)


@dataclass(frozen=True)
class Square:
    side: int = number(2, minimum=1, maximum=9)
    filled: bool = False


NAMES = ("a", "b", "abc")
SHAPES = {"circle": Circle, "square": Square}


@dataclass(frozen=True)
class Frame:
    width: float = number(1.0, minimum=0, below=10)


@dataclass(frozen=True)
class Picture:
    name: str = choice(NAMES)
    kind: str = choice(("oil", "water"), default="oil")
    shapes: tuple[Circle | Square, ...] = tagged(SHAPES, default=())
    main: Circle | Square | None = tagged(SHAPES, default=None)
    groups: tuple[tuple[Circle | Square, ...], ...] = tagged(SHAPES, default=(), lengths=((0, 20), (1, 1000)))
    frame: Frame | None = None
    sizes: tuple[int, ...] = ()
    notes: dict[str, Any] = dataclasses.field(default_factory=dict)
    tags: list[Any] = dataclasses.field(default_factory=list)


shapes = st.one_of(
    st.builds(Circle, st.floats(0, exclude_min=True, allow_infinity=False)),
    st.builds(Square, st.integers(1, 9), st.booleans()),
)
pictures = st.builds(
    Picture,
    name=st.sampled_from(NAMES),
    kind=st.sampled_from(["oil", "water"]),
    shapes=st.lists(shapes, max_size=3).map(tuple),
    main=st.none() | shapes,
    groups=st.lists(st.lists(shapes, min_size=1, max_size=3).map(tuple), max_size=3).map(tuple),
    frame=st.none() | st.builds(Frame, st.floats(0, 9.9)),
    sizes=st.lists(st.integers(), max_size=3).map(tuple),
    notes=st.dictionaries(st.text(), st.integers()),
    tags=st.lists(st.integers() | st.text()),
)


def problems(data, kind=Picture):
    with pytest.raises(RecipeError) as caught:
        from_json(kind, data)
    return caught.value.problems


@given(pictures)
def test_what_is_written_is_read_again(picture):
    assert from_json(Picture, to_json(picture)) == picture


def test_defaults_are_written_out_and_types_are_named():
    assert to_json(Picture("a", shapes=(Square(),), main=Circle(1.5))) == {
        "name": "a",
        "kind": "oil",
        "shapes": [{"type": "square", "side": 2, "filled": False}],
        "main": {"type": "circle", "radius": 1.5},
        "groups": [],
        "frame": None,
        "sizes": [],
        "notes": {},
        "tags": [],
    }


def test_a_whole_number_is_taken_for_a_float_and_becomes_one():
    circle = from_json(Circle, {"radius": 2})
    assert type(circle.radius) is float


BAD = [
    ("no", "", "must be an object, not 'no'"),
    (None, "", "must be an object, not null"),
    ([], "", "must be an object, not an array"),
    ({}, "name", "is missing"),
    ({"name": 3}, "name", "must be a string, not 3"),
    ({"name": "A"}, "name", "must be one of a, abc, b, not 'A'"),
    ({"name": "a\n"}, "name", "must be one of a, abc, b"),
    ({"kind": "oils"}, "kind", "must be one of oil, water, not 'oils' (did you mean 'oil'?)"),
    ({"kind": ["oil"]}, "kind", "must be a string, not an array"),
    ({"shape": []}, "shape", "is not known here; must be one of frame, "),
    ({"shape": []}, "shape", "(did you mean 'shapes'?)"),
    ({"shapes": {}}, "shapes", "must be an array, not an object"),
    ({"shapes": [1]}, "shapes[0]", "must be an object, not 1"),
    ({"shapes": [{}]}, "shapes[0].type", "is missing; must be one of circle, square"),
    ({"shapes": [{"type": "cirle"}]}, "shapes[0].type", "(did you mean 'circle'?)"),
    ({"shapes": [{"type": None}]}, "shapes[0].type", "must be one of circle, square, not null"),
    ({"shapes": [{"type": {}}]}, "shapes[0].type", "must be one of circle, square, not an object"),
    ({"shapes": [{"type": "circle"}]}, "shapes[0].radius", "is missing"),
    ({"shapes": [{"type": "square"}, {"type": "square", "side": 0}]}, "shapes[1].side", "must be ≥ 1, not 0"),
    ({"shapes": [{"type": "square", "side": 10}]}, "shapes[0].side", "must be ≤ 9, not 10"),
    ({"shapes": [{"type": "square", "side": 2.0}]}, "shapes[0].side", "must be a whole number, not 2.0"),
    ({"shapes": [{"type": "square", "side": True}]}, "shapes[0].side", "must be a whole number, not true"),
    ({"shapes": [{"type": "square", "side": "2"}]}, "shapes[0].side", "must be a whole number, not '2'"),
    (
        {"shapes": [{"type": "square", "side": 10**4000}]},
        "shapes[0].side",
        "must be ≤ 9, not so large a number",
    ),
    ({"shapes": [{"type": "square", "filled": 1}]}, "shapes[0].filled", "must be true or false, not 1"),
    ({"main": {"type": "circle", "radius": 0}}, "main.radius", "must be > 0, not 0"),
    ({"main": {"type": "circle", "radius": float("nan")}}, "main.radius", "must be a finite number"),
    ({"main": {"type": "circle", "radius": float("inf")}}, "main.radius", "must be a finite number"),
    ({"main": {"type": "circle", "radius": 10**400}}, "main.radius", "must be a finite number"),
    ({"main": {"type": "circle", "radius": False}}, "main.radius", "must be a number, not false"),
    ({"frame": {"width": 10}}, "frame.width", "must be < 10, not 10"),
    ({"frame": {"width": None}}, "frame.width", "must be a number, not null"),
    ({"frame": []}, "frame", "must be an object, not an array"),
    ({"sizes": [1, 1.5]}, "sizes[1]", "must be a whole number, not 1.5"),
    ({"sizes": [1] * 1001}, "sizes", "must have at most 1000 entries, not 1001"),
    ({"groups": [[]] * 21}, "groups", "must have at most 20 entries, not 21"),
    ({"groups": {}}, "groups", "must be an array, not an object"),
    ({"groups": [[{"type": "square"}], []]}, "groups[1]", "must have at least 1 entry, not 0"),
    ({"groups": [{"type": "square"}]}, "groups[0]", "must be an array, not an object"),
    ({"groups": [[{"type": "square"}, {"type": "oval"}]]}, "groups[0][1].type", "must be one of circle, "),
    ({"groups": [[{"type": "square", "side": 0}]]}, "groups[0][0].side", "must be ≥ 1, not 0"),
    ({"notes": []}, "notes", "must be an object, not an array"),
    ({"tags": {}}, "tags", "must be an array, not an object"),
]


@pytest.mark.parametrize(("change", "path", "fragment"), BAD)
def test_a_problem_has_its_path_and_says_what_would_be_right(change, path, fragment):
    data = {"name": "a"} | change if isinstance(change, dict) and change else change
    found = problems(data)
    assert list(found) == [path]
    assert fragment in found[path]


def test_every_problem_is_found_at_once_in_the_order_of_the_data():
    found = problems({"z": 1, "a": 1, "kind": "?", "shapes": [{"type": "circle", "radius": -1}]})
    assert list(found) == ["z", "a", "name", "kind", "shapes[0].radius"]


def test_the_error_reads_as_a_line():
    with pytest.raises(RecipeError, match=r"^name: is missing; frame\.width: must be ≥ 0, not -1.0$"):
        from_json(Picture, {"frame": {"width": -1}})


def test_a_class_without_fields_says_that_there_is_nothing_to_set():
    @dataclass(frozen=True)
    class Empty:
        pass

    assert problems({"rate": 1}, Empty) == {"rate": "is not known here; there is nothing to set"}


def test_no_more_problems_are_listed_or_looked_into_than_a_person_reads(monkeypatch):
    asked = []
    monkeypatch.setattr(difflib, "get_close_matches", lambda *args: asked.append(args) or [])
    found = problems({f"key{number}": 1 for number in range(10_000)} | {"name": "a"})
    assert len(found) == MOST_PROBLEMS
    assert len(asked) <= MOST_PROBLEMS
    assert len(problems({"name": "a", "sizes": ["x"] * 1000})) == MOST_PROBLEMS


def test_objects_are_bounded_in_all_wherever_they_stand():
    many = {"name": "a", "groups": [[{"type": "square"}] * 1000] * 10}
    where = "groups[9][999]"
    assert problems(many) == {where: "is one object more than the 10,000 that may be given in all"}


def test_no_more_objects_are_looked_into_than_problems_are_listed(monkeypatch):
    asked = []
    monkeypatch.setattr(difflib, "get_close_matches", lambda *args: asked.append(args) or [])
    found = problems({"name": "a", "shapes": [{"type": "square", "sid": 1}] * 1000})
    assert len(found) == len(asked) == MOST_PROBLEMS


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def problems_if_any(data):
    try:
        from_json(Picture, data)
    except RecipeError as error:
        return error.problems
    return None


@given(json_values)
def test_whatever_json_comes_in_is_a_picture_or_a_list_of_problems(data):
    found = problems_if_any(data)
    assert found is None or 0 < len(found) <= MOST_PROBLEMS


@given(json_values, st.sampled_from([field.name for field in dataclasses.fields(Picture)]))
def test_whatever_json_comes_into_a_field_is_read_or_a_problem_under_its_name(value, field):
    found = problems_if_any({"name": "a"} | {field: value})
    assert found is None or all(path.startswith(field) for path in found)


@given(json_values)
def test_a_value_is_shown_in_a_few_words(value):
    assert 0 < len(shorten(value)) <= 62


def test_a_hint_is_not_looked_for_among_long_words():
    assert "did you mean" not in unknown("o" * 1000, ["o" * 999])
    assert unknown("oil", ["oil"]) is None
