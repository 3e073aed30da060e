"""What other servers are given to serve, where nnserve's speed is compared with theirs."""

import importlib.util
from pathlib import Path

import numpy as np

from nncore.datasets import DATASETS
from nncore.predictor import load

ROOT = Path(__file__).parent.parent


def test_the_peers_network_answers_as_the_predictor_of_the_same_file():
    spec = importlib.util.spec_from_file_location("network", ROOT / "bench/peers/network.py")
    network = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(network)
    pictures = DATASETS["digits"]().test.inputs[:50]
    ours = load(network.MODEL).predict(pictures)
    theirs = network.Network()(pictures.reshape(50, 784).tolist())
    np.testing.assert_allclose(theirs, ours, atol=1e-6)
    labels = [answer["label"] for answer in network.predictions(theirs)]
    assert labels == [str(label) for label in ours.argmax(axis=1)]
