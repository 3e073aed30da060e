"""The requests and answers of /train, as marshmallow schemas."""

from typing import Any

from marshmallow import RAISE, Schema, fields, validate

from nncore.publishing import NAME, NAME_MEANING
from service.gate import IF_BETTER
from service.jobs.job import STATES
from service.schemas import NAME_MESSAGES, ONE_OF, Moment, PageQuery, Version
from service.version_schemas import Promote


class RecipeOrName(fields.Field[Any]):
    """A recipe, whose fields nncore checks, or the name of a shipped one."""

    default_error_messages: dict[str, str | list[Any] | dict[Any, Any]] = {  # noqa: RUF012
        "invalid": "must be a recipe, as an object, or the name of a shipped one",
        "null": "must be a recipe, as an object, or the name of a shipped one",
    }

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        if not isinstance(value, (dict, str)):
            raise self.make_error("invalid")
        return value


class TrueOrFalse(fields.Boolean):
    """A boolean; Python, and marshmallow with it, would take 0 and 1 for one."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid")
        return value


class TrainRequest(Schema):
    """POST /train: all but `model` may be left out."""

    error_messages: dict[str, str] = {  # noqa: RUF012
        "unknown": "is not known here; known are model, recipe, start_from, promote and dry_run"
    }

    class Meta:
        """Unknown fields are errors."""

        unknown = RAISE

    model = fields.String(
        required=True, error_messages=NAME_MESSAGES, metadata={"pattern": f"^{NAME.pattern}$"}
    )
    recipe = RecipeOrName()
    start_from = Version()
    promote = Promote(load_default=IF_BETTER)
    dry_run = TrueOrFalse(
        load_default=False,
        error_messages={"invalid": "must be true or false", "null": "must be true or false"},
    )


class JobsQuery(PageQuery):
    """The query of GET /train."""

    error_messages: dict[str, str] = {  # noqa: RUF012
        "unknown": "is not known here; known are state, model, limit and cursor"
    }

    state = fields.String(validate=validate.OneOf(STATES, error=ONE_OF))
    model = fields.String(
        validate=validate.Regexp(f"^{NAME.pattern}$", error=f"must be a model's name: {NAME_MEANING}")
    )


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
    state = fields.String(validate=validate.OneOf(STATES))
    created = Moment()
    started = Moment(allow_none=True)
    ended = Moment(allow_none=True)
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
