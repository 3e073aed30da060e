"""The layers that a network is made of, by the names that files have for them."""

from nncore.convolution import Conv2D
from nncore.layers import Dense, Dropout, Flatten, ReLU, Sigmoid, Tanh
from nncore.normalization import BatchNorm
from nncore.pooling import GlobalAveragePooling, MaxPool2D

# An allow-list: a model file can name these, and what is made of them, and nothing else.
KINDS: dict[str, type] = {
    "batch_norm": BatchNorm,
    "conv2d": Conv2D,
    "dense": Dense,
    "dropout": Dropout,
    "flatten": Flatten,
    "global_average_pooling": GlobalAveragePooling,
    "max_pool2d": MaxPool2D,
    "relu": ReLU,
    "sigmoid": Sigmoid,
    "tanh": Tanh,
}
