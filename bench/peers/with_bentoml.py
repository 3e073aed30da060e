"""The digits behind BentoML: a service with one endpoint that takes an array."""

from typing import Any

import bentoml
import numpy as np
from network import Network, predictions


@bentoml.service(workers=1)  # type: ignore[untyped-decorator]
class Digits:
    def __init__(self) -> None:
        self.network = Network()

    @bentoml.api  # type: ignore[untyped-decorator]
    def predict(self, inputs: np.ndarray) -> dict[str, Any]:
        return {"predictions": predictions(self.network(inputs))}
