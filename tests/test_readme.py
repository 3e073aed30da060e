"""The examples in README.md and docs/: what is written there is what happens.

A ```console block holds commands after `$` and the exact output of each; `…` stands for anything, and a
number may be another one in its fifth digit, as other CPUs round differently. ```python blocks must run.
"""

import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from serving import ROOT, Service, environment

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# What a reader sees is the default port; the tests have one of their own.
ADDRESS = "127.0.0.1:8000"
# These act on the checkout itself.
NOT_RUN = ("make", "git")
NUMBER = r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?"
# A number with a fraction that stands alone, and is no part of an address, a version or a hash.
FRACTION = re.compile(rf"(?<![\w.-])(?={NUMBER}(?![\w.]))-?\d+(?:\.\d+(?:e[+-]?\d+)?|e[+-]?\d+)")


@dataclass(frozen=True)
class Example:
    """A command in a document and the output that stands below it."""

    document: Path
    command: str
    output: str


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", document.read_text(), re.DOTALL | re.MULTILINE)


def examples(document: Path) -> Iterator[Example]:
    for block in blocks(document, "console"):
        # A command ends with its line, unless that ends with a backslash.
        for command, output in re.findall(r"^\$ ((?:.*\\\n)*.*)\n?((?:(?!\$ ).*\n?)*)", block, re.MULTILINE):
            yield Example(document, command, output.strip("\n"))


EXAMPLES = [example for document in DOCUMENTS for example in examples(document)]
RUN = [example for example in EXAMPLES if example.command.split()[0] not in NOT_RUN]
TOLD = [document for document in DOCUMENTS if any(example.document == document for example in RUN)]
PYTHON = [(document, block) for document in DOCUMENTS for block in blocks(document, "python")]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("readme"), "up", workers=1)
    yield service
    service.stop()
    print(service.log)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stand-in for the checkout, in which an example may train and write."""
    folder = tmp_path_factory.mktemp("checkout")
    for entry in ROOT.iterdir():
        if entry.name == "models":
            shutil.copytree(entry, folder / "models")
        elif entry.name not in ("var", ".git"):
            (folder / entry.name).symlink_to(entry)
    return folder


def run(command: list[str], service: Service, checkout: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        command,
        env=environment({"url": service.url}) | {"PATH": path, "NO_PROXY": "127.0.0.1", "COLUMNS": "100"},
        cwd=checkout,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )


def pattern(documented: str) -> str:
    """Return a regular expression for a documented output; its groups are the numbers to compare."""
    parts = []
    for text in re.split(r"(…)", documented):
        literal = [re.escape(piece) for piece in FRACTION.split(text)]
        parts.append(".*?" if text == "…" else f"({NUMBER})".join(literal))
    return "".join(parts)


def agrees(documented: str, found: str) -> bool:
    match = re.fullmatch(pattern(documented), found, re.DOTALL)
    numbers = FRACTION.findall(documented)
    return match is not None and all(
        math.isclose(float(mine), float(theirs), rel_tol=1e-4, abs_tol=1e-4)
        for mine, theirs in zip(match.groups(), numbers, strict=True)
    )


# One test a document: an example may go on from those above it, and tests of one file may run apart.
@pytest.mark.parametrize("document", TOLD, ids=lambda document: document.name)
def test_the_examples_of_a_document_give_the_outputs_that_are_written_below_them(
    document: Path, service: Service, checkout: Path
) -> None:
    mine = [example for example in RUN if example.document == document]
    if any("curl" in example.command for example in mine) and not shutil.which("curl"):
        pytest.skip("curl is not installed")
    here = f"127.0.0.1:{service.port}"
    for example in mine:
        done = run(["bash", "-c", example.command.replace(ADDRESS, here)], service, checkout)
        found = done.stdout.replace(here, ADDRESS).strip("\n")
        assert agrees(example.output, found), (
            f"{example.command}\n--- documented\n{example.output}\n--- found\n{found}"
        )


@pytest.mark.parametrize(("document", "block"), PYTHON, ids=[document.name for document, _ in PYTHON])
def test_python_in_the_documents_runs(document: Path, block: str, service: Service, checkout: Path) -> None:
    done = run([sys.executable, "-c", block.replace(ADDRESS, f"127.0.0.1:{service.port}")], service, checkout)

    assert done.returncode == 0, done.stdout


def test_the_readme_shows_four_calls_with_their_answers() -> None:
    calls = [example for example in examples(ROOT / "README.md") if example.command.startswith("curl ")]

    assert len(calls) >= 4
    assert all(call.output for call in calls)


def test_every_console_block_begins_with_a_command() -> None:
    for document in DOCUMENTS:
        for block in blocks(document, "console"):
            assert block.startswith("$ "), f"{document.name}: {block}"


@pytest.mark.parametrize(
    ("documented", "found", "right"),
    [
        ('{"a": 0.12345}', '{"a": 0.12346}', True),
        ('{"a": 0.12345}', '{"a": 0.2}', False),
        ('{"a": 0.0}', '{"a": 1e-7}', True),
        ('{"a": 1.0}', '{"a": 1}', True),
        ('{"a": 12}', '{"a": 13}', False),
        ('{"id": "…", "a": 1}', '{"id": "4f0c", "a": 1}', True),
        ('{"id": "…", "a": 1}', '{"id": "4f0c", "a": 2}', False),
        ("first\n…\nlast", "first\nmore\nand more\nlast", True),
        ("first\nlast", "first\nmore\nlast", False),
        ("sha 4e6f70d5.1", "sha 5e6f70d5.1", False),
        ("version 1.2.3 of 127.0.0.1", "version 1.2.4 of 127.0.0.1", False),
        ("", "something", False),
    ],
)
def test_outputs_are_compared_as_the_documents_say(documented: str, found: str, right: bool) -> None:
    assert agrees(documented, found) is right


def test_blocks_are_taken_apart_as_they_are_written(tmp_path: Path) -> None:
    document = tmp_path / "a.md"
    document.write_text(
        "words\n\n```console\n$ one \\\n  two\nout\n\nmore\n$ three\n```\n\n```console\n$ four\n5\n```\n"
    )

    assert [(example.command, example.output) for example in examples(document)] == [
        ("one \\\n  two", "out\n\nmore"),
        ("three", ""),
        ("four", "5"),
    ]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_every_link_inside_the_repository_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]+)", document.read_text())
    missing = [link for link in links if not (document.parent / link).exists()]

    assert missing == []
