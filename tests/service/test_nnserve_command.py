"""The `nnserve` command, as a shell runs it."""

import dataclasses
from pathlib import Path

import pytest
from serving import Service, free_port, nnserve
from sketches import Digit

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
    assert done.stderr.startswith("Error: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_service_that_is_not_there_is_one_line_too(folder: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    done = nnserve("predict", "digits", "0.png", "--url", url, folder=folder)

    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(f"Error: no answer from {url}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [["predict"], ["predict", "digits"], ["predict", "digits", "none.png"], ["sing"]]
)
def test_a_wrong_call_shows_how_it_is_done(folder: Path, arguments: list[str]) -> None:
    done = nnserve(*arguments, folder=folder)

    assert done.returncode == 2
    assert "Usage: nnserve" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["predict", "--help"], ["web", "--help"]])
def test_every_command_explains_itself(folder: Path, arguments: list[str]) -> None:
    done = nnserve(*arguments, folder=folder)

    assert done.returncode == 0
    assert "Usage: nnserve" in done.stdout


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
    assert done.stderr.startswith(f"nnserve: cannot listen on 127.0.0.1:{service.port} (")
    assert f"NNSERVE_PORT={service.port + 1}" in done.stderr


def test_the_help_of_web_lists_every_setting(tmp_path: Path) -> None:
    done = nnserve("web", "--help", folder=tmp_path)

    for field in dataclasses.fields(Settings):
        assert f"NNSERVE_{field.name.upper()}" in done.stdout
