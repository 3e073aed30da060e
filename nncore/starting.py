"""Training on from another network's weights: what can be taken over, and what begins anew."""

from collections.abc import Collection, Mapping

from nncore.errors import RecipeError
from nncore.network import Network
from nncore.types import Shape

Shapes = Mapping[str, Shape]


def changed_output(mine: Shapes, start: Shapes) -> tuple[str, ...]:
    """Return the names of the last layer's parameters where their shapes differ from the start's.

    Both are the shapes of all parameters by name, `2.weight`. Raises RecipeError where any other layer
    differs.
    """
    places = sorted({int(name.partition(".")[0]) for name in (*mine, *start)})
    changed: tuple[str, ...] = ()
    problems = {}
    for place in places:
        here, there = _layer(mine, place), _layer(start, place)
        if here == there:
            continue
        if place == places[-1] and here and there:
            changed = tuple(f"{place}.{name}" for name in here)
        else:
            problems[f"network[{place}]"] = f"has {_tell(here)}; the start has {_tell(there)}"
    if problems:
        raise RecipeError(problems)
    return changed


def take_weights(network: Network, start: Network, leave: Collection[str]) -> None:
    """Copy every array from the start, but those whose names are to be left alone."""
    begun = start.arrays
    for name, array in network.arrays.items():
        if name not in leave:
            array[...] = begun[name]


def _layer(shapes: Shapes, place: int) -> Shapes:
    names = [name for name in shapes if name.startswith(f"{place}.")]
    return {name.partition(".")[2]: shapes[name] for name in names}


def _tell(layer: Shapes) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in layer.items()) or "nothing to learn"
