"""The requests and answers of /train, as marshmallow schemas."""

from datetime import UTC, datetime
from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields, validate

from service.jobs.job import STATES
from service.schemas import NAME_MESSAGES, Version

PROMOTE = ("if_better", "always", "never")
MOST_OF_A_PAGE = 100

_ONE_OF = "must be one of {choices}"


class RecipeOrName(fields.Field[Any]):
    """A recipe, whose fields nncore checks, or the name of a shipped one."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        if not isinstance(value, (dict, str)):
            raise ValidationError("must be a recipe, as an object, or the name of a shipped one")
        return value


class TrainRequest(Schema):
    """POST /train: all but `model` may be left out."""

    error_messages: dict[str, str] = {  # noqa: RUF012
        "unknown": "is not known here; known are model, recipe, start_from, promote and dry_run"
    }

    class Meta:
        """Unknown fields are errors."""

        unknown = RAISE

    model = fields.String(required=True, error_messages=NAME_MESSAGES)
    recipe = RecipeOrName()
    start_from = Version()
    promote = fields.String(
        load_default="if_better",
        validate=validate.OneOf(PROMOTE, error=_ONE_OF),
        error_messages={"invalid": f"must be one of {', '.join(PROMOTE)}"},
    )
    dry_run = fields.Boolean(
        load_default=False,
        truthy={True},
        falsy={False},
        error_messages={"invalid": "must be true or false"},
    )


class JobsQuery(Schema):
    """The query of GET /train."""

    error_messages: dict[str, str] = {  # noqa: RUF012
        "unknown": "is not known here; known are state, model, limit and cursor"
    }

    class Meta:
        """Unknown fields are errors."""

        unknown = RAISE

    state = fields.String(validate=validate.OneOf(STATES, error=_ONE_OF))
    model = fields.String()
    limit = fields.Integer(
        load_default=20,
        validate=validate.Range(1, MOST_OF_A_PAGE, error="must be from {min} to {max}"),
        error_messages={"invalid": "must be a whole number"},
    )
    cursor = fields.Integer(
        validate=validate.Range(1, 2**62, error="must be taken from `next` of an answer"),
        error_messages={"invalid": "must be taken from `next` of an answer"},
    )


class Moment(fields.Field[float]):
    """Seconds since 1970, shown as a date and time (RFC 3339)."""

    def _serialize(self, value: float | None, attr: Any, obj: Any, **kwargs: Any) -> str | None:
        if value is None:
            return None
        return datetime.fromtimestamp(value, UTC).isoformat(timespec="milliseconds")


class Plan(Schema):
    """What a job does: in the answer to a dry run, and in GET /train/<id>."""

    model = fields.String()
    recipe = fields.Dict()
    dataset = fields.Dict()
    promote = fields.String()
    start_from = fields.Dict(allow_none=True)
    parameters = fields.Integer()
    memory = fields.Integer()


class JobSummary(Schema):
    """One job in GET /train."""

    id = fields.String()
    model = fields.String()
    state = fields.String()
    created = Moment()
    started = Moment()
    ended = Moment()
    trainer = fields.String(allow_none=True)
    attempts = fields.Integer()
    epoch = fields.Integer()
    epochs = fields.Integer()
    seconds = fields.Float()
    seconds_left = fields.Float(allow_none=True)
    result = fields.Dict(allow_none=True)
    error = fields.String(allow_none=True)


class JobDetail(JobSummary):
    """GET /train/<id>."""

    plan = fields.Nested(Plan(exclude=["model"]))
    history = fields.List(fields.Dict())


TRAIN_REQUEST = TrainRequest()
JOBS_QUERY = JobsQuery()
