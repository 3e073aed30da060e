"""BatchNorm folded into the layer before it: outside training both are one affine map of each channel."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nncore import sequence
from nncore.convolution import Conv2D
from nncore.ensemble import Ensemble
from nncore.layers import Dense, Dropout, Flatten, Layer
from nncore.network import Network
from nncore.normalization import BatchNorm
from nncore.pooling import GlobalAveragePooling, MaxPool2D
from nncore.types import FloatArray, Views

# What is folded is worked out in float64 and rounded once.
DoubleArray = NDArray[np.float64]


@dataclass
class _Piece:
    """A layer with its arrays, and what was folded into it: its products times `factor`, plus `shift`.

    Of an ensemble, the pieces of each member.
    """

    layer: Layer
    views: Views
    factor: DoubleArray | float = 1.0
    shift: DoubleArray | None = None
    members: Sequence[Sequence["_Piece"]] = ()


def fold_batch_norms(network: Network) -> Network:
    """Return a network that outside training gives the same, up to rounding, with fewer BatchNorm layers.

    One goes into the Dense or Conv2D before it, through what lies between and keeps to a line: Dropout, a
    mean, a Flatten of single pixels, and a maximum as long as no factor is negative. Any other stays. Where
    nothing can be folded the network itself is returned.
    """
    pieces = _fold(network.layers, network.views_of(network.arrays))
    layers = _layers(pieces)
    if layers == network.layers:
        return network
    folded = Network(layers, network.input_shape, network.flat.dtype)
    _write(pieces, folded.views_of(folded.arrays))
    return folded


def _fold(layers: Sequence[Layer], views: Sequence[Views]) -> list[_Piece]:
    pieces: list[_Piece] = []
    for layer, own in zip(layers, views, strict=True):
        if isinstance(layer, Ensemble):
            pieces.append(_fold_members(layer, own))
        elif not (isinstance(layer, BatchNorm) and _absorb(pieces, layer, own)):
            pieces.append(_Piece(layer, own))
    return pieces


def _fold_members(ensemble: Ensemble, views: Views) -> _Piece:
    arrays = sequence.split(views, len(ensemble.members))
    members = [
        _fold(layers, sequence.split(own, len(layers)))
        for layers, own in zip(ensemble.members, arrays, strict=True)
    ]
    folded = dataclasses.replace(ensemble, members=tuple(_layers(pieces) for pieces in members))
    return _Piece(folded, {}, members=members)


def _layers(pieces: Sequence[_Piece]) -> tuple[Layer, ...]:
    return tuple(piece.layer for piece in pieces)


def _absorb(pieces: Sequence[_Piece], norm: BatchNorm, views: Views) -> bool:
    """Fold a BatchNorm into one of the layers before it, and say whether that could be done."""
    scale, shift, mean, variance = (
        views[name].astype(np.float64) for name in ("scale", "shift", "mean", "variance")
    )
    # What is not finite is not folded.
    with np.errstate(all="ignore"):
        factor = scale / np.sqrt(variance + norm.epsilon)
        piece = _linear_before(pieces, factor)
        if piece is None:
            return False
        before = piece.views.get("bias", 0.0) if piece.shift is None else piece.shift
        total, moved = piece.factor * factor, (before - mean) * factor + shift
        if not _fits(piece.views["weight"], total, moved):
            return False
    if isinstance(piece.layer, Dense | Conv2D):
        piece.layer = dataclasses.replace(piece.layer, bias=True)
    piece.factor, piece.shift = total, moved
    return True


def _linear_before(pieces: Sequence[_Piece], factor: DoubleArray) -> _Piece | None:
    """Return the layer that a BatchNorm with these factors can be folded into."""
    for piece in reversed(pieces):
        if isinstance(piece.layer, Dense | Conv2D):
            # A Flatten of more than one pixel has turned pixels into channels.
            return piece if piece.views["weight"].shape[-1] == len(factor) else None
        rising = isinstance(piece.layer, MaxPool2D) and bool((factor >= 0).all())
        if not rising and not isinstance(piece.layer, Dropout | Flatten | GlobalAveragePooling):
            return None
    return None


def _fits(weight: FloatArray, factor: DoubleArray, shift: DoubleArray) -> bool:
    """Say whether the folded numbers can be held: what a layer of its own takes may be too large."""
    largest = max(float(weight.max()), -float(weight.min())) * factor
    most = np.finfo(weight.dtype).max
    return all(bool((np.abs(numbers) < most).all()) for numbers in (largest, shift))


def _write(pieces: Sequence[_Piece], room: Sequence[Views]) -> None:
    for piece, own in zip(pieces, room, strict=True):
        if piece.members:
            for member, arrays in zip(piece.members, sequence.split(own, len(piece.members)), strict=True):
                _write(member, sequence.split(arrays, len(member)))
        for name, array in piece.views.items():
            own[name][...] = array
        if piece.shift is not None:
            np.multiply(piece.views["weight"], piece.factor, out=own["weight"], casting="same_kind")
            own["bias"][...] = piece.shift
