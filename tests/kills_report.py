"""`make kills`: a long campaign of random kills on each kind of database, and its report for docs/."""

import argparse
import contextlib
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from kills import Campaign, Outcome
from postgresql import start_server

PREFACE = """\
# Random kills

`make kills` has a web service with two workers and two trainers work off jobs, and kills one process after
the other with SIGKILL at random moments: a trainer's child, its parent, both, a web worker, the web
service's master. What died as a whole is started again. Every job is then held against an unbroken run of
its recipe, and all the time the folder of versions is looked at. This page is what the last run wrote.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--databases", nargs="+", default=["sqlite", "postgresql"])
    parser.add_argument("--report", type=Path, help="where to write it, besides printing it")
    options = parser.parse_args()
    outcomes = {kind: campaign(kind, options.kills, options.seed) for kind in options.databases}
    text = report(outcomes, options.seed)
    print(text)
    if options.report:
        options.report.write_text(text)
    sys.exit(any(outcome.faults for outcome in outcomes.values()))


def campaign(kind: str, kills: int, seed: int) -> Outcome:
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        url = f"sqlite:///{name}/nnserve.db"
        if kind == "postgresql":
            server = start_server()
            stack.callback(server.stop)
            url = server.new_database()
        return Campaign(Path(name), url, seed).run(kills, lambda text: print(f"{kind}: {text}", flush=True))


def report(outcomes: dict[str, Outcome], seed: int) -> str:
    machine = f"Python {platform.python_version()}, {os.cpu_count()} cores"
    kinds = sorted({kind for outcome in outcomes.values() for kind in outcome.kills})
    rows: dict[str, Callable[[Outcome], object]] = {
        "kills": lambda outcome: outcome.kills.total(),
        **{f"of a {kind}": lambda outcome, kind=kind: outcome.kills[kind] for kind in kinds},
        "jobs accepted": lambda outcome: outcome.jobs,
        "attempts at them": lambda outcome: outcome.attempts,
        "jobs begun more than once": lambda outcome: outcome.resumed,
        "looks at the folder of versions": lambda outcome: f"{outcome.looks:,}",
        "minutes": lambda outcome: f"{outcome.seconds / 60:.1f}",
        "jobs lost, or ended as failed": lambda outcome: outcome.count("has not succeeded"),
        "jobs done twice": lambda outcome: outcome.count("ended", "versions"),
        "half-written versions seen": lambda outcome: outcome.count("half a version", "is not what"),
        "jobs with other bytes than an unbroken run": lambda outcome: outcome.count("other bytes"),
        "jobs with events missing or repeated": lambda outcome: outcome.count("a gap", "an epoch"),
    }
    lines = [
        PREFACE,
        f"{datetime.now(UTC):%-d %B %Y}, seed {seed}, {machine}.",
        "",
        "| | " + " | ".join(outcomes) + " |",
        "| --- |" + " --- |" * len(outcomes),
        *(
            f"| {name} | " + " | ".join(str(row(o)) for o in outcomes.values()) + " |"
            for name, row in rows.items()
        ),
        *(f"\n{kind}: {fault}" for kind, outcome in outcomes.items() for fault in outcome.faults),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
