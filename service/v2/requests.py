"""A request for an inference, from its bytes: what is asked, with no value of its tensors looked at yet."""

from dataclasses import dataclass
from typing import Any

from nncore.config import shorten
from nncore.types import Array
from service import codec
from service.problems import BadBody
from service.v2.binary_data import from_binary
from service.v2.datatypes import BYTES, DATATYPES, KNOWN, MOST_AXES
from service.v2.json_data import from_json

# A table's columns and all layers of a network are fewer.
MOST_TENSORS = 5_000
# What other servers offer, and what would be a wrong answer if it were passed over.
NOT_OFFERED = ("shared_memory_region", "classification")


@dataclass(frozen=True)
class Sent:
    """A tensor as it was sent: `data` is what stands for it in the JSON, or its bytes.

    Its values cost far more to read than the rest, so what it is has to be right for the model first.
    """

    name: str
    datatype: str
    shape: list[int]
    data: Any
    booleans: bool

    def read(self) -> Array:
        """Return the values in their shape; raises BadBody where one is not of the datatype."""
        if isinstance(self.data, memoryview):
            return from_binary(self.name, self.datatype, self.shape, self.data)
        return from_json(self.name, self.datatype, self.shape, self.data, self.booleans)


@dataclass(frozen=True)
class Wanted:
    """An output that is asked for, by name, and whether as bytes."""

    name: str
    binary: bool


@dataclass(frozen=True)
class InferRequest:
    """What is asked; without `outputs` the usual ones are wanted, in bytes where `binary` says so."""

    id: str | None
    inputs: list[Sent]
    outputs: list[Wanted]
    binary: bool


def read_request(body: bytes, header_length: int | None) -> InferRequest:
    """Return the request that a body is; raises BadBody that says what is wrong.

    `header_length` is how many bytes of it are JSON, where bytes of tensors follow.
    """
    end = len(body) if header_length is None else header_length
    if end > len(body):
        raise BadBody(f"Inference-Header-Content-Length is {end:,}, and the body has {len(body):,} bytes.")
    header = body[:end]
    try:
        document = codec.loads(header)
    except ValueError as error:
        raise BadBody(f"The body is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise BadBody('The body must be an object like {"inputs": [{"name": …, "shape": …, …}]}.')
    request_id = document.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise BadBody(f"id must be a text, not {shorten(request_id)}.")
    binary = _flag(_parameters("The request", document), "binary_data_output", False)
    inputs = _Inputs(header, memoryview(body)[end:], header_length is not None)
    tensors = [inputs.read(item) for item in _list(document, "inputs", "tensor")]
    inputs.check_end()
    if not tensors:
        raise BadBody("inputs must have at least one tensor.")
    _check_once("inputs", [tensor.name for tensor in tensors])
    wanted = [_wanted(item, binary) for item in _list(document, "outputs", "output")]
    _check_once("outputs", [output.name for output in wanted])
    return InferRequest(request_id, tensors, wanted, binary)


class _Inputs:
    """Reads tensors in their order, each behind the one before it where they are bytes."""

    def __init__(self, header: bytes, data: memoryview, has_data: bool) -> None:
        self.data, self.has_data = data, has_data
        self.start = 0
        # Whether true or false can stand among numbers is told from the bytes, in a microsecond.
        self.booleans = b"rue" in header or b"alse" in header

    def read(self, item: dict[str, Any]) -> Sent:
        name, datatype = _name(item, "input"), item.get("datatype")
        if not isinstance(datatype, str) or (datatype not in DATATYPES and datatype != BYTES):
            raise BadBody(f"{name}: datatype must be one of {KNOWN}, not {shorten(datatype)}.")
        shape = _shape(name, item.get("shape"))
        size = _parameters(name, item).get("binary_data_size")
        if size is None:
            if "data" not in item:
                raise BadBody(f"{name}: has neither data nor the parameter binary_data_size.")
            return Sent(name, datatype, shape, item["data"], self.booleans)
        if "data" in item:
            raise BadBody(f"{name}: has both data and the parameter binary_data_size.")
        return Sent(name, datatype, shape, self._take(name, size), self.booleans)

    def check_end(self) -> None:
        left = len(self.data) - self.start
        if left:
            raise BadBody(f"{left:,} bytes are left behind the tensors: binary_data_size must tell of all.")

    def _take(self, name: str, size: Any) -> memoryview:
        if not self.has_data:
            raise BadBody(f"{name}: binary_data_size needs the header Inference-Header-Content-Length.")
        if type(size) is not int or size < 0:
            raise BadBody(f"{name}: binary_data_size must be a whole number, 0 or more, not {shorten(size)}.")
        left = len(self.data) - self.start
        if size > left:
            raise BadBody(f"{name}: binary_data_size is {size:,}, and only {left:,} bytes are left.")
        taken = self.data[self.start : self.start + size]
        self.start += size
        return taken


def _wanted(item: dict[str, Any], binary: bool) -> Wanted:
    name = _name(item, "output")
    return Wanted(name, _flag(_parameters(name, item), "binary_data", binary))


def _list(document: dict[str, Any], key: str, what: str) -> list[dict[str, Any]]:
    items = document.get(key, [])
    if not isinstance(items, list) or len(items) > MOST_TENSORS:
        raise BadBody(f"{key} must be an array of at most {MOST_TENSORS:,} objects, one {what} each.")
    if not all(isinstance(item, dict) for item in items):
        raise BadBody(f"{key} must hold objects, one {what} each.")
    return items


def _name(item: dict[str, Any], what: str) -> str:
    name = item.get("name")
    if not isinstance(name, str) or not name:
        raise BadBody(f"The name of an {what} must be a text, not {shorten(name)}.")
    return name


def _shape(name: str, shape: Any) -> list[int]:
    if not isinstance(shape, list) or not 1 <= len(shape) <= MOST_AXES:
        raise BadBody(f"{name}: shape must be an array of 1 to {MOST_AXES} whole numbers.")
    if not all(type(size) is int and size >= 0 for size in shape):
        raise BadBody(f"{name}: shape must hold whole numbers, 0 or more.")
    if 0 in shape:
        # No data to check the other sizes against, and NumPy takes no huge ones.
        raise BadBody(f"{name}: must have at least one example, and numbers in it: shape has a 0.")
    return shape


def _parameters(name: str, item: dict[str, Any]) -> dict[str, Any]:
    parameters = item.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise BadBody(f"{name}: parameters must be an object, not {shorten(parameters)}.")
    for parameter in NOT_OFFERED:
        if parameter in parameters:
            raise BadBody(f"{name}: the parameter {parameter} is not offered here.")
    return parameters


def _flag(parameters: dict[str, Any], name: str, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise BadBody(f"The parameter {name} must be true or false, not {shorten(value)}.")
    return value


def _check_once(key: str, names: list[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise BadBody(f"{key} has {shorten(name)} twice.")
        seen.add(name)
