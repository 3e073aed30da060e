"""Schemathesis over the description of a service: some in the tests, over ten thousand by `make nightly`."""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from serving import ROOT, Service, environment

KEY = "a-key-for-administrators-of-a-test"
CONFIG = ROOT / "tests" / "schemathesis.toml"
HOOKS = {"SCHEMATHESIS_HOOKS": str(ROOT / "tests" / "schemathesis_hooks.py")}
# The digits would be trained for minutes.
QUICK = ("exam", "line", "xor")


@dataclass(frozen=True)
class Outcome:
    """How many cases there were, whether one failed, and what schemathesis said."""

    cases: int
    failed: bool
    output: str


def run(folder: Path, *options: str) -> Outcome:
    """Send cases to a service of their own, whose trainer runs what they ask for."""
    for name in QUICK:
        shutil.copytree(ROOT / "models" / name, folder / "shipped" / name)
        (folder / "recipes").mkdir(exist_ok=True)
        shutil.copy(ROOT / "recipes" / f"{name}.json", folder / "recipes")
    service = Service(
        folder,
        "up",
        workers=1,
        shipped_models=folder / "shipped",
        shipped_recipes=folder / "recipes",
        admin_key=KEY,
        max_queued=3,
        max_queued_by_client=3,
        max_epochs=600,
        max_parameters=10_000,
        trainer_nice=0,
        log_level="WARNING",
    )
    try:
        st = [Path(sys.executable).with_name("st"), "--no-color", f"--config-file={CONFIG}", "run"]
        st += [f"{service.url}/openapi.json", f"--header=Authorization: Bearer {KEY}", *options]
        st += ["--report-json-path=report.json", "--warnings=off", "--request-timeout=30", "--seed=1"]
        surroundings = environment({}) | HOOKS
        done = subprocess.run(
            st, cwd=folder, env=surroundings, capture_output=True, text=True, timeout=3600, check=False
        )
        cases = json.loads((folder / "report.json").read_text())["test_cases"]["generated"]
        return Outcome(cases, done.returncode != 0, f"{done.stdout}{done.stderr}\n{service.log}")
    finally:
        service.stop()


def main() -> None:
    """Run all phases with the number of examples an operation that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=300)
    parser.add_argument("--least", type=int, default=10_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcome = run(Path(folder), f"--max-examples={asked.examples}", "--continue-on-failure")
    print(outcome.output)
    if outcome.failed or outcome.cases < asked.least:
        sys.exit(f"{outcome.cases:,} cases, of at least {asked.least:,}; failed: {outcome.failed}")


if __name__ == "__main__":
    main()
