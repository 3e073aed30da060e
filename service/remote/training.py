"""Training jobs: asked for, watched, cancelled and tried again."""

import secrets
from collections.abc import Iterator, Mapping
from typing import Any, Literal, overload

from service.remote import reading
from service.remote.bar import Bar
from service.remote.calls import Calls, json_body, segment
from service.remote.jobs import Job, read_job
from service.remote.results import Event, Plan
from service.remote.streams import follow


class Training(Calls):
    """The calls below /train."""

    @overload
    def train(
        self,
        model: str,
        recipe: Mapping[str, Any] | str | None = None,
        *,
        start_from: int | str | None = None,
        promote: str = "if_better",
        dry_run: Literal[False] = False,
        idempotency_key: str | None = None,
    ) -> Job: ...

    @overload
    def train(
        self,
        model: str,
        recipe: Mapping[str, Any] | str | None = None,
        *,
        start_from: int | str | None = None,
        promote: str = "if_better",
        dry_run: Literal[True],
        idempotency_key: str | None = None,
    ) -> Plan: ...

    def train(
        self,
        model: str,
        recipe: Mapping[str, Any] | str | None = None,
        *,
        start_from: int | str | None = None,
        promote: str = "if_better",
        dry_run: bool = False,
        idempotency_key: str | None = None,
    ) -> Job | Plan:
        """Ask for a training run and return its job; of a dry run, what it would do.

        Without a recipe the one of the stable version is repeated. `recipe` is an object, or the name of a
        shipped one. The same `idempotency_key` gives the same job, however often it is sent; without one
        each call has its own, so that one whose answer was lost is not done twice.
        """
        asked = {"model": model, "recipe": recipe, "start_from": start_from, "promote": promote}
        body = {name: value for name, value in asked.items() if value is not None} | {"dry_run": dry_run}
        how = json_body(body)
        if dry_run:
            return self.call("POST", "/train", reading.plan, repeatable=True, **how)
        how["headers"] |= {"Idempotency-Key": idempotency_key or secrets.token_hex(16)}
        return self.call("POST", "/train", self._job, repeatable=True, **how)

    def jobs(self, *, state: str | None = None, model: str | None = None, limit: int = 20) -> Iterator[Job]:
        """Yield jobs, newest first; `limit` is how many are asked for at a time."""
        yield from self.pages("/train", "jobs", self._job, state=state, model=model, limit=limit)

    def job(self, job: str) -> Job:
        """Return a job: its state, progress, last epochs, and result or error."""
        return self.call("GET", f"/train/{segment(job)}", self._job)

    def cancel(self, job: str) -> Job:
        """End a job that is queued or running."""
        return self.call("POST", f"/train/{segment(job)}/cancel", self._job, repeatable=True)

    def retry(self, job: str) -> Job:
        """Queue a job again that failed or was cancelled; it goes on from its last checkpoint."""
        return self.call("POST", f"/train/{segment(job)}/retry", self._job)

    def events(self, job: str, after: int = 0) -> Iterator[Event]:
        """Yield what becomes of a job, from the event after a number on, until it has ended.

        Where the connection breaks it is taken up again, without a gap or a repeat.
        """
        yield from follow(self.transport, f"/train/{segment(job)}/events", after)

    def wait(self, job: str, *, progress: bool = False) -> Job:
        """Return a job once it has ended, whatever the end.

        With `progress` a bar on standard error shows how far it is, or where nobody watches a line an epoch.
        """
        if progress:
            now = self.job(job)
            with Bar(now.epochs, now.epoch) as bar:
                for event in self.events(job):
                    bar.show(event)
        else:
            for _ in self.events(job):
                pass
        return self.job(job)

    def _job(self, document: dict[str, Any]) -> Job:
        return read_job(document, self)
