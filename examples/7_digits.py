"""7. Digits: ten answers at once, by softmax and cross-entropy.

A picture of a digit goes in, 784 grey levels, and each of ten neurons gives a score for its digit. Softmax
makes chances of the scores, e^score divided by the sum of all ten, and the cross-entropy is -log of the
chance that the true digit got: the logistic loss of part 3, for more than two answers.
"""

import numpy as np
from tour import panels, save, settings

from nncore.datasets import DATASETS, Split
from nncore.layers import Dense, Flatten, ReLU
from nncore.losses import LOSSES
from nncore.metrics import accuracy, confusion_matrix
from nncore.network import Network
from nncore.ops import softmax
from nncore.optimizers import Adam
from nncore.randomness import stream
from nncore.training import fit

LOSS = LOSSES["softmax_cross_entropy"]


def learn(layers, train, epochs):
    """Return a network trained on pictures."""
    network = Network(layers, input_shape=(28, 28))
    network.initialize(stream(1, "init"))
    # A little L2 shrinks weights that nothing needs: those of pixels at the margin are mere chance otherwise.
    fit(network, train, loss=LOSS, optimizer=Adam(0.002), epochs=epochs, batch_size=128, l2=0.001)
    return network


def main(arguments=None):
    """Work out one softmax by hand, then read digits without and with a hidden layer."""
    options = settings(__doc__, arguments, epochs=5, rows=55_000, hidden=64)
    scores, true = np.array([[2.0, 1.0, -1.0]]), 0
    chances = np.exp(scores) / np.exp(scores).sum()
    # The slope is as simple as can be: each score is pulled by what its chance is off, p - 1 or p - 0.
    slope = chances - np.eye(3)[true]
    print(f"scores {scores[0]}: chances {chances[0].round(4)}, loss {-np.log(chances[0, true]):.4f}")
    _, found = LOSS.compute(scores, np.array([true]))
    print(f"slope by hand {slope[0].round(4)}, by nncore {found[0].round(4)}")

    digits = DATASETS["digits"]()
    # Grey levels from 0 to 1: steps that suit numbers near 1 would be far too long for 255. The test set
    # stays closed. It is for the last word on a model, and every look at it is a little cheating.
    train = Split(digits.train.inputs[: options.rows] / np.float32(255), digits.train.targets[: options.rows])
    pictures, truth = digits.validation.inputs / np.float32(255), digits.validation.targets

    plain = learn([Flatten(), Dense(10)], train, options.epochs)
    deep = learn([Flatten(), Dense(options.hidden), ReLU(), Dense(10)], train, options.epochs)
    for name, network in (("ten neurons", plain), (f"{options.hidden} hidden before them", deep)):
        read = network.forward(pictures)[0].argmax(axis=1)
        print(f"{name:21} read {accuracy(read, truth):.1%} of {len(truth):,} unseen pictures")
    confusion = confusion_matrix(read, truth, 10)
    np.fill_diagonal(confusion, 0)
    digit, other = np.unravel_index(confusion.argmax(), confusion.shape)
    print(f"The most common mistake, {confusion.max()} times: {digit} read as {other}.")

    figure, (top, bottom) = panels(10, rows=2, width=1, height=1.25)
    # A neuron's weights are a picture too, of what speaks for its digit (purple) and against it (orange).
    for digit, weights in enumerate(plain.parameters["1.weight"].T):
        most = np.abs(weights).max()
        top[digit].imshow(
            weights.reshape(28, 28), cmap="PuOr", vmin=-most, vmax=most, interpolation="nearest"
        )
        top[digit].set_title(f"for {digit}", fontsize=9)
    for axes, row in zip(bottom, np.flatnonzero(read != truth), strict=False):
        chance = softmax(deep.forward(pictures[row : row + 1])[0]).max()
        axes.imshow(pictures[row], cmap="gray_r", interpolation="nearest")
        axes.set_title(f"{truth[row]} as {read[row]}\n{chance:.0%} sure", fontsize=9)
    for axes in figure.axes:
        axes.set_axis_off()
    save(figure, options.out, "7_digits")


if __name__ == "__main__":
    main()
