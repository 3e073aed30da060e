"""A client for the service, on `requests` alone.

with Client("http://127.0.0.1:8000") as client:
    client.predict("xor", [[0, 1], [1, 1]]).predictions[0].label   # "1"
    client.predict("digits", pictures="seven.png").predictions[0].confidence
    client.train("my-xor", "xor").wait(progress=True).result.version
"""

from service.remote import reading
from service.remote.datasets import Datasets
from service.remote.errors import ClientError, ProblemError, Unreachable
from service.remote.jobs import Job
from service.remote.models import Models
from service.remote.predicting import Predicting
from service.remote.results import (
    Dataset,
    Event,
    JobResult,
    Label,
    Model,
    Move,
    Plan,
    Prediction,
    Predictions,
    Promotion,
    Readiness,
    Upload,
    Version,
)
from service.remote.training import Training
from service.remote.transport import Timeout, Transport

__all__ = [
    "Client",
    "ClientError",
    "Dataset",
    "Event",
    "Job",
    "JobResult",
    "Label",
    "Model",
    "Move",
    "Plan",
    "Prediction",
    "Predictions",
    "ProblemError",
    "Promotion",
    "Readiness",
    "Unreachable",
    "Upload",
    "Version",
]

# Seconds to connect, and between two bytes of an answer.
TIMEOUT = (3.05, 30.0)
RETRIES = 3


class Client(Predicting, Training, Models, Datasets):
    """Calls the service at `url`, with a key if need be; many threads may share one.

    `timeout` is in seconds, to connect and between two bytes of an answer. A call that fails is made again up
    to `retries` times where that does no harm: docs/client.md says when.
    """

    def __init__(
        self, url: str, *, api_key: str | None = None, timeout: Timeout = TIMEOUT, retries: int = RETRIES
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"the service's address begins with http:// or https://, which {url!r} does not")
        self.url = url.rstrip("/")
        super().__init__(Transport(self.url, api_key, timeout, retries))

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self.transport.close()

    def ready(self) -> Readiness:
        """Return what /readyz says; raises ProblemError where not every model can answer."""
        return self.call("GET", "/readyz", reading.readiness)
