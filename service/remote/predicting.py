"""Asking a model."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from service.remote import reading, tensors
from service.remote.calls import Calls, json_body, segment, understood
from service.remote.errors import ProblemError, refusal
from service.remote.pictures import Picture, as_file, is_picture
from service.remote.results import Predictions
from service.remote.transport import Transport

# How a service refuses what is wrong with a request below /v2, and a body over its cap.
_BAD, _TOO_LARGE = 400, 413


class ArrayLike(Protocol):
    """Anything with `tolist`, a NumPy array say."""

    def tolist(self) -> Any:
        """Return nested lists."""


class Predicting(Calls):
    """The calls that ask a model."""

    def __init__(self, transport: Transport) -> None:
        super().__init__(transport)
        # What never changes about a version: its labels and its file's SHA-256.
        self._versions: dict[tuple[str, int], tuple[tuple[str, ...], str]] = {}

    def predict(
        self,
        model: str,
        inputs: Sequence[Any] | ArrayLike | None = None,
        *,
        pictures: Picture | Sequence[Picture] | None = None,
        version: int | str | None = None,
    ) -> Predictions:
        """Return predictions for inputs, or for pictures.

        `inputs` are examples: nested lists of numbers, a NumPy array (N, …), or for a model of a table rows
        by column name. `pictures` are one or several of paths, images of Pillow's, or files as bytes.
        """
        if (inputs is None) == (pictures is None):
            raise ValueError("predict takes either inputs or pictures")
        asked = {"model": model} | ({} if version is None else {"version": version})
        if pictures is not None:
            sent = [pictures] if is_picture(pictures) else pictures
            files = [("image", as_file(picture, n)) for n, picture in enumerate(sent)]  # type: ignore[arg-type]
            return self._predict(data=asked, files=files)
        if (request := tensors.request_of(inputs)) is not None:
            return self._infer(model, version or "stable", request, lambda: self._predict_json(asked, inputs))
        return self._predict_json(asked, inputs)

    def _predict(self, **body: Any) -> Predictions:
        return self.call("POST", "/predict", reading.predictions, repeatable=True, **body)

    def _predict_json(self, asked: Mapping[str, Any], inputs: Any) -> Predictions:
        return self._predict(**json_body({**asked, "inputs": inputs}, _plain))

    def _infer(
        self,
        model: str,
        version: int | str,
        request: tuple[bytes, dict[str, str]],
        by_json: Callable[[], Predictions],
    ) -> Predictions:
        """Return the answer to an array's bytes.

        What is refused is asked again as JSON, of which the service says more exactly what is wrong with it.
        """
        path = f"/v2/models/{segment(model)}/versions/{segment(str(version))}/infer"
        body, headers = request
        response = self.transport.send("POST", path, repeatable=True, data=body, headers=headers)
        if response.status_code == _BAD:
            try:
                return by_json()
            except ProblemError as problem:
                if problem.status != _TOO_LARGE:
                    raise
        if not response.ok:
            raise refusal(response, path)
        answer = understood(response, lambda: tensors.read_answer(response))
        labels, sha256 = self._about(model, answer.version)
        predictions = understood(response, lambda: tensors.as_predictions(answer, labels))
        return Predictions(model, answer.version, sha256, predictions, labels)

    def _about(self, model: str, version: int) -> tuple[tuple[str, ...], str]:
        """Return the labels that a version answers with and its SHA-256, asked for once."""
        if (model, version) not in self._versions:
            path = f"/models/{segment(model)}/versions/{version}"
            told = self.call("GET", path, reading.version)
            labels = tuple((told.output or {}).get("labels", ()))
            self._versions[model, version] = labels, told.sha256 or ""
        return self._versions[model, version]


def _plain(value: Any) -> Any:
    """Return nested lists for an array, or for what stands in one, at any depth."""
    if not hasattr(value, "tolist"):
        raise TypeError(f"inputs must be numbers in lists or arrays, not {type(value).__name__}")
    return value.tolist()
