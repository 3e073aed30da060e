"""3. Yes or no: why the squared loss fails at classification, and what the logistic loss does.

Hours of study are known, and who passed the exam (1) or not (0). A line through zeros and ones is no chance:
it leaves 0 to 1. The logistic neuron squeezes z = w·x + b into a chance, σ(z) = 1 / (1 + e⁻ᶻ), and pays
-log(chance it gave to what happened): little where it was right, ever more the surer it was and wrong.
"""

import numpy as np
from tour import BLUE, GREY, ORANGE, panels, save, settings

from nncore.datasets import DATASETS, Split
from nncore.layers import Dense, Sigmoid
from nncore.losses import LOSSES
from nncore.network import Network
from nncore.ops import sigmoid
from nncore.optimizers import SGD
from nncore.training import fit


def learn(layers, loss, hours, passed, steps, start=0.0):
    """Return a trained network and, step by step, the share of students it was right about."""
    network = Network(layers, input_shape=(1,))
    network.parameters["0.weight"][...] = start
    # Hours from the middle: weight and bias then want steps of the same size.
    x = (hours[:, None] - 5).astype("f4")
    right = []
    for _ in range(steps):
        says_yes = network.forward(x)[0][:, 0] > (0.5 if loss == "mean_squared_error" else 0)
        right.append(np.mean(says_yes == passed))
        fit(network, Split(x, passed), loss=LOSSES[loss], optimizer=SGD(0.5), epochs=1, batch_size=len(x))
    return network, right


def main(arguments=None):
    """Pull at a line and a logistic curve with far-off students, then start both losses from wrong."""
    options = settings(__doc__, arguments, steps=300)
    data = DATASETS["exam"]().train
    hours, passed = data.inputs[:, 0].astype(float), data.targets
    figure, (left, middle, right) = panels(3, width=4)

    # Two hundred students who worked for 30 hours and passed, as anyone would have foretold.
    crowd = np.append(hours, np.full(200, 30.0)), np.append(passed, np.ones(200, int))
    left.plot(*crowd, "|", color=ORANGE, label="students")
    shown = np.linspace(0, 32, 200)
    for (x, y), style, who in (((hours, passed), "--", "the class"), (crowd, "-", "and 200 more")):
        slope, start = np.polyfit(x, y, 1)  # the line of the least squared loss there is
        neuron, _ = learn([Dense(1)], "binary_cross_entropy", x, y, options.steps)
        w, b = neuron.parameters.flat
        print(f"Even chances for {who:12}: line {(0.5 - start) / slope:.2f} h, logistic {5 - b / w:.2f} h")
        left.plot(shown, start + slope * shown, style, color=GREY, label=f"line, {who}")
        left.plot(shown, sigmoid(w * (shown - 5) + b), style, color=BLUE, label=f"logistic, {who}")
    left.set(title="Far-off students pull at the line", xlabel="hours", ylabel="passed", ylim=(-0.3, 1.9))

    # Squared loss of σ(z) is no way out. For one who passed its slope is 2(σ - 1)·σ(1 - σ), and the last
    # factors vanish just where the neuron is sure and wrong. The logistic loss has the slope σ - 1.
    z = np.linspace(-8, 8, 161)
    squared, logistic = 2 * (sigmoid(z) - 1) * sigmoid(z) * (1 - sigmoid(z)), sigmoid(z) - 1
    print(f"Sure and wrong, z = {z[20]:.0f}: slope {squared[20]:.4f} squared, {logistic[20]:.4f} logistic")
    middle.plot(z, squared, color=GREY, label="squared loss of σ(z)")
    middle.plot(z, logistic, color=BLUE, label="logistic loss")
    middle.set(title="The pull on one who passed", xlabel="z", ylabel="slope of the loss")

    _, stuck = learn([Dense(1), Sigmoid()], "mean_squared_error", hours, passed, 101, start=-3)
    _, freed = learn([Dense(1)], "binary_cross_entropy", hours, passed, 101, start=-3)
    print(f"Begun at w = -3, right after 100 steps: {stuck[-1]:.1%} squared, {freed[-1]:.1%} logistic")
    for course, colour, label in ((stuck, GREY, "squared loss of σ(z)"), (freed, BLUE, "logistic loss")):
        right.plot(course, color=colour, label=label)
    right.set(title="Begun sure and wrong", xlabel="step", ylabel="share right", ylim=(0, 1))
    save(figure, options.out, "3_loss")


if __name__ == "__main__":
    main()
