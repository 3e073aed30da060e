"""The bodies and answers of /v2, the Open Inference Protocol, as schemas for the document alone."""

from marshmallow import INCLUDE, Schema, fields, validate

from service.v2.datatypes import BYTES, DATATYPES, MOST_AXES
from service.v2.requests import MOST_TENSORS

_DATATYPE = validate.OneOf([*DATATYPES, BYTES])
_TEXT = validate.Length(1)


class _Open(Schema):
    class Meta:
        """What is unknown is passed over, as the protocol has it."""

        unknown = INCLUDE


class V2Error(Schema):
    """Every error below /v2."""

    error = fields.String()


class V2Server(Schema):
    """The answer to GET /v2."""

    name = fields.String()
    version = fields.String()
    extensions = fields.List(fields.String())


class V2Live(Schema):
    """The answer to GET /v2/health/live."""

    live = fields.Boolean()


class V2Ready(V2Live):
    """The answer to GET /v2/health/ready."""

    ready = fields.Boolean()
    error = fields.String()


class V2ModelReady(Schema):
    """The answer to GET /v2/models/<m>/ready."""

    name = fields.String()
    ready = fields.Boolean()
    error = fields.String()


class V2TensorInfo(Schema):
    """A tensor that a model takes or gives."""

    name = fields.String()
    datatype = fields.String(validate=_DATATYPE)
    shape = fields.List(fields.Integer())


class V2ModelParameters(Schema):
    """What the protocol has no field for."""

    version = fields.String()
    sha256 = fields.String()
    outputs_on_request = fields.List(fields.Nested(V2TensorInfo()))


class V2Model(Schema):
    """The answer to GET /v2/models/<m>."""

    name = fields.String()
    versions = fields.List(fields.String())
    platform = fields.String()
    inputs = fields.List(fields.Nested(V2TensorInfo()))
    outputs = fields.List(fields.Nested(V2TensorInfo()))
    parameters = fields.Nested(V2ModelParameters())


class V2ConfigTensor(Schema):
    """A tensor in a model's configuration."""

    name = fields.String()
    data_type = fields.String()
    dims = fields.List(fields.Integer())


class V2Config(Schema):
    """The answer to GET /v2/models/<m>/config."""

    name = fields.String()
    platform = fields.String()
    backend = fields.String()
    max_batch_size = fields.Integer()
    version_policy = fields.Dict()
    input = fields.List(fields.Nested(V2ConfigTensor()))
    output = fields.List(fields.Nested(V2ConfigTensor()))


class V2ModelStats(Schema):
    """What one version has answered."""

    name = fields.String()
    version = fields.String()
    last_inference = fields.Integer()
    inference_count = fields.Integer()
    execution_count = fields.Integer()
    inference_stats = fields.Dict()


class V2Stats(Schema):
    """The answer to GET /v2/models/<m>/stats."""

    model_stats = fields.List(fields.Nested(V2ModelStats()))


class V2InputTensor(_Open):
    """A tensor that is sent."""

    name = fields.String(required=True, validate=_TEXT)
    datatype = fields.String(required=True, validate=_DATATYPE)
    shape = fields.List(
        fields.Integer(validate=validate.Range(1)), required=True, validate=validate.Length(1, MOST_AXES)
    )
    parameters = fields.Dict(allow_none=True)
    data = fields.List(fields.Raw())


class V2WantedTensor(_Open):
    """An output that is asked for."""

    name = fields.String(required=True, validate=_TEXT)
    parameters = fields.Dict(allow_none=True)


class V2InferRequest(_Open):
    """POST /v2/models/<m>/infer."""

    id = fields.String(allow_none=True)
    parameters = fields.Dict(allow_none=True)
    inputs = fields.List(
        fields.Nested(V2InputTensor()), required=True, validate=validate.Length(1, MOST_TENSORS)
    )
    outputs = fields.List(fields.Nested(V2WantedTensor()), validate=validate.Length(0, MOST_TENSORS))


class V2OutputTensor(V2TensorInfo):
    """A tensor that is given."""

    data = fields.List(fields.Raw())
    parameters = fields.Dict()


class V2InferAnswer(Schema):
    """The answer to POST /v2/models/<m>/infer."""

    model_name = fields.String()
    model_version = fields.String()
    id = fields.String()
    outputs = fields.List(fields.Nested(V2OutputTensor()))


class V2IndexRequest(_Open):
    """POST /v2/repository/index; the body may also be empty."""

    ready = fields.Boolean()


class V2IndexItem(Schema):
    """One version in the index."""

    name = fields.String()
    version = fields.String()
    state = fields.String(validate=validate.OneOf(["READY", "UNAVAILABLE"]))
    reason = fields.String()


class V2LoadRequest(_Open):
    """POST /v2/repository/models/<m>/load; the body may also be empty."""

    parameters = fields.Dict(allow_none=True, metadata={"maxProperties": 0})


class V2Loaded(Schema):
    """The answer to it."""

    name = fields.String()
    loaded = fields.Boolean(data_key="load")
