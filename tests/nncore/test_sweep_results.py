import csv
import io
import json

import numpy as np
import pytest
from PIL import Image

from nncore.bar import TICKS
from nncore.progress import Epoch
from nncore.sweep import picture
from nncore.sweep.display import Display
from nncore.sweep.ranking import Member, rank, short_names
from nncore.sweep.report import csv_text, table_text
from nncore.sweep.shown import label, spans_decades, to_show
from nncore.tasks import Figures, Outcome


def ended(number, score, *values, loss=0.5, fields=("l2", "network.0.units")):
    changes = dict(zip(fields, values, strict=False))
    return Member(number, changes, Outcome(Figures(loss, score, 5, 4, 1234, 0.25)))


def failed(number, why, *values, was_lost=False):
    changes = dict(zip(("l2", "network.0.units"), values, strict=False))
    return Member(number, changes, Outcome(error=why), was_lost)


# Which is the best, and the tables.


def test_the_better_has_the_higher_score_then_the_smaller_loss_then_comes_first():
    members = [
        ended(4, 0.9, 1, loss=0.1),
        ended(3, 0.9, 2, loss=0.1),
        failed(2, "no", 3),
        ended(1, 0.9, 4, loss=0.2),
        ended(5, 0.95, 5, loss=9.0),
        failed(1, "no", 6),
    ]
    results = rank(["l2"], "accuracy", members)
    assert [member.number for member in results.ranked] == [5, 3, 4, 1]
    assert [member.number for member in results.failed] == [1, 2]


def test_a_long_table_ends_with_how_many_more_there_are():
    members = [ended(number, number / 100, number) for number in range(1, 26)]
    members += [failed(number, "a\nreason", number, was_lost=True) for number in range(26, 50)]
    lines = table_text(rank(["l2"], "accuracy", members)).splitlines()
    assert lines[:3] == [
        "25 of 49 members, best first by the validation data:",
        "rank  l2  loss  accuracy  epochs  kept  parameters  seconds",
        "   1  25   0.5    25.00%       5     4       1,234      0.2",
    ]
    assert lines[21:25] == [
        "  20   6   0.5     6.00%       5     4       1,234      0.2",
        "  … and 5 more",
        "24 of 49 members failed:",
        "  l2=26: was lost: a reason",
    ]
    assert lines[-1] == "  … and 4 more"


def test_a_value_that_is_a_network_leaves_room_in_the_table():
    members = [ended(1, 0.5, [{"type": "dense", "units": 16}] * 9, 4)]
    cell = table_text(rank(["network", "l2"], "r2", members)).splitlines()[2].split("  ")[2]
    assert cell.strip() == '[{"type":"dense","units":16},{"type":"den…'[:39] + "…"


@pytest.mark.parametrize("text", ["=1+1", "+1x", "-x", "@x", "\tx", "\rx"])
def test_in_the_csv_no_text_is_a_formula_and_numbers_stay_numbers(text):
    members = [ended(1, -0.5, -3, '1,"2'), failed(2, text, text, [text])]
    head, first, second = csv.reader(io.StringIO(csv_text(rank(["l2", "units"], "r2", members)), newline=""))
    assert head == [
        *("rank", "member", "l2", "units", "validation_loss", "validation_r2", "epochs_run", "epoch_kept"),
        *("parameters", "seconds", "failed"),
    ]
    assert first == ["1", "1", "-3", '1,"2', "0.5", "-0.5", "5", "4", "1234", "0.25", ""]
    assert second[:2] + second[4:-1] == ["", "2"] + [""] * 6
    assert second[2] == (f"'{text}" if text.isprintable() else json.dumps(text))
    assert second[3] == json.dumps([text])
    assert second[-1] == (f"'{text}" if text.isprintable() else "x")


def test_names_are_cut_to_what_tells_them_apart():
    fields = ("network.0.units", "network.2.units", "optimizer.learning_rate", "l2", "schedule")
    assert [*short_names(fields).values()] == ["0.units", "2.units", "learning_rate", "l2", "schedule"]
    assert short_names(("rate", "schedule.rate")) == {"rate": "rate", "schedule.rate": "schedule.rate"}


# What is seen while it goes.


class Terminal(io.StringIO):
    """What a person watches."""

    def isatty(self):
        return True


def test_one_bar_tells_how_many_are_done_and_have_failed_and_the_best_so_far(monkeypatch):
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    with Display({2: 4, 3: 10, 4: 1}, [ended(1, 0.5, 0.1, 8), failed(5, "no", 2, 8)], "accuracy") as display:
        bar = display.bar
        assert bar.postfix == "2 of 5 members, 1 failed, best 50.00%: l2 0.1, units 8"
        with display.follow(2) as second, display.follow(3) as third:
            second.resumed(1)
            assert (bar.n, bar.initial) == (TICKS // 4, TICKS // 4)
            second.on_batch(1, 2, 0.5)
            assert bar.n == TICKS // 4 + TICKS // 8
            second.on_epoch(Epoch(2, 0.1, 0.5))
            third.on_epoch(Epoch(1, 0.1, 0.5))
            assert bar.n == TICKS // 2 + TICKS // 10
        # However early they ended.
        assert bar.n == 2 * TICKS
        display.ended(ended(2, 0.75, 0.3, 4))
        display.ended(failed(3, "no", 0.4, 4))
        assert bar.postfix == "4 of 5 members, 2 failed, best 75.00%: l2 0.3, units 4"
    assert "\r 67% " in terminal.getvalue()
    assert "member" not in terminal.getvalue().replace(" members", "")


def test_where_nobody_watches_each_member_that_ends_is_a_line(capsys):
    with Display({2: 4, 3: 10}, [ended(1, 0.5, 0.1, 8)], "r2") as display:
        with display.follow(2) as second:
            second.resumed(1)
            second.on_batch(1, 2, 0.5)
            second.on_epoch(Epoch(4, 0.1, 0.5))
        display.ended(ended(2, 0.75, 0.3, 4))
        display.ended(failed(3, "no\nroom", {"a": 1}, 4, was_lost=True))
    assert capsys.readouterr().err.splitlines() == [
        "member 2: resumed after epoch 1 of 4",
        "member 2 of 3: l2=0.3 network.0.units=4: loss 0.5, r2 0.75",
        'member 3 of 3: l2={"a":1} network.0.units=4: failed: was lost: no room',
    ]


# The picture.


def drawn(fields, members, *, is_random=False):
    """Return a picture's pixels (height, width, 3)."""
    data = picture.draw(rank(fields, "accuracy", members), is_random=is_random)
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def has(pixels, color):
    red, green, blue = (int(color[place : place + 2], 16) for place in (1, 3, 5))
    return bool((abs(pixels - (red, green, blue)).max(axis=2) < 8).any())


GRID = [ended(1, 0.5, 0.1, 8), ended(2, 0.9, 0.1, 16), ended(3, 0.8, 0.2, 8)]


@pytest.mark.parametrize(
    ("fields", "is_random"), [(["l2"], False), (["l2", "network.0.units"], False), (["l2", "units"], True)]
)
def test_the_best_is_marked_and_what_failed_only_where_it_did(fields, is_random):
    members = [
        Member(member.number, dict(list(member.changes.items())[: len(fields)]), member.outcome)
        for member in [*GRID, failed(4, "no", "text", 16)]
    ]
    whole = drawn(fields, members[:3], is_random=is_random)
    assert has(whole, picture.BEST)
    assert not has(whole, picture.FAILED)
    assert has(drawn(fields, members, is_random=is_random), picture.FAILED)


def test_a_map_has_a_cell_and_random_ones_a_panel_a_field():
    fields = ["l2", "network.0.units"]
    assert not has(drawn(fields, GRID), picture.DOT)
    panels, one = drawn(fields, GRID, is_random=True), drawn(["l2"], GRID)
    assert panels.shape[1] == 2 * one.shape[1]


def test_many_fields_take_several_rows_of_panels():
    fields = ("l2", "epochs", "seed", "batch_size")
    pixels = drawn(fields, [ended(n, n / 10, n, [n], str(n), {"type": n}, fields=fields) for n in (1, 2)])
    assert pixels.shape[:2] == (2 * 320, 3 * 420)


def test_the_same_results_give_the_same_picture():
    results = rank(["l2"], "r2", GRID)
    assert picture.draw(results, is_random=False) == picture.draw(results, is_random=False)


def test_the_loss_is_drawn_where_all_scores_are_the_same():
    shown = to_show(rank(["l2"], "accuracy", [ended(1, 1.0, 1, loss=0.5), ended(2, 1.0, 2, loss=0.25)]))
    assert (shown.label, shown.values, shown.best) == ("validation loss", {1: 0.5, 2: 0.25}, 2)
    shown = to_show(rank(["l2"], "accuracy", [ended(1, 0.5, 1), ended(2, 0.25, 2)]))
    assert (shown.label, shown.values, shown.best) == ("validation accuracy, %", {1: 50, 2: 25}, 1)


def test_one_that_is_far_worse_than_most_is_drawn_at_the_edge():
    scores = {1: 0.9, 2: 0.8, 3: 0.85, 4: -1e9}
    shown = to_show(rank(["l2"], "r2", [ended(number, score, number) for number, score in scores.items()]))
    assert shown.cut == {4}
    assert shown.values[4] == pytest.approx(0.9 - 10 * (0.9 - 0.825))
    assert {number: shown.values[number] for number in (1, 2, 3)} == {1: 0.9, 2: 0.8, 3: 0.85}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.001, 0.01, 0.1], True),
        ([16, 64, 256], True),
        ([0.01, 0.3, 0.5, 0.7, 0.99], False),
        ([0, 1, 100], False),
        ([1, 2, 3], False),
        ([1], False),
    ],
)
def test_values_that_span_decades_are_drawn_by_their_logarithm(values, expected):
    assert spans_decades(values) is expected


def test_a_tick_says_in_words_what_a_value_is():
    assert label({"type": "step", "every": 2}) == "step every 2"
    assert label([{"type": "relu"}, {"a": [1, None]}]) == "relu, a 1, null"
    assert label("adam$") == r"adam\$"
    assert label("a" * 25) == "a" * 23 + "…"
