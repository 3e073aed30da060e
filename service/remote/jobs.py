"""A job, as it was when the service was last asked, and what can be done with it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from service.remote import reading
from service.remote.results import Document, Event, JobResult, Plan, read

ENDED = ("succeeded", "failed", "cancelled")


class Jobs(Protocol):
    """Who is asked about jobs: `service.client.Client`."""

    def job(self, job: str) -> "Job":
        """Return a job."""

    def events(self, job: str, after: int = 0) -> Iterator[Event]:
        """Yield what becomes of a job."""

    def cancel(self, job: str) -> "Job":
        """End a job."""

    def retry(self, job: str) -> "Job":
        """Queue a job again."""

    def wait(self, job: str, *, progress: bool = False) -> "Job":
        """Return a job once it has ended."""


@dataclass(frozen=True)
class Job:
    """A training run; frozen: what became of it since then, `refresh` tells."""

    id: str
    model: str
    state: str
    created: str
    jobs: Jobs = field(repr=False, compare=False)
    started: str | None = None
    ended: str | None = None
    trainer: str | None = None
    attempts: int = 0
    epoch: int = 0
    epochs: int = 0
    seconds: float = 0.0
    seconds_left: float | None = None
    result: JobResult | None = None
    error: str | None = None
    plan: Plan | None = None
    history: tuple[Document, ...] = ()
    document: Document = field(default_factory=dict, repr=False, compare=False)

    @property
    def is_over(self) -> bool:
        """Whether it has ended, whatever the end."""
        return self.state in ENDED

    def refresh(self) -> "Job":
        """Return the job as it is now."""
        return self.jobs.job(self.id)

    def events(self, after: int = 0) -> Iterator[Event]:
        """Yield what becomes of it, from the event after a number on, until it has ended."""
        return self.jobs.events(self.id, after)

    def wait(self, *, progress: bool = False) -> "Job":
        """Return it once it has ended, whatever the end; with `progress` a bar shows how far it is."""
        return self.jobs.wait(self.id, progress=progress)

    def cancel(self) -> "Job":
        """End it."""
        return self.jobs.cancel(self.id)

    def retry(self) -> "Job":
        """Queue it again, if it failed or was cancelled; it goes on from its last checkpoint."""
        return self.jobs.retry(self.id)


def read_job(document: Document, jobs: Jobs) -> Job:
    """Return a service's answer as a job."""
    made: dict[str, Any] = {"jobs": jobs}
    if document.get("result") is not None:
        made["result"] = reading.job_result(document["result"])
    if document.get("plan") is not None:
        made["plan"] = reading.plan(document["plan"])
    return read(Job, document, **made)
