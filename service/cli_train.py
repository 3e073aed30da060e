"""`nnserve train`: a job asked for, and watched until it has ended."""

import sys
from typing import TYPE_CHECKING, Any

import click

from service.cli_calling import INTERRUPTED, asking, json_option, url_option
from service.cli_jobs import tell_end
from service.cli_output import Table, print_json
from service.cli_recipe import changed, model_of, read_recipe

if TYPE_CHECKING:
    from service.client import Client, Job, Plan


@click.command(short_help="Train a version, and watch it.")
@click.argument("recipe", required=False)
@click.option("--dataset", metavar="NAME", help="Instead of RECIPE: the recipe to begin with on a dataset.")
@click.option("--model", help="The model that gets a version; without it, the recipe's or dataset's name.")
@click.option(
    "--promote",
    type=click.Choice(["if_better", "always", "never"]),
    default="if_better",
    show_default=True,
    help="When the version becomes what is served by default.",
)
@click.option("--start-from", metavar="VERSION", help="A version, or a label, whose weights it goes on from.")
@click.option("--set", "settings", multiple=True, metavar="FIELD=VALUE", help="A field of the recipe.")
@click.option("--detach", is_flag=True, help="Print the job's id and do not wait.")
@click.option("--dry-run", is_flag=True, help="Check everything, say what would be done, and do nothing.")
@json_option
@url_option
def train(
    recipe: str | None,
    dataset: str | None,
    model: str | None,
    settings: tuple[str, ...],
    detach: bool,
    dry_run: bool,
    as_json: bool,
    url: str,
    **how: Any,
) -> None:
    """Train by RECIPE, a JSON file, - for standard input, or the name of a shipped one.

    Without RECIPE and --dataset that of the model's stable version is repeated. Ctrl-C asks whether the job
    is to be cancelled.
    """
    if recipe and dataset:
        raise click.UsageError("--dataset goes without a recipe, which names its dataset itself")
    model = model or dataset or (model_of(recipe) if recipe else None)
    if model is None:
        raise click.UsageError("say which model is trained: --model NAME")
    with asking(url) as client:
        asked: Any = read_recipe(recipe) if recipe else client.dataset(dataset).recipe if dataset else None
        if settings:
            if not isinstance(asked, dict):
                # The service knows what the name stands for.
                asked = client.train(model, asked, dry_run=True).recipe
            asked = changed(asked, settings)
        if dry_run:
            _tell_plan(client.train(model, asked, dry_run=True, **how), as_json)
            return
        job = client.train(model, asked, **how)
        if detach:
            print_json(job.document) if as_json else click.echo(job.id)
            return
        click.echo(f"job {job.id}", err=True)
        ended = _watch(client, job)
    if as_json:
        print_json(ended.document)
    if not (as_json and ended.result):
        tell_end(ended)


def _watch(client: "Client", job: "Job") -> "Job":
    """Return a job once it has ended; at Ctrl-C ask what is to become of it."""
    while True:
        try:
            return job.wait(progress=True)
        except KeyboardInterrupt:
            answer = _ask()
        if answer == "c":
            click.echo(f"job {job.id}: {client.cancel(job.id).state}", err=True)
        elif answer == "d":
            click.echo(f"job {job.id} goes on; nnserve jobs watch {job.id}", err=True)
        else:
            continue
        raise click.exceptions.Exit(INTERRUPTED)


def _ask() -> str:
    """Return c, d or w; where nobody can answer, or has pressed Ctrl-C again, d."""
    if not sys.stdin.isatty():
        return "d"
    question = "\nCancel the job (c), detach and let it go on (d), or watch on (w)?"
    try:
        answer: str = click.prompt(question, type=click.Choice(["c", "d", "w"]), show_choices=False, err=True)
    except click.Abort:
        click.echo(err=True)
        return "d"
    return answer


def _tell_plan(plan: "Plan", as_json: bool) -> None:
    if as_json:
        print_json(plan.document)
        return
    start = f"version {plan.start_from['version']}" if plan.start_from else "-"
    rows = [("dataset", plan.dataset["name"]), ("parameters", f"{plan.parameters:,}")]
    rows += [("memory", f"{plan.memory / 2**20:,.0f} MiB"), ("start from", start), ("promote", plan.promote)]
    Table("field", "value").print(rows)
