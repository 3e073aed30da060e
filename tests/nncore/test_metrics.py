import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from nncore.metrics import accuracy, confusion_matrix, decide, r2_score

kinds = st.sampled_from([np.uint8, np.int8, np.int32, np.int64])


@st.composite
def answers(draw):
    classes = draw(st.integers(2, 20))
    one = st.integers(0, classes - 1)
    pairs = draw(st.lists(st.tuples(one, one), min_size=1, max_size=60))
    predicted, labels = (np.array(side) for side in zip(*pairs, strict=True))
    return classes, predicted.astype(draw(kinds)), labels.astype(draw(kinds))


@given(answers())
def test_accuracy_counts_what_is_right(case):
    _, predicted, labels = case
    right = sum(int(p) == int(t) for p, t in zip(predicted, labels, strict=True))
    assert accuracy(predicted, labels) == pytest.approx(right / len(labels))


@given(answers())
def test_the_confusion_matrix_counts_each_pair_whatever_the_dtype_of_the_labels(case):
    classes, predicted, labels = case
    expected = np.zeros((classes, classes), int)
    for p, t in zip(predicted, labels, strict=True):
        expected[t, p] += 1
    assert_array_equal(confusion_matrix(predicted, labels, classes), expected)


@given(st.integers(2, 20), st.integers(1, 3), st.integers(0, 1000), st.sampled_from([np.float32, np.float64]))
def test_r2_is_one_less_the_share_of_the_spread_that_is_left(n, k, seed, dtype):
    rng = np.random.default_rng(seed)
    targets = rng.standard_normal((n, k)).astype(dtype)
    outputs = (targets + rng.standard_normal((n, k)) / 2).astype(dtype)
    left = spread = 0.0
    for j in range(k):
        mean = sum(float(t) for t in targets[:, j]) / n
        for i in range(n):
            left += (float(targets[i, j]) - float(outputs[i, j])) ** 2
            spread += (float(targets[i, j]) - mean) ** 2
    score = r2_score(outputs, targets)
    assert type(score) is float
    assert score == pytest.approx(1 - left / spread, rel=1e-4, abs=1e-4)


def test_r2_is_one_for_the_truth_and_zero_for_the_mean():
    targets = np.array([[1.0], [2.0], [6.0]])
    assert r2_score(targets, targets) == 1
    assert r2_score(np.full_like(targets, 3.0), targets) == pytest.approx(0)


def test_r2_where_targets_do_not_vary_is_all_or_nothing():
    targets = np.full((3, 1), 2.0)
    assert r2_score(targets, targets) == 1
    assert r2_score(targets + 1, targets) == 0


def test_a_class_is_decided_by_the_sign_or_by_the_largest_logit():
    assert_array_equal(decide(np.array([[-0.1], [0.0], [0.1]]), "binary"), [0, 0, 1])
    assert_array_equal(decide(np.array([[1.0, 3.0, 2.0], [5.0, -1.0, 4.0]]), "classes"), [1, 0])
