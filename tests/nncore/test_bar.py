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
