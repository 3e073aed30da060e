"""Marshmallow's schemas as JSON Schema, by apispec: what the house's own fields are, and what all mean."""

from collections.abc import Callable
from typing import Any

from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.common import resolve_schema_instance
from apispec.ext.marshmallow.openapi import OpenAPIConverter
from marshmallow import Schema, fields

from service.dataset_forms import FILES
from service.fields import Array, Texts
from service.gate import RULES
from service.job_schemas import RecipeOrName
from service.openapi_answers import Prediction
from service.openapi_calls import MAYBE
from service.openapi_examples import FORMS
from service.openapi_words import FIELDS
from service.schemas import Moment, Version
from service.uploads import FILE_FIELD
from service.version_schemas import Promote

# As the paths have them, and what stands for a version in a body.
LABEL = "^(?![0-9]+$)[a-z0-9_-]{1,64}$"
NUMBER_OR_LABEL = "^([1-9][0-9]{0,8}|(?![0-9]+$)[a-z0-9_-]{1,64})$"
BINARY = {"type": "string", "format": "binary"}


def _list(of: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "minItems": 1, "items": of}


# Half a step above the largest float32; what lies below is rounded down to it.
_LARGEST = 3.4028235677973366e38
_NUMBER = {"type": "number", "exclusiveMinimum": -_LARGEST, "exclusiveMaximum": _LARGEST}
_ROW = {"type": "object", "additionalProperties": {"type": ["number", "string"]}}
_EXAMPLES = [_list(_NUMBER), _list(_list(_NUMBER)), _list(_list(_list(_NUMBER))), _ROW]

# What the fields are that marshmallow does not know.
OWN: dict[type, dict[str, Any]] = {
    Array: {"anyOf": [_list(example) for example in _EXAMPLES]},
    Texts: _list({"type": "string", "contentEncoding": "base64"}),
    Version: {
        "anyOf": [
            {"type": "integer", "minimum": 1, "maximum": 10**9 - 1},
            {"type": "string", "pattern": NUMBER_OR_LABEL},
        ]
    },
    Promote: {"type": "string", "enum": [*RULES]},
    RecipeOrName: {"anyOf": [{"type": "object"}, {"type": "string"}]},
    Moment: {"type": "string", "format": "date-time"},
}

# What JSON Schema can say of a body and marshmallow cannot; files are no fields of a schema.
EXTRA: dict[str, dict[str, Any]] = {
    "PredictRequest": {"oneOf": [{"required": ["inputs"]}, {"required": ["images"]}]},
    "PredictForm": {"required": ["model", FILE_FIELD]},
}
# No type: a program may take an event for a text or for its parts.
EVENT = {"properties": {name: {"type": "string"} for name in ("id", "event", "data")}}
_FILES: dict[str, dict[str, Any]] = {
    "PredictForm": {FILE_FIELD: _list(BINARY) | {"description": "Picture files, one or several."}},
    "DatasetForm": {FILES[0]: BINARY | {"description": "A CSV, NPZ or zip file."}},
}


class Converter(OpenAPIConverter):
    """Turns schemas into components."""

    def schema2jsonschema(self, schema: Any) -> dict[str, Any]:
        """Return a schema's component: a request takes nothing else, an answer has all that it must."""
        found: dict[str, Any] = super().schema2jsonschema(schema)  # type: ignore[no-untyped-call]
        made = resolve_schema_instance(schema)
        name = type(made).__name__
        if not hasattr(made.Meta, "unknown"):
            # More may come to an answer.
            found.pop("additionalProperties", None)
            found["required"] = [field for field in found["properties"] if field not in MAYBE.get(name, ())]
        found["properties"].update(_FILES.get(name, {}))
        for field, example in FORMS.get(name, {}).items():
            found["properties"][field]["examples"] = [example]
        found["description"] = (type(made).__doc__ or "").strip()
        return found | EXTRA.get(name, {})

    def field2property(self, field: fields.Field[Any]) -> dict[str, Any]:
        """Return a field's property, with its description."""
        if isinstance(field, Prediction):
            resolve: Callable[[Any], dict[str, Any]] = self.resolve_nested_schema
            return {"anyOf": [resolve(choice) for choice in Prediction.CHOICES]}
        found: dict[str, Any] = OWN.get(type(field), {}) | super().field2property(field)
        if type(field) in OWN and field.allow_none:
            found["type"] = [found["type"], "null"]
        words = _words(field)
        return found | ({"description": words} if words else {})


class Plugin(MarshmallowPlugin):
    """The part of apispec that knows marshmallow."""

    Converter = Converter

    def __init__(self) -> None:
        super().__init__(schema_name_resolver=_name)


def _words(field: fields.Field[Any]) -> str | None:
    if not isinstance(field.parent, Schema):
        return None
    name: str = field.data_key or field.name  # type: ignore[assignment]
    return FIELDS.get(f"{type(field.parent).__name__}.{name}", FIELDS.get(name))


def _name(schema: Any) -> str:
    made = resolve_schema_instance(schema)
    left_out = "".join(name.capitalize() for name in sorted(made.exclude))
    return type(made).__name__ + (f"Without{left_out}" if left_out else "")
