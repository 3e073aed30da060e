"""The eight parts of the tour: each is short, draws its picture, and what it claims is so."""

import importlib
import re
from pathlib import Path

import pytest
from PIL import Image
from serving import ROOT

EXAMPLES = ROOT / "examples"
PARTS = sorted(path.stem for path in EXAMPLES.glob("[0-9]_*.py"))
TOUR = ROOT / "docs" / "tour.md"
MOST_LINES = 79
MOST_BYTES = 80_000
# What makes them quick, and leaves what they show as it is.
SMALL = {
    "6_heat_map": ["--seeds", "1"],
    "7_digits": ["--rows", "4000", "--epochs", "3", "--hidden", "32"],
    "8_validation": ["--rows", "100", "--unseen", "500", "--epochs", "40"],
}
NUMBER = r"-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?"


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """Run a part, and return what it prints and the path of its picture; once, however often it is asked."""
    done = {}
    folder = tmp_path_factory.mktemp("tour")

    def run(part, capsys):
        if part not in done:
            main = importlib.import_module(part).main
            capsys.readouterr()
            main(["--out", str(folder), *SMALL.get(part, [])])
            done[part] = capsys.readouterr().out
        return done[part], folder / f"{part}.png"

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLES)
        yield run


@pytest.fixture
def says(printed, capsys):
    """Return the numbers in the line of a part's output that begins with some words."""

    def numbers(part, beginning):
        lines = [line for line in printed(part, capsys)[0].splitlines() if line.startswith(beginning)]
        assert len(lines) == 1, f"{part} says {beginning!r} {len(lines)} times"
        return [float(number.replace(",", "")) for number in re.findall(NUMBER, lines[0])]

    return numbers


def test_the_series_has_eight_parts():
    assert [part[:2] for part in PARTS] == [f"{number}_" for number in range(1, 9)]


@pytest.mark.parametrize("part", [*PARTS, "tour"])
def test_a_part_is_under_eighty_lines(part):
    assert len((EXAMPLES / f"{part}.py").read_text().splitlines()) <= MOST_LINES


@pytest.mark.parametrize("part", PARTS)
def test_a_part_draws_the_picture_that_the_tour_shows(part, printed, capsys):
    out, drawn = printed(part, capsys)
    shown = TOUR.parent / "tour" / f"{part}.png"
    assert out.endswith(f"Picture: {drawn}\n")
    assert f"](tour/{part}.png)" in TOUR.read_text()
    assert shown.stat().st_size < MOST_BYTES
    with Image.open(drawn) as mine, Image.open(shown) as documented:
        assert mine.size == documented.size


@pytest.mark.parametrize("part", PARTS)
def test_the_tour_says_how_a_part_is_run_and_what_it_prints(part, printed, capsys):
    def words(text):
        return {" ".join(re.sub(NUMBER, "#", line).split()) for line in text.splitlines()}

    out, _ = printed(part, capsys)
    assert f"python examples/{part}.py" in TOUR.read_text()
    assert words(out[: out.index("Picture: ")]) <= words(TOUR.read_text())


def test_the_pictures_of_the_tour_are_those_of_its_parts():
    assert sorted(path.stem for path in (TOUR.parent / "tour").iterdir()) == PARTS


def test_the_neuron_learns_by_hand_what_it_learns_by_nncore(says):
    (best,) = says("1_neuron", "The bottom")
    by_hand, by_nncore = says("1_neuron", "By hand")
    assert by_hand == pytest.approx(by_nncore, abs=2e-4)
    assert by_hand == pytest.approx(best, abs=0.01)


def test_a_bias_is_needed_and_too_large_a_rate_diverges(says):
    (without,) = says("2_bias", "Without")
    lowest, slope, intercept = says("2_bias", "With one")
    assert without > 50 * lowest
    assert (slope, intercept) == pytest.approx((2, 1), abs=0.05)
    *_, factor, _, good = says("2_bias", "  rate  0.3")
    assert -1 < factor < 0
    assert good == pytest.approx(lowest, rel=0.1)
    *_, factor, _, wild = says("2_bias", "  rate 0.36")
    assert factor < -1
    assert wild > 1e5
    assert says("2_bias", "nncore at rate 1")[0] == 1


def test_the_line_is_pulled_aside_and_stuck_where_the_logistic_neuron_is_not(says):
    line, logistic = says("3_loss", "Even chances for the class")
    _, pulled, unmoved = says("3_loss", "Even chances for and")
    assert pulled - line > 0.5
    assert unmoved == pytest.approx(logistic, abs=0.02)
    _, flat, steep = says("3_loss", "Sure and wrong")
    assert abs(flat) < abs(steep) / 100
    *_, stuck, freed = says("3_loss", "Begun")
    assert stuck < 20
    assert freed > 85


def test_no_neuron_knows_xor_and_a_hidden_layer_does(says):
    assert says("4_xor", "Of ")[1:] == [3, 4]
    assert says("4_xor", "one neuron")[-1] <= 75
    *_, zero, one, another, nought, right = says("4_xor", "4 hidden")
    assert (zero, one, another, nought) == pytest.approx((0, 1, 1, 0), abs=0.05)
    assert right == 100


def test_backpropagation_and_measured_slopes_agree(says):
    for name in ("w1₁₁", "w1₁₂", "w1₂₁", "w1₂₂", "w2₁", "w2₂", "b1₁", "b1₂", "b2"):
        by_hand, by_nncore, measured = says("5_gradients", f"{name} ")[-3:]
        assert by_hand == pytest.approx(by_nncore, abs=2e-6)
        assert by_hand == pytest.approx(measured, abs=2e-6)
    assert says("5_gradients", "Along a random direction, with one number off by 0.0")[-1] < 1e-4
    assert says("5_gradients", "Along a random direction, with one number off by 0.1")[-1] > 0.1


def test_a_search_finds_too_few_units_and_rates_too_small_and_too_large(says):
    assert set(says("6_heat_map", "  1 ")[1:]) == {0}
    slowest, *_, good, _, wildest = says("6_heat_map", "  8 ")[1:]
    assert (slowest, good, wildest) == (0, 100, 0)


def test_a_hidden_layer_reads_more_digits_and_the_slope_by_hand_is_that_of_nncore(says):
    numbers = says("7_digits", "slope by hand")
    assert numbers[:3] == numbers[3:]
    assert 75 < says("7_digits", "ten neurons")[0] < says("7_digits", "32 hidden")[1]


def test_a_network_overfits_and_early_stopping_keeps_an_earlier_epoch(says):
    best, seen, unseen, _ = says("8_validation", "best epoch")
    last, seen_at_last, unseen_at_last, _ = says("8_validation", "last epoch")
    assert seen_at_last < seen / 2
    assert unseen_at_last > 1.1 * unseen
    ended, kept = says("8_validation", "Early stopping")
    assert kept == best < ended < last
    small, large = (says("8_validation", f"batches of {size}")[-1] for size in ("  4", "100"))
    assert small < large


def test_a_picture_is_the_same_file_each_time(tmp_path, printed, capsys):
    _, drawn = printed("1_neuron", capsys)
    importlib.import_module("1_neuron").main(["--out", str(tmp_path)])
    assert (tmp_path / Path(drawn).name).read_bytes() == drawn.read_bytes()
