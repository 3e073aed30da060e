"""5. Gradients: backpropagation beside numerical slopes, every number shown.

How does the loss change when one weight deep inside moves a little? Backpropagation says so for all of them:
walk back from the loss and multiply by each slope passed, the chain rule. Moving a weight by ±ε shows it too.
"""

import numpy as np
from tour import BLUE, ORANGE, RED, panels, save, settings

from nncore.gradcheck import directional_error
from nncore.layers import Dense, Tanh
from nncore.losses import LOSSES
from nncore.network import Network

X, TARGET = np.array([[1.0, 0.5]]), np.array([[1.0]])
# Two inputs, two hidden neurons, one output. As nncore keeps them: w1 (2, 2), w2 (2, 1), b1 (2), b2 (1).
POINT = np.array([0.5, -1.0, 1.0, 0.5, 1.0, -1.0, 0.0, 0.5, 0.2])
NAMES = ["w1₁₁", "w1₁₂", "w1₂₁", "w1₂₂", "w2₁", "w2₂", "b1₁", "b1₂", "b2"]


def forward(p):
    """Return what becomes of the input on its way: z, h, y and the loss."""
    z = X @ p[0:4].reshape(2, 2) + p[6:8]
    h = np.tanh(z)
    y = h @ p[4:6].reshape(2, 1) + p[8]
    return z, h, y, ((y - TARGET) ** 2).item()


def backward(p):
    """Return dloss/dp: `forward` line by line, the last one first."""
    _, h, y, _ = forward(p)
    dy = 2 * (y - TARGET)
    dh = dy @ p[4:6].reshape(2, 1).T
    dz = dh * (1 - h**2)  # the slope of tanh
    print(f"back:     dloss/dy = {dy.item():.4f}, dloss/dh = {dh[0].round(4)}, dloss/dz = {dz[0].round(4)}")
    # w1, w2, b1, b2: a weight's slope is what it multiplied times what came back, a bias's what came back.
    return np.concatenate([X.T @ dz, h.T @ dy, dz, dy], axis=None)


def numerical(p, step):
    """Return dloss/dp by moving one number at a time: (loss(p + ε) - loss(p - ε)) / 2ε."""
    return np.array([(forward(p + e)[-1] - forward(p - e)[-1]) / (2 * step) for e in step * np.eye(len(p))])


def main(arguments=None):
    """Show every number, and how small ε should be."""
    options = settings(__doc__, arguments, step=1e-5)
    z, h, y, loss = forward(POINT)
    print(f"forward:  z = {z[0].round(4)}, h = {h[0].round(4)}, y = {y.item():.4f}, loss = {loss:.4f}")
    gradient, measured = backward(POINT), numerical(POINT, options.step)

    network = Network([Dense(2), Tanh(), Dense(1)], input_shape=(2,), dtype=np.float64)
    network.parameters.flat[...] = POINT
    outputs, caches = network.forward(X)
    found = network.parameters.like()
    _, dy = LOSSES["mean_squared_error"].compute(outputs, TARGET)
    network.backward(caches, dy, network.views_of(found))
    print("weight   by hand    nncore numerical")
    for name, *three in zip(NAMES, gradient, found.flat, measured, strict=True):
        print(f"{name:6}" + " ".join(f"{number:9.6f}" for number in three))
    # Two losses for each of a million weights are too many. Along a random direction two will do for all.
    for mistake in (0.0, 0.1):
        claimed = gradient + mistake * (np.arange(9) == 3)
        error = directional_error(lambda p: forward(p)[-1], POINT, claimed, np.random.default_rng(1))
        print(f"Along a random direction, with one number off by {mistake}: an error of {error:.4f}")

    figure, (left, right) = panels(2)
    left.bar(NAMES, gradient, color=BLUE, label="backpropagation")
    left.plot(NAMES, measured, "o", color=ORANGE, label="numerical")
    left.set(title="The same slopes, twice", ylabel="dloss/dweight")
    steps = 10.0 ** np.arange(-13, 0, 0.25)
    right.loglog(steps, [np.abs(numerical(POINT, step) - gradient).max() for step in steps], color=RED)
    hint = "ε (too small: rounding; too large: the curve bends)"
    right.set(title="How far to move a weight", xlabel=hint, ylabel="largest error")
    save(figure, options.out, "5_gradients")


if __name__ == "__main__":
    main()
