"""Bringing models in and out: from Python, from a shell, and from a machine that only trains."""

import hashlib
import itertools
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from candidates import BEST, FAIR, GOOD, damaged, exam
from commands import runner
from serving import ROOT, Service, free_port, nnserve, wait_for

from nncore.publishing import MODEL_FILE, VERSION_FILE
from service.client import Client, ProblemError

NAMES = (f"exam-{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that these tests may change; each has a model of its own there."""
    running = Service(tmp_path_factory.mktemp("command"), workers=2)
    yield running
    running.stop()


@pytest.fixture
def name() -> str:
    return next(NAMES)


@pytest.fixture
def client(service: Service) -> Iterator[Client]:
    with Client(service.url) as client:
        yield client


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with model files, as somebody has them who trained elsewhere."""
    for file, quality in (("best", BEST), ("good", GOOD), ("fair", FAIR)):
        (tmp_path / f"{file}.safetensors").write_bytes(exam(quality))
    (tmp_path / "damaged.safetensors").write_bytes(damaged(exam(BEST)))
    return tmp_path


class TestFromPython:
    def test_a_file_is_sent_and_comes_back_the_same(self, client: Client, name: str, folder: Path) -> None:
        answer = client.upload(name, folder / "good.safetensors")
        sha256 = client.download(name, answer.version, folder / "back.safetensors")

        assert sha256 == answer.sha256 == hashlib.sha256(exam(GOOD)).hexdigest()
        assert (folder / "back.safetensors").read_bytes() == exam(GOOD)
        assert client.upload(name, folder / "back.safetensors").version == answer.version

    def test_a_label_is_moved_and_its_history_read_to_the_end(
        self, client: Client, name: str, folder: Path
    ) -> None:
        for file in ("good", "best"):
            client.upload(name, folder / f"{file}.safetensors", promote="never")
        for number in (1, 2) * 11:
            assert client.promote(name, number).version == number
        assert client.promote(name, "stable", label="best").version == 2

        assert [move.to_version for move in client.label_history(name)] == [2, 1] * 11
        assert [move.to_version for move in client.label_history(name, "best")] == [2]

    def test_a_version_is_deleted(self, client: Client, name: str, folder: Path) -> None:
        for file in ("best", "fair"):
            client.upload(name, folder / f"{file}.safetensors")
        client.delete_version(name, 2)

        assert client.model(name).versions == (1,)
        with pytest.raises(ProblemError, match=r"409 Conflict: .* the label stable points to it"):
            client.delete_version(name, 1)

    def test_a_refusal_carries_the_problem(self, client: Client, name: str, folder: Path) -> None:
        with pytest.raises(ProblemError, match=r"422 .*known answer"):
            client.upload(name, folder / "damaged.safetensors")
        with pytest.raises(ProblemError, match="404 Not Found"):
            client.download(name, 1, folder / "nothing")
        with pytest.raises(ProblemError, match="404 Not Found"):
            client.promote(name, 1)
        with pytest.raises(ProblemError, match="404 Not Found"):
            list(client.label_history(name))
        assert not (folder / "nothing").exists()

    def test_a_file_that_was_changed_on_its_way_is_not_kept(
        self, client: Client, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client.upload(name, folder / "good.safetensors")
        monkeypatch.setattr(requests.Response, "content", property(lambda _: b"something else"))

        with pytest.raises(ProblemError, match="does not answer as nnserve does"):
            client.download(name, 1, folder / "nothing")
        assert not (folder / "nothing").exists()

    @pytest.mark.parametrize("bad", ["no/body", "../models", "no?body", "%2e%2e"])
    def test_a_name_cannot_lead_to_another_address(self, client: Client, folder: Path, bad: str) -> None:
        for call in (
            lambda: client.upload(bad, folder / "good.safetensors"),
            lambda: client.download(bad, 1, folder / "x"),
            lambda: client.promote("xor", 1, label=bad),
            lambda: client.delete_version(bad, 1),
        ):
            with pytest.raises(ProblemError) as caught:
                call()
            assert caught.value.status in (404, 405, 422)


class TestFromAShell:
    def test_a_model_is_imported_listed_promoted_and_exported(
        self, service: Service, name: str, folder: Path
    ) -> None:
        def models(*arguments: object) -> str:
            done = nnserve("models", *arguments, "--url", service.url, folder=folder)
            assert (done.returncode, done.stderr) == (0, "")
            return done.stdout

        best, fair = "best.safetensors", "fair.safetensors"
        assert models("import", best, "--model", name) == (
            f"{name} version 1: promoted, no version was stable before\n"
        )
        assert models("import", fair, "--model", name) == (
            f"{name} version 2: not promoted, accuracy 0.7625 is worse than version 1's 0.9375\n"
        )
        assert models("promote", name, 2, "--label", "canary") == f"{name} canary: version 2\n"
        assert f"{name}\tcanary 2, stable 1\t1, 2\n" in models("list")
        assert models("promote", name, "canary") == f"{name} stable: version 2\n"
        sha256 = hashlib.sha256(exam(FAIR)).hexdigest()
        assert models("export", name, "stable", "out.safetensors") == f"{sha256}  out.safetensors\n"
        assert (folder / "out.safetensors").read_bytes() == exam(FAIR)

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["import", "damaged.safetensors", "--model", "exam-x"], "known answer"),
            (["import", "good.safetensors", "--model", "Exam"], "the model's name must be"),
            (["export", "nobody", "1", "out"], "There is no model 'nobody'"),
            (["export", "xor", "1", "no/such/folder"], "No such file or directory"),
            (["promote", "xor", "9"], "has no version 9"),
        ],
    )
    def test_a_refusal_is_one_line(
        self,
        service: Service,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        arguments: list[str],
        said: str,
    ) -> None:
        done = runner(service.url, folder, monkeypatch)("models", *arguments)

        assert (done.exit_code, done.stdout) == (1, "")
        assert done.stderr.startswith("nnserve: ")
        assert said in done.stderr
        assert done.stderr.count("\n") == 1

    def test_a_service_that_is_not_there_is_one_line_too(self, folder: Path) -> None:
        url = f"http://127.0.0.1:{free_port()}"
        done = nnserve("models", "list", folder=folder, url=url)

        assert done.returncode == 3
        assert done.stderr == f"nnserve: no answer from {url}: is the service running there?\n"

    @pytest.mark.parametrize(
        "arguments",
        [
            ["import", "good.safetensors"],
            ["import", "nothing.safetensors", "--model", "x"],
            ["import", "good.safetensors", "--model", "x", "--promote", "perhaps"],
            ["export", "xor"],
            ["sing"],
        ],
    )
    def test_a_wrong_call_says_where_help_is(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
    ) -> None:
        done = runner("http://127.0.0.1:1", folder, monkeypatch)("models", *arguments, prog_name="nnserve")

        assert done.exit_code == 2
        assert "(try 'nnserve models " in done.stderr


def test_a_model_that_was_trained_offline_is_brought_in_tried_and_promoted(
    service: Service, name: str, tmp_path: Path
) -> None:
    """The offline way: a machine that trains, a file that is carried over, a service that serves it."""

    def train(seed: int, epochs: int) -> Path:
        command = ["train", ROOT / "recipes" / "xor.json", "--name", name, "--out", "elsewhere"]
        options = ["--seed", seed, "--epochs", epochs, "--no-test"]
        subprocess.run(
            [sys.executable, "-m", "nncore", *map(str, [*command, *options])],
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"},
            check=True,
            capture_output=True,
        )
        newest = max((tmp_path / "elsewhere" / name).glob("[0-9]*"), key=lambda path: int(path.name))
        return newest / MODEL_FILE

    def bring_in(file: Path, *options: str) -> str:
        arguments = ["import", file, "--model", name, *options, "--url", service.url]
        return nnserve("models", *arguments, folder=tmp_path).stdout

    poor, good = train(1, 2), train(1, 600)
    assert ": promoted, " in bring_in(poor)
    assert ": not promoted, as asked" in bring_in(good, "--promote", "never")

    table = [[0, 0], [0, 1], [1, 0], [1, 1]]
    tried = service.predict(model=name, inputs=table, version=2)
    assert [one["label"] for one in tried.json["predictions"]] == ["0", "1", "1", "0"]
    assert service.predict(model=name, inputs=table).json["version"] == 1
    nnserve("models", "promote", name, 2, "--url", service.url, folder=tmp_path)
    wait_for(lambda: service.predict(model=name, inputs=table).json["version"] == 2, "version 2", service, 1)

    facts = json.loads((good.parent / VERSION_FILE).read_text())
    assert service.predict(model=name, inputs=table).json["sha256"] == facts["sha256"]


def test_every_call_has_a_timeout(
    service: Service, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timeouts: list[object] = []
    send: Callable[..., requests.Response] = requests.Session.request

    def noting(self: requests.Session, *how: object, **more: object) -> requests.Response:
        timeouts.append(more.get("timeout"))
        return send(self, *how, **more)

    monkeypatch.setattr(requests.Session, "request", noting)
    with Client(service.url) as client:
        client.upload(name, folder / "good.safetensors")
        client.upload(name, folder / "best.safetensors")
        client.download(name, 1, folder / "back")
        client.promote(name, 2)
        list(client.label_history(name))
        client.delete_version(name, 1)

    assert timeouts == [(3.05, 30.0)] * 6
