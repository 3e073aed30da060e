"""The query of the request at hand: what stands behind the ? of its address."""

from typing import Any

from flask import request
from marshmallow import Schema

from service.problems import FieldError, Invalid
from service.schemas import load, pointer_to


def query(schema: Schema) -> dict[str, Any]:
    """Return the query checked by a schema; raises Invalid with a pointer, also to what is there twice."""
    sent = request.args.to_dict(flat=False)
    # Whichever of two were taken, somebody would have meant the other.
    if twice := [name for name, values in sent.items() if len(values) > 1]:
        raise Invalid([FieldError(pointer_to(name), "must be given once") for name in twice])
    return load(schema, {name: value for name, [value] in sent.items()})
