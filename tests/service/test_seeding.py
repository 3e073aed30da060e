"""How the shipped models come into the store, and what they leave alone there."""

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from nncore.publishing import MODEL_FILE, publish, read_facts, versions
from service.labels import LABELS_FILE, read_labels, write_label, write_labels
from service.seeding import seed

File = Callable[[int], bytes]


@pytest.fixture
def shipped(tmp_path: Path, xor_file: File) -> Path:
    folder = tmp_path / "shipped"
    publish(folder / "xor", xor_file(1))
    return folder


@pytest.fixture
def store(tmp_path: Path, shipped: Path) -> Path:
    """A store after its first start."""
    store = tmp_path / "store"
    seed(store, shipped)
    return store


def picture_of(folder: Path) -> dict[str, Any]:
    """Return every file below a folder but the lock, with its bytes and its time."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def model_bytes(store: Path, number: int) -> bytes:
    return (store / "xor" / str(number) / MODEL_FILE).read_bytes()


def test_a_fresh_store_gets_what_is_shipped(store: Path, xor_file: File) -> None:
    assert versions(store / "xor") == [1]
    assert model_bytes(store, 1) == xor_file(1)
    assert read_labels(store / "xor") == {"stable": 1}
    assert read_facts(store / "xor" / "1")["origin"] == "shipped"


def test_every_shipped_version_comes_in_and_the_newest_is_stable(
    tmp_path: Path, shipped: Path, xor_file: File
) -> None:
    publish(shipped / "xor", xor_file(2))
    publish(shipped / "other", xor_file(3))
    seed(tmp_path / "store", shipped)

    assert versions(tmp_path / "store" / "xor") == [1, 2]
    assert read_labels(tmp_path / "store" / "xor") == {"stable": 2}
    assert read_labels(tmp_path / "store" / "other") == {"stable": 1}


def test_a_second_start_changes_nothing(store: Path, shipped: Path) -> None:
    before = picture_of(store)
    seed(store, shipped)

    assert picture_of(store) == before


def test_nothing_is_written_under_the_shipped_folder(tmp_path: Path, shipped: Path, xor_file: File) -> None:
    before = picture_of(shipped)
    seed(tmp_path / "store", shipped)
    publish(tmp_path / "store" / "xor", xor_file(9))
    write_label(tmp_path / "store" / "xor", "stable", 2)
    seed(tmp_path / "store", shipped)

    assert picture_of(shipped) == before


def test_an_upgrade_moves_stable_from_one_shipped_version_to_the_next(
    store: Path, shipped: Path, xor_file: File
) -> None:
    shutil.rmtree(shipped / "xor")
    publish(shipped / "xor", xor_file(2))
    seed(store, shipped)

    assert versions(store / "xor") == [1, 2]
    assert model_bytes(store, 2) == xor_file(2)
    assert read_labels(store / "xor") == {"stable": 2}


def test_an_upgrade_moves_stable_past_a_users_version_that_nobody_labelled(
    store: Path, shipped: Path, xor_file: File
) -> None:
    publish(store / "xor", xor_file(8))
    publish(shipped / "xor", xor_file(2))
    seed(store, shipped)

    assert versions(store / "xor") == [1, 2, 3]
    assert read_labels(store / "xor") == {"stable": 3}


def test_an_upgrade_leaves_stable_on_a_users_own_version(store: Path, shipped: Path, xor_file: File) -> None:
    own = publish(store / "xor", xor_file(8))
    write_label(store / "xor", "stable", own)
    write_label(store / "xor", "best", own)
    publish(shipped / "xor", xor_file(2))
    seed(store, shipped)

    assert versions(store / "xor") == [1, 2, 3]
    assert model_bytes(store, 3) == xor_file(2)
    assert read_labels(store / "xor") == {"stable": own, "best": own}


def test_a_users_model_of_the_same_name_without_labels_stays_the_stable_one(
    tmp_path: Path, shipped: Path, xor_file: File
) -> None:
    store = tmp_path / "store"
    own = publish(store / "xor", xor_file(8))
    seed(store, shipped)

    assert versions(store / "xor") == [1, 2]
    assert model_bytes(store, 2) == xor_file(1)
    assert read_labels(store / "xor") == {"stable": own}


def test_a_file_that_is_there_under_another_number_does_not_come_in_again(
    tmp_path: Path, shipped: Path, xor_file: File
) -> None:
    store = tmp_path / "store"
    publish(store / "xor", xor_file(8))
    publish(store / "xor", xor_file(1))
    seed(store, shipped)

    assert versions(store / "xor") == [1, 2]
    assert not (store / "xor" / LABELS_FILE).exists()


def test_an_upgrade_makes_nothing_stable_where_nothing_was(
    tmp_path: Path, shipped: Path, xor_file: File
) -> None:
    """A user's model of the same name, published by the service and not promoted."""
    store = tmp_path / "store"
    publish(store / "xor", xor_file(8))
    write_labels(store / "xor", {"canary": 1})
    seed(store, shipped)

    assert versions(store / "xor") == [1, 2]
    assert read_labels(store / "xor") == {"canary": 1}


def test_while_labels_cannot_be_read_nothing_comes_in(
    tmp_path: Path, shipped: Path, xor_file: File, caplog: pytest.LogCaptureFixture
) -> None:
    store = tmp_path / "store"
    own = publish(store / "xor", xor_file(8))
    (store / "xor" / LABELS_FILE).write_text("{")
    seed(store, shipped)

    assert (store / "xor" / LABELS_FILE).read_text() == "{"
    assert versions(store / "xor") == [own]
    assert "a shipped version of xor is not brought in: xor/labels.json cannot be read" in caplog.text
    write_labels(store / "xor", {"stable": own})
    seed(store, shipped)
    assert versions(store / "xor") == [1, 2]
    assert read_labels(store / "xor") == {"stable": own}


def test_a_file_in_the_place_of_a_models_folder_keeps_no_other_model_out(
    tmp_path: Path, shipped: Path, xor_file: File
) -> None:
    publish(shipped / "zoo", xor_file(2))
    store = tmp_path / "store"
    store.mkdir()
    (store / "xor").touch()
    seed(store, shipped)

    assert versions(store / "zoo") == [1]
    assert (store / "xor").is_file()


def test_other_labels_outlive_an_upgrade(store: Path, shipped: Path, xor_file: File) -> None:
    write_label(store / "xor", "good", 1)
    publish(shipped / "xor", xor_file(2))
    seed(store, shipped)

    assert read_labels(store / "xor") == {"stable": 2, "good": 1}


def test_what_is_no_model_is_passed_over(tmp_path: Path, shipped: Path) -> None:
    (shipped / "README.md").write_text("words")
    (shipped / ".hidden" / "1").mkdir(parents=True)
    (shipped / "Capital" / "1").mkdir(parents=True)
    (shipped / "empty").mkdir()
    (shipped / "xor" / "notes").mkdir()
    seed(tmp_path / "store", shipped)

    found = {path.name for path in (tmp_path / "store").iterdir()}
    assert found - {".lock"} == {"xor"}


def test_without_a_shipped_folder_the_store_is_empty(tmp_path: Path) -> None:
    seed(tmp_path / "store", tmp_path / "nowhere")

    assert [path.name for path in (tmp_path / "store").iterdir()] == [".lock"]


def test_starts_at_the_same_time_bring_each_version_in_once(
    tmp_path: Path, shipped: Path, xor_file: File
) -> None:
    publish(shipped / "xor", xor_file(2))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: seed(tmp_path / "store", shipped), range(8)))

    assert versions(tmp_path / "store" / "xor") == [1, 2]
    labels = json.loads((tmp_path / "store" / "xor" / LABELS_FILE).read_text())
    assert labels == {"stable": 2}
