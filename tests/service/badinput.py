"""What strangers send: a table of requests, each with the status and the words it must get.

The bodies are made when they are first sent, and kept: the table is sent several times.
"""

import base64
import contextlib
import functools
import gzip
import http.client
import json
import re
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from serving import DEADLINE, JSON, Answer, Service, multipart
from sketches import claimed_png, picture_file, plain_png

Send = Callable[[Service], Answer]


@dataclass(frozen=True)
class Bad:
    """A request, and what it must get. `pointer` and `says` are looked for among the errors, if given."""

    name: str
    send: Send
    status: int
    pointer: str | None = None
    says: str = ""


def posted(body: Callable[[], bytes], headers: dict[str, str] = JSON, *, chunk: int = 0) -> Send:
    """Send a body to /predict, chunked if `chunk` says how many bytes a chunk has."""
    kept = functools.cache(body)

    def send(service: Service) -> Answer:
        whole = kept()
        pieces = (whole[start : start + chunk] for start in range(0, len(whole), chunk)) if chunk else whole
        return service.ask("POST", "/predict", pieces, headers)

    return send


def document(**fields: Any) -> Send:
    return posted(lambda: json.dumps(fields).encode())


def text(body: str | bytes) -> Send:
    return posted(lambda: body.encode() if isinstance(body, str) else body)


def inputs(body: Callable[[], str], model: str = "xor") -> Send:
    return posted(lambda: f'{{"model": "{model}", "inputs": {body()}}}'.encode())


def numbers(written: str, model: str = "xor") -> Send:
    return inputs(lambda: written, model)


def upload(*files: Callable[[], bytes], field: str = "image", **fields: str) -> Send:
    fields.setdefault("model", "digits")

    @functools.cache
    def made() -> tuple[bytes, dict[str, str]]:
        parts = [(field, f"{number}.png", file()) for number, file in enumerate(files)]
        return multipart(fields.items(), parts)

    return lambda service: service.ask("POST", "/predict", *made())


def form(body: Callable[[], bytes], content_type: str = "multipart/form-data; boundary=frontier") -> Send:
    return posted(body, {"Content-Type": content_type})


def address(method: str, path: str, body: bytes | None = None, **headers: str) -> Send:
    return lambda service: service.ask(method, path, body, headers)


def raw(sent: Callable[[], bytes]) -> Send:
    """Send bytes as they are, and then no more; an answer of status 0 says that there was none."""

    def send(service: Service) -> Answer:
        began = time.monotonic()
        # Who refuses early need not listen to the end.
        with socket.create_connection(("127.0.0.1", service.port), timeout=DEADLINE) as connection:
            with contextlib.suppress(OSError):
                connection.sendall(sent())
                connection.shutdown(socket.SHUT_WR)
            response = http.client.HTTPResponse(connection)
            try:
                response.begin()
                body = response.read()
            except OSError:
                return Answer(0, {}, b"", time.monotonic() - began)
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, body, time.monotonic() - began)

    return send


def head(*lines: str) -> bytes:
    return "\r\n".join(
        ["POST /predict HTTP/1.1", "Host: localhost", "Content-Type: application/json", *lines, "", ""]
    ).encode()


CHUNKED = "Transfer-Encoding: chunked"
PNG = functools.cache(lambda: picture_file(np.eye(28) * 255))
BASE64 = functools.cache(lambda: base64.b64encode(PNG()).decode())
PIXELS = [0.0] * 784


def pixels(value: float, *, at: int = 17, of: list[float] = PIXELS) -> list[float]:
    return [*of[:at], value, *of[at + 1 :]]


def deep(levels: int) -> str:
    return "[" * levels + "1" + "]" * levels


def part(content: bytes, disposition: str = 'form-data; name="image"; filename="a.png"') -> bytes:
    return b"--frontier\r\nContent-Disposition: " + disposition.encode() + b"\r\n\r\n" + content + b"\r\n"


MODEL_PART = part(b"digits", 'form-data; name="model"')
END = b"--frontier--\r\n"
MIB = 1 << 20

NOT_JSON = [
    Bad("nothing", text(""), 400, says="not JSON"),
    Bad("no JSON", text("model=xor"), 400, says="not JSON"),
    Bad("JSON cut short", text('{"model": "xor", "inputs": [[0, 1'), 400, says="not JSON"),
    Bad("JSON and more", text('{"model": "xor", "inputs": [[0, 1]]} {}'), 400, says="not JSON"),
    Bad("NaN", numbers("[[NaN, 1]]"), 400),
    Bad("Infinity", numbers("[[Infinity, 1]]"), 400),
    Bad("minus Infinity", numbers("[[-Infinity, 1]]"), 400),
    Bad("1e400", numbers("[[1e400, 1]]"), 400),
    Bad("an integer of 400 digits", numbers(f"[[{'9' * 400}, 1]]"), 400),
    Bad("an integer of 10^6 digits", inputs(lambda: f"[[{'9' * 10**6}, 1]]"), 400),
    Bad("nested 10,000 deep", inputs(lambda: deep(10_000)), 400),
    Bad("objects nested 10^5 deep", posted(lambda: b'{"a":' * 10**5), 400),
    Bad("invalid UTF-8", text(b'{"model": "x\xffr", "inputs": [[0, 1]]}'), 400),
    Bad("a surrogate in UTF-8", text(b'{"model": "\xed\xa0\x80", "inputs": [[0, 1]]}'), 400),
    Bad("a lone surrogate", text('{"model": "\\ud800", "inputs": [[0, 1]]}'), 400),
    Bad("UTF-16", text('{"model": "xor", "inputs": [[0, 1]]}'.encode("utf-16")), 400),
    Bad("a byte order mark", text('\ufeff{"model": "xor", "inputs": [[0, 1]]}'), 400),
    Bad("a NUL", text('{"model": "xor", "inputs": [[0, 1]]}\0'), 400),
]

WRONG_SHAPE = [
    Bad("a list", text("[[0, 1]]"), 422, "#", "must be an object"),
    Bad("null", text("null"), 422, "#", "must be an object"),
    Bad("a text", text('"xor"'), 422, "#", "must be an object"),
    Bad("an empty object", text("{}"), 422, "#/model"),
    Bad("no model", document(inputs=[[0, 1]]), 422, "#/model"),
    Bad("a model that is a number", document(model=1, inputs=[[0, 1]]), 422, "#/model"),
    Bad("a model that is null", document(model=None, inputs=[[0, 1]]), 422, "#/model"),
    Bad("neither inputs nor images", document(model="xor"), 422, "#", "either inputs .* or images"),
    Bad("inputs and images", document(model="xor", inputs=[[0, 1]], images=["AAAA"]), 422, "#", "either"),
    Bad("an unknown field", document(model="xor", input=[[0, 1]], inputs=[[0, 1]]), 422, "#/input"),
    Bad(
        "an unknown field with a slash",
        document(model="xor", inputs=[[0, 1]], **{"a/b~": 1}),
        422,
        "#/a~1b~0",
    ),
    Bad("30 unknown fields", document(model="xor", **{f"f{n}": 0 for n in range(30)}), 422, says="first 20"),
    Bad(
        "10^5 unknown fields",
        text(json.dumps({f"f{n}": 0 for n in range(10**5)})),
        422,
        "#",
        "100,000 fields",
    ),
    Bad("a field with a long name", document(model="xor", inputs=[[0, 1]], **{"é" * 10**5: 1}), 422),
]

WRONG_ARRAYS = [
    Bad("inputs that are a number", numbers("3"), 422, "#/inputs", "must be an array"),
    Bad("inputs that are a text", numbers('"[[0, 1]]"'), 422, "#/inputs", "must be an array"),
    Bad("inputs that are null", numbers("null"), 422, "#/inputs", "must be an array of examples, not null"),
    Bad("inputs that are an object", numbers('{"a": [0, 1]}'), 422, "#/inputs"),
    Bad("no examples", numbers("[]"), 422, "#/inputs", "at least one example"),
    Bad("an example without numbers", numbers("[[]]"), 422, "#/inputs/0"),
    Bad(
        "one example without its brackets", numbers("[0, 1]"), 422, "#/inputs", "must be an array of examples"
    ),
    Bad("too few numbers", numbers("[[0]]"), 422, "#/inputs/0", "takes 2 numbers"),
    Bad("too many numbers", numbers("[[0, 1, 2]]"), 422, "#/inputs/0", "takes 2 numbers"),
    Bad(
        "a number as text",
        numbers('[[0, 1], [0, "1"]]'),
        422,
        "#/inputs/1/1",
        "must be a number, not the text '1'",
    ),
    Bad("a boolean", numbers("[[0, true]]"), 422, "#/inputs/0/1", "must be a number, not true"),
    Bad("null among numbers", numbers("[[null, 1]]"), 422, "#/inputs/0/0", "must be a number, not null"),
    Bad("an object among numbers", numbers('[[{"a": 1}, 1]]'), 422, "#/inputs/0/0", "not an object"),
    Bad("a number among examples", numbers("[[0, 1], 3]"), 422, "#/inputs/1", "must be an array of 2, not 3"),
    Bad(
        "ragged lists",
        numbers("[[0, 1], [0]]"),
        422,
        "#/inputs/1",
        "has 1 entries, the first of its kind has 2",
    ),
    Bad("lists of different depth", numbers("[[0, 1], [0, [1]]]"), 422, "#/inputs/1/1", "not an array"),
    Bad(
        "numbers whose answer overflows",
        document(model="line", inputs=[[1.0], [3e38]]),
        422,
        "#/inputs",
        "example 1 has numbers so large",
    ),
    Bad("a number beyond 32 bits", numbers("[[0, -1e39]]"), 422, "#/inputs/0/1", "fits a 32-bit float"),
    Bad(
        "integers of 64 bits with and without a sign",
        numbers("[[18446744073709551615, true]]"),
        422,
        "#/inputs/0/1",
    ),
    Bad("nested 3 deep", inputs(lambda: deep(3)), 422, "#/inputs/0"),
    Bad("nested 60 deep", inputs(lambda: deep(60)), 422),
    Bad("nested 65 deep", inputs(lambda: deep(65)), 422),
    Bad("nested 100 deep", inputs(lambda: deep(100)), 422),
    Bad("nested 1,000 deep", inputs(lambda: deep(1_000)), 422),
    Bad("an empty list 1,000 deep", inputs(lambda: "[" * 1000 + "]" * 1000), 422),
    Bad(
        "more rows than a request may have",
        inputs(lambda: f"[{'[0,1],' * 10_000}[0,1]]"),
        422,
        "#/inputs",
        "at most 10,000",
    ),
    Bad("10^6 numbers for rows", inputs(lambda: f"[{'0,' * 999_999}0]"), 422, "#/inputs"),
    Bad("10^6 numbers for one example", inputs(lambda: f"[[{'0,' * 999_999}0]]"), 422, "#/inputs/0"),
    Bad("600,000 empty lists", inputs(lambda: f"[{'[],' * 599_999}[]]"), 422),
    Bad("600,000 empty objects", inputs(lambda: f"[{'{},' * 599_999}{{}}]"), 422, "#/inputs/0"),
    Bad(
        "400,000 empty texts",
        inputs(lambda: json.dumps([""] * 400_000)),
        422,
        "#/inputs/0",
    ),
    Bad("400,000 rows of one number", inputs(lambda: f"[{'[0],' * 399_999}[0]]"), 422),
    Bad("a text after 900,000 numbers", inputs(lambda: f'[[{"0," * 900_000}"1"]]'), 422, "#/inputs/0/900000"),
    Bad("a list after 900,000 numbers", inputs(lambda: f"[[{'0,' * 900_000}[1]]]"), 422, "#/inputs/0/900000"),
    Bad(
        "a long text among 200,000 numbers",
        inputs(lambda: f'[["{"x" * MIB}"{",0" * 200_000}]]'),
        422,
        "#/inputs/0/0",
    ),
    Bad("a long number among many", inputs(lambda: f"[[0.{'1' * MIB}{',0' * 200_000}]]"), 422),
    Bad("a huge number of wrong numbers", inputs(lambda: f"[[{'1e39,' * 300_000}0]]"), 422, "#/inputs/0/0"),
    Bad(
        "an escaped quote beside a text",
        posted(lambda: b'{"model": "\\"", "inputs": [[0, "1"]]}'),
        422,
        "#/inputs/0/1",
    ),
]

TOO_LARGE = [
    Bad(name, send, 413, says="at most")
    for name, send in {
        "one byte over the limit": posted(lambda: b" " * (2 * MIB + 1)),
        "one byte over the limit, chunked": posted(lambda: b" " * (2 * MIB + 1), chunk=65_536),
        "valid JSON that would be valid cut short, chunked": posted(
            lambda: b'{"model": "xor", "inputs": [[0, 1]]}' + b" " * 2 * MIB, chunk=10_000
        ),
        "10^6 rows": inputs(lambda: f"[{'[0,1],' * 999_999}[0,1]]"),
        "10^6 rows, chunked": posted(
            lambda: f'{{"model": "xor", "inputs": [{"[0,1]," * 999_999}[0,1]]}}'.encode(), chunk=65_536
        ),
        "twelve times the limit": posted(lambda: b" " * (24 * MIB)),
        "twelve times the limit, chunked": posted(lambda: b" " * (24 * MIB), chunk=MIB),
        "an upload over its limit": form(lambda: MODEL_PART + part(b"\0" * (16 * MIB)) + END),
        "an upload over its limit, chunked": posted(
            lambda: MODEL_PART + part(b"\0" * (16 * MIB)) + END,
            {"Content-Type": "multipart/form-data; boundary=frontier"},
            chunk=65_536,
        ),
    }.items()
]

UNKNOWN = [
    Bad("an unknown model", document(model="nobody", inputs=[[0, 1]]), 404, says="no model 'nobody'.* xor"),
    Bad("an empty name", document(model="", inputs=[[0, 1]]), 404),
    Bad("a name that climbs", document(model="../xor", inputs=[[0, 1]]), 404),
    Bad("a name that climbs to the store", document(model="xor/../xor", inputs=[[0, 1]]), 404),
    Bad("an absolute name", document(model="/etc", inputs=[[0, 1]]), 404),
    Bad("a name of dots", document(model="..", inputs=[[0, 1]]), 404),
    Bad("a name with a NUL", document(model="xor\0", inputs=[[0, 1]]), 404),
    Bad("a name with a line break", document(model="xor\n", inputs=[[0, 1]]), 404),
    Bad("a name in capitals", document(model="XOR", inputs=[[0, 1]]), 404),
    Bad("a long name", document(model="x" * 10**6, inputs=[[0, 1]]), 404),
    Bad(
        "a long name beyond ASCII",
        posted(lambda: f'{{"model": "{"é😀" * 10**5}", "inputs": [[0]]}}'.encode()),
        404,
    ),
    Bad("an unknown version", document(model="xor", version=99, inputs=[[0, 1]]), 404, says="no version 99"),
    Bad(
        "an unknown label",
        document(model="xor", version="nope", inputs=[[0, 1]]),
        404,
        says="no label 'nope'",
    ),
    Bad("a long label", document(model="xor", version="é" * 10**5, inputs=[[0, 1]]), 404),
    Bad("an upload for an unknown model", upload(PNG, model="nobody"), 404),
    Bad("an unknown model in the address", address("GET", "/models/nobody"), 404, says="no model 'nobody'"),
    Bad("an address that climbs", address("GET", "/models/../xor"), 404),
    Bad("an address that climbs in disguise", address("GET", "/models/..%2fxor"), 404),
    Bad(
        "an address that climbs in two disguises",
        address("GET", "/models/%2e%2e%2f%2e%2e%2fetc/versions/1"),
        404,
    ),
    Bad("an address of dots", address("GET", "/models/%2e%2e"), 404),
    Bad("an address with a NUL", address("GET", "/models/xor%00"), 404),
    Bad("an address that is no UTF-8", address("GET", "/models/%ff%fe"), 404),
    Bad("an address that is a surrogate", address("GET", "/models/%ed%a0%80/versions/%ed%a0%80"), 404),
    Bad("a long address", address("GET", "/models/" + "%C3%A9" * 500), 404),
    *(
        Bad(f"version {version} in the address", address("GET", f"/models/xor/versions/{version}"), 404)
        for version in ("0", "-1", str(10**30), "99", "1.5", "nope", "true", "%00", "%C2%B2", "1/", "..%2f1")
    ),
    Bad("nothing at an address", address("GET", "/nothing"), 404, says="nothing at this address"),
    Bad("a slash too many", address("GET", "/models/"), 404),
    Bad("a file", address("GET", "/static/../../etc/passwd"), 404),
    Bad("an unknown host", address("GET", "/nothing", Host="a b/c:d"), 403, says="not called"),
]

WRONG_VERSION = [
    Bad(
        f"version {version!r}",
        document(model="xor", version=version, inputs=[[0, 1]]),
        422,
        "#/version",
        "number|null",
    )
    for version in (0, -1, 10**30, "0", "", True, False, 1.5, None, [1], {"a": 1}, 10**9, 2**63, -(2**63))
]

WRONG_PIXELS = [
    Bad(
        "a pixel of 256",
        document(model="digits", inputs=[pixels(256)]),
        422,
        "#/inputs/0/17",
        "from 0 to 255, not 256",
    ),
    Bad(
        "a pixel of -1",
        document(model="digits", inputs=[pixels(-1)]),
        422,
        "#/inputs/0/17",
        "from 0 to 255, not -1",
    ),
    Bad(
        "a pixel of 255.001", document(model="digits", inputs=[PIXELS, pixels(255.001)]), 422, "#/inputs/1/17"
    ),
    Bad(
        "a pixel of 300 among 28 rows",
        document(model="digits", inputs=[np.array(pixels(300)).reshape(28, 28).tolist()]),
        422,
        "#/inputs/0/0/17",
    ),
    Bad(
        "every pixel wrong",
        document(model="digits", inputs=[[999] * 784] * 50),
        422,
        "#/inputs/0/0",
        "first 20",
    ),
    Bad(
        "every row wrong", document(model="digits", inputs=[[0.5] * 784] * 50), 422, "#/inputs/0", "first 20"
    ),
    Bad(
        "pixels scaled to 0-1",
        document(model="digits", inputs=[pixels(1), pixels(0.5)]),
        422,
        "#/inputs/1",
        "0 to 255.*0-1.*times 255",
    ),
    Bad(
        "half a picture",
        document(model="digits", inputs=[PIXELS[:392]]),
        422,
        "#/inputs/0",
        "784 numbers or 28×28",
    ),
    Bad("pictures for a model of numbers", upload(PNG, model="xor"), 422, "#/image/0", "takes arrays"),
    Bad(
        "base64 for a model of numbers",
        document(model="xor", images=["AAAA"]),
        422,
        "#/images/0",
        "takes arrays",
    ),
]

PICTURES = {
    "a corrupt PNG": lambda: PNG()[:45] + b"\xff" * 20 + PNG()[65:],
    "a truncated PNG": lambda: PNG()[:-25],
    "a PNG of a header alone": lambda: PNG()[:33],
    "a PNG bomb": lambda: claimed_png(10**5, 10**5, b"x\x9c"),
    "a PNG of no pixels": lambda: claimed_png(0, 0),
    "a PNG of 2^32 pixels a side": lambda: claimed_png(2**32 - 1, 2**32 - 1),
    "a text file": lambda: b"not a picture at all\n",
    "an empty file": lambda: b"",
    "a blank picture": lambda: picture_file(np.full((28, 28), 255)),
    "a black picture": lambda: picture_file(np.zeros((280, 280))),
    "a page of markup": lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "random bytes": lambda: np.random.default_rng(0).bytes(10_000),
}

WRONG_PICTURES = [
    *(Bad(f"{name}, uploaded", upload(file), 422, "#/image/0") for name, file in PICTURES.items()),
    *(
        Bad(
            f"{name}, in base64",
            posted(
                lambda file=file: json.dumps(  # type: ignore[misc]
                    {"model": "digits", "images": [BASE64(), base64.b64encode(file()).decode()]}
                ).encode()
            ),
            422,
            "#/images/1",
        )
        for name, file in PICTURES.items()
    ),
    Bad("a good picture and two bad ones", upload(PNG, lambda: b"?", lambda: b""), 422, "#/image/2"),
    Bad("base64 that is none", document(model="digits", images=["*" * 8]), 422, "#/images/0", "base64"),
    Bad("base64 cut short", document(model="digits", images=["AAAAA"]), 422, "#/images/0", "base64"),
    Bad("base64 beyond ASCII", document(model="digits", images=["ÀÀÀÀ"]), 422, "#/images/0", "base64"),
    Bad(
        "a data URL",
        document(model="digits", images=["data:image/png;base64,AAAA"]),
        422,
        "#/images/0",
        "base64",
    ),
    Bad("images that are a text", document(model="digits", images="AAAA"), 422, "#/images"),
    Bad("no images", document(model="digits", images=[]), 422, "#/images"),
    Bad("images that are numbers", document(model="digits", images=[0, None]), 422, "#/images/1"),
    Bad("500,000 images that are numbers", document(model="digits", images=[0] * 500_000), 422, "#/images/0"),
    Bad(
        "500,000 empty images",
        posted(lambda: b'{"model":"digits","images":[' + b'"",' * 499_999 + b'""]}'),
        422,
    ),
    Bad(
        "more images than a request may have",
        document(model="digits", images=["AAAA"] * 65),
        422,
        "#/images/64",
        "at most 64",
    ),
    Bad("more uploads than a request may have", upload(*[PNG] * 65), 422, "#/image/64", "at most 64"),
    Bad(
        "64 blank pictures of 16 million pixels each",
        upload(*[functools.cache(lambda: plain_png(4000, 4000))] * 64),
        422,
        "#/image/1",
        "pixels",
    ),
    Bad(
        "64 pictures of 5.6 million pixels each",
        upload(*[functools.cache(lambda: picture_file(np.pad(np.full((1000, 200), 255), 900)))] * 64),
        422,
        "#/image/0",
        "pixels",
    ),
    Bad(
        "two pictures of 9 million pixels each",
        upload(*[functools.cache(lambda: plain_png(3000, 3000))] * 2),
        422,
        "#/image/1",
        "pixels",
    ),
    Bad(
        "a blank picture of 16 million pixels",
        upload(lambda: plain_png(4000, 4000)),
        422,
        "#/image/0",
        "blank|empty|nothing",
    ),
]

WRONG_METHOD = [
    Bad("GET /predict", address("GET", "/predict"), 405, says="Allow header"),
    Bad("DELETE /models", address("DELETE", "/models"), 405, says="Allow header"),
    Bad("POST /models/xor", address("POST", "/models/xor", b"{}", **JSON), 405, says="Allow header"),
    Bad("PUT /readyz", address("PUT", "/readyz", b"x" * 10 * MIB), 405, says="Allow header"),
    Bad("a method of its own", address("BREW", "/models"), 405, says="Allow header"),
]

XOR = b'{"model": "xor", "inputs": [[0, 1]]}'
WRONG_MEDIA_TYPE = [
    Bad(f"as {media_type[:40]!r}", address("POST", "/predict", XOR, **{"Content-Type": media_type}), 415)
    for media_type in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/problem+json",
        "image/png",
        "",
        "json",
        "multipart/mixed; boundary=frontier",
        "\xe9",
        "x" * 5_000,
    )
] + [
    Bad(
        "without a media type",
        address("POST", "/predict", XOR),
        415,
        says="application/json or multipart/form-data",
    ),
    Bad(
        "a large body of another type",
        address("POST", "/predict", b"x" * 10 * MIB, **{"Content-Type": "a/b"}),
        415,
    ),
]

PACKED = [
    Bad(
        f"packed: {method} {path} {encoding}",
        address(
            method, path, gzip.compress(XOR), **{"Content-Type": media_type, "Content-Encoding": encoding}
        ),
        415,
        says=f"takes no Content-Encoding, and this body has {encoding}",
    )
    for method, path, media_type, encoding in (
        ("POST", "/predict", "application/json", "gzip"),
        ("POST", "/predict", "application/json", "BR"),
        ("POST", "/predict", "application/json", "identity, gzip"),
        ("POST", "/predict", "multipart/form-data; boundary=frontier", "gzip"),
        ("POST", "/train", "application/json", "gzip"),
        ("POST", "/datasets", "multipart/form-data; boundary=frontier", "gzip"),
        ("POST", "/models/xor/versions", "application/octet-stream", "gzip"),
        ("PUT", "/models/xor/labels/stable", "application/json", "gzip"),
    )
]

WRONG_FORMS = [
    Bad("a repeated model", form(lambda: MODEL_PART * 2 + part(PNG()) + END), 422, "#/model", "once"),
    Bad("an upload without a model", form(lambda: part(PNG()) + END), 422, "#/model"),
    Bad("an upload without a file", form(lambda: MODEL_PART + END), 422, "#/image"),
    Bad("a file in another field", upload(PNG, field="picture"), 422, "#/picture", "named image"),
    Bad("a picture as a plain field", upload(PNG, image="?"), 422, "#/image"),
    Bad("an unknown form field", upload(PNG, colour="red"), 422, "#/colour"),
    Bad("version 0 in a form", upload(PNG, version="0"), 422, "#/version"),
    Bad("an empty version in a form", upload(PNG, version=""), 422, "#/version"),
    Bad("no boundary", form(lambda: MODEL_PART + part(PNG()) + END, "multipart/form-data"), 422, "#"),
    Bad("an empty boundary", form(lambda: MODEL_PART + END, "multipart/form-data; boundary="), 422, "#"),
    Bad("another boundary", form(lambda: MODEL_PART + END, "multipart/form-data; boundary=wall"), 422, "#"),
    Bad(
        "a boundary beyond ASCII",
        form(lambda: MODEL_PART + END, "multipart/form-data; boundary=\xe9"),
        422,
        "#",
    ),
    Bad(
        "a long boundary",
        form(lambda: MODEL_PART + END, f"multipart/form-data; boundary={'x' * 4000}"),
        422,
        "#",
    ),
    Bad("a form cut short in a file", form(lambda: MODEL_PART + part(PNG())[:-40]), 422, "#"),
    Bad("a form cut short in a header", form(lambda: MODEL_PART + b"--frontier\r\nContent-Disp"), 422, "#"),
    Bad("a form without its end", form(lambda: MODEL_PART + part(PNG())), 422, "#"),
    Bad("an empty form", form(lambda: b""), 422),
    Bad("a form of its end alone", form(lambda: END), 422, "#/model"),
    Bad("JSON as a form", form(lambda: XOR), 422, "#"),
    Bad("10^4 parts", form(lambda: MODEL_PART + part(b"x") * 10_000 + END), 422, "#", "at most"),
    Bad("10^4 fields", form(lambda: part(b"x", 'form-data; name="a"') * 10_000 + END), 422, "#", "at most"),
    Bad(
        "a field of 1 MiB",
        form(lambda: part(b"x" * MIB, 'form-data; name="model"') + END),
        422,
        "#",
        "at most",
    ),
    Bad("a part without a name", form(lambda: MODEL_PART + part(b"x", "form-data") + END), 422),
    Bad("a part without a header", form(lambda: b"--frontier\r\n\r\nx\r\n" + END), 422),
    Bad(
        "a header that is no UTF-8",
        form(lambda: b"--frontier\r\nContent-Disposition: \xff\r\n\r\nx\r\n" + END),
        422,
    ),
    Bad(
        "a name that is a surrogate",
        form(lambda: MODEL_PART + part(b"x", "form-data; name*=utf-8''%ed%a0%80") + part(PNG()) + END),
        422,
    ),
    Bad(
        "a value that is no UTF-8",
        form(lambda: part(b"\xff\xfe", 'form-data; name="model"') + part(PNG()) + END),
        404,
    ),
    Bad(
        "a part with a long header",
        form(lambda: b"--frontier\r\nX: " + b"x" * 8 * MIB + b"\r\n\r\n" + END),
        422,
    ),
    Bad(
        "15 MiB of carriage returns",
        form(lambda: MODEL_PART + part(b"\r" * 15 * MIB) + END),
        422,
        "#/image/0",
    ),
    Bad(
        "15 MiB of line breaks",
        form(lambda: MODEL_PART + part(b"\r\n" * (15 * MIB // 2)) + END),
        422,
        "#/image/0",
    ),
    Bad(
        "15 MiB of hyphens",
        form(lambda: MODEL_PART + part(b"\r\n--frontie" * (15 * MIB // 11)) + END),
        422,
        "#/image/0",
    ),
    Bad("15 MiB before the first part", form(lambda: b"x" * 15 * MIB + END), 422),
]

BROKEN_BODIES = [
    Bad(
        "a body shorter than it claims", raw(lambda: head("Content-Length: 100") + XOR), 400, says="not whole"
    ),
    Bad("chunks cut short", raw(lambda: head(CHUNKED) + b"24\r\n" + XOR), 400, says="not whole"),
    Bad(
        "chunks without an end", raw(lambda: head(CHUNKED) + b"24\r\n" + XOR + b"\r\n"), 400, says="not whole"
    ),
    Bad("a chunk of no size", raw(lambda: head(CHUNKED) + b"zz\r\n" + XOR), 400, says="not whole"),
    Bad("a chunk of 2^70 bytes", raw(lambda: head(CHUNKED) + b"4" + b"0" * 17 + b"\r\n" + XOR), 400),
]

# What is no HTTP never gets as far as the application: it is refused in gunicorn's words, or cut off.
NO_HTTP: dict[str, Send] = {
    "a length that is none": raw(lambda: head("Content-Length: nine") + XOR),
    "a negative length": raw(lambda: head("Content-Length: -1") + XOR),
    "a length and chunks": raw(lambda: head("Content-Length: 3", CHUNKED) + XOR),
    "two lengths": raw(lambda: head("Content-Length: 3", "Content-Length: 9") + XOR),
    "a coding nobody knows": raw(lambda: head("Transfer-Encoding: zip") + XOR),
    "no HTTP": raw(lambda: b"hello\r\n\r\n"),
    "nothing": raw(lambda: b""),
    "zeros": raw(lambda: bytes(100_000)),
    "an expectation nobody can meet": raw(lambda: head("Content-Length: 3", "Expect: tea")),
    "a long header": raw(lambda: head("X-A: " + "a" * 40_000)),
    "a header bomb of one": raw(lambda: head("X-A: " + "a" * 10 * MIB)),
    "a header bomb of many": raw(lambda: head(*[f"X-{n}: {n}" for n in range(300_000)])),
    "a request line without end": raw(lambda: b"GET /" + b"a" * 10 * MIB),
    "a header that moves the application": raw(lambda: head("SCRIPT_NAME: /x")),
    "a header cut short": raw(lambda: head("Content-Length: 3")[:-10]),
}

TABLE: list[Bad] = [
    *NOT_JSON,
    *WRONG_SHAPE,
    *WRONG_ARRAYS,
    *TOO_LARGE,
    *UNKNOWN,
    *WRONG_VERSION,
    *WRONG_PIXELS,
    *WRONG_PICTURES,
    *WRONG_METHOD,
    *WRONG_MEDIA_TYPE,
    *PACKED,
    *WRONG_FORMS,
    *BROKEN_BODIES,
]


def check_problem(answer: Answer) -> None:
    """Fail unless the answer is a problem document about its status."""
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json
    assert problem.keys() - {"errors"} == {"type", "title", "status", "detail", "request_id"}
    assert problem["type"] == "about:blank"
    assert problem["status"] == answer.status
    assert problem["title"] == http.client.responses[answer.status]
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert len(answer.body) < 50_000


def check(bad: Bad, answer: Answer) -> None:
    """Fail unless the answer is what the table says, as a problem document."""
    assert answer.status == bad.status, answer.body[:500]
    check_problem(answer)
    assert bad.status != 405 or answer.headers["allow"]
    check_errors(bad, answer.json)


def check_errors(bad: Bad, problem: dict[str, Any]) -> None:
    errors = problem.get("errors", [])
    assert len(errors) <= 20
    assert bool(errors) == (bad.status == 422)
    said = " ".join([problem["detail"], *(error["detail"] for error in errors)])
    assert re.search(bad.says, said, re.DOTALL)
    assert all(error["detail"] and error["pointer"].startswith("#") for error in errors)
    if bad.pointer is not None:
        assert bad.pointer in [error["pointer"] for error in errors], errors


def names(cases: Iterable[Bad]) -> list[str]:
    return [bad.name for bad in cases]
