"""Bodies that no schema reads or writes, as schemas for the document; the tests hold them to the truth."""

from marshmallow import RAISE, Schema, fields, validate

from nncore.datasets.sources import MOST_SIDE, TASKS
from nncore.publishing import NAME
from service.dataset_schemas import DatasetSummary
from service.job_schemas import JobSummary, Plan
from service.schemas import ModelSummary


class FieldProblem(Schema):
    """One thing that is wrong with the input."""

    pointer = fields.String()
    detail = fields.String()


class Problem(Schema):
    """Every error: a problem document (RFC 9457)."""

    type = fields.String()
    title = fields.String()
    status = fields.Integer()
    detail = fields.String()
    request_id = fields.String()
    errors = fields.List(fields.Nested(FieldProblem()))


class Class(Schema):
    """The answer of a classifier for one example."""

    label = fields.String()
    confidence = fields.Float(validate=validate.Range(0, 1))
    probabilities = fields.List(fields.Float(validate=validate.Range(0, 1)))


class Value(Schema):
    """The answer of a regression for one example."""

    value = fields.Float()


class Values(Schema):
    """The same, of a regression with several columns."""

    value = fields.List(fields.Float(), validate=validate.Length(2))


class Prediction(fields.Field[object]):
    """One of the three above."""

    CHOICES = (Class, Value, Values)


class Predictions(Schema):
    """The answer to POST /predict."""

    model = fields.String()
    version = fields.Integer()
    sha256 = fields.String()
    predictions = fields.List(Prediction())
    labels = fields.List(fields.String())


class Models(Schema):
    """The answer to GET /models."""

    models = fields.List(fields.Nested(ModelSummary()))


class Jobs(Schema):
    """The answer to GET /train: a page."""

    jobs = fields.List(fields.Nested(JobSummary()))
    next = fields.String(allow_none=True)


class DryRun(Plan):
    """The answer to a dry run."""

    dry_run = fields.Boolean(validate=validate.Equal(True))


class Datasets(Schema):
    """The answer to GET /datasets: a page."""

    datasets = fields.List(fields.Nested(DatasetSummary()))
    next = fields.String(allow_none=True)


class Alive(Schema):
    """The answer to GET /healthz."""

    status = fields.String(validate=validate.Equal("alive"))


class ModelReadiness(Schema):
    """Whether one model can answer."""

    ready = fields.Boolean()
    version = fields.Integer(allow_none=True)
    failures = fields.Dict(keys=fields.String(), values=fields.String())


class Readiness(Schema):
    """The answer to GET /readyz."""

    ready = fields.Boolean()
    models = fields.Dict(keys=fields.String(), values=fields.Nested(ModelReadiness()))


class DatasetForm(Schema):
    """POST /datasets: a name, a file or a pair of them, and how they are read (docs/data.md)."""

    class Meta:
        """Unknown fields are errors."""

        unknown = RAISE

    name = fields.String(required=True, validate=validate.Regexp(f"^{NAME.pattern}$"))
    target = fields.String(validate=validate.Length(1))
    task = fields.String(validate=validate.OneOf(TASKS))
    header = fields.String(validate=validate.OneOf(["true", "false"]))
    delimiter = fields.String(validate=validate.OneOf([",", ";", "tab", "|"]))
    ignore = fields.List(fields.String())
    categorical = fields.List(fields.String())
    numeric = fields.List(fields.String())
    inputs = fields.String()
    targets = fields.String()
    height = fields.Integer(validate=validate.Range(1, MOST_SIDE))
    width = fields.Integer(validate=validate.Range(1, MOST_SIDE))
    channels = fields.Integer(validate=validate.Range(1, 3))
    validation = fields.Float(validate=validate.Range(0, 0.5, min_inclusive=False))
    test = fields.Float(validate=validate.Range(0, 0.5, min_inclusive=False))
