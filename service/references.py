"""Who needs a dataset's content: jobs that are to be trained on it, versions that were."""

from pathlib import Path

from sqlalchemy import Connection, select

from nncore.publishing import NAME, versions
from service.jobs.job import QUEUED, RUNNING
from service.provenance import dataset_of
from service.schema import DATASETS, JOBS


def referred(connection: Connection, root: Path) -> dict[str, str]:
    """Return the SHA-256 of every dataset that a job or a version in a store needs, with one that does."""
    found: dict[str, str] = {}
    for model in sorted(root.iterdir()):
        for number in versions(model) if NAME.fullmatch(model.name) else []:
            if sha256 := dataset_of(model / str(number)):
                found.setdefault(sha256, f"version {number} of {model.name!r} was trained on it")
    live = select(JOBS.c.id, JOBS.c.state, JOBS.c.plan).where(JOBS.c.state.in_((QUEUED, RUNNING)))
    for job in connection.execute(live):
        found[job.plan.get("dataset", {}).get("sha256")] = f"job {job.id}, which is {job.state}, needs it"
    return found


def named(connection: Connection) -> set[str]:
    """Return the SHA-256 of every dataset that has a name."""
    return set(connection.scalars(select(DATASETS.c.sha256)))
