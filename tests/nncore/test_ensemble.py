import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from nncore.artifact import activate
from nncore.averaging import MEANS
from nncore.config import from_json
from nncore.convolution import Conv2D
from nncore.ensemble import MOST_ROOM, Ensemble
from nncore.errors import RecipeError
from nncore.layers import Dense, Dropout, Flatten, ReLU, Tanh
from nncore.network import Network, plan
from nncore.normalization import BatchNorm
from nncore.pooling import GlobalAveragePooling
from nncore.recipe import Recipe

# Each another network, on pictures of 4 × 4.
MEMBERS = (
    (Flatten(), Dense(5), ReLU(), Dense(3)),
    (Conv2D(4, 3), BatchNorm(), Tanh(), GlobalAveragePooling(), Dropout(0.5), Dense(3)),
    (Flatten(), Dense(3, bias=False)),
)
KINDS = ("classes", "binary", "regression")


def network_of(*layers, shape=(4, 4), dtype=np.float32, seed=0):
    network = Network(layers, shape, dtype)
    rng = np.random.default_rng(seed)
    network.initialize(rng)
    network.state.flat[...] = rng.uniform(0.5, 2, network.state.flat.shape)
    return network


def apart(ensemble):
    """Return the members of a network that is one ensemble as networks of their own."""
    members = [Network(layers, ensemble.input_shape) for layers in ensemble.layers[0].members]
    for place, member in enumerate(members):
        for name, array in member.arrays.items():
            array[...] = ensemble.arrays[f"0.{place}.{name}"]
    return members


def inputs(count=7, seed=1):
    return np.random.default_rng(seed).standard_normal((count, 4, 4)).astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_what_an_ensemble_says_is_the_mean_of_what_its_members_say(kind):
    ensemble = network_of(Ensemble(MEMBERS, kind))
    x = inputs()
    if kind == "binary":
        # A question an output; what is said of one stands in two columns.
        said = [activate(member.forward(x)[0].reshape(-1, 1), kind) for member in apart(ensemble)]
        outputs = ensemble.forward(x)[0].reshape(-1, 1)
    else:
        said = [activate(member.forward(x)[0], kind) for member in apart(ensemble)]
        outputs = ensemble.forward(x)[0]
    assert outputs.dtype == np.float32
    assert_allclose(activate(outputs, kind), np.mean(said, axis=0), rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("kind", ["classes", "binary"])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("size", [100, 3e38])
def test_probabilities_that_underflow_still_have_a_mean(kind, sign, size):
    logits = sign * np.array([[[size, -size]], [[size, -size]], [[size, -0.9 * size]]], np.float32)
    with np.errstate(over="ignore"):
        y = MEANS[kind](logits[..., :1] if kind == "binary" else logits)
        p = activate(y, kind)
    assert np.isfinite(y).all()
    assert np.isfinite(p).all()
    assert_allclose(p.sum(axis=1), 1, rtol=1e-6)


def test_one_member_that_is_sure_of_nothing_is_not_lost_beside_ones_that_are_sure():
    answers = np.array([[[200.0, 0.0]], [[200.0, 0.0]], [[-200.0, 0.0]]], np.float32)
    assert_allclose(activate(MEANS["classes"](answers), "classes"), [[2 / 3, 1 / 3]], rtol=1e-6)
    assert_allclose(activate(MEANS["binary"](answers[..., :1]), "binary"), [[1 / 3, 2 / 3]], rtol=1e-6)


def test_arrays_are_named_by_layer_member_and_layer_in_it():
    planned = plan((Flatten(), Ensemble(((Dense(3), BatchNorm()), (Tanh(), Dense(3, bias=False))))), (2, 2))
    assert planned.parameters == {
        "1.0.0.weight": (4, 3),
        "1.0.0.bias": (3,),
        "1.0.1.scale": (3,),
        "1.0.1.shift": (3,),
        "1.1.1.weight": (4, 3),
    }
    assert planned.state == {"1.0.1.mean": (3,), "1.0.1.variance": (3,)}
    assert planned.outputs == [(4,), (3,)]
    assert planned.numbers == 4 + (3 + 3) + (4 + 3) + 3


def test_the_eleventh_member_is_not_mistaken_for_the_second():
    members = tuple((Dense(units), Dense(2)) for units in range(1, 13))
    planned = plan((Ensemble(members),), (1,))
    assert [planned.parameters[f"0.{place}.0.bias"] for place in range(12)] == [(n,) for n in range(1, 13)]


def test_members_start_with_other_weights_and_draw_other_dropout_masks():
    ensemble = network_of(Ensemble(((Dense(3), Dropout(0.5)),) * 2), shape=(50,))
    first, second = apart(ensemble)
    assert not np.isin(first.flat, second.flat[second.flat != 0]).any()
    x = np.ones((4, 50), np.float32)
    _, caches = ensemble.forward(x, np.random.default_rng(0))
    (mine, other), _ = caches[0]
    assert not np.array_equal(mine[1], other[1])


def test_the_gradient_by_the_inputs_is_right_where_members_pass_on_what_they_were_given():
    ensemble = network_of(Ensemble(((Flatten(),),) * 3, "regression"))
    dy = np.arange(32, dtype=np.float32).reshape(2, 16)
    _, caches = ensemble.forward(inputs(2))
    dx = ensemble.backward(caches, dy, [{}], wants_dx=True)
    assert_allclose(dx, dy.reshape(2, 4, 4), rtol=1e-6)


def test_a_training_batch_moves_the_members_running_statistics():
    ensemble = network_of(Ensemble(MEMBERS))
    members = apart(ensemble)
    _, caches = ensemble.forward(inputs(), np.random.default_rng(0))
    ensemble.fold(caches)
    _, own = members[1].forward(inputs(), np.random.default_rng(0))
    members[1].fold(own)
    for name, array in members[1].state.items():
        assert_allclose(ensemble.arrays[f"0.1.{name}"], array, rtol=1e-6)


@pytest.mark.parametrize("count", [1, 7, 128, 300])
def test_infer_needs_the_room_that_it_says_and_leaves_the_rest_alone(count):
    layer = Ensemble(MEMBERS)
    network = network_of(layer)
    views, x = network.views_of(network.arrays)[0], inputs(count)
    size = layer.scratch_size((4, 4))
    room = np.full(size + 9, np.nan, np.float32)
    y = layer.infer(views, x, np.empty((count, 3), np.float32), room[:size])
    assert np.isnan(room[size:]).all()
    assert_allclose(y, network.forward(x)[0], rtol=1e-5, atol=1e-6)
    assert_array_equal(y, layer.infer(views, x, np.empty((count, 3), np.float32), room))


def test_a_wide_ensemble_is_gone_through_a_few_rows_at_a_time():
    wide = Ensemble(((Dense(20_000), ReLU(), Dense(2)),) * 2)
    assert wide.scratch_size((3,)) <= MOST_ROOM
    # Members wait for each other: the room does not grow with them.
    assert Ensemble(wide.members * 20).scratch_size((3,)) <= MOST_ROOM


# What is refused, and where.


def dense(units):
    return {"type": "dense", "units": units}


def recipe(members, **more):
    network = [{"type": "flatten"}, {"type": "ensemble", "members": members} | more]
    return {
        "dataset": "digits",
        "network": network,
        "loss": "softmax_cross_entropy",
        "optimizer": {"type": "sgd"},
        "epochs": 1,
    }


def nested(depth):
    data = [[dense(2)], [dense(2)]]
    for _ in range(depth):
        data = [[{"type": "ensemble", "members": data}]] * 2
    return data


REFUSED = {
    "one member": ([[dense(2)]], "members", "must have at least 2 entries, not 1"),
    "too many members": ([[dense(2)]] * 65, "members", "must have at most 64 entries, not 65"),
    "no members": (None, "members", "must be an array, not null"),
    "a member without layers": ([[dense(2)], []], "members[1]", "must have at least 1 entry, not 0"),
    "a member that is no row": ([[dense(2)], dense(2)], "members[1]", "must be an array, not an object"),
    "an ensemble in an ensemble": (nested(1), "members[0][0].type", "not 'ensemble'"),
    "ensembles without end": (nested(40), "members[0][0].type", "not 'ensemble'"),
    "layers without end": ([[dense(2)] * 1001] * 2, "members[0]", "must have at most 1000 entries, not 1001"),
    "a wrong layer": ([[dense(2)], [dense(2), dense(0)]], "members[1][1].units", "must be ≥ 1, not 0"),
    "a million layers": ([[dense(2)] * 1000] * 64, "members[9][997]", "one object more than the 10,000"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_an_ensemble_that_is_none_is_refused_with_the_place(what):
    members, path, text = REFUSED[what]
    with pytest.raises(RecipeError) as caught:
        from_json(Recipe, recipe(members))
    (place, said), *_ = caught.value.problems.items()
    assert place == f"network[1].{path}"
    assert text in said


def test_a_wrong_kind_of_output_is_refused():
    with pytest.raises(RecipeError, match=r"network\[1\]\.output: must be one of binary, classes, reg"):
        from_json(Recipe, recipe([[dense(2)]] * 2, output="class"))


UNFIT = {
    "outputs that differ": (
        ((Dense(3),), (Dense(3),), (Dense(4),)),
        r"^network\[0\]\.members\[2\]: gives \(4,\) numbers an example, the first member \(3,\)$",
    ),
    "outputs that are not flat": (
        ((Conv2D(2, 1),), (Conv2D(2, 1),)),
        r"^network\[0\]\.members\[0\]\[0\]: conv2d takes pictures",
    ),
    "one class": (((Dense(1),), (Dense(1),)), r"^network\[0\]: one output an example is no classes: say"),
    "a layer that does not fit": (
        ((Dense(3),), (Dense(3), Tanh(), GlobalAveragePooling())),
        r"^network\[0\]\.members\[1\]\[2\]: global_average_pooling takes pictures",
    ),
    "a member without layers": (((Dense(3),), ()), r"^network\[0\]\.members\[1\]: must have at least one"),
    "too many parameters in a layer": (
        ((Dense(3),), (Dense(2**16), Dense(2**16))),
        r"^network\[0\]\.members\[1\]\[1\]: more than 50,000,000 parameters in all$",
    ),
    "too many parameters in all": (
        ((Dense(2**16, bias=False), Dense(600)),) * 2,
        r"^network\[0\]: more than 50,000,000 parameters in all$",
    ),
    "too many numbers in a member": (
        ((Dense(2),), (Dense(2**16), *[ReLU()] * 16, Dense(2))),
        r"^network\[0\]\.members\[1\]: its layers give 1,114,114 numbers an example, more than 1,048,576$",
    ),
    "too many numbers in all": (
        ((Dense(2**15), *[ReLU()] * 10, Dense(2)),) * 3,
        r"^network: its layers give 1,081,352 numbers an example, more than 1,048,576$",
    ),
}


@pytest.mark.parametrize("what", UNFIT)
def test_an_ensemble_that_cannot_work_is_refused_with_the_place(what):
    members, message = UNFIT[what]
    with pytest.raises(RecipeError, match=message):
        plan((Ensemble(members),), (4,))


def test_flat_outputs_are_asked_for():
    with pytest.raises(RecipeError, match=r"^network\[0\]: an ensemble is of networks with flat outputs"):
        plan((Ensemble(((Tanh(),), (Tanh(),))),), (4, 4))
