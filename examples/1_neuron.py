"""1. The neuron: one weight learns by walking downhill.

What does a kilogram of apples cost? Four receipts say so, each a little off. The simplest neuron there is
multiplies its input by one weight, y = w·x, and it learns w by making its mistakes smaller step by step.
"""

import numpy as np
from tour import BLUE, GREY, ORANGE, panels, save, settings

from nncore.datasets import Split
from nncore.layers import Dense
from nncore.losses import LOSSES
from nncore.network import Network
from nncore.optimizers import SGD
from nncore.training import fit

KILOGRAMS = np.array([1.0, 2.0, 3.0, 4.0])
PRICES = np.array([2.1, 3.9, 6.2, 7.9])


def loss(w):
    """Return how wrong w is: the mean of the squared errors."""
    return np.mean((w * KILOGRAMS - PRICES) ** 2)


def slope(w):
    """Return dloss/dw. By the chain rule (w·x - y)² has the slope 2·(w·x - y)·x."""
    return np.mean(2 * (w * KILOGRAMS - PRICES) * KILOGRAMS)


def main(arguments=None):
    """Learn the weight by hand, then with nncore, and draw the way down."""
    options = settings(__doc__, arguments, steps=20, rate=0.02)

    # This is all there is to learning: where the loss rises to the right, go left, and the other way round.
    weights = [0.0]
    for _ in range(options.steps):
        w = weights[-1]
        weights.append(w - options.rate * slope(w))

    print("step      w    loss    slope")
    shown = [step for step in range(len(weights)) if step in (0, 1, 2, 3, 5, 10, options.steps)]
    for step in shown:
        w = weights[step]
        print(f"{step:4} {w:6.3f} {loss(w):7.3f} {slope(w):8.3f}")

    # For one weight the bottom can also be worked out: the slope is 0 at w = Σxy / Σx².
    best = np.sum(KILOGRAMS * PRICES) / np.sum(KILOGRAMS**2)
    print(f"The bottom is at w = {best:.3f}.")

    # The same with nncore. A layer of one unit without a bias is our neuron; its weight starts at 0 as ours
    # did, and one batch of all four receipts makes an epoch one step.
    network = Network([Dense(1, bias=False)], input_shape=(1,))
    receipts = Split(KILOGRAMS[:, None].astype("f4"), PRICES[:, None].astype("f4"))
    squared = LOSSES["mean_squared_error"]
    fit(network, receipts, loss=squared, optimizer=SGD(options.rate), epochs=options.steps, batch_size=4)
    print(f"By hand w = {weights[-1]:.4f}, by nncore w = {network.parameters['0.weight'].item():.4f}.")

    figure, (left, right) = panels(2)
    left.plot(KILOGRAMS, PRICES, "o", color=ORANGE, markersize=8, label="receipts", zorder=3)
    for step in (*shown[:4], options.steps):
        w = weights[step]
        left.plot([0, 4.4], [0, 4.4 * w], color=BLUE, alpha=0.3 + 0.7 * step / options.steps)
        left.annotate(f"step {step}", (4.45, 4.4 * w), va="center", color=GREY)
    left.set(title="What the neuron says", xlabel="kilograms", ylabel="price", xlim=(0, 5.3))

    ws = np.linspace(min(-0.2, *weights), max(4.2, *weights), 200)
    right.plot(ws, [loss(w) for w in ws], color=GREY)
    right.plot(weights, [loss(w) for w in weights], "o-", color=BLUE, label="the steps")
    right.set(title="The way down", xlabel="weight w", ylabel="loss")
    save(figure, options.out, "1_neuron")


if __name__ == "__main__":
    main()
