"""`nnserve`, run in this process: a tenth of a second less than a process of its own for each call."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from service.cli import main

Run = Callable[..., Result]


def runner(url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return how the command is run in a folder, against a service: `run("predict", "xor", "-", input=…)`."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("NNSERVE_URL", url)

    def run(*arguments: object, **how: str | bytes) -> Result:
        result = CliRunner().invoke(main, [*map(str, arguments)], **how)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run


def lines(result: Result) -> list[list[str]]:
    """Return the cells of what a command printed, which had no error."""
    assert (result.exit_code, result.stderr) == (0, ""), result.stderr
    return [line.split("\t") for line in result.stdout.splitlines()]
