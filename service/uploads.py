"""A multipart body: picture files and the fields beside them."""

from collections.abc import Mapping
from io import BytesIO
from typing import Any

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser

from service.problems import FieldError, Invalid
from service.schemas import PREDICT_FORM, load

# Fields beside the files are a model's name and a version. Werkzeug holds its 64 KiB reading buffer against
# this limit too: with less, a file of that size would be refused.
MOST_FIELD_BYTES = 200_000
MOST_PARTS = 1_000
FILE_FIELD = "image"


def load_upload(body: bytes, parameters: Mapping[str, str]) -> tuple[dict[str, Any], list[bytes]]:
    """Return the fields and the files of a multipart body (RFC 7578).

    `parameters` are those of the Content-Type, the boundary among them.
    """
    fields, files = _parse(body, parameters)
    repeated = [name for name in fields if len(fields.getlist(name)) > 1]
    if repeated:
        text = f"is given {len(fields.getlist(repeated[0]))} times; it must be given once"
        raise Invalid([FieldError(f"#/{repeated[0][:100]}", text)])
    given = fields.to_dict()
    # The commonest form, which marshmallow would find nothing wrong with.
    asked = given if given.keys() == {"model"} else load(PREDICT_FORM, given)
    strange = [name for name in files if name != FILE_FIELD]
    if strange or not files:
        pointer = f"#/{strange[0][:100]}" if strange else f"#/{FILE_FIELD}"
        raise Invalid([FieldError(pointer, f"pictures are sent as files in fields named {FILE_FIELD}")])
    return asked, [file.read() for file in files.getlist(FILE_FIELD)]


def _parse(body: bytes, parameters: Mapping[str, str]) -> tuple[Any, Any]:
    parser = FormDataParser(
        stream_factory=lambda *_, **__: BytesIO(),
        max_form_memory_size=MOST_FIELD_BYTES,
        max_form_parts=MOST_PARTS,
        silent=False,
    )
    try:
        _, fields, files = parser.parse(BytesIO(body), "multipart/form-data", len(body), dict(parameters))
    except RequestEntityTooLarge:
        text = f"must have at most {MOST_PARTS} parts, and {MOST_FIELD_BYTES:,} bytes beside the files"
        raise Invalid([FieldError("#", text)]) from None
    except ValueError as error:
        raise Invalid([FieldError("#", f"is not a well-formed multipart body: {error}")]) from None
    return fields, files
