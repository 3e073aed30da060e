import errno
import json
import os
from pathlib import Path

import pytest

from nncore.files import open_regular, read_file, replace_file, write_synced


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "labels.json"
    replace_file(path, b"old")
    replace_file(path, json.dumps({"stable": 1}).encode())
    assert json.loads(path.read_bytes()) == {"stable": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_of_more_than_it_may_have_is_not_read(tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 11)
    assert read_file(tmp_path / "file", 11) == b"x" * 11
    with pytest.raises(OSError, match="more than 10 bytes"):
        read_file(tmp_path / "file", 10)


def test_what_is_no_regular_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        read_file(tmp_path / "pipe", 10)


def test_a_file_is_written_part_by_part(tmp_path):
    write_synced(tmp_path / "file", b"one ", memoryview(b"two"), b"")
    with open_regular(tmp_path / "file") as file:
        assert file.read() == b"one two"


def test_everything_is_on_disk_before_the_new_file_takes_the_place_of_the_old(tmp_path, monkeypatch):
    events = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: events.append("sync") or fsync(descriptor))
    monkeypatch.setattr(Path, "replace", lambda self, to: events.append("replace") or replace(self, to))
    replace_file(tmp_path / "file", b"x")
    assert events == ["sync", "replace", "sync"]


def test_a_file_that_cannot_be_written_leaves_the_old_one_and_no_draft(tmp_path, monkeypatch):
    replace_file(tmp_path / "file", b"old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        replace_file(tmp_path / "file", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"
