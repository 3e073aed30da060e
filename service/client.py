"""A client for the service, on `requests` alone.

with Client("http://127.0.0.1:8000") as client:
    client.predict("xor", [[0, 1], [1, 1]]).predictions[0].label   # "1"
    client.predict("digits", pictures=["seven.png"]).predictions[0].confidence
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import requests

from service.sending import Form

# Seconds to connect, and between two bytes of an answer.
TIMEOUT = (3.05, 30.0)
# The second of them for a dataset, which is read before it is answered.
READING_SECONDS = 600.0
_BINARY = "application/octet-stream"
# Where commands find the key that they call with.
API_KEY = "NNSERVE_API_KEY"


class ClientError(Exception):
    """Base of what a call may raise."""


class Unreachable(ClientError):
    """No answer: the service could not be reached, or took too long."""


class ProblemError(ClientError):
    """The service refused a request; `problem` is its document (RFC 9457), `status` the HTTP status."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        self.status = status
        self.problem = problem
        errors = problem.get("errors", [])
        told = "" if len(errors) == 1 else f": {problem.get('detail', '')}"
        lines = [f"{status} {problem.get('title', '')}{told}"]
        lines += [f"{e.get('pointer')} {e.get('detail')}" for e in problem.get("errors", [])]
        super().__init__("; ".join(lines))


class ArrayLike(Protocol):
    """Anything with `tolist`, a NumPy array say."""

    def tolist(self) -> Any:
        """Return nested lists."""


@dataclass(frozen=True)
class Prediction:
    """One example's answer: a label with probabilities in the order of the labels, or a value."""

    label: str | None = None
    confidence: float | None = None
    probabilities: tuple[float, ...] = ()
    value: Any = None


@dataclass(frozen=True)
class Predictions:
    """An answer: which version gave it, and a prediction for each example."""

    model: str
    version: int
    sha256: str
    predictions: tuple[Prediction, ...]
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Event:
    """Something that became of a job: an `epoch` with its figures, or a new `state`."""

    number: int
    kind: str
    data: dict[str, Any]


class Client:
    """Calls the service at `url`, with a key if need be; keeps its connection, so use one a thread."""

    def __init__(
        self, url: str, *, api_key: str | None = None, timeout: float | tuple[float, float] = TIMEOUT
    ) -> None:
        self.url = url.rstrip("/")
        self.timeout = timeout
        self._session = requests.Session()
        if api_key is not None:
            self._session.auth = _Bearer(api_key)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def predict(
        self,
        model: str,
        inputs: Sequence[Any] | ArrayLike | None = None,
        *,
        pictures: Sequence[str | Path] | None = None,
        version: int | str | None = None,
    ) -> Predictions:
        """Return predictions for arrays (nested lists or a NumPy array) or for picture files."""
        if (inputs is None) == (pictures is None):
            raise ValueError("predict takes either inputs or pictures")
        asked = {"model": model} | ({} if version is None else {"version": version})
        if pictures is not None:
            files = [("image", (Path(path).name, Path(path).read_bytes())) for path in pictures]
            answer = self._call("POST", "/predict", "predictions", data=asked, files=files)
        else:
            body = json.dumps(asked | {"inputs": inputs}, default=_plain, allow_nan=False)
            headers = {"Content-Type": "application/json"}
            answer = self._call("POST", "/predict", "predictions", data=body, headers=headers)
        return _predictions(answer)

    def train(
        self,
        model: str,
        recipe: Mapping[str, Any] | str | None = None,
        *,
        start_from: int | str | None = None,
        promote: str = "if_better",
        dry_run: bool = False,
        idempotency_key: str | None = None,
    ) -> dict[str, Any]:
        """Ask for a training run and return its job; of a dry run, what it would do.

        Without a recipe the one of the stable version is repeated. `recipe` is an object, or the name of a
        shipped one. The same `idempotency_key` gives the same job, however often it is sent.
        """
        asked = {"model": model, "recipe": recipe, "start_from": start_from, "promote": promote}
        body = {name: value for name, value in asked.items() if value is not None} | {"dry_run": dry_run}
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        return self._call("POST", "/train", "recipe" if dry_run else "id", json=body, headers=headers)

    def jobs(
        self, *, state: str | None = None, model: str | None = None, limit: int = 20
    ) -> Iterator[dict[str, Any]]:
        """Yield jobs, newest first; `limit` is how many are asked for at a time."""
        query: dict[str, Any] = {"state": state, "model": model, "limit": limit, "cursor": None}
        while True:
            page = self._call("GET", "/train", "jobs", params=query)
            yield from page["jobs"]
            query["cursor"] = page["next"]
            if page["next"] is None:
                return

    def job(self, job: str) -> dict[str, Any]:
        """Return a job: its state, progress, last epochs, and result or error."""
        return self._call("GET", f"/train/{_segment(job)}", "id")

    def cancel(self, job: str) -> dict[str, Any]:
        """End a job that is queued or running."""
        return self._call("POST", f"/train/{_segment(job)}/cancel", "id")

    def retry(self, job: str) -> dict[str, Any]:
        """Queue a job again that failed or was cancelled; it goes on from its last checkpoint."""
        return self._call("POST", f"/train/{_segment(job)}/retry", "id")

    def events(self, job: str, after: int = 0) -> Iterator[Event]:
        """Yield what becomes of a job, from the event after a number on, until it has ended.

        Where the connection breaks it is taken up again, without a gap or a repeat.
        """
        while True:
            headers = {"Last-Event-ID": str(after)}
            path = f"/train/{_segment(job)}/events"
            response = self._send("GET", path, headers=headers, stream=True)
            with response:
                if response.status_code == 204:
                    return
                if not response.ok:
                    raise _refusal(response, path)
                try:
                    for event in _events(response.iter_lines(decode_unicode=True)):
                        after = event.number
                        yield event
                except requests.RequestException:
                    continue

    def wait(self, job: str) -> dict[str, Any]:
        """Return a job once it has ended, whatever the end."""
        for _ in self.events(job):
            pass
        return self.job(job)

    def ready(self) -> dict[str, Any]:
        """Return what /readyz says; raises ProblemError where not every model can answer."""
        return self._call("GET", "/readyz", "ready")

    def models(self) -> list[dict[str, Any]]:
        """Return every model: its labels, versions and what could not be served."""
        models: list[dict[str, Any]] = self._call("GET", "/models", "models")["models"]
        return models

    def model(self, model: str) -> dict[str, Any]:
        """Return one model."""
        return self._call("GET", f"/models/{_segment(model)}", "model")

    def version(self, model: str, version: int | str = "stable") -> dict[str, Any]:
        """Return what a version says of itself, by its number or a label."""
        return self._call("GET", _version(model, version), "model")

    def upload(self, model: str, path: str | Path, *, promote: str = "if_better") -> dict[str, Any]:
        """Publish a model file trained elsewhere; return its version, and whether it was promoted."""
        return self._call(
            "POST",
            f"/models/{_segment(model)}/versions",
            "promotion",
            params={"promote": promote},
            data=Path(path).read_bytes(),
            headers={"Content-Type": _BINARY},
        )

    def download(self, model: str, version: int | str, path: str | Path) -> str:
        """Write a version's model file to `path`, and return its SHA-256."""
        where = f"{_version(model, version)}/file"
        response = self._send("GET", where)
        if not response.ok:
            raise _refusal(response, where)
        sha256 = hashlib.sha256(response.content).hexdigest()
        if response.headers.get("ETag") != f'"{sha256}"':
            raise self._unexpected(response, where)
        Path(path).write_bytes(response.content)
        return sha256

    def delete_version(self, model: str, version: int) -> None:
        """Delete a version that no label points to and no job starts from."""
        where = _version(model, version)
        response = self._send("DELETE", where)
        if not response.ok:
            raise _refusal(response, where)

    def promote(self, model: str, version: int | str, label: str = "stable") -> dict[str, Any]:
        """Point a label at a version, forward or back, and return the label with its history."""
        return self._call("PUT", _label(model, label), "history", json={"version": version})

    def label_history(self, model: str, label: str = "stable") -> Iterator[dict[str, Any]]:
        """Yield the moves of a label, newest first: `from`, `to`, `who`, `why` and `time`."""
        query: dict[str, Any] = {"cursor": None}
        while True:
            page = self._call("GET", _label(model, label), "history", params=query)
            yield from page["history"]
            query["cursor"] = page["next"]
            if page["next"] is None:
                return

    def upload_dataset(
        self, name: str, path: str | Path | tuple[str | Path, str | Path], **options: Any
    ) -> dict[str, Any]:
        """Send a CSV, NPZ or zip file, or the two of an IDX pair, as a dataset; return what it holds.

        `options` say how it is read, `target="species", ignore=["id"]` say: docs/datasets.md. A name that is
        there already stands for the new content from then on.
        """
        paths = {"file": path} if isinstance(path, (str, Path)) else {"inputs": path[0], "targets": path[1]}
        form = Form(
            [("name", name), *_fields(options)], {field: Path(path) for field, path in paths.items()}
        )
        headers = {"Content-Type": form.content_type}
        timeout = (TIMEOUT[0], READING_SECONDS)
        return self._call("POST", "/datasets", "sha256", data=form, headers=headers, timeout=timeout)

    def datasets(self) -> Iterator[dict[str, Any]]:
        """Yield the datasets in the order of their names, each with its rows and SHA-256."""
        query: dict[str, Any] = {"cursor": None}
        while True:
            page = self._call("GET", "/datasets", "datasets", params=query)
            yield from page["datasets"]
            query["cursor"] = page["next"]
            if page["next"] is None:
                return

    def dataset(self, name: str) -> dict[str, Any]:
        """Return what a dataset holds, and in `recipe` one to begin with."""
        return self._call("GET", f"/datasets/{_segment(name)}", "sha256")

    def delete_dataset(self, name: str) -> None:
        """Delete a dataset that no job and no version needs."""
        where = f"/datasets/{_segment(name)}"
        response = self._send("DELETE", where)
        if not response.ok:
            raise _refusal(response, where)

    def _call(self, method: str, path: str, expected: str, **body: Any) -> dict[str, Any]:
        """Return the answer, which must have the expected field: somebody else may listen at the address."""
        response = self._send(method, path, **body)
        if not response.ok:
            raise _refusal(response, path)
        document = _document(response)
        if expected not in document:
            raise self._unexpected(response, path)
        return document

    def _unexpected(self, response: requests.Response, path: str) -> ProblemError:
        detail = f"{self.url}{path} does not answer as nnserve does"
        return ProblemError(response.status_code, {"title": "Unexpected answer", "detail": detail})

    def _send(self, method: str, path: str, **how: Any) -> requests.Response:
        try:
            return self._session.request(method, self.url + path, **{"timeout": self.timeout, **how})
        except requests.Timeout as error:
            raise Unreachable(f"no answer from {self.url} in time ({self.timeout} s)") from error
        except requests.ConnectionError as error:
            raise Unreachable(f"no answer from {self.url}: is the service running there?") from error
        except requests.RequestException as error:
            raise Unreachable(f"no answer from {self.url}: {error}") from error


class _Bearer(requests.auth.AuthBase):
    """Sends a key. A plain header of the session would give way to what a .netrc says of the host."""

    def __init__(self, key: str) -> None:
        self.key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self.key}"
        return request


def _document(response: requests.Response) -> dict[str, Any]:
    try:
        document = response.json()
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _refusal(response: requests.Response, path: str) -> ProblemError:
    document = _document(response) or {"title": response.reason, "detail": path}
    return ProblemError(response.status_code, document)


def _events(lines: Iterable[str]) -> Iterator[Event]:
    """Yield the events of a stream (the HTML standard's server-sent events, as nnserve writes them)."""
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if line and name:
            fields[name] = value
        elif not line and "id" in fields:
            yield Event(int(fields["id"]), fields["event"], json.loads(fields["data"]))
            fields = {}


def _predictions(answer: dict[str, Any]) -> Predictions:
    predictions = tuple(
        Prediction(
            label=one.get("label"),
            confidence=one.get("confidence"),
            probabilities=tuple(one.get("probabilities", ())),
            value=one.get("value"),
        )
        for one in answer["predictions"]
    )
    labels = tuple(answer.get("labels", ()))
    return Predictions(answer["model"], answer["version"], answer["sha256"], predictions, labels)


def _plain(value: Any) -> Any:
    """Return nested lists for an array, or for what stands in one, at any depth."""
    if not hasattr(value, "tolist"):
        raise TypeError(f"inputs must be numbers in lists or arrays, not {type(value).__name__}")
    return value.tolist()


def _fields(options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield options as the fields of a form: several for a list, none for None."""
    for name, value in options.items():
        for one in value if isinstance(value, (list, tuple)) else [value]:
            if one is not None:
                yield name, str(one).lower() if isinstance(one, bool) else str(one)


def _version(model: str, version: int | str) -> str:
    return f"/models/{_segment(model)}/versions/{_segment(str(version))}"


def _label(model: str, label: str) -> str:
    return f"/models/{_segment(model)}/labels/{_segment(label)}"


def _segment(text: str) -> str:
    return quote(text, safe="")
