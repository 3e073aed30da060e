"""Training on from another network's weights: what can be taken over, and what begins anew."""

from collections.abc import Collection, Mapping

from nncore.errors import RecipeError
from nncore.network import Network
from nncore.types import Shape

Shapes = Mapping[str, Shape]
# A layer's place in the network; of one in an ensemble the ensemble's, the member's and its own there.
Place = tuple[int, ...]


def changed_output(mine: Shapes, start: Shapes) -> tuple[str, ...]:
    """Return the names of the last layer's parameters where their shapes differ from the start's.

    Both are the shapes of all parameters by name, `2.weight`; an ensemble's members have a last layer each.
    Raises RecipeError where any other layer differs.
    """
    here, there = _layers(mine), _layers(start)
    places = sorted({*here, *there})
    last = {place[:-1]: place for place in places}
    changed: list[str] = []
    problems = {}
    for place in places:
        own, begun = here.get(place, {}), there.get(place, {})
        if own == begun:
            continue
        ends = place[0] == places[-1][0] and place == last[place[:-1]]
        if ends and own and begun:
            changed += [f"{'.'.join(map(str, place))}.{name}" for name in own]
        else:
            problems[_path(place)] = f"has {_tell(own)}; the start has {_tell(begun)}"
    if problems:
        raise RecipeError(problems)
    return tuple(changed)


def take_weights(network: Network, start: Network, leave: Collection[str]) -> None:
    """Copy every array from the start, but those whose names are to be left alone."""
    begun = start.arrays
    for name, array in network.arrays.items():
        if name not in leave:
            array[...] = begun[name]


def _layers(shapes: Shapes) -> dict[Place, dict[str, Shape]]:
    layers: dict[Place, dict[str, Shape]] = {}
    for name, shape in shapes.items():
        *place, inner = name.split(".")
        layers.setdefault(tuple(map(int, place)), {})[inner] = shape
    return layers


def _path(place: Place) -> str:
    return f"network[{place[0]}]" + (".members" + "".join(f"[{i}]" for i in place[1:]) if place[1:] else "")


def _tell(layer: Shapes) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in layer.items()) or "nothing to learn"
