import hashlib
import os
import shutil
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nncore import publishing
from nncore.publishing import (
    MODEL_FILE,
    NAME,
    VERSION_FILE,
    drafted,
    next_number,
    place,
    publish,
    read_facts,
    remove,
    replace_file,
    versions,
)


def test_versions_are_numbered_from_one_and_carry_their_facts(tmp_path):
    model = tmp_path / "deep" / "xor"
    assert versions(model) == []
    before = datetime.now(UTC) - timedelta(seconds=1)
    assert publish(model, b"first") == 1
    assert publish(model, b"second", seconds=1.5) == 2
    assert versions(model) == [1, 2]
    assert (model / "1" / MODEL_FILE).read_bytes() == b"first"
    assert (model / "2" / MODEL_FILE).read_bytes() == b"second"
    facts = read_facts(model / "2")
    assert before <= datetime.fromisoformat(facts.pop("published")) <= datetime.now(UTC)
    assert facts == {
        "version": 2,
        "sha256": hashlib.sha256(b"second").hexdigest(),
        "bytes": 6,
        "seconds": 1.5,
    }
    assert sorted(path.name for path in model.iterdir()) == [".last-version", "1", "2"]


def test_a_gap_is_not_filled(tmp_path):
    (tmp_path / "7").mkdir()
    assert publish(tmp_path, b"x") == 8
    assert versions(tmp_path) == [7, 8]


def test_versions_are_in_the_order_of_their_numbers_and_nothing_else_counts(tmp_path):
    for name in ("10", "9", "0", "01", "-1", "1.5", "²", ".draft-1", ".checkpoints", "labels.json", "1" * 10):
        (tmp_path / name).mkdir()
    assert versions(tmp_path) == [9, 10]
    (tmp_path / "file").touch()
    assert versions(tmp_path / "file") == []


def test_only_folders_and_links_to_them_are_versions(tmp_path):
    for name in ("1", "elsewhere"):
        (tmp_path / name).mkdir()
    (tmp_path / "2").touch()
    (tmp_path / "3").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "4").symlink_to(tmp_path / "4")
    (tmp_path / "5").symlink_to("nowhere")
    os.mkfifo(tmp_path / "6")
    assert versions(tmp_path) == [1, 3]


@pytest.mark.parametrize("what", ["a file", "a link to nowhere", "a link in a circle"])
def test_a_number_that_something_else_has_is_passed_over(tmp_path, what):
    in_the_way = tmp_path / "1"
    if what == "a file":
        in_the_way.touch()
    else:
        in_the_way.symlink_to(in_the_way if "circle" in what else "nowhere")
    assert publish(tmp_path, b"x") == 2
    assert versions(tmp_path) == [2]
    assert os.path.lexists(in_the_way)


def test_a_version_that_somebody_else_published_meanwhile_is_not_touched(tmp_path, monkeypatch):
    publish(tmp_path, b"theirs")
    # As if the folder had been read before they published.
    monkeypatch.setattr(publishing, "versions", lambda model: [])
    assert publish(tmp_path, b"mine") == 2
    assert (tmp_path / "1" / MODEL_FILE).read_bytes() == b"theirs"
    assert read_facts(tmp_path / "2")["version"] == 2


def test_a_reader_never_sees_half_a_version(tmp_path, monkeypatch):
    # Whatever is written, the number appears only with both files whole.
    seen = []
    write = publishing.write_synced

    def watched(path, data):
        seen.append(versions(tmp_path))
        write(path, data)
        seen.append(versions(tmp_path))

    monkeypatch.setattr(publishing, "write_synced", watched)
    publish(tmp_path, b"x" * 10_000)
    assert seen[:4] == [[]] * 4
    assert versions(tmp_path) == [1]


def test_a_disk_that_is_full_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(path, data):
        path.write_bytes(data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(publishing, "write_synced", full)
    with pytest.raises(OSError, match="No space left"):
        publish(tmp_path / "xor", b"x" * 100)
    assert [path.name for path in (tmp_path / "xor").iterdir()] == [".last-version"]


def test_a_model_that_cannot_be_written_to_is_an_error_and_not_a_loop(tmp_path):
    (tmp_path / "xor").touch()
    with pytest.raises(FileExistsError):
        publish(tmp_path / "xor", b"x")


def test_everything_is_on_disk_before_the_number_appears(tmp_path, monkeypatch):
    events = []
    fsync, rename = os.fsync, Path.rename
    monkeypatch.setattr(os, "fsync", lambda descriptor: events.append("sync") or fsync(descriptor))
    monkeypatch.setattr(Path, "rename", lambda self, to: events.append("rename") or rename(self, to))
    publish(tmp_path, b"x")
    # The number and its folder; model file, version.json and theirs; the folder once more.
    assert events == ["sync"] * 2 + ["sync"] * 3 + ["rename", "sync"]


def test_publishers_in_threads_get_numbers_of_their_own(tmp_path):
    ready, numbers = threading.Barrier(6), []

    def publisher(me):
        ready.wait()
        numbers.extend((publish(tmp_path, me), me) for _ in range(5))

    threads = [threading.Thread(target=publisher, args=(f"thread {i}".encode(),)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(number for number, _ in numbers) == versions(tmp_path) == list(range(1, 31))
    for number, me in numbers:
        assert (tmp_path / str(number) / MODEL_FILE).read_bytes() == me
        assert read_facts(tmp_path / str(number))["version"] == number


PUBLISHER = """
import sys
from pathlib import Path
from nncore.publishing import publish
print("ready", flush=True)
sys.stdin.readline()
for _ in range(10):
    print(publish(Path(sys.argv[1]), sys.argv[2].encode()))
"""


def test_publishers_in_processes_get_numbers_of_their_own(tmp_path):
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", PUBLISHER, tmp_path, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "two")
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    numbers = [list(map(int, process.communicate(timeout=30)[0].split())) for process in processes]
    assert sorted(numbers[0] + numbers[1]) == list(range(1, 21))
    for name, mine in zip(("one", "two"), numbers, strict=True):
        assert {(tmp_path / str(number) / MODEL_FILE).read_text() for number in mine} == {name}


WRONG_FACTS = [
    '{"sha256": [1]}',
    '{"job": 7}',
    '{"bytes": "x"}',
    f'{{"bytes": {2**63}}}',
    '{"published": "\\ud800"}',
]


@pytest.mark.parametrize("text", [None, "", "{", "[]", "null", "[" * 100_000, *WRONG_FACTS])
def test_facts_that_cannot_be_read_are_none(tmp_path, text):
    if text is not None:
        (tmp_path / VERSION_FILE).write_text(text)
    assert read_facts(tmp_path) == {}


@given(st.text("ab1_-./ A\n", max_size=70))
def test_a_name_is_a_folder_of_its_own_and_nothing_else(name):
    allowed = set("ab1_-")
    right = 0 < len(name) <= 64 and set(name) <= allowed and name[0] not in "_-"
    assert bool(NAME.fullmatch(name)) == right


def test_a_number_is_never_given_twice_even_after_a_deletion(tmp_path):
    assert [publish(tmp_path, b"x") for _ in range(3)] == [1, 2, 3]
    shutil.rmtree(tmp_path / "3")
    assert publish(tmp_path, b"y") == 4
    shutil.rmtree(tmp_path / "4")
    shutil.rmtree(tmp_path / "2")
    assert publish(tmp_path, b"z") == 5


def test_what_is_no_regular_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / VERSION_FILE)
    assert read_facts(tmp_path) == {}


def test_only_plain_digits_are_a_version(tmp_path):
    for name in ("1", "12", "01", "+1", "1e3", "\uff12", "1\uff12", "0", "-1", "1.0", "1000000000"):
        (tmp_path / name).mkdir()
    assert versions(tmp_path) == [1, 12]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_number_that_was_taken_is_not_given_again_though_nothing_came_of_it(tmp_path):
    model = tmp_path / "deep" / "xor"
    assert [next_number(model), next_number(model)] == [1, 2]
    assert publish(model, b"x") == 3
    assert versions(model) == [3]


def test_a_version_may_appear_under_a_number_taken_beforehand(tmp_path):
    number = next_number(tmp_path)
    assert publish(tmp_path, b"another") == 2
    with drafted(tmp_path, number, b"x", job="j-1") as draft:
        assert versions(tmp_path) == [2]
        assert place(draft, tmp_path, number)
    assert versions(tmp_path) == [1, 2]
    facts = read_facts(tmp_path / "1")
    assert (facts["version"], facts["job"]) == (1, "j-1")
    assert facts["sha256"] == hashlib.sha256(b"x").hexdigest()
    assert names(tmp_path) == [".last-version", "1", "2"]


def test_a_version_that_is_there_is_never_replaced(tmp_path):
    publish(tmp_path, b"theirs")
    with drafted(tmp_path, 1, b"mine") as draft:
        assert not place(draft, tmp_path, 1)
    assert (tmp_path / "1" / MODEL_FILE).read_bytes() == b"theirs"
    assert names(tmp_path) == [".last-version", "1"]


def test_a_draft_that_is_not_placed_goes_again(tmp_path):
    def interrupted(draft):
        assert (draft / MODEL_FILE).read_bytes() == b"x"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), drafted(tmp_path, 1, b"x") as draft:
        interrupted(draft)
    assert names(tmp_path) == []


def test_a_disk_that_fails_while_a_version_is_placed_is_an_error(tmp_path, monkeypatch):
    def failing(self, target):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="Input/output"), drafted(tmp_path, 1, b"x") as draft:
        place(draft, tmp_path, 1)
    assert names(tmp_path) == []


def test_a_version_that_is_removed_is_gone_with_its_files(tmp_path):
    publish(tmp_path, b"one")
    publish(tmp_path, b"two")
    remove(tmp_path, 1)
    assert names(tmp_path) == [".last-version", "2"]
    with pytest.raises(FileNotFoundError):
        remove(tmp_path, 1)
    assert names(tmp_path) == [".last-version", "2"]


def test_a_version_vanishes_whole_before_its_files_are_deleted(tmp_path, monkeypatch):
    publish(tmp_path, b"one")
    left = []
    monkeypatch.setattr(publishing.shutil, "rmtree", lambda path, ignore_errors: left.append(path))
    remove(tmp_path, 1)
    assert versions(tmp_path) == []
    assert [names(path) for path in left] == [[MODEL_FILE, VERSION_FILE]]


@pytest.mark.parametrize("removed", [5, 7])
def test_the_number_of_a_removed_version_is_not_given_again(tmp_path, removed):
    # Made by hand, so that no counter knows of them.
    for number in (5, 7):
        (tmp_path / str(number)).mkdir()
    remove(tmp_path, removed)
    shutil.rmtree(tmp_path / "7", ignore_errors=True)
    assert publish(tmp_path, b"x") == 8


def test_a_file_that_cannot_be_replaced_leaves_no_draft(tmp_path):
    (tmp_path / "labels.json").mkdir()
    with pytest.raises(OSError, match="directory"):
        replace_file(tmp_path / "labels.json", b"{}")
    assert names(tmp_path) == ["labels.json"]
