"""GET /models/<m>/monitoring as marshmallow schemas."""

from marshmallow import RAISE, Schema, fields

from service.schemas import Moment, Version


class MonitoringQuery(Schema):
    """The query of GET /models/<m>/monitoring."""

    error_messages: dict[str, str] = {"unknown": "is not known here; known is version"}  # noqa: RUF012

    class Meta:
        """Unknown fields are errors."""

        unknown = RAISE

    version = Version()


class Known(Schema):
    """What the reference in the card says of the same thing."""

    shares = fields.List(fields.Float())
    mean = fields.Float()
    deviation = fields.Float()


class Shared(Schema):
    """Shares of what came, those of the reference, and the index between the two.

    `chance` is what the index would be above once in a thousand times had nothing changed, and `fewest` how
    many rows have to come before there is one, null where the reference itself has too few.
    """

    shares = fields.List(fields.Float(), allow_none=True)
    reference = fields.Nested(Known, allow_none=True)
    psi = fields.Float(allow_none=True)
    chance = fields.Float(allow_none=True)
    fewest = fields.Integer(allow_none=True)


class FeatureReport(Shared):
    """One column of the inputs, or one figure of them; of a regression one value."""

    name = fields.String()
    mean = fields.Float(allow_none=True)
    deviation = fields.Float(allow_none=True)
    edges = fields.List(fields.Float())


class LabelsReport(Shared):
    """The labels that were answered: their names, and shares in the same order."""

    names = fields.List(fields.String())


class ConfidenceReport(Shared):
    """How sure the answers were: their mean, and the share in each tenth from 0 to 1."""

    mean = fields.Float(allow_none=True)


class InputsReport(Schema):
    """The inputs: examples looked at, and what was seen."""

    rows = fields.Integer()
    features = fields.List(fields.Nested(FeatureReport))


class Drift(Schema):
    """The largest index, what it is of, and in a word how large it is."""

    psi = fields.Float()
    of = fields.String()
    level = fields.String()


class MonitoringReport(Schema):
    """What came lately and what was answered, beside what the version was made from."""

    model = fields.String()
    version = fields.Integer()
    sha256 = fields.String()
    since = Moment()
    requests = fields.Integer()
    rows = fields.Integer()
    drift = fields.Nested(Drift, allow_none=True)
    why_no_drift = fields.String()
    labels = fields.Nested(LabelsReport)
    confidence = fields.Nested(ConfidenceReport)
    outputs = fields.List(fields.Nested(FeatureReport))
    inputs = fields.Nested(InputsReport)


MONITORING_QUERY = MonitoringQuery()
MONITORING_REPORT = MonitoringReport()
