"""Which version a model serves: good ones, damaged ones, and labels that come and go."""

import errno
import hashlib
import json
import logging
import os
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from candidates import damaged
from flask import Flask
from flask.testing import FlaskClient
from serving import wait_for

from nncore.publishing import MODEL_FILE, VERSION_FILE, publish
from service.labels import LABELS_FILE, pin, read_labels, write_label, write_labels
from service.loading import MOST_UNLABELLED
from service.problems import Conflict, NotFound, NotServable
from service.store import Store

File = Callable[[int], bytes]


@pytest.fixture
def model(tmp_path: Path, xor_file: File) -> Path:
    """The folder of a model with one good version, labelled stable."""
    folder = tmp_path / "store" / "xor"
    publish(folder, xor_file(1))
    write_label(folder, "stable", 1)
    return folder


def publish_damaged(model: Path, data: bytes) -> int:
    return publish(model, damaged(data))


def settled(client: FlaskClient, address: str, **expected: Any) -> dict[str, Any]:
    """Return an address's document once it has what is expected of it."""

    def document() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(client.get(address).data)
        return found

    wait_for(lambda: expected.items() <= document().items(), f"{expected} at {address}", seconds=5)
    return document()


def served(client: FlaskClient, **more: Any) -> int:
    answer = client.post("/predict", json={"model": "xor", "inputs": [[0, 1]], **more})
    assert answer.status_code == 200, answer.data
    version: int = json.loads(answer.data)["version"]
    return version


def awaits(client: FlaskClient, version: int) -> None:
    """Wait for a version to be served: within a second, as is promised of every worker."""
    wait_for(lambda: served(client) == version, f"answer of version {version}", seconds=1)


class TestAGoodVersion:
    def test_is_served_once_the_label_points_at_it(
        self, make_app: Callable[..., Flask], model: Path, xor_file: File
    ) -> None:
        client = make_app().test_client()
        assert served(client) == 1
        number = publish(model, xor_file(2))
        assert served(client, version=number) == number
        assert served(client) == 1

        write_label(model, "stable", number)
        awaits(client, number)

    def test_is_served_at_once_where_nothing_is_labelled(
        self, make_app: Callable[..., Flask], model: Path, xor_file: File
    ) -> None:
        (model / LABELS_FILE).unlink()
        client = make_app().test_client()
        assert served(client) == 1

        awaits(client, publish(model, xor_file(2)))

    def test_is_left_again_by_moving_the_label_back(
        self, make_app: Callable[..., Flask], model: Path, xor_file: File
    ) -> None:
        write_label(model, "stable", publish(model, xor_file(2)))
        client = make_app().test_client()
        assert served(client) == 2

        write_label(model, "stable", 1)
        awaits(client, 1)
        assert served(client, version=2) == 2

    def test_is_found_by_any_label(self, make_app: Callable[..., Flask], model: Path, xor_file: File) -> None:
        publish(model, xor_file(2))
        write_label(model, "canary", 2)
        client = make_app().test_client()

        assert served(client, version="canary") == 2
        assert json.loads(client.get("/models/xor/versions/canary").data)["labels"] == ["canary"]
        assert json.loads(client.get("/models/xor").data)["labels"] == {"stable": 1, "canary": 2}

    def test_of_a_new_model_is_served_without_a_restart(
        self, make_app: Callable[..., Flask], model: Path, xor_file: File
    ) -> None:
        client = make_app().test_client()
        publish(model.parent / "brand-new", xor_file(2))

        answer = client.post("/predict", json={"model": "brand-new", "inputs": [[0, 1]]})
        assert (answer.status_code, answer.json["version"]) == (200, 1)
        assert "brand-new" in json.loads(client.get("/readyz").data)["models"]

    def test_answers_with_the_sha256_of_its_file(
        self, make_app: Callable[..., Flask], model: Path, xor_file: File
    ) -> None:
        client = make_app().test_client()
        publish(model, xor_file(2))
        for number in (1, 2):
            asked = {"model": "xor", "version": number, "inputs": [[0, 1]]}
            answer = client.post("/predict", json=asked)
            assert answer.json["sha256"] == hashlib.sha256(xor_file(number)).hexdigest()


class TestADamagedVersion:
    def test_is_reported_while_the_last_good_one_goes_on_serving(
        self, make_app: Callable[..., Flask], model: Path, xor_file: File
    ) -> None:
        client = make_app().test_client()
        number = publish_damaged(model, xor_file(2))
        write_label(model, "stable", number)
        listed = settled(client, "/models/xor", versions=[1, 2])

        assert listed["stable"] == 1
        assert listed["failures"].keys() == {"2"}
        assert "known answer" in listed["failures"]["2"]
        ready = client.get("/readyz")
        assert ready.status_code == 200
        assert ready.json["models"]["xor"] == {"ready": True, "version": 1, "failures": listed["failures"]}
        assert served(client) == 1

    def test_leaves_serving_what_served_and_not_another_good_one(
        self, make_app: Callable[..., Flask], model: Path, xor_file: File
    ) -> None:
        publish(model, xor_file(2))
        client = make_app().test_client()
        assert served(client) == 1
        write_label(model, "stable", publish_damaged(model, xor_file(3)))
        settled(client, "/models/xor", versions=[1, 2, 3], labels={"stable": 3})

        assert served(client) == 1

    def test_asked_for_by_its_number_is_refused_with_the_reason(
        self, make_app: Callable[..., Flask], model: Path, xor_file: File
    ) -> None:
        client = make_app().test_client()
        publish_damaged(model, xor_file(2))
        answer = client.post("/predict", json={"model": "xor", "version": 2, "inputs": [[0, 1]]})

        assert answer.status_code == 503
        assert answer.content_type == "application/problem+json"
        assert "known answer" in answer.json["detail"]
        assert "known answer" in client.get("/models/xor/versions/2").json["failure"]

    def test_at_a_cold_start_gives_way_to_an_older_one(
        self, make_app: Callable[..., Flask], model: Path, xor_file: File
    ) -> None:
        publish(model, xor_file(2))
        write_label(model, "stable", publish_damaged(model, xor_file(3)))
        client = make_app().test_client()

        assert served(client) == 2
        ready = client.get("/readyz")
        assert ready.status_code == 200
        assert ready.json["models"]["xor"]["failures"].keys() == {"3"}

    def test_that_is_the_only_one_makes_the_service_unready(
        self, make_app: Callable[..., Flask], model: Path, xor_file: File
    ) -> None:
        publish_damaged(model.parent / "broken", xor_file(2))
        client = make_app().test_client()

        ready = client.get("/readyz")
        assert ready.status_code == 503
        assert ready.json["ready"] is False
        broken = ready.json["models"]["broken"]
        assert (broken["ready"], broken["version"]) == (False, None)
        assert broken["failures"].keys() == {"1"}
        assert client.get("/healthz").status_code == 200
        assert served(client) == 1
        assert client.post("/predict", json={"model": "broken", "inputs": [[0, 1]]}).status_code == 503

    def test_is_forgotten_once_a_good_one_is_stable(
        self, make_app: Callable[..., Flask], model: Path, xor_file: File
    ) -> None:
        broken = model.parent / "broken"
        publish_damaged(broken, xor_file(2))
        client = make_app().test_client()
        assert client.get("/readyz").status_code == 503

        publish(broken, xor_file(2))
        wait_for(lambda: client.get("/readyz").status_code == 200, "readiness", seconds=1)
        assert client.get("/models/broken").json["stable"] == 2

    @pytest.mark.parametrize(
        ("damage", "reason"),
        [
            (lambda folder: (folder / MODEL_FILE).unlink(), "No such file"),
            (lambda folder: (folder / MODEL_FILE).write_bytes(b""), "SHA-256"),
            (lambda folder: (folder / MODEL_FILE).write_bytes(b"\0" * 1000), "SHA-256"),
            (
                lambda folder: (folder / VERSION_FILE).write_text('{"sha256": "0123"}'),
                "SHA-256 is [0-9a-f]{64}, version.json says 0123",
            ),
        ],
    )
    def test_says_what_is_wrong_with_it(
        self,
        make_app: Callable[..., Flask],
        model: Path,
        xor_file: File,
        damage: Callable[[Path], None],
        reason: str,
    ) -> None:
        draft = model.parent.parent / "draft"
        publish(draft, xor_file(2))
        damage(draft / "1")
        (draft / "1").rename(model / "2")
        client = make_app().test_client()

        answer = client.post("/predict", json={"model": "xor", "version": 2, "inputs": [[0, 1]]})
        assert answer.status_code == 503
        with pytest.raises(NotServable, match=reason):
            Store(model.parent).get("xor", 2)

    @pytest.mark.parametrize("text", ["", "{", "[]", '"text"'])
    def test_is_not_one_whose_version_file_cannot_be_read(
        self, model: Path, xor_file: File, text: str
    ) -> None:
        """What counts is the model file; the facts beside it are a second pair of eyes."""
        publish(model, xor_file(2))
        (model / "2" / VERSION_FILE).write_text(text)

        assert Store(model.parent).get("xor", 2).sha256 == hashlib.sha256(xor_file(2)).hexdigest()


class TestALabelsFile:
    @pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"stable": "1"}', b'{"stable": true}', b"\xff"])
    def test_that_is_corrupted_keeps_what_was_served(
        self, make_app: Callable[..., Flask], model: Path, xor_file: File, content: bytes
    ) -> None:
        publish(model, xor_file(2))
        client = make_app().test_client()
        assert served(client) == 1
        (model / LABELS_FILE).write_bytes(content)

        wait_for(lambda: client.get("/models/xor").json["failures"], "a failure", seconds=5)
        listed = client.get("/models/xor").json
        assert (listed["stable"], listed["labels"]) == (1, {"stable": 1})
        assert listed["failures"].keys() == {LABELS_FILE}
        assert client.get("/readyz").status_code == 200
        assert served(client) == 1
        assert served(client, version=2) == 2

    @pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"stable": "1"}', b"\xff"])
    def test_that_is_corrupted_at_a_cold_start_makes_nothing_stable(
        self, make_app: Callable[..., Flask], model: Path, xor_file: File, content: bytes
    ) -> None:
        publish(model, xor_file(2))
        (model / LABELS_FILE).write_bytes(content)
        client = make_app().test_client()

        listed = client.get("/models/xor").json
        assert (listed["stable"], listed["labels"], listed["versions"]) == (None, {}, [1, 2])
        assert 'Write {"stable": N} into it' in listed["failures"][LABELS_FILE]
        ready = client.get("/readyz")
        assert ready.status_code == 503
        assert ready.json["models"]["xor"] == {
            "ready": False,
            "version": None,
            "failures": listed["failures"],
        }
        for named in ({}, {"version": "stable"}, {"version": "canary"}):
            answer = client.post("/predict", json={"model": "xor", "inputs": [[0, 1]], **named})
            assert answer.status_code == 503
            assert (
                f"which version of 'xor' is {named.get('version', 'stable')}: xor/" in answer.json["detail"]
            )
            assert listed["failures"][LABELS_FILE] in answer.json["detail"]
        assert [served(client, version=number) for number in (1, 2)] == [1, 2]

    def test_that_is_repaired_is_served_from_again(
        self, make_app: Callable[..., Flask], model: Path, xor_file: File
    ) -> None:
        publish(model, xor_file(2))
        (model / LABELS_FILE).write_bytes(b"{")
        client = make_app().test_client()
        assert client.get("/readyz").status_code == 503
        (model / LABELS_FILE).write_bytes(b'{"stable": 1}')

        wait_for(lambda: client.get("/readyz").status_code == 200, "readiness", seconds=1)
        assert client.get("/models/xor").json["failures"] == {}
        assert served(client) == 1

    def test_that_may_be_read_again_is_read_again(self, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def forbidden(path: Path, most: int) -> bytes:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

        with monkeypatch.context() as patch:
            patch.setattr("service.labels.read_file", forbidden)
            store = Store(model.parent)
            wait_for(lambda: store.entry("xor").settled, "a settled entry", seconds=2)
            assert store.entry("xor").broken.startswith("xor/labels.json cannot be read: Permission denied. ")
        (model / LABELS_FILE).chmod(0o644)

        wait_for(lambda: store.entry("xor").stable is not None, "a stable version", seconds=1)

    def test_that_is_a_link_to_nowhere_is_none_that_is_missing(self, model: Path, xor_file: File) -> None:
        publish(model, xor_file(2))
        (model / LABELS_FILE).unlink()
        (model / LABELS_FILE).symlink_to("nowhere")

        assert "cannot be read: No such file" in Store(model.parent).entry("xor").broken
        with pytest.raises(Conflict, match="cannot be read: No such file"):
            pin(model)

    def test_that_is_corrupted_is_reported_in_the_log(
        self, model: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        (model / LABELS_FILE).write_bytes(b"{")
        with caplog.at_level(logging.ERROR):
            Store(model.parent).entry("xor")

        assert "xor/labels.json cannot be read" in caplog.text

    def test_that_names_a_missing_version_keeps_what_was_served_and_says_so(
        self, make_app: Callable[..., Flask], model: Path
    ) -> None:
        client = make_app().test_client()
        write_label(model, "stable", 7)
        listed = settled(client, "/models/xor", labels={"stable": 7})

        assert listed["stable"] == 1
        assert "not there" in listed["failures"]["7"]
        assert client.get("/readyz").status_code == 200
        assert served(client) == 1
        assert client.post("/predict", json={"model": "xor", "version": 7, "inputs": []}).status_code in (
            404,
            422,
        )

    def test_that_names_a_missing_version_at_a_cold_start_gives_way_to_an_older_one(
        self, make_app: Callable[..., Flask], model: Path
    ) -> None:
        write_label(model, "stable", 7)
        client = make_app().test_client()

        assert served(client) == 1
        assert client.get("/readyz").status_code == 200

    def test_that_goes_leaves_the_newest_version(
        self, make_app: Callable[..., Flask], model: Path, xor_file: File
    ) -> None:
        publish(model, xor_file(2))
        client = make_app().test_client()
        (model / LABELS_FILE).unlink()

        awaits(client, 2)


class TestAModelWithoutAStableVersion:
    @pytest.fixture
    def model(self, model: Path) -> Path:
        write_labels(model, {"canary": 1})
        return model

    def test_answers_nobody_who_names_no_version(self, make_app: Callable[..., Flask], model: Path) -> None:
        answer = make_app().test_client().post("/predict", json={"model": "xor", "inputs": [[0, 1]]})

        assert answer.status_code == 404
        assert "No version of 'xor' is stable yet" in answer.json["detail"]
        assert "by its number, 1, or promote one: PUT /models/xor/labels/stable" in answer.json["detail"]

    def test_answers_by_number_and_by_another_label(
        self, make_app: Callable[..., Flask], model: Path
    ) -> None:
        client = make_app().test_client()

        assert served(client, version=1) == 1
        assert served(client, version="canary") == 1

    def test_is_listed_and_leaves_the_service_ready(
        self, make_app: Callable[..., Flask], model: Path
    ) -> None:
        client = make_app().test_client()

        listed = client.get("/models/xor").json
        assert (listed["stable"], listed["labels"], listed["versions"]) == (None, {"canary": 1}, [1])
        ready = client.get("/readyz")
        assert ready.status_code == 200
        assert ready.json["models"]["xor"] == {"ready": True, "version": None, "failures": {}}

    def test_is_served_once_one_is_promoted_and_no_longer_once_none_is(
        self, make_app: Callable[..., Flask], model: Path
    ) -> None:
        client = make_app().test_client()
        write_label(model, "stable", 1)
        wait_for(lambda: client.get("/models/xor").json["stable"] == 1, "a stable version", seconds=1)
        assert served(client) == 1

        write_labels(model, {})
        wait_for(lambda: client.get("/models/xor").json["stable"] is None, "none", seconds=1)


class TestPinning:
    def test_keeps_what_is_served_where_nothing_was_labelled(
        self, make_app: Callable[..., Flask], model: Path, xor_file: File
    ) -> None:
        (model / LABELS_FILE).unlink()
        client = make_app().test_client()
        assert served(client) == 1
        pin(model)
        publish(model, xor_file(2))
        settled(client, "/models/xor", versions=[1, 2])

        assert read_labels(model) == {"stable": 1}
        assert served(client) == 1

    def test_says_that_nothing_is_stable_where_there_is_no_version(self, tmp_path: Path) -> None:
        pin(tmp_path)

        assert read_labels(tmp_path) == {}
        assert [path.name for path in tmp_path.iterdir()] == [LABELS_FILE]

    @pytest.mark.parametrize("content", [b'{"canary": 1}', b"{}"])
    def test_leaves_labels_alone_that_are_there(self, model: Path, content: bytes) -> None:
        (model / LABELS_FILE).write_bytes(content)
        pin(model)

        assert (model / LABELS_FILE).read_bytes() == content

    def test_is_refused_where_the_labels_cannot_be_read(self, model: Path) -> None:
        (model / LABELS_FILE).write_bytes(b"{")

        with pytest.raises(Conflict, match=r"xor/labels\.json cannot be read"):
            pin(model)
        assert (model / LABELS_FILE).read_bytes() == b"{"

    def test_replaces_nothing_that_is_written_at_the_same_time(
        self, model: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (model / LABELS_FILE).unlink()
        link = os.link

        def slow(source: Path, target: Path) -> None:
            write_labels(model, {"stable": 7})
            link(source, target)

        monkeypatch.setattr(os, "link", slow)
        pin(model)

        assert read_labels(model) == {"stable": 7}
        assert sorted(path.name for path in model.iterdir()) == [".last-version", "1", LABELS_FILE]


def test_a_store_without_a_model_is_not_ready(make_app: Callable[..., Flask]) -> None:
    client = make_app().test_client()

    assert client.get("/readyz").status_code == 503
    assert client.get("/models").json == {"models": []}
    answer = client.post("/predict", json={"model": "xor", "inputs": [[0, 1]]})
    assert (answer.status_code, "none yet" in answer.json["detail"]) == (404, True)


def test_a_model_whose_folder_goes_is_unknown(make_app: Callable[..., Flask], model: Path) -> None:
    client = make_app().test_client()
    assert served(client) == 1
    shutil.rmtree(model)

    wait_for(lambda: client.get("/models/xor").status_code == 404, "404", seconds=1)
    wait_for(
        lambda: client.post("/predict", json={"model": "xor", "inputs": [[0, 1]]}).status_code == 404,
        "404",
        seconds=1,
    )


def test_folders_whose_names_begin_with_a_dot_are_no_models(
    make_app: Callable[..., Flask], model: Path
) -> None:
    for name in (".checkpoints/7", ".trash-1/1", ".draft-x/2"):
        (model.parent / name).mkdir(parents=True)

    assert list(Store(model.parent).entries()) == ["xor"]
    assert make_app().test_client().get("/models").json["models"][0]["versions"] == [1]


def test_a_file_in_the_place_of_a_version_is_none(model: Path) -> None:
    (model / "2").touch()

    assert Store(model.parent).entry("xor").numbers == (1,)


def test_drafts_and_strange_folders_are_no_versions(model: Path) -> None:
    for name in (".draft-1", "01", "0", "2.5", "-3", "latest", "9999999999"):
        (model / name).mkdir()

    assert Store(model.parent).entry("xor").numbers == (1,)


@pytest.mark.parametrize("name", ["../store/xor", ".", "", "xor/", "Xor", "x" * 65, "xor\n", "xor\0"])
def test_a_name_that_is_none_is_never_looked_up(model: Path, name: str) -> None:
    with pytest.raises(NotFound):
        Store(model.parent).get(name)


def test_few_versions_that_nobody_labelled_stay_in_memory(model: Path, xor_file: File) -> None:
    for seed in range(2, 10):
        publish(model, xor_file(seed))
    store = Store(model.parent)
    for number in range(1, 10):
        assert store.get("xor", number).version == number

    assert len(store.entry("xor").loaded) <= 1 + MOST_UNLABELLED
    assert store.get("xor").version == 1


def test_many_threads_see_whole_versions_while_labels_move(model: Path, xor_file: File) -> None:
    shas = {1: hashlib.sha256(xor_file(1)).hexdigest(), 2: hashlib.sha256(xor_file(2)).hexdigest()}
    publish(model, xor_file(2))
    store = Store(model.parent)
    stop = False

    def read(_: int) -> set[int]:
        seen = set()
        while not stop:
            served = store.get("xor")
            assert served.sha256 == shas[served.version]
            seen.add(served.version)
        return seen

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            readers = [pool.submit(read, number) for number in range(4)]
            try:
                for number in (2, 1, 2, 1, 2):
                    write_label(model, "stable", number)
                    wait_for(lambda n=number: store.get("xor").version == n, f"version {number}")  # type: ignore[misc]
            finally:
                stop = True
            assert set().union(*(reader.result() for reader in readers)) == {1, 2}
    finally:
        sys.setswitchinterval(before)


def test_a_version_that_was_removed_by_hand_and_made_anew_is_loaded_anew(model: Path, xor_file: File) -> None:
    store = Store(model.parent)
    before = store.get("xor").sha256
    shutil.rmtree(model / "1")
    draft = model.parent / "draft"
    publish(draft, xor_file(2))
    (draft / "1").rename(model / "1")

    wait_for(lambda: store.get("xor").sha256 != before, "the new file's answer", seconds=2)

    assert store.get("xor").sha256 == hashlib.sha256(xor_file(2)).hexdigest()


@pytest.mark.parametrize("labels", [f'{{"x": {10**30}}}', '{"\\ud800": 1}', '{"stable": "1"}', "[]"])
def test_labels_that_nobody_could_be_shown_are_left_out(
    make_app: Callable[..., Flask], model: Path, labels: str
) -> None:
    (model / LABELS_FILE).write_text(labels)
    client = make_app().test_client()

    listed = json.loads(client.get("/models/xor").data)
    assert listed["labels"] == {}
    assert "labels.json does not have a version's number for every label" in listed["failures"][LABELS_FILE]
    assert client.get("/models").json["models"] == [listed]


def test_labels_too_large_to_be_read_are_not_written(model: Path) -> None:
    before = (model / LABELS_FILE).read_bytes()
    # In the file's form each has 6 times as many bytes as in Python's.
    labels = {f"{number}-{'ä' * 60}": 1 for number in range(3000)}

    with pytest.raises(
        Conflict, match=r"would have 1,\d{3},\d{3} bytes, and may have 1,048,576: take labels"
    ):
        write_labels(model, labels)
    assert (model / LABELS_FILE).read_bytes() == before


def test_labels_that_cannot_be_read_are_not_written_over(model: Path) -> None:
    (model / LABELS_FILE).write_text("{")

    with pytest.raises(Conflict, match="cannot be read"):
        write_label(model, "stable", 1)
    assert (model / LABELS_FILE).read_text() == "{"


def test_a_pipe_in_place_of_a_file_holds_nobody_up(
    make_app: Callable[..., Flask], model: Path, xor_file: File
) -> None:
    number = publish(model, xor_file(2))
    (model / str(number) / MODEL_FILE).unlink()
    for path in (model / str(number) / MODEL_FILE, model / "labels.new"):
        os.mkfifo(path)
    (model / "labels.new").replace(model / LABELS_FILE)
    client = make_app().test_client()

    assert served(client, version=1) == 1
    asked = {"model": "xor", "version": number, "inputs": [[0, 1]]}
    assert client.post("/predict", json=asked).status_code == 503
    found = json.loads(client.get("/models/xor").data)["failures"]
    assert found.keys() == {LABELS_FILE, str(number)}
    assert found[str(number)] == f"{MODEL_FILE}: is not a regular file"
    assert found[LABELS_FILE].startswith("xor/labels.json cannot be read: is not a regular file. ")


def test_a_version_file_that_says_odd_things_is_not_shown(
    make_app: Callable[..., Flask], model: Path
) -> None:
    (model / "1" / VERSION_FILE).write_text('{"bytes": "many", "published": "\\ud800"}')
    answer = make_app().test_client().get("/models/xor/versions/1")

    assert answer.status_code == 200
    assert "bytes" not in json.loads(answer.data)


def test_a_model_whose_folder_cannot_be_read_leaves_the_others_alone(
    make_app: Callable[..., Flask], model: Path
) -> None:
    loop = model.parent / "loop"
    loop.symlink_to(loop)
    client = make_app().test_client()

    assert served(client) == 1
    assert client.get("/readyz").status_code == 200
    assert client.get("/models/loop").status_code == 404


def test_a_folder_that_cannot_be_read_any_more_has_not_gone(
    make_app: Callable[..., Flask], model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_app().test_client()
    assert served(client) == 1

    def too_many_open_files(folder: Path) -> list[int]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(folder))

    monkeypatch.setattr("service.store.versions", too_many_open_files)
    (model / "touched").touch()
    assert served(client) == 1
    assert json.loads(client.get("/models/xor").data)["versions"] == [1]
