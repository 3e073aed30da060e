"""The `nnserve` command, as a shell runs it."""

import dataclasses
import os
import re
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from serving import NNSERVE, ROOT, Service, environment, free_port, nnserve
from sketches import Digit
from terminals import Terminal

from service.cli import main
from service.settings import Settings


@pytest.fixture
def folder(tmp_path: Path, digits: list[Digit]) -> Path:
    for number, digit in enumerate(digits[:2]):
        (tmp_path / f"{number}.png").write_bytes(digit.png)
    (tmp_path / "words.png").write_text("not a picture")
    return tmp_path


def test_predict_prints_a_line_a_picture(service: Service, folder: Path, digits: list[Digit]) -> None:
    done = nnserve("predict", "digits", "0.png", "1.png", "--url", service.url, folder=folder)

    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert [(file, label) for file, label, _ in lines] == [
        (f"{number}.png", digits[number].label) for number in range(2)
    ]
    assert all(0.1 < float(confidence) <= 1 for _, _, confidence in lines)


def test_the_address_may_come_from_the_environment(service: Service, folder: Path) -> None:
    done = nnserve("predict", "digits", "0.png", "--version", "stable", folder=folder, url=service.url)

    assert done.returncode == 0
    assert done.stdout.startswith("0.png\t")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nobody", "0.png"], "404 Not Found: There is no model 'nobody'"),
        (["digits", "0.png", "--version", "9"], "404 Not Found: The model 'digits' has no version 9"),
        (["digits", "words.png"], "422 Unprocessable"),
        (["xor", "0.png"], "this model takes arrays"),
    ],
)
def test_a_refusal_is_one_line_without_a_traceback(
    service: Service, folder: Path, arguments: list[str], said: str
) -> None:
    done = nnserve("predict", *arguments, "--url", service.url, folder=folder)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("nnserve: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_service_that_is_not_there_is_one_line_too(folder: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    done = nnserve("predict", "digits", "0.png", "--url", url, folder=folder)

    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(f"nnserve: no answer from {url}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--none"], "No such option '--none' (try 'nnserve --help')"),
        (["sing"], "No such command 'sing' (try 'nnserve --help')"),
        (["predict"], "Missing argument 'MODEL' (try 'nnserve predict --help')"),
        (["train", "xor", "--promote", "so"], "(try 'nnserve train --help')"),
        (["keys", "create", "a"], "say what it may do: --scope predict|train|metrics|admin, or --admin (try"),
        (["keys", "create", "a", "--admin", "--expires", "3"], "--expires must be like 30d"),
        (["health", "cat"], "'cat' is not one of 'web', 'trainer' (try 'nnserve health --help')"),
    ],
)
def test_a_wrong_call_is_one_line_that_says_where_help_is(arguments: list[str], said: str) -> None:
    done = CliRunner().invoke(main, arguments, prog_name="nnserve")

    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("nnserve: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["keys"]])
def test_a_group_alone_shows_its_help(arguments: list[str]) -> None:
    done = CliRunner().invoke(main, arguments, prog_name="nnserve")

    assert done.exit_code == 2
    assert done.stderr.startswith(f"Usage: {' '.join(['nnserve', *arguments])} [OPTIONS] COMMAND")


@pytest.mark.parametrize("command", [["web"], ["keys", "list"]])
def test_a_database_that_is_away_is_one_line(tmp_path: Path, command: list[str]) -> None:
    url = f"postgresql://somebody:secret@127.0.0.1:{free_port()}/nnserve"
    done = nnserve(*command, folder=tmp_path, port=free_port(), database_url=url)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("nnserve: the database does not answer: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--help"], ["-h"]])
def test_help_is_there_in_no_time(folder: Path, arguments: list[str]) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = nnserve(*arguments, folder=folder)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)

    assert done.returncode == 0
    assert "Usage: nnserve" in done.stdout
    # Of the processor, whoever else it works for: without the client, the engine and the service.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.3


def commands(group: click.Group, *path: str) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)


@pytest.mark.parametrize("path", list(commands(main)), ids=" ".join)
def test_every_command_explains_itself(path: tuple[str, ...]) -> None:
    done = CliRunner().invoke(main, [*path, "-h"], prog_name="nnserve")

    assert done.exit_code == 0
    assert done.stdout.startswith(f"Usage: nnserve {' '.join(path)} ")
    assert re.search(r"\n\n  [A-Z][^\n]+", done.stdout)


@pytest.mark.parametrize("path", list(commands(main)), ids=" ".join)
def test_every_command_is_in_the_documentation(path: tuple[str, ...]) -> None:
    rows = [line for line in (ROOT / "docs" / "cli.md").read_text().splitlines() if line.startswith("| `nns")]

    assert any(f"nnserve {path[0]} " in row.replace("`", " ") or f" `{path[0]}`" in row for row in rows)
    if len(path) > 1:
        assert any(f"nnserve {path[0]}" in row and re.search(rf"\b{path[1]}`", row) for row in rows)


def test_the_key_may_stand_in_a_file(service: Service, folder: Path) -> None:
    (folder / "key").write_text("k" * 40 + "\n")
    found: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NNSERVE_API_KEY_FILE", str(folder / "key"))
        patch.setattr(
            "service.remote.transport._Bearer.__call__", lambda self, r: found.append(self.key) or r
        )
        assert CliRunner().invoke(main, ["models", "list", "--url", service.url]).exit_code == 0
        patch.setenv("NNSERVE_API_KEY_FILE", str(folder / "none"))
        missing = CliRunner().invoke(main, ["models", "list", "--url", service.url])
    assert found == ["k" * 40]
    assert (missing.exit_code, missing.stderr.count("\n")) == (1, 1)


def complete(shell: str, words: str, folder: Path) -> list[str]:
    """Return what bash offers after some words, asked as it asks."""
    script = (
        f'eval "$({NNSERVE} completion bash)"; COMP_WORDS=({words}); '
        "COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); "
        '_nnserve_completion nnserve; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        [shell, "--norc", "-c", script],
        cwd=folder,
        env=environment({}) | {"PATH": f"{NNSERVE.parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_commands_options_and_choices(folder: Path) -> None:
    assert complete("bash", "nnserve tra", folder) == ["train", "trainer"]
    assert complete("bash", "nnserve jobs wa", folder) == ["watch"]
    assert complete("bash", "nnserve train --dry", folder) == ["--dry-run"]
    assert complete("bash", "nnserve train --promote al", folder) == ["always"]


@pytest.mark.skipif(shutil.which("zsh") is None, reason="there is no zsh here; .ci/run installs it")
def test_zsh_completes_commands_options_and_choices(folder: Path) -> None:
    path = {"PATH": f"{NNSERVE.parent}{os.pathsep}{os.environ['PATH']}"}
    shell = Terminal(["zsh", "-f", "-i"], folder, environment({}) | path)
    try:
        shell.press('autoload -U compinit; compinit -uD; eval "$(nnserve completion zsh)"\n')
        # The program completes, and what would be run is shown: so that it is not the echo of what is typed.
        shell.press('nnserve() { print -r -- "run:" "$@" "."; }\n')
        for typed, run in (
            ("jobs wa", "jobs watch"),
            ("train --dry", "train --dry-run"),
            ("train --promote al", "train --promote always"),
        ):
            shell.press(f"nnserve {typed}\t\n")
            shell.wait_for(f"run: {run} .")
    finally:
        shell.close()


def test_web_with_a_wrong_setting_says_which(folder: Path) -> None:
    done = nnserve("web", folder=folder, port="http")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("nnserve: NNSERVE_PORT: ")
    assert done.stderr.count("\n") == 1


def test_web_with_a_port_in_use_says_so(service: Service, folder: Path) -> None:
    done = nnserve("web", folder=folder, port=service.port, workers=1)

    assert done.returncode != 0
    assert "in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_web_says_at_once_that_its_port_is_taken(service: Service, tmp_path: Path) -> None:
    done = nnserve("web", folder=tmp_path, port=service.port)

    assert done.returncode == 1
    assert done.stderr.startswith(
        f"nnserve: cannot listen on 127.0.0.1:{service.port} (Address already in use); choose another port: "
    )
    assert f"NNSERVE_PORT={service.port + 1}" in done.stderr


def test_the_help_of_web_lists_every_setting(tmp_path: Path) -> None:
    done = nnserve("web", "--help", folder=tmp_path)

    for field in dataclasses.fields(Settings):
        assert f"NNSERVE_{field.name.upper()}" in done.stdout
