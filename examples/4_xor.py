"""4. XOR: what one neuron cannot learn, and a hidden layer can.

XOR is true where exactly one of two inputs is. A neuron says yes on one side of a straight line, and no line
has (0, 1) and (1, 0) on one side and (0, 0) and (1, 1) on the other. Neurons behind neurons can: each hidden
one draws a line of its own, and the last one combines them.
"""

import itertools

import numpy as np
from tour import panels, save, settings

from nncore.datasets import DATASETS
from nncore.layers import Dense, Tanh
from nncore.losses import LOSSES
from nncore.metrics import accuracy
from nncore.network import Network
from nncore.ops import sigmoid
from nncore.optimizers import Adam
from nncore.randomness import stream
from nncore.training import fit


def learn(layers, rows, epochs):
    """Return a network that has seen the four rows for so many epochs."""
    network = Network(layers, input_shape=(2,))
    # From zero all hidden neurons would get the same gradient, and stay one neuron for ever.
    network.initialize(stream(1, "init"))
    fit(network, rows, loss=LOSSES["binary_cross_entropy"], optimizer=Adam(0.05), epochs=epochs, batch_size=4)
    return network


def chances(network, points):
    """Return what the network gives for true: σ of its output. points: (N, 2) → (N,)."""
    return sigmoid(network.forward(points)[0])[:, 0]


def draw(axes, network, rows, title):
    """Draw the chances over the plane, the border between yes and no, and the four rows."""
    line = np.linspace(-0.5, 1.5, 101, dtype="f4")
    plane = np.stack(np.meshgrid(line, line), axis=-1)
    surface = chances(network, plane.reshape(-1, 2)).reshape(101, 101)
    shades = axes.pcolormesh(line, line, surface, cmap="cividis", vmin=0, vmax=1, shading="nearest")
    if surface.min() < 0.5 < surface.max():
        axes.contour(line, line, surface, levels=[0.5], colors="white", linewidths=2)
    for (x, y), true in zip(rows.inputs, rows.targets, strict=True):
        axes.text(x, y, true, ha="center", va="center", bbox={"boxstyle": "circle", "facecolor": "white"})
    axes.set(title=title, xlabel="first input", ylabel="second input", aspect="equal")
    return shades


def main(arguments=None):
    """Look for a neuron that knows XOR, train one, then train a hidden layer."""
    options = settings(__doc__, arguments, epochs=400, hidden=4)
    rows = DATASETS["xor"]().train

    # By hand: try every neuron of a grid. What counts is the sign of w·x + b, so the grid leaves little out.
    grid = np.linspace(-2, 2, 21)
    tried = [(rows.inputs @ (v, w) + b > 0) == rows.targets for v, w, b in itertools.product(grid, repeat=3)]
    print(f"Of {len(tried):,} neurons the best is right about {np.sum(tried, axis=1).max()} rows of 4.")

    neuron = learn([Dense(1, initializer="glorot")], rows, options.epochs)
    hidden = [Dense(options.hidden, initializer="glorot"), Tanh(), Dense(1, initializer="glorot")]
    network = learn(hidden, rows, options.epochs)
    for name, each in (("one neuron", neuron), (f"{options.hidden} hidden", network)):
        says = chances(each, rows.inputs)
        right = accuracy(says.round(2) > 0.5, rows.targets)  # 0.50 is no yes
        print(f"{name:10} says {' '.join(f'{chance:.2f}' for chance in says)}, right {right:.0%}")

    figure, (left, right) = panels(2)
    draw(left, neuron, rows, "One neuron")
    shades = draw(right, network, rows, f"{options.hidden} hidden neurons")
    figure.colorbar(shades, ax=[left, right], label="chance of true")
    save(figure, options.out, "4_xor")


if __name__ == "__main__":
    main()
