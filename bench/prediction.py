"""Predictions a second on one thread, beside ONNX Runtime on the exported network where it is installed.

Both get the same raw pictures and give the same probabilities, input pipeline included; ONNX Runtime runs the
file that `python -m nncore export` writes, with its optimizations on. They take turns, and what counts is the
ratio within a round.
"""

import os

os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")

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
from nncore.datasets import DATASETS
from nncore.onnx import to_onnx
from nncore.predictor import Predictor, read_model
from nncore.publishing import MODEL_FILE, versions

MODELS = Path(__file__).parents[1] / "models"
BATCHES = (1, 64, 1000)


def session(model: bytes) -> Callable[[np.ndarray], np.ndarray]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    running = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = running.get_inputs()[0].name
    return lambda x: running.run(None, {name: x})[0]


def seconds(predict: Callable[[np.ndarray], np.ndarray], x: np.ndarray, least: float = 0.1) -> float:
    """Return the CPU time of a call, from as many as take a tenth of a second."""
    calls, started = 0, time.process_time()
    while (spent := time.process_time() - started) < least:
        for _ in range(max(1, 64 // len(x))):
            predict(x)
            calls += 1
    return spent / calls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="how often each has its turn (7)")
    parser.add_argument("models", nargs="*", type=Path, help="model files (the digits of models/)")
    options = parser.parse_args()
    keep_freed_memory()
    digits = MODELS / "digits"
    paths = options.models or [digits / str(number) / MODEL_FILE for number in versions(digits)]
    with_onnx = bool(importlib.util.find_spec("onnxruntime"))
    if not with_onnx:
        print("To compare with ONNX Runtime: .venv/bin/pip install onnx onnxruntime")
    pictures = DATASETS["digits"]().validation.inputs[: max(BATCHES)].astype(np.float32)
    for path in paths:
        model = read_model(path)
        predictor = Predictor(model)
        theirs = session(to_onnx(model)) if with_onnx else None
        print(f"\n{path}")
        for count in BATCHES:
            x = pictures[:count]
            if theirs is not None:
                assert np.allclose(predictor.predict(x), theirs(x), atol=1e-5)
            ours, ratios = [], []
            for _ in range(options.rounds):
                ours.append(seconds(predictor.predict, x))
                if theirs is not None:
                    ratios.append(seconds(theirs, x) / ours[-1])
            line = f"  {count:5} at once {1e6 * statistics.median(ours) / count:8.1f} µs a picture"
            if ratios:
                median, spread = statistics.median(ratios), f"{min(ratios):.2f}-{max(ratios):.2f}"
                line += f"; ONNX Runtime takes {median:.2f} × as long ({spread})"
            print(line, flush=True)


if __name__ == "__main__":
    main()
