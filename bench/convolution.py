"""A training step of a convolutional network on one thread, beside PyTorch's where it is installed.

The network is that of `recipes/digits_cnn.json` in the order of PyTorch's tutorials: convolution, BatchNorm,
ReLU, pooling. Both do the same work on the same 128 pictures: forward, cross-entropy with smoothed labels,
backward, AdamW; no distortions. PyTorch runs with pictures as its tutorials have them (NCHW) and with
channels last, in which its convolutions are faster. They take turns, and what counts is the ratio within a
round. `--layers` compares each convolution alone.
"""

import os

# NumPy and PyTorch read these when they are imported.
os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"), "1")

import argparse
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from nncore.allocation import keep_freed_memory
from nncore.convolution import Conv2D
from nncore.datasets import DATASETS, Split
from nncore.descent import Descent, Options
from nncore.layers import Dense, Dropout, Flatten, ReLU
from nncore.losses import LOSSES
from nncore.network import Network
from nncore.normalization import BatchNorm
from nncore.optimizers import AdamW
from nncore.pooling import MaxPool2D
from nncore.randomness import stream
from nncore.schedules import Constant

ROWS, SMOOTHING = 128, 0.05
# Filters, kernel, padding, and whether a pooling follows.
CONVOLUTIONS = [
    (24, 5, "valid", True),
    (48, 3, "same", False),
    (48, 3, "same", True),
    (96, 3, "same", False),
    (96, 3, "valid", False),
]


def our_layers() -> list:
    layers = []
    for filters, kernel, padding, pools in CONVOLUTIONS:
        layers += [Conv2D(filters, kernel, padding=padding, bias=False), BatchNorm(), ReLU()]
        layers += [MaxPool2D()] if pools else []
    layers += [Flatten(), Dropout(0.3), Dense(128, bias=False), BatchNorm(), ReLU(), Dropout(0.4), Dense(10)]
    return layers


def our_step(data: Split) -> Callable[[], object]:
    network = Network(our_layers(), (28, 28))
    network.initialize(stream(0, "init"))
    loss = LOSSES["softmax_cross_entropy"]
    options = Options(loss, AdamW(), Constant(), 1, ROWS, 0, 0.0, None, SMOOTHING, None, None)
    descent, rows = Descent(network, data, options), np.arange(ROWS)
    return lambda: descent.step(rows, 1, 0)


def torch_step(data: Split, channels_last: bool) -> Callable[[], object]:
    import torch
    from torch import nn

    torch.set_num_threads(1)
    layers, channels = [], 1
    for filters, kernel, padding, pools in CONVOLUTIONS:
        layers += [nn.Conv2d(channels, filters, kernel, padding=padding, bias=False)]
        layers += [nn.BatchNorm2d(filters), nn.ReLU(), *([nn.MaxPool2d(2)] if pools else [])]
        channels = filters
    layers += [nn.Flatten(), nn.Dropout(0.3), nn.Linear(16 * channels, 128, bias=False), nn.BatchNorm1d(128)]
    model = nn.Sequential(*layers, nn.ReLU(), nn.Dropout(0.4), nn.Linear(128, 10))
    x, y = torch.from_numpy(data.inputs)[:, None], torch.from_numpy(data.targets)
    if channels_last:
        model, x = (
            model.to(memory_format=torch.channels_last),
            x.contiguous(memory_format=torch.channels_last),
        )
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    compute = nn.CrossEntropyLoss(label_smoothing=SMOOTHING)

    def step() -> None:
        optimizer.zero_grad()
        compute(model(x), y).backward()
        optimizer.step()

    return step


def our_convolution(place: int, shape: tuple[int, ...]) -> Callable[[], object]:
    filters, kernel, padding, _ = CONVOLUTIONS[place]
    network = Network([Conv2D(filters, kernel, padding=padding)], shape)
    network.initialize(stream(0, "init"))
    x = stream(0, "x").random((ROWS, *shape), np.float32)
    dy = stream(0, "dy").random((ROWS, *network.output_shape), np.float32)
    gradients = network.views_of(network.parameters.like())

    def step() -> None:
        _, caches = network.forward(x, stream(0, "dropout"))
        network.backward(caches, dy, gradients, wants_dx=place > 0)

    return step


def torch_convolution(place: int, shape: tuple[int, ...], channels_last: bool) -> Callable[[], object]:
    import torch
    from torch import nn

    torch.set_num_threads(1)
    filters, kernel, padding, _ = CONVOLUTIONS[place]
    layer = nn.Conv2d(shape[2], filters, kernel, padding=padding)
    x = torch.rand(ROWS, shape[2], *shape[:2])
    if channels_last:
        layer, x = (
            layer.to(memory_format=torch.channels_last),
            x.contiguous(memory_format=torch.channels_last),
        )
    x.requires_grad_(place > 0)
    dy = torch.rand_like(layer(x))

    def step() -> None:
        layer.zero_grad()
        x.grad = None
        layer(x).backward(dy)

    return step


def take_turns(title: str, turns: dict[str, Callable[[], object]], rounds: int, times: int) -> None:
    print(f"\n{title}")
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    for step in turns.values():
        step()
    for _ in range(rounds):
        for name, step in turns.items():
            started = time.process_time()
            for _ in range(times):
                step()
            seconds[name].append((time.process_time() - started) / times)
    ours = seconds["nncore"]
    for name, theirs in seconds.items():
        ratios = [a / b for a, b in zip(theirs, ours, strict=True)]
        spread = f", {statistics.median(ratios):.2f} × ours ({min(ratios):.2f}-{max(ratios):.2f})"
        line = f"  {name:23}{1000 * statistics.median(theirs):7.1f} ms a step"
        print(line if theirs is ours else line + spread, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="how often each has its turn (7)")
    parser.add_argument("--times", type=int, default=5, help="steps a turn (5)")
    parser.add_argument("--layers", action="store_true", help="each convolution alone")
    options = parser.parse_args()
    keep_freed_memory()
    train = DATASETS["digits"]().train
    data = Split(train.inputs[:ROWS] / np.float32(255), train.targets[:ROWS])
    with_torch = bool(importlib.util.find_spec("torch"))
    if not with_torch:
        print("To compare with PyTorch: .venv/bin/pip install torch")
    kinds = {"PyTorch": False, "PyTorch, channels last": True} if with_torch else {}
    turns = {"nncore": our_step(data)} | {name: torch_step(data, last) for name, last in kinds.items()}
    take_turns("A training step of 128 pictures", turns, options.rounds, options.times)
    shapes = [(28, 28, 1), *Network(our_layers(), (28, 28)).layer_shapes]
    places = [i for i, layer in enumerate(our_layers()) if isinstance(layer, Conv2D)]
    for place, layer in enumerate(places if options.layers else []):
        shape = shapes[layer]
        turns = {"nncore": our_convolution(place, shape)}
        turns |= {name: torch_convolution(place, shape, last) for name, last in kinds.items()}
        filters, kernel, padding, _ = CONVOLUTIONS[place]
        title = f"{kernel}×{kernel}×{filters} {padding} on {'×'.join(map(str, shape))}, forward and backward"
        take_turns(title, turns, options.rounds, options.times)


if __name__ == "__main__":
    main()
