"""8. Validation: over-fitting, when to stop, and how many pictures a step.

Three hundred pictures can be learned by heart, and a network does so if it is let: its loss on them falls to
nothing, and grows on all others. So some pictures are held out, never trained on but looked at after every
epoch: validation. Training ends when they gain nothing more, and the weights of their best epoch are kept.
"""

import numpy as np
from tour import BLUE, GREEN, GREY, ORANGE, RED, panels, save, settings

from nncore.datasets import DATASETS, Split
from nncore.layers import Dense, Flatten, ReLU
from nncore.losses import LOSSES
from nncore.network import Network
from nncore.optimizers import Adam
from nncore.randomness import stream
from nncore.training import EarlyStopping, fit


def learn(train, validation, epochs, batch_size=32, patience=None):
    """Return the history of a training, from the same first weights every time."""
    network = Network([Flatten(), Dense(64), ReLU(), Dense(10)], input_shape=(28, 28))
    network.initialize(stream(1, "init"))
    return fit(
        network,
        train,
        loss=LOSSES["softmax_cross_entropy"],
        optimizer=Adam(0.002),
        epochs=epochs,
        batch_size=batch_size,
        validation=validation,
        early_stopping=EarlyStopping(patience) if patience else None,
    )


def main(arguments=None):
    """Learn too long, stop in time, and compare batch sizes."""
    options = settings(__doc__, arguments, rows=300, unseen=5_000, epochs=60, patience=10)
    digits = DATASETS["digits"]()
    few = digits.train.take(np.arange(options.rows))
    others = digits.validation.take(np.arange(options.unseen))
    train, validation = (Split(part.inputs / np.float32(255), part.targets) for part in (few, others))
    figure, (left, right) = panels(2)

    # 1. Far too long.
    epochs = learn(train, validation, options.epochs).epochs
    numbers = [epoch.number for epoch in epochs]
    seen = [epoch.train["loss"] for epoch in epochs]
    unseen = [epoch.validation["loss"] for epoch in epochs]
    for name, i in (("best", np.argmin(unseen)), ("last", -1)):
        right_about = epochs[i].validation["accuracy"]
        print(f"{name} epoch, {numbers[i]:2}: loss {seen[i]:.3f} on pictures trained on,", end=" ")
        print(f"{unseen[i]:.3f} on others, {right_about:.1%} of them right")
    left.plot(numbers, seen, color=GREY, label="pictures trained on")
    left.plot(numbers, unseen, color=BLUE, label="pictures held out")

    # 2. Until the loss on held-out rows has not fallen for `patience` epochs, and back to its lowest.
    stopped = learn(train, validation, options.epochs, patience=options.patience)
    print(f"Early stopping: ended after epoch {len(stopped.epochs)}, kept epoch {stopped.kept_epoch}")
    left.axvline(stopped.kept_epoch, color=RED, linestyle=":", label="epoch kept")
    left.set(title="Learned by heart", xlabel="epoch", ylabel="loss", ylim=(0, None))

    # 3. Small batches make many steps an epoch, each by a poor sample; large ones few, each surer. So small
    # ones learn, and over-fit, in fewer epochs; the epochs of large ones take less time.
    for size, colour in ((4, ORANGE), (32, BLUE), (options.rows, GREEN)):
        epochs = learn(train, validation, options.epochs, batch_size=size).epochs
        unseen = [epoch.validation["loss"] for epoch in epochs]
        print(
            f"batches of {size:3}: lowest loss on others {min(unseen):.3f}, in epoch {np.argmin(unseen) + 1}"
        )
        right.plot(numbers, unseen, color=colour, label=f"batches of {size}")
    right.set(title="Batch size", xlabel="epoch", ylabel="loss on pictures held out")
    save(figure, options.out, "8_validation")


if __name__ == "__main__":
    main()
