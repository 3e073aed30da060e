"""The process that reads somebody's data and stores them."""

import json
import subprocess
import sys
from contextlib import suppress

import pytest

from nncore import importing
from nncore.config import from_json
from nncore.datasets import load_dataset
from nncore.datasets.sources import Csv
from nncore.datasets.stored import ARRAYS, DESCRIPTION, read_description, read_stored
from nncore.datasets.summary import summarize
from nncore.errors import DatasetError
from nncore.recipe import Recipe, check

ENOUGH = 2 << 30


def start(path, folder, *, target="y", memory=ENOUGH):
    task = {
        "folder": str(folder),
        "memory": memory,
        "nice": 1,
        "source": {"type": "csv", "path": str(path), "target": target},
    }
    command = [sys.executable, "-W", "error", "-m", "nncore.importing", json.dumps(task)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process):
    """Return the exit code and the one line that the process has said."""
    out, errors = process.communicate(timeout=60)
    assert errors == ""
    assert out.count("\n") == 1
    return process.returncode, json.loads(out)


def write(path, rows, columns=3):
    with path.open("w") as file:
        file.write(",".join(f"x{n}" for n in range(columns)) + ",kind,y\n")
        for row in range(rows):
            numbers = ",".join(str(row % (n + 2) + 0.5) for n in range(columns))
            file.write(f"{numbers},{'pqr'[row % 3]},{'no' if row % 2 else 'yes'}\n")
    return path


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "kept").mkdir()
    return tmp_path / "kept"


def test_a_file_becomes_a_folder_with_all_that_is_to_be_known_of_it(tmp_path, folder):
    path = write(tmp_path / "t.csv", 60)
    expected = load_dataset(Csv(str(path), "y"))
    assert finish(start(path, folder)) == (0, {"sha256": expected.sha256})
    assert sorted(file.name for file in folder.iterdir()) == sorted([DESCRIPTION, *ARRAYS])
    found = read_stored(folder, "t", verify=True)
    assert (found.sha256, found.labels, found.columns) == (expected.sha256, expected.labels, expected.columns)
    about = read_description(folder).about
    recipe = about.pop("recipe")
    assert about == json.loads(json.dumps(summarize(expected)))
    check(from_json(Recipe, recipe), found)


def test_what_cannot_be_learned_from_is_told_in_one_line_and_leaves_nothing(tmp_path, folder):
    path = write(tmp_path / "t.csv", 60)
    code, said = finish(start(path, folder, target="z"))
    assert code == 1
    assert said == {"error": "t.csv: target: there is no column 'z', only x0, x1, x2, kind, y"}
    assert list(folder.iterdir()) == []


def test_a_file_that_needs_more_than_its_memory_ends_in_a_line_with_the_figures(tmp_path, folder):
    path = write(tmp_path / "t.csv", 2000, columns=200)
    code, said = finish(start(path, folder, memory=300 << 20))
    assert code == 1
    assert "bytes of memory" in said["error"]
    assert list(folder.iterdir()) == []


def test_memory_that_runs_out_unforeseen_ends_in_a_line_too(monkeypatch, capsys, tmp_path):
    def load(source):
        raise MemoryError

    monkeypatch.setattr(importing, "load_dataset", load)
    monkeypatch.setattr(importing.resource, "setrlimit", lambda kind, limits: None)
    monkeypatch.setattr(importing.os, "nice", lambda level: None)
    task = {
        "folder": str(tmp_path),
        "memory": 5_000,
        "nice": 0,
        "source": {"type": "csv", "path": "t", "target": "y"},
    }
    assert importing.main([json.dumps(task)]) == 1
    assert json.loads(capsys.readouterr().out) == {
        "error": "takes more than the 5,000 bytes of memory that reading it may take"
    }


def test_a_folder_that_cannot_be_written_is_told(tmp_path, folder):
    path = write(tmp_path / "t.csv", 60)
    folder.rmdir()
    code, said = finish(start(path, folder))
    assert code == 1
    assert "No such file or directory" in said["error"]


def test_a_process_that_is_killed_leaves_a_whole_dataset_or_none(tmp_path, folder):
    path = write(tmp_path / "t.csv", 60)
    process = start(path, folder)
    while process.poll() is None and not any(folder.iterdir()):
        pass
    process.kill()
    process.communicate(timeout=60)
    with suppress(DatasetError):
        assert read_stored(folder, "t", verify=True).sha256 == load_dataset(Csv(str(path), "y")).sha256
