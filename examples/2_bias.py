"""2. The bias, and the learning rate.

A taxi asks for money before it moves, which no line through the origin can say: the neuron needs a second
number, the bias, y = w·x + b. The data are y = 2x + 1 with a little noise.
"""

import numpy as np
from tour import BLUE, GREEN, GREY, ORANGE, RED, panels, save, settings

from nncore.datasets import DATASETS
from nncore.errors import TrainingError
from nncore.layers import Dense
from nncore.losses import LOSSES
from nncore.network import Network
from nncore.optimizers import SGD
from nncore.training import fit

COLOURS = {0.01: GREY, 0.1: BLUE, 0.3: GREEN, 0.36: RED}


def descend(x, y, rate, steps):
    """Return the loss at each step of gradient descent on w and b, the first at w = b = 0."""
    w = b = 0.0
    losses = []
    for _ in range(steps + 1):
        error = w * x + b - y
        losses.append(np.mean(error**2))
        # Two slopes now, one formula: a bias is the weight of an input that is always 1.
        w -= rate * np.mean(2 * error * x)
        b -= rate * np.mean(2 * error)
    return losses


def learn(data, rate, epochs, bias=True):
    """Return a neuron that nncore has trained, all rows in one batch, and its last loss."""
    network = Network([Dense(1, bias=bias)], input_shape=(1,))
    loss = LOSSES["mean_squared_error"]
    history = fit(network, data, loss=loss, optimizer=SGD(rate), epochs=epochs, batch_size=len(data))
    return network, history.epochs[-1].loss


def main(arguments=None):
    """Compare the neuron with and without a bias, then learning rates."""
    options = settings(__doc__, arguments, steps=40)
    figure, (left, right) = panels(2)
    data = DATASETS["line"]().train
    x, y = data.inputs[:, 0].astype(float), data.targets[:, 0].astype(float)

    without, highest = learn(data, 0.1, 100, bias=False)
    neuron, lowest = learn(data, 0.1, 100)
    w, b = neuron.parameters.flat
    print(f"Without a bias the loss stays at {highest:.3f}.")
    print(f"With one it falls to {lowest:.3f}, and the line is y = {w:.2f}x + {b:.2f}.")

    # Each step multiplies the distance of w from its goal by about 1 - 2·rate·mean(x²). Between 1 and -1 that
    # shrinks it; below -1 the step lands on the other side, further away than before.
    print(f"Above a rate of 1 / mean(x²) = {1 / np.mean(x**2):.3f} every step makes it worse:")
    for rate, colour in COLOURS.items():
        course = descend(x, y, rate, options.steps)
        right.plot(course, color=colour, label=f"rate {rate}")
        factor = 1 - 2 * rate * np.mean(x**2)
        print(f"  rate {rate:4}  factor {factor:6.3f}  loss after {options.steps} steps {course[-1]:.4g}")
    try:
        learn(data, 1.0, 100)
    except TrainingError as error:
        print(f"nncore at rate 1: {error}.")

    left.plot(x, y, ".", color=ORANGE, alpha=0.6, label="data")
    left.plot(x, without.forward(data.inputs)[0], color=GREY, label="w·x")
    left.plot(x, neuron.forward(data.inputs)[0], color=BLUE, label="w·x + b")
    left.set(title="A line needs a bias", xlabel="x", ylabel="y")
    right.set(title="How far to step", xlabel="step", ylabel="loss", yscale="log")
    save(figure, options.out, "2_bias")


if __name__ == "__main__":
    main()
