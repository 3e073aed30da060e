"""From a finished run to a version, once, however often it is tried."""

from pathlib import Path

from sqlalchemy import select, update

from nncore.publishing import drafted, next_number, place, read_facts, remove, versions
from service.database import Database
from service.jobs.job import CANCELLED, Job
from service.jobs.leases import Leases
from service.labels import labels_of, pin
from service.provenance import as_fact
from service.schema import JOBS


def publish_once(
    database: Database, leases: Leases, job: Job, model: Path, data: bytes, seconds: float
) -> int:
    """Publish the job's version and return its number; what a predecessor has published already stands.

    The number is reserved in the table beforehand and the folder carries the job's id: whoever is killed
    between the two leaves one version, not two. Raises LeaseLost.
    """
    turn = f"versions:{job.model}"
    about = {"job": job.id, "seconds": round(seconds, 1)} | as_fact(data)
    while True:
        with database.writing(turn) as connection:
            number = leases.hold(connection, job).version
            if number is None:
                number = next_number(model)
                leases.reserve(connection, job, number)
        if read_facts(model / str(number)).get("job") == job.id:
            return number
        with (
            drafted(model, number, data, **about) as draft,
            database.writing(turn) as connection,
        ):
            leases.hold(connection, job)
            # Without labels the newest version would be served, earned or not.
            pin(model)
            if place(draft, model, number):
                return number
            # Somebody who knows nothing of the table, `nncore train` say, took the number first.
            leases.reserve(connection, job, None)


def withdraw(database: Database, job: Job, model: Path) -> None:
    """Take back the version of a job that was cancelled between its publishing and its end."""
    with database.writing(turn=f"labels:{job.model}") as connection:
        cancelled = (JOBS.c.id == job.id) & (JOBS.c.state == CANCELLED)
        number = connection.scalar(select(JOBS.c.version).where(cancelled).with_for_update())
        if number is None or read_facts(model / str(number)).get("job") != job.id:
            return
        if number not in labels_of(model, versions(model)).values():
            remove(model, number)
            # A retry gets another number: this one has been seen.
            connection.execute(update(JOBS).where(cancelled).values(version=None))
