"""`nnserve jobs`: training jobs of a running service, listed, watched, cancelled and tried again."""

from typing import TYPE_CHECKING

import click

from service.cli_calling import Failure, asking, json_option, url_option
from service.cli_output import Table, print_json

if TYPE_CHECKING:
    from service.client import Job

STATES = ("queued", "running", "succeeded", "failed", "cancelled")


@click.group(short_help="List, watch, cancel and retry training jobs.")
def jobs() -> None:
    """List, show, watch, cancel and retry the training jobs of a running service."""


@jobs.command("list")
@click.option("--state", type=click.Choice(STATES), help="Those in this state alone.")
@click.option("--model", help="Those of this model alone.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="The newest so many.")
@json_option
@url_option
def list_jobs(state: str | None, model: str | None, limit: int, as_json: bool, url: str) -> None:
    """Print a line a job, newest first: its id, model, state, epochs, and when it was asked for."""
    table = Table("id", "model", "state", "epochs", "created")
    with asking(url) as client:
        found = client.jobs(state=state, model=model, limit=min(limit, 100))
        shown = [job for job, _ in zip(found, range(limit), strict=False)]
    for job in shown if as_json else ():
        print_json(job.document)
    if not as_json:
        table.print([_row(job) for job in shown])


@jobs.command()
@click.argument("job")
@json_option
@url_option
def show(job: str, as_json: bool, url: str) -> None:
    """Print what became of JOB so far."""
    with asking(url) as client:
        found = client.job(job)
    if as_json:
        print_json(found.document)
        return
    rows = [("id", found.id), ("model", found.model), ("state", found.state)]
    rows += [("epochs", f"{found.epoch}/{found.epochs}"), ("seconds", f"{found.seconds:g}")]
    rows += [("trainer", found.trainer)] if found.trainer else []
    rows += [("error", found.error)] if found.error else []
    rows += [("result", told(found)), ("figures", figures(found))] if found.result else []
    Table("field", "value").print(rows)


@jobs.command()
@click.argument("job")
@url_option
def cancel(job: str, url: str) -> None:
    """End JOB, which is queued or running."""
    with asking(url) as client:
        click.echo(f"{job}: {client.cancel(job).state}")


@jobs.command()
@click.argument("job")
@url_option
def retry(job: str, url: str) -> None:
    """Queue JOB again, which failed or was cancelled; it goes on from its last checkpoint."""
    with asking(url) as client:
        click.echo(f"{job}: {client.retry(job).state}")


@jobs.command()
@click.argument("job")
@url_option
def watch(job: str, url: str) -> None:
    """Show how JOB goes on until it has ended; Ctrl-C leaves it alone."""
    with asking(url) as client:
        ended = client.job(job).wait(progress=True)
    tell_end(ended)


def tell_end(job: "Job") -> None:
    """Print what a job has made; fail where it has made nothing."""
    if job.state == "failed":
        raise Failure(f"job {job.id} failed: {job.error}")
    if job.result is None:
        raise Failure(f"job {job.id} was cancelled")
    click.echo(told(job))
    click.echo(figures(job))


def told(job: "Job") -> str:
    """Return the version that a job has made, and whether it was promoted."""
    assert job.result is not None
    promotion = job.result.promotion
    what = "promoted" if promotion.promoted else "not promoted"
    return f"{job.model} version {job.result.version}: {what}, {promotion.reason}"


def figures(job: "Job") -> str:
    """Return the figures of a job's version on the validation data: `loss 0.0123, accuracy 98.70%`."""
    assert job.result is not None
    measured = job.result.metrics.get("validation") or {}
    shown = (
        f"{name} {value:.2%}" if name == "accuracy" else f"{name} {value:.5g}"
        for name, value in measured.items()
    )
    return ", ".join(shown)


def _row(job: "Job") -> tuple[str, ...]:
    return job.id, job.model, job.state, f"{job.epoch}/{job.epochs}", job.created
