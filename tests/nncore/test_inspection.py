import dataclasses

import numpy as np
import pytest

from nncore.inspection import card_text, confusion_text


@pytest.fixture
def said(showcase):
    return card_text(showcase.card)


def test_a_card_says_what_goes_in_and_what_comes_out(said):
    lines = said.splitlines()
    assert lines[0] == "format      1"
    assert lines[1] == "network     279 parameters, input 2×3"
    assert "            dense    → 12       units 12, bias True, initializer he" in lines
    assert "            dropout  → 12       rate 0.1" in lines
    assert "            flatten  → 6" in lines
    steps = "scale divide_by 255; standardize mean [0.5, 0.5, 0.5], deviation [0.3, 0.3, 0.3]"
    assert any(
        line.startswith(f"input       numbers in 0-255; {steps}; or pictures: resize ") for line in lines
    )
    assert "output      classes: left, middle, right" in lines
    assert "replayed    5 known answers, all right" in lines
    assert lines[-1] == "note        Made for tests."


def test_a_card_says_how_good_the_model_is_and_where_it_comes_from(said, showcase):
    for part in ("validation", "test"):
        figures = showcase.card.metrics[part]
        line = f"{part:<11} loss {figures['loss']:.6g}, accuracy {figures['accuracy']:.6g}"
        assert line in said.splitlines()
    assert f"dataset     name columns, sha256 {showcase.card.provenance['dataset']['sha256']}" in said


def test_a_model_without_bounds_takes_any_finite_numbers(line):
    said = card_text(line.card)
    assert "input       any finite numbers\n" in said
    assert "output      regression\n" in said
    assert "note" not in said
    assert "note        Mind the gap." in card_text(dataclasses.replace(line.card, note="Mind the gap."))


def test_a_confusion_matrix_is_a_table_with_aligned_columns():
    table = confusion_text(np.array([[100, 2], [0, 7]]), ["no", "yes"])
    assert table.splitlines() == [
        "true \\ predicted   no yes",
        "              no  100   2",
        "             yes    0   7",
    ]
