"""Every request and response, as marshmallow schemas."""

import re
from datetime import UTC, datetime
from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields, validate

from service import codec
from service.fields import Array, Texts, complaints, pixels
from service.problems import BadBody, FieldError, Invalid

# More than that can only be wrong, and each unknown one would take marshmallow 5 µs.
MOST_FIELDS = 100
MOST_OF_A_PAGE = 100

ONE_OF = "must be one of {choices}"

NAME_MESSAGES: dict[str, Any] = {
    "required": "is missing",
    "invalid": "must be a text",
    "null": "must be a text",
}


def number_or_label(text: str) -> int | str:
    """Return the number that a text of digits is, else the text: a label."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text


class Version(fields.Field[int | str]):
    """A version's number, or a label."""

    default_error_messages: dict[str, Any] = {"null": "must be a version's number or a label"}  # noqa: RUF012

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> int | str:
        if isinstance(value, str):
            value = number_or_label(value)
        if isinstance(value, float) and value.is_integer():
            # In JSON Schema, and in JavaScript, 2.0 is the whole number 2.
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, (int, str)) or value == "":
            raise ValidationError("must be a version's number or a label")
        if isinstance(value, int) and not 1 <= value < 10**9:
            raise ValidationError("must be a version's number, 1 or more, or a label")
        return value


class Moment(fields.Field[float]):
    """Seconds since 1970, shown as a date and time (RFC 3339)."""

    def _serialize(self, value: float | None, attr: Any, obj: Any, **kwargs: Any) -> str | None:
        if value is None:
            return None
        return datetime.fromtimestamp(value, UTC).isoformat(timespec="milliseconds")


class QueryNumber(fields.Integer):
    """A whole number in a query; Python would read 1_0 and other scripts' digits as numbers too."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> int:
        if not re.fullmatch(r"-?[0-9]+", value):
            raise self.make_error("invalid")
        return super()._deserialize(value, attr, data, **kwargs)


class PageQuery(Schema):
    """What every list that is shown page by page is asked for."""

    error_messages: dict[str, str] = {"unknown": "is not known here; known are limit and cursor"}  # noqa: RUF012

    class Meta:
        """Unknown fields are errors."""

        unknown = RAISE

    limit = QueryNumber(
        load_default=20,
        validate=validate.Range(1, MOST_OF_A_PAGE, error="must be from {min} to {max}"),
        error_messages={"invalid": "must be a whole number"},
    )
    cursor = QueryNumber(
        validate=validate.Range(1, 2**62, error="must be taken from `next` of an answer"),
        error_messages={"invalid": "must be taken from `next` of an answer"},
    )


class PredictForm(Schema):
    """POST /predict as multipart: the fields beside the pictures."""

    error_messages: dict[str, str] = {"unknown": "is not known here; known are model and version"}  # noqa: RUF012

    class Meta:
        """Unknown fields are errors."""

        unknown = RAISE

    model = fields.String(required=True, error_messages=NAME_MESSAGES)
    version = Version()


class PredictRequest(PredictForm):
    """POST /predict as JSON: the same fields, and either `inputs` or `images`."""

    error_messages: dict[str, str] = {  # noqa: RUF012
        "unknown": "is not known here; known are model, version, inputs and images"
    }

    inputs = Array(error_messages={"null": "must be an array of examples, not null"})
    images = Texts(error_messages={"null": "must be an array of texts, at least one"})


PREDICT_REQUEST = PredictRequest()
PREDICT_FORM = PredictForm()
COMMON = {"model", "version", "inputs"}


def load_predict(body: bytes) -> dict[str, Any]:
    """Return a prediction's request from a JSON body."""
    try:
        data = codec.loads(body)
    except ValueError as error:
        raise BadBody(f"The body is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise Invalid([FieldError("#", 'must be an object like {"model": "xor", "inputs": [[0, 1]]}')])
    if _are_rows(data.get("inputs")):
        return load_rows(data)
    if not _only_numbers(body, data) and isinstance(data.get("inputs"), list):
        found = complaints(data["inputs"])
        if found:
            raise Invalid(_pointed(found, "#/inputs"))
    request = _common(data) or load(PREDICT_REQUEST, data)
    if ("inputs" in request) == ("images" in request):
        raise Invalid([FieldError("#", "must have either inputs (arrays) or images (base64 pictures)")])
    return request


def _common(data: dict[str, Any]) -> dict[str, Any] | None:
    """Return what PREDICT_REQUEST makes of the common request, or None, which leaves anything else to it.

    A model, perhaps a version's number, and rows of pixels: marshmallow's way through the fields would be a
    tenth of the whole request.
    """
    model, version, inputs = data.get("model"), data.get("version", 1), data.get("inputs")
    if not (data.keys() <= COMMON and type(model) is str and type(version) is int and type(inputs) is list):
        return None
    rows = pixels(inputs) if 1 <= version < 10**9 else None
    return None if rows is None else data | {"inputs": rows}


def load_rows(data: dict[str, Any]) -> dict[str, Any]:
    """Return a prediction's request whose inputs are objects, as `rows`, which a model's columns check."""
    if "images" in data:
        raise Invalid([FieldError("#", "must have either inputs or images (base64 pictures)")])
    rows = data.pop("inputs")
    return load(PREDICT_FORM, data) | {"rows": rows}


def _are_rows(inputs: Any) -> bool:
    return type(inputs) is list and bool(inputs) and type(inputs[0]) is dict


def load(schema: Schema, data: Any) -> dict[str, Any]:
    """Return data checked by a schema; raises Invalid with a pointer for everything that is wrong."""
    if len(data) > MOST_FIELDS:
        known = ", ".join(schema.fields)
        raise Invalid([FieldError("#", f"has {len(data):,} fields, where there are only {known}")])
    try:
        loaded: dict[str, Any] = schema.load(data)
    except ValidationError as error:
        # marshmallow's frame holds the error and the error its frames: a circle, which would keep the whole
        # request in memory until the garbage collector comes by.
        error.__traceback__ = None
        raise Invalid(_pointed(error.messages, "#")) from None
    return loaded


def _only_numbers(body: bytes, data: dict[str, Any]) -> bool:
    """Tell from the body, in a microsecond, that no text and no boolean can stand among the inputs.

    NumPy reads [1, true] as [1, 1], and for [1, "…"] it makes room for the longest text in every place.
    A body with more quotes than its keys and texts have, or with a boolean, pays for a walk instead.
    """
    texts = sum(isinstance(value, str) for value in data.values())
    quotes = 2 * (len(data) + texts)
    return body.count(b'"') == quotes and b"rue" not in body and b"alse" not in body


def _pointed(messages: Any, pointer: str) -> list[FieldError]:
    """Flatten marshmallow's tree of messages into JSON pointers."""
    if isinstance(messages, dict):
        return [
            error
            for key, inner in messages.items()
            for error in _pointed(inner, pointer if key == "_schema" else pointer_to(str(key), pointer))
        ]
    texts = messages if isinstance(messages, list) else [messages]
    return [FieldError(pointer, str(text)) for text in texts]


def pointer_to(key: str, pointer: str = "#") -> str:
    """Return the JSON pointer (RFC 6901) to a key below another, cut to a length that fits an answer."""
    return f"{pointer}/{key[:100].replace('~', '~0').replace('/', '~1')}"


class ModelSummary(Schema):
    """One model, in GET /models and GET /models/<m>."""

    model = fields.String()
    stable = fields.Integer(allow_none=True)
    labels = fields.Dict(keys=fields.String(), values=fields.Integer())
    versions = fields.List(fields.Integer())
    failures = fields.Dict(keys=fields.String(), values=fields.String())


class VersionDetail(Schema):
    """One version, in GET /models/<m>/versions/<v>: what its card and version.json say."""

    model = fields.String()
    version = fields.Integer()
    labels = fields.List(fields.String())
    sha256 = fields.String()
    bytes = fields.Integer()
    published = fields.String()
    origin = fields.String()
    job = fields.String()
    failure = fields.String()
    input = fields.Dict()
    output = fields.Dict()
    architecture = fields.Dict()
    metrics = fields.Dict()
    recipe = fields.Dict()
    provenance = fields.Dict()
    note = fields.String()
