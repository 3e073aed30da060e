"""What a call to a service may raise.

ClientError
├── Unreachable     there was no answer
└── ProblemError    the service refused, and says why
"""

from http.client import responses
from typing import Any

import requests


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
        lines += [f"{e.get('pointer')} {e.get('detail')}" for e in errors]
        super().__init__("; ".join(lines))


def document_of(response: requests.Response) -> dict[str, Any]:
    """Return the JSON object of an answer; an empty one where it is something else."""
    try:
        document = response.json()
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def refusal(response: requests.Response, path: str) -> ProblemError:
    """Return the error that an answer stands for, also where it is no problem document."""
    document = document_of(response)
    title = responses.get(response.status_code, response.reason)
    if isinstance(document.get("error"), str):
        # As the Open Inference Protocol has it.
        request_id = response.headers.get("X-Request-ID")
        document = {"title": title, "detail": document["error"], "request_id": request_id}
    return ProblemError(response.status_code, document or {"title": title, "detail": path})


def unexpected(response: requests.Response) -> ProblemError:
    """Return the error for an answer that is none of nnserve's: somebody else may listen at the address."""
    detail = f"{response.url} does not answer as nnserve does"
    return ProblemError(response.status_code, {"title": "Unexpected answer", "detail": detail})
