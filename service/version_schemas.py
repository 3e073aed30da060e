"""The requests and answers below /models that change something, as marshmallow schemas."""

from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields

from service.gate import IF_BETTER, RULES
from service.schemas import Moment, PageQuery, Version

MEANING = f"must be one of {', '.join(RULES)}"


class Promote(fields.Field[str]):
    """By which rule a version may become the stable one."""

    default_error_messages: dict[str, Any] = {"null": MEANING}  # noqa: RUF012

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        if value not in RULES:
            raise ValidationError(MEANING)
        return str(value)


class UploadQuery(Schema):
    """The query of POST /models/<m>/versions."""

    error_messages: dict[str, str] = {"unknown": "is not known here; known is promote"}  # noqa: RUF012

    class Meta:
        """Unknown fields are errors."""

        unknown = RAISE

    promote = Promote(load_default=IF_BETTER)


class Promotion(Schema):
    """Whether a version became the stable one, and why: service.gate.Decision."""

    promoted = fields.Boolean()
    reason = fields.String()
    metric = fields.String(allow_none=True)
    candidate = fields.Float(allow_none=True)
    stable = fields.Float(allow_none=True)
    stable_version = fields.Integer(allow_none=True)


class Uploaded(Schema):
    """The answer to POST /models/<m>/versions."""

    model = fields.String()
    version = fields.Integer()
    sha256 = fields.String()
    bytes = fields.Integer()
    promotion = fields.Nested(Promotion())


class LabelMove(Schema):
    """PUT /models/<m>/labels/<label>."""

    error_messages: dict[str, str] = {"unknown": "is not known here; known is version"}  # noqa: RUF012

    class Meta:
        """Unknown fields are errors."""

        unknown = RAISE

    version = Version(required=True, error_messages={"required": "is missing"})


class MoveShown(Schema):
    """One entry of a label's history: service.history.Move."""

    from_version = fields.Integer(data_key="from", allow_none=True)
    to_version = fields.Integer(data_key="to", allow_none=True)
    who = fields.String()
    why = fields.String()
    time = Moment()


class Label(Schema):
    """GET /models/<m>/labels/<label>."""

    model = fields.String()
    label = fields.String()
    version = fields.Integer(allow_none=True)
    history = fields.List(fields.Nested(MoveShown()))
    next = fields.String(allow_none=True)


UPLOAD_QUERY = UploadQuery()
UPLOADED = Uploaded()
LABEL_MOVE = LabelMove()
LABEL_QUERY = PageQuery()
LABEL = Label()
