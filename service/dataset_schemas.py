"""The requests and answers of /datasets, as marshmallow schemas."""

from marshmallow import Schema, fields, validate

from nncore.publishing import NAME
from service.schemas import Moment, PageQuery


class DatasetsQuery(PageQuery):
    """The query of GET /datasets: a cursor is the last name of the page before."""

    cursor = fields.String(  # type: ignore[assignment]
        validate=validate.Regexp(f"^{NAME.pattern}$", error="must be taken from `next` of an answer")
    )


class DatasetSummary(Schema):
    """One dataset in GET /datasets: service.datasets.Named."""

    name = fields.String()
    sha256 = fields.String()
    created = Moment()
    bytes = fields.Integer()
    task = fields.String()
    rows = fields.Dict(attribute="parts")


class DatasetDetail(DatasetSummary):
    """GET /datasets/<name>: also what nncore.datasets.summary says of it."""

    reading = fields.Dict()
    input_shape = fields.List(fields.Integer())
    columns = fields.List(fields.Dict())
    classes = fields.List(fields.Dict())
    target = fields.Dict()
    first = fields.List(fields.Dict())
    note = fields.String()
    sheet = fields.String()
    recipe = fields.Dict()


DATASETS_QUERY = DatasetsQuery()
DATASET_SUMMARY = DatasetSummary()
DATASET_DETAIL = DatasetDetail()
