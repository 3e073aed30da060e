"""`nnserve check`: whether a service could start here and would be well."""

import json
import logging
import sys
from dataclasses import asdict

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(as_json: bool) -> None:
    """Look at settings, database, keys, recipes, disk, port and every version of every model.

    Prints a line for each: what is wrong and what would be right. The exit status is 1 where anything is.
    """
    from service.checks import findings

    # What is found wrong is printed, once.
    logging.disable(logging.CRITICAL)
    found = []
    for finding in findings():
        found.append(finding)
        if not as_json:
            click.echo(
                f"{'ok' if finding.ok else 'WRONG':6}{finding.about}: {' '.join(finding.detail.split())}"
            )
    well = all(finding.ok for finding in found)
    if as_json:
        click.echo(json.dumps({"ok": well, "checks": [asdict(finding) for finding in found]}))
    sys.exit(not well)
