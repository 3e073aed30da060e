"""What is sent as a dataset and is none: each refusal says where and why, and leaves nothing behind."""

import errno
import io
import itertools
import json
import socket
import stat
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from samples import FRUIT, csv_of, drafts, form, idx, npz, picture_zip, send, zip_of
from serving import Answer, Service, multipart, wait_for

from nncore.contact_sheet import png
from nncore.datasets.sources import Csv
from service.importing import import_dataset
from service.problems import Busy, Invalid, OutOfSpace
from service.settings import Settings

MOST = 300_000
PICTURES, TARGETS = np.random.default_rng(0).integers(0, 256, (30, 8, 8), np.uint8), np.arange(30) % 3
PNG = png(PICTURES[0])


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("refusals")
    settings = {"max_dataset": MOST, "max_dataset_memory": 700 << 20}
    service = Service(folder, workers=1, shipped_models=nothing(folder), **settings)
    yield service
    service.stop()
    print(service.log)


def nothing(folder: Path) -> Path:
    """Return a folder without models: none is needed here, and the service starts the sooner."""
    (folder / "nothing").mkdir()
    return folder / "nothing"


def file(content: bytes | str, name: str = "some.csv", **options: Any) -> Callable[[], tuple[bytes, Any]]:
    data = content.encode() if isinstance(content, str) else content
    return lambda: form("bad", files={"file": (name, data)}, **options)


def fields(name: str | None = "bad", **options: Any) -> Callable[[], tuple[bytes, Any]]:
    return lambda: form(name, files={"file": ("fruit.csv", FRUIT.encode())}, **{"target": "kind", **options})


def zipped(*entries: tuple[str, bytes, int], flags: int = 0) -> bytes:
    """Return a zip file of names, contents and modes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data, mode in entries:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, data)
    content = bytearray(buffer.getvalue())
    if flags:
        # In the header of the first member, and in the directory.
        content[6] |= flags
        content[content.index(b"PK\1\2") + 8] |= flags
    return bytes(content)


def bomb() -> bytes:
    """Return a small NPZ file with 150 MB of zeros in it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        with archive.open("inputs.npy", "w") as member:
            np.lib.format.write_array_header_1_0(
                member, {"descr": "|u1", "fortran_order": False, "shape": (150_000, 1000)}
            )
            for _ in range(150):
                member.write(bytes(1_000_000))
        archive.writestr("targets.npy", b"")
    return buffer.getvalue()


def pickled() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, inputs=np.array([{"a": 1}, [2]] * 5, object), targets=np.arange(10))
    return buffer.getvalue()


def pair(**files: bytes) -> Callable[[], tuple[bytes, Any]]:
    return lambda: form("bad", files={name: (f"{name}.idx", data) for name, data in files.items()})


ROWS = [(n, n % 3, "ab"[n % 2]) for n in range(12)]
IMAGE = 0o100644
REFUSED: list[tuple[str, Callable[[], tuple[bytes, Any]], str, str]] = [
    # The name.
    ("no name", fields(None), "#/name", "is missing"),
    ("a bad name", fields("../x"), "#/name", "lower-case letters"),
    ("an empty name", fields(""), "#/name", "lower-case letters"),
    ("a built-in name", fields("digits"), "#/name", "is built in"),
    (
        "two names",
        lambda: multipart([("name", "bad"), ("name", "b")], [("file", "a", b"1,2")]),
        "#/name",
        "must be given once",
    ),
    # The fields.
    ("an unknown field", fields(colour="red"), "#/colour", "is no option of a CSV file; those are target"),
    ("an odd name of a field", fields(**{"a/b": "1"}), "#/a~1b", "is no option"),
    ("an option of another kind", fields(height="8"), "#/height", "is no option of a CSV file"),
    ("no target", file(FRUIT), "#/target", "the name of the column"),
    ("a missing target", fields(target="sort"), "#/target", "'sort'"),
    ("two targets", fields(target=["kind", "colour"]), "#/target", "must be given once"),
    ("a wrong task", fields(task="guess"), "#/task", "classification, regression"),
    ("a wrong header", fields(header="yes"), "#/header", "true or false"),
    ("a wrong delimiter", fields(delimiter="x"), "#/delimiter", "must be ,, ;, | or tab"),
    ("a wrong share", fields(test="0.9"), "#/test", "0.5"),
    ("a share in words", fields(validation="some"), "#/validation", "must be a number, not 'some'"),
    ("a column that is not there", fields(ignore=["colour", "size"]), "#/ignore", "'size'"),
    (
        "more options than a process can be told",
        fields(ignore=["x" * 300] * 400),
        "#",
        "more than 100,000 bytes",
    ),
    ("a height in words", file(zip_of({"a/1.png": PNG}), "p.zip", height="x"), "#/height", "whole number"),
    # The files.
    ("no file", lambda: form("bad", target="kind"), "#/file", "is missing"),
    (
        "a file in another field",
        lambda: form("bad", files={"data": ("a", b"1")}),
        "#/data",
        "no field for a file",
    ),
    ("one of a pair", pair(inputs=idx(PICTURES)), "#/targets", "is missing"),
    ("a pair and a file", pair(inputs=b"", targets=b"", file=b"1"), "#/file", "must come alone"),
    (
        "two files",
        lambda: form("bad", files={"file": ("a", b"1"), "inputs": ("b", b"1")}),
        "#/file",
        "must come alone",
    ),
    ("a picture", file(PNG), "#/file", "no CSV (UTF-8), NPZ or zip file"),
    ("an IDX file alone", file(idx(PICTURES)), "#/file", "an IDX pair is sent as inputs and targets"),
    ("no zip", file("1,2", "a.zip"), "#/file", "a.zip: is no zip file"),
    ("a name that leads away", file("1,2", "../../etc/x.npz"), "#/file", "x.npz: is no zip file"),
    # Tables.
    ("nothing", file("", target="kind"), "#/file", "is empty"),
    ("a header alone", file("a,b\n", target="b"), "#/file", "rows"),
    ("no UTF-8", file(b"a,b\n\xff,1\n", target="b"), "#/file", "is not UTF-8"),
    ("a ragged row", file("a,b\n1,2\n1,2,3\n", target="b"), "#/file", "row 2"),
    (
        "a class with one example",
        file(csv_of("abc", [*ROWS, (1, 1, "c")]), target="c"),
        "#/file",
        "'c' has one",
    ),
    (
        "a constant column",
        file(csv_of("abc", [(1, b, c) for _, b, c in ROWS]), target="c"),
        "#/file",
        "'a' is",
    ),
    (
        "a text among numbers",
        file(csv_of("abc", [*ROWS, ("x", 1, "a")]), target="c"),
        "#/file",
        "row 13, column 'a'",
    ),
    ("texts for values", file(csv_of("abc", ROWS), target="c", task="regression"), "#/file", "column 'c'"),
    (
        "one target for all",
        file(csv_of("abc", [(a, b, "x") for a, b, _ in ROWS]), target="c"),
        "#/file",
        "nothing to",
    ),
    (
        "too few to validate",
        file(csv_of("abc", ROWS[:4]), target="c", validation="0.01"),
        "#/validation",
        "is none",
    ),
    # Arrays.
    ("an array that is not there", file(npz(x=np.ones(3)), "a.npz"), "#/file", "'inputs'"),
    ("pickled objects", file(pickled(), "a.npz"), "#/file", "no objects"),
    ("a damaged zip", file(npz(inputs=np.ones(3))[:-30], "a.npz"), "#/file", "a.npz: "),
    ("a bomb", lambda: file(bomb(), "a.npz")(), "#/file", "bytes of memory"),
    ("too few targets", file(npz(inputs=np.eye(9), targets=np.ones(8)), "a.npz"), "#/file", "9 inputs and 8"),
    ("IDX that is none", pair(inputs=b"no", targets=idx(TARGETS)), "#/inputs", "not an IDX file"),
    ("an IDX target that is none", pair(inputs=idx(PICTURES), targets=b"no"), "#/targets", "not an IDX file"),
    # Pictures.
    ("no pictures", file(zip_of({}), "a.zip"), "#/file", "no pictures"),
    ("a zip slip", file(zipped(("../../a/1.png", PNG, IMAGE)), "a.zip"), "#/file", "leads out of the zip"),
    ("an absolute path", file(zipped(("/a/1.png", PNG, IMAGE)), "a.zip"), "#/file", "leads out of the zip"),
    (
        "a symlink",
        file(zipped(("a/1.png", b"/etc/passwd", stat.S_IFLNK | 0o777)), "a.zip"),
        "#/file",
        "leads out",
    ),
    ("a password", file(zipped(("a/1.png", PNG, IMAGE), flags=1), "a.zip"), "#/file", "encrypted"),
    ("no folders", file(zip_of({"1.png": PNG}), "a.zip"), "#/file", "does not lie in a folder"),
    ("one class", file(zip_of({"a/1.png": PNG, "a/2.png": png(PICTURES[1])}), "a.zip"), "#/file", "'a'"),
    ("a text for a picture", file(zip_of({"a/1.png": b"x", "b/1.png": PNG}), "a.zip"), "#/file", "a/1.png"),
    (
        "several sizes",
        file(picture_zip([PICTURES[0], PICTURES[1][:4]], ["a", "b"]), "a.zip"),  # type: ignore[arg-type]
        "#/file",
        "give a height and a width",
    ),
    (
        "a height alone",
        file(picture_zip(PICTURES[:4], ["a", "b"] * 2), "a.zip", height="8"),
        "#/file",
        "both height",
    ),
]


@pytest.mark.parametrize("case", REFUSED, ids=[name for name, *_ in REFUSED])
def test_what_is_wrong_is_told_with_its_place_and_nothing_is_left(
    web: Service, case: tuple[str, Callable[[], tuple[bytes, Any]], str, str]
) -> None:
    _, make, pointer, text = case
    answer = web.ask("POST", "/datasets", *make())

    assert answer.status == 422, answer.body
    error = answer.json["errors"][0]
    assert error["pointer"] == pointer, error
    assert text in error["detail"], error
    # Neither does it tell where on the server something lies.
    assert str(web.store) not in answer.body.decode()
    assert drafts(web) == []
    assert web.ask("GET", "/datasets/bad").status == 404


def of_size(size: int) -> tuple[bytes, dict[str, str]]:
    """Return a body of so many bytes, which is no dataset."""
    body, headers = form("bad", files={"file": ("a.csv", b"")})
    return form("bad", files={"file": ("a.csv", b"x" * (size - len(body)))})[0], headers


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_may_have_as_many_bytes_as_are_set_and_not_one_more(web: Service, chunked: bool) -> None:
    def post(size: int) -> Answer:
        body, headers = of_size(size)
        pieces = (body[at : at + 50_000] for at in range(0, len(body), 50_000))
        return web.ask("POST", "/datasets", pieces if chunked else body, headers)

    assert post(MOST).status == 422
    assert post(MOST + 1).status == 413
    assert drafts(web) == []


@pytest.mark.parametrize(
    ("content_type", "body", "status", "text"),
    [
        ("application/json", b"{}", 415, "multipart/form-data, not application/json"),
        ("multipart/form-data", b"x", 422, "has no boundary"),
        ("multipart/form-data; boundary=é", b"x", 422, "not a well-formed multipart body"),
        ("multipart/form-data; boundary=a", b"", 422, "not a well-formed multipart body"),
        ("multipart/form-data; boundary=a", b"x" * 250_000, 422, "200,000 bytes beside the files"),
        ("multipart/form-data; boundary=a", b"--a\r\nX: y\r\n\r\n1\r\n--a--", 422, "Content-Disposition"),
        (
            "multipart/form-data; boundary=a",
            b'--a\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n1,2',
            422,
            "not a well-formed multipart body",
        ),
        (
            "multipart/form-data; boundary=a",
            b'--a\r\nContent-Disposition: form-data; name="name"\r\n\r\n\xff\r\n--a--\r\n',
            422,
            "not a well-formed multipart body",
        ),
        (
            "multipart/form-data; boundary=a",
            b'--a\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n' * 1001 + b"--a--\r\n",
            422,
            "at most 1000 parts",
        ),
    ],
)
def test_a_body_that_is_no_form_is_refused(
    web: Service, content_type: str, body: bytes, status: int, text: str
) -> None:
    headers = {"Content-Type": content_type.encode().decode("latin-1")}
    answer = web.ask("POST", "/datasets", body, headers)

    assert answer.status == status, answer.body
    assert text in answer.json["detail"]
    assert drafts(web) == []


def begin(service: Service, body: bytes, headers: dict[str, str], length: int) -> socket.socket:
    """Send the beginning of a request whose body is said to have so many bytes."""
    connection = socket.create_connection((service.host, service.port))
    lines = [f"{name}: {value}" for name, value in {**headers, "Content-Length": str(length)}.items()]
    head = "\r\n".join(["POST /datasets HTTP/1.1", f"Host: {service.host}", *lines, "", ""])
    connection.sendall(head.encode() + body)
    return connection


def test_who_leaves_half_way_leaves_nothing_behind(web: Service) -> None:
    body, headers = of_size(200_000)
    with begin(web, body[:100_000], headers, len(body)):
        wait_for(lambda: drafts(web), "draft", web)
    wait_for(lambda: not drafts(web), "end of the draft", web)

    assert web.ask("GET", "/datasets").json["datasets"] == []


def test_more_at_once_than_there_is_room_for_are_told_to_come_again(web: Service) -> None:
    body, headers = form("good", files={"file": ("fruit.csv", FRUIT.encode())}, target="kind")
    waiting = [begin(web, body[:-20], headers, len(body)) for _ in range(2)]
    wait_for(lambda: len(drafts(web)) == 2, "two drafts", web)
    refused = web.ask("POST", "/datasets", body, headers)
    for connection in waiting:
        connection.sendall(body[-20:])
    answers = [connection.recv(100).split(b" ")[1] for connection in waiting]
    for connection in waiting:
        connection.close()

    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    # Both sent the same, and the name is there once.
    assert sorted(answers) == [b"200", b"201"]
    assert web.ask("DELETE", "/datasets/good").status == 204
    assert web.ask("DELETE", "/datasets/good").status == 404
    assert list((web.store / ".datasets").iterdir()) == []


def test_a_worker_holds_no_body_in_memory_and_a_restart_forgets_nothing(
    start: Callable[..., Service], tmp_path: Path
) -> None:
    settings = {"workers": 1, "database_url": f"sqlite:///{tmp_path}/kept.db"}
    settings |= {"shipped_models": nothing(tmp_path)}
    before = start(**settings)
    dataset = send(before, "fruit", "fruit.csv", FRUIT.encode(), target="kind").json
    worker = before.workers()[0]
    size = 20 << 20

    def body() -> Iterator[bytes]:
        # A zip file that is none: received as a whole, and refused at once.
        whole, _ = form("big", files={"file": ("a.zip", b"PK\3\4")})
        head, tail = whole.split(b"PK\3\4")
        yield head + b"PK\3\4"
        yield from itertools.repeat(b"\n" * (1 << 20), size >> 20)
        yield tail

    _, headers = form("big")
    peak = _peak(worker)
    assert before.ask("POST", "/datasets", body(), headers).status == 422
    assert _peak(worker) - peak < 8 << 20
    before.stop()

    after = start(**settings, max_disk=15_000_000)
    assert after.ask("GET", "/datasets/fruit").json == dataset
    big, headers = form("big", files={"file": ("a.zip", bytes(size))})
    known = after.ask("POST", "/datasets", big, headers)
    chunked = after.ask("POST", "/datasets", body(), headers)
    assert (known.status, chunked.status) == (507, 507)
    assert "NNSERVE_MAX_DISK" in known.json["detail"]
    assert drafts(after) == []


def _peak(process: psutil.Process) -> int:
    """Return the most memory that a process ever had, in bytes."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


@pytest.mark.parametrize(
    ("script", "error", "text"),
    [
        ("exec sleep 60", Invalid, "takes more than the 1 seconds"),
        ("kill -9 $$", Busy, "ended from outside, by signal 9"),
        ("kill -11 $$", Invalid, "with signal 11"),
        # It knows no secrets.
        ("""echo "{\\"error\\": \\"$NNSERVE_ADMIN_KEY.\\"}"; exit 1""", Invalid, r"^\.$"),
        (
            f"echo '{json.dumps({'error': 'full', 'errno': errno.ENOSPC})}'; exit 1",
            OutOfSpace,
            "disk is full",
        ),
        ("echo oh >&2; exit 3", RuntimeError, "went wrong"),
        ("echo '{'", RuntimeError, "went wrong"),
    ],
)
def test_a_reader_that_is_late_killed_or_broken_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, error: type[Exception], text: str
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(python))
    monkeypatch.setenv("NNSERVE_ADMIN_KEY", "secret")

    with pytest.raises(error, match=text):
        import_dataset(Csv("a.csv", "b"), tmp_path, Settings(max_dataset_seconds=1))
