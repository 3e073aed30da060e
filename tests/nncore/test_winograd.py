import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from test_windows import naive_convolution, naive_gradients

from nncore import windows, winograd
from nncore.convolution import Conv2D
from nncore.winograd import Winograd, transform_kernels

shapes = st.tuples(st.integers(1, 5), st.integers(3, 9), st.integers(3, 9), st.integers(1, 4))
paddings = st.sampled_from(["same", "valid"])
seeds = st.integers(0, 2**32 - 1)


def problem(shape, filters, padding, seed, dtype=np.float64):
    rng = np.random.default_rng(seed)
    grid = windows.lay(shape[1:], (3, 3), (1, 1), padding)
    x, weight = rng.standard_normal(shape), rng.standard_normal((3, 3, shape[3], filters))
    dy = rng.standard_normal((shape[0], *grid.output, filters))
    return grid, *(array.astype(dtype) for array in (x, weight, dy))


@given(shapes, st.integers(1, 4), paddings, seeds, st.sampled_from([1, 500, 1 << 19]))
def test_tiles_give_what_naive_loops_give_forward_and_backward(shape, filters, padding, seed, block):
    grid, x, weight, dy = problem(shape, filters, padding, seed)
    y, dweight = np.full_like(dy, np.nan), np.full_like(weight, np.nan)
    bias = np.arange(float(filters))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winograd, "BLOCK", block)
        tiling = Winograd(grid, shape[3], filters)
        scratch = np.full(tiling.scratch_size(), np.nan)
        tiling.convolve(x, transform_kernels(weight), bias, y, scratch)
        dx = tiling.gradients(x, weight, dy, dweight, wants_dx=True)
        alone = np.empty_like(weight)
        assert tiling.gradients(x, weight, dy, alone, wants_dx=False) is None
    assert_allclose(y, naive_convolution(x, weight, (1, 1), padding) + bias, atol=1e-12)
    naive_dx, naive_dweight = naive_gradients(x, weight, dy, (1, 1), padding)
    assert_allclose(dx, naive_dx, atol=1e-12)
    assert_allclose(dweight, naive_dweight, atol=1e-12)
    assert_array_equal(alone, dweight)


def test_in_float32_no_more_than_a_digit_is_lost():
    grid, x, weight, dy = problem((8, 12, 12, 48), 48, "same", 0, np.float32)
    y, dweight = np.empty_like(dy), np.empty_like(weight)
    tiling = Winograd(grid, 48, 48)
    tiling.convolve(x, transform_kernels(weight), None, y)
    dx = tiling.gradients(x, weight, dy, dweight, wants_dx=True)
    exact = [array.astype(np.float64) for array in (x, weight, dy)]
    right = np.empty(dy.shape), np.empty(weight.shape)
    windows.convolve(exact[0], exact[1], grid, right[0])
    windows.kernel_gradient(exact[0], exact[2], grid, right[1])
    right_dx = windows.picture_gradient(exact[2], exact[1], grid)
    for mine, expected in ((y, right[0]), (dweight, right[1]), (dx, right_dx)):
        assert mine.dtype == np.float32
        assert np.abs(mine - expected).max() < 2e-6 * np.abs(expected).max()


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_a_layer_gives_the_same_in_tiles_as_by_windows(monkeypatch, padding):
    layer, rng = Conv2D(32, 3, padding=padding), np.random.default_rng(0)
    x = rng.standard_normal((5, 8, 8, 24))
    views = {"weight": rng.standard_normal((3, 3, 24, 32)), "bias": rng.standard_normal(32)}
    results = []
    for tile in (Winograd, lambda *_: None):
        monkeypatch.setattr(winograd, "tile", tile)
        gradients = {name: np.full_like(array, np.nan) for name, array in views.items()}
        y, cache = layer.forward(views, x, rng)
        dx = layer.backward(views, gradients, cache, np.cos(y))
        one = layer.infer(layer.prepared(views, x.shape[1:]), x[:1], np.empty_like(y[:1]))
        results.append([y, dx, *gradients.values(), one])
    for tiled, windowed in zip(*results, strict=True):
        assert_allclose(tiled, windowed, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("shape", "kernel", "stride", "filters", "suits"),
    [
        ((12, 12, 48), (3, 3), (1, 1), 48, True),
        ((12, 12, 16), (3, 3), (1, 1), 48, False),
        ((12, 12, 48), (3, 3), (1, 1), 8, False),
        ((12, 12, 48), (5, 5), (1, 1), 48, False),
        ((12, 12, 48), (3, 3), (2, 1), 48, False),
        # Four tiles of 2×2 for an output of 3×3: nearly twice as much as is wanted.
        ((3, 3, 48), (3, 3), (1, 1), 48, False),
    ],
)
def test_only_where_it_is_quicker_is_a_convolution_done_in_tiles(shape, kernel, stride, filters, suits):
    grid = windows.lay(shape, kernel, stride, "same")
    assert winograd.suits(grid, shape[2], filters) == suits
