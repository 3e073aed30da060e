"""A recipe to begin with, for a dataset that nobody has trained on yet."""

import numpy as np

from nncore.convolution import Conv2D
from nncore.datasets import Dataset, Source
from nncore.layers import Dense, Flatten, Layer, ReLU
from nncore.optimizers import Adam
from nncore.pooling import MaxPool2D
from nncore.preprocessing import Scale, Standardize, Step
from nncore.recipe import Recipe
from nncore.training import EarlyStopping

# A picture this small has no room for two rounds of convolution and pooling.
SMALLEST_FOR_CONVOLUTION = 12
HIDDEN = 32


def starter(dataset: Dataset, source: str | Source) -> Recipe:
    """Return a plain recipe for a dataset: small, quick, and good enough to be improved on.

    A table gets its columns standardised and one hidden layer; pictures two convolutions, or where they are
    small a hidden layer; what is neither is divided by the largest number in it. It ends early where
    validation no longer improves.
    """
    shape = dataset.train.inputs.shape[1:]
    outputs = len(dataset.labels) or dataset.train.targets.shape[1]
    is_picture = dataset.picture is not None
    largest = 255.0 if is_picture else float(np.abs(dataset.train.inputs).max()) or 1.0
    steps: tuple[Step, ...] = (Standardize(),) if len(shape) == 1 else (Scale(largest),)
    if is_picture and min(shape[:2]) >= SMALLEST_FOR_CONVOLUTION:
        body: tuple[Layer, ...] = (
            Conv2D(16, 3, padding="same"), ReLU(), MaxPool2D(),
            Conv2D(32, 3, padding="same"), ReLU(), MaxPool2D(), Flatten(),
        )  # fmt: skip
    else:
        flat = (Flatten(),) if len(shape) > 1 else ()
        body = (*flat, Dense(2 * HIDDEN if is_picture else HIDDEN), ReLU())
    return Recipe(
        dataset=source,
        network=(*body, Dense(outputs)),
        loss="softmax_cross_entropy" if dataset.labels else "mean_squared_error",
        optimizer=Adam(0.003 if is_picture else 0.01),
        epochs=50 if is_picture else 200,
        input=steps,
        standardize_targets=not dataset.labels,
        early_stopping=EarlyStopping(patience=10 if is_picture else 30),
    )
