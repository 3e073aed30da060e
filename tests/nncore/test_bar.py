import io

import pytest

from nncore.bar import TICKS, Bar
from nncore.training import Epoch


class Terminal(io.StringIO):
    """What a person watches."""

    def isatty(self):
        return True


@pytest.fixture
def bar(monkeypatch):
    monkeypatch.setattr("sys.stderr", Terminal())
    with Bar(40) as bar:
        yield bar


def test_the_time_left_is_reckoned_from_where_a_run_was_resumed(bar, capsys):
    bar.on_resume([Epoch(number, 0.1, 0.5) for number in range(1, 31)])
    assert capsys.readouterr().out == "Resumed after epoch 30 of 40.\n"
    bar.on_batch(11, 20, 0.25)
    assert (bar.bar.initial, bar.bar.n) == (30 * TICKS + 500, 30 * TICKS + 550)
    assert "epoch 31/40, loss 0.2500" in bar.bar.postfix


def test_the_bar_is_full_at_the_end_whatever_the_number_of_batches(bar):
    for number in range(1, 41):
        for batch in range(1, 8):
            bar.on_batch(batch, 7, 0.5)
        bar.on_epoch(Epoch(number, 0.1, 0.5, {}, {"loss": 0.5, "accuracy": 0.9}))
    assert bar.bar.n == bar.bar.total == 40 * TICKS


def test_a_bar_with_a_name_says_it_and_makes_room_at_its_end(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    figures = {"loss": 0.5, "accuracy": 0.9}
    with Bar(40, "member 2") as bar:
        bar.resumed(3)
        bar.on_batch(1, 20, 0.25)
        bar.on_epoch(Epoch(4, 0.1, 0.5, {}, figures))
        # Of the last batches it was not told.
        assert bar.bar.n == 4 * TICKS
        assert "\rmember 2:  10% " in terminal.getvalue()
    assert terminal.getvalue().endswith("\rmember 2: epoch 4/40, loss 0.5000, accuracy 90.00%\n")
    assert capsys.readouterr().out == "member 2: Resumed after epoch 3 of 40.\n"


def test_where_nobody_watches_each_line_begins_with_the_name(capsys):
    with Bar(40, "member 2") as bar:
        bar.on_epoch(Epoch(4, 0.1, 0.5, {}, {"loss": 0.25, "r2": 0.9}))
    assert capsys.readouterr().err == "member 2: epoch 4/40, loss 0.5000, validation loss 0.2500, r2 0.9\n"
