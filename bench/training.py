"""Seconds an epoch on MNIST on one thread, beside scikit-learn and PyTorch where they are installed.

All do the same work: float32 inputs in memory, one hidden layer of ReLU, softmax cross-entropy, the same
optimizer, every example once an epoch in a new order. They take turns (A B C A B C …) in one process:
what counts is the ratio within a round, as others may be at work on the machine. PyTorch runs the loop of
its tutorials on batches taken by index from tensors in memory, since a DataLoader alone would cost more
than the training; `fused` is the same with its fastest calls.
"""

import os

# NumPy and PyTorch read these when they are imported.
os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"), "1")

import argparse
import importlib.util
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_info

sys.path.insert(0, str(Path(__file__).parents[1]))

from nncore.allocation import keep_freed_memory
from nncore.datasets import DATASETS, Split
from nncore.evaluation import forward_all
from nncore.layers import Dense, ReLU
from nncore.losses import LOSSES
from nncore.network import Network
from nncore.optimizers import SGD, Adam, Optimizer
from nncore.randomness import stream
from nncore.training import fit

SETTINGS = {"784-100-10, batch 32": (100, 32), "784-100-10, batch 128": (100, 128)}
SETTINGS |= {"784-800-10, batch 128": (800, 128)}
ADAM, MOMENTUM = Adam(learning_rate=0.001), SGD(learning_rate=0.05, momentum=0.9)
OPTIMIZERS: dict[str, Optimizer] = {"adam": ADAM, "momentum": MOMENTUM}

# What a training returns: the classes that the trained network says inputs have.
Predict = Callable[[np.ndarray], np.ndarray]


def train_ours(data: Split, hidden: int, batch_size: int, optimizer: Optimizer, epochs: int) -> Predict:
    network = Network([Dense(hidden), ReLU(), Dense(10)], (784,))
    network.initialize(stream(0, "init"))
    loss = LOSSES["softmax_cross_entropy"]
    fit(network, data, loss=loss, optimizer=optimizer, epochs=epochs, batch_size=batch_size)
    return lambda inputs: forward_all(network, inputs).argmax(axis=1)


def train_sklearn(data: Split, hidden: int, batch_size: int, optimizer: Optimizer, epochs: int) -> Predict:
    from sklearn.neural_network import MLPClassifier

    model = MLPClassifier(
        (hidden,),
        solver="adam" if optimizer is ADAM else "sgd",
        learning_rate_init=optimizer.learning_rate,
        momentum=MOMENTUM.momentum,
        nesterovs_momentum=False,
        alpha=0,
        batch_size=batch_size,
        max_iter=epochs,
        n_iter_no_change=epochs + 1,
    )
    warnings.simplefilter("ignore")  # that so few epochs do not converge
    return model.fit(data.inputs, data.targets).predict


def train_torch(
    data: Split, hidden: int, batch_size: int, optimizer: Optimizer, epochs: int, fused: bool = False
) -> Predict:
    import torch
    from torch import nn

    torch.set_num_threads(1)
    model = nn.Sequential(nn.Linear(784, hidden), nn.ReLU(), nn.Linear(hidden, 10))
    loss = nn.CrossEntropyLoss()
    options = {"lr": optimizer.learning_rate} | ({"fused": True} if fused else {})
    if optimizer is ADAM:
        theirs = torch.optim.Adam(model.parameters(), **options)
    else:
        theirs = torch.optim.SGD(model.parameters(), momentum=MOMENTUM.momentum, **options)
    inputs, targets = torch.from_numpy(data.inputs), torch.from_numpy(data.targets)
    for _ in range(epochs):
        for rows in torch.randperm(len(inputs)).split(batch_size):
            x = inputs.index_select(0, rows) if fused else inputs[rows]
            theirs.zero_grad()
            loss(model(x), targets[rows]).backward()
            theirs.step()
    return lambda inputs: model(torch.from_numpy(inputs)).argmax(dim=1).numpy()


PACKAGES: dict[str, tuple[str, Callable[..., Predict]]] = {
    "nncore": ("numpy", train_ours),
    "scikit-learn": ("sklearn", train_sklearn),
    "PyTorch": ("torch", train_torch),
    "PyTorch fused": ("torch", partial(train_torch, fused=True)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="how often each package has its turn (5)")
    parser.add_argument("--epochs", type=int, default=1, help="epochs a turn (1)")
    parser.add_argument("--only", nargs="+", default=(), help='settings with these words: "batch 32" adam')
    options = parser.parse_args()
    keep_freed_memory()
    trainers = {name: train for name, (module, train) in PACKAGES.items() if importlib.util.find_spec(module)}
    # What NumPy's BLAS takes the processor for decides how fast its matrix products are.
    for blas in threadpool_info():
        print(
            f"NumPy calculates with {blas['internal_api']} {blas['version']} for {blas.get('architecture')}"
        )
    if len(trainers) < len(PACKAGES):
        print("To compare with scikit-learn and PyTorch: .venv/bin/pip install scikit-learn torch")
    digits = DATASETS["digits"]()
    splits = digits.train, digits.test
    data, test = (Split(part.inputs.reshape(-1, 784) / np.float32(255), part.targets) for part in splits)
    for train in trainers.values():
        train(data.take(np.arange(1000)), 10, 100, ADAM, 1)  # imports belong to no epoch
    for setting, sizes in SETTINGS.items():
        for name, optimizer in OPTIMIZERS.items():
            if all(words in f"{setting}, {name}" for words in options.only):
                print(f"\n{setting}, {name}")
                turns = {who: partial(run, data, *sizes, optimizer) for who, run in trainers.items()}
                _take_turns(turns, test, options.rounds, options.epochs)


def _take_turns(turns: dict[str, Callable[[int], Predict]], test: Split, rounds: int, epochs: int) -> None:
    seconds, accuracy = {name: [] for name in turns}, {}
    for _ in range(rounds):
        for name, train in turns.items():
            # CPU time: at one thread it is the clock's, less what other processes took of the core.
            started = time.process_time()
            predict = train(epochs)
            seconds[name].append((time.process_time() - started) / epochs)
            accuracy[name] = float((predict(test.inputs) == test.targets).mean())
    for name in turns:
        line = f"  {name:13}{statistics.median(seconds[name]):7.3f} s an epoch, accuracy {accuracy[name]:.4f}"
        ratios = [theirs / ours for theirs, ours in zip(seconds[name], seconds["nncore"], strict=True)]
        spread = f"{statistics.median(ratios):.2f} × ours ({min(ratios):.2f}–{max(ratios):.2f})"
        print(line if name == "nncore" else f"{line}, {spread}", flush=True)


if __name__ == "__main__":
    main()
