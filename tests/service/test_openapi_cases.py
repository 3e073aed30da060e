"""Schemathesis, all its checks and phases, over the description of a real service; more by `make nightly`."""

from pathlib import Path

from openapi_cases import run


def test_generated_requests_are_answered_as_described(tmp_path: Path) -> None:
    outcome = run(tmp_path, "--max-examples=1")

    assert not outcome.failed, outcome.output
    assert outcome.cases > 300
