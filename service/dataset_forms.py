"""What somebody says of a dataset that he sends: its name, and how its files are to be read."""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nncore.config import from_json
from nncore.datasets import DATASETS, SOURCES, Source
from nncore.datasets.sources import DELIMITERS, Csv, Idx, Npz, Pictures
from nncore.errors import RecipeError
from nncore.publishing import NAME, NAME_MEANING
from service.problems import MOST_ERRORS, FieldError, Invalid
from service.receiving import Parts
from service.schemas import pointer_to

# The fields that hold files: one, or the two of an IDX pair.
FILE, PAIR = "file", ("inputs", "targets")
FILES = (FILE, *PAIR)
# Options that are given once for each name of a column.
LISTS = ("ignore", "categorical", "numeric")
TRUTHS = {"true": True, "false": False}
WHOLE, SHARES = ("height", "width", "channels"), ("validation", "test")
KINDS = {Csv: "a CSV file", Npz: "an NPZ file", Idx: "a pair of IDX files", Pictures: "a zip of pictures"}
# The first bytes of a zip file, empty or not, and of gzip.
ZIP, GZIP = (b"PK\3\4", b"PK\5\6"), b"\x1f\x8b"
HEADER_OF_MEMBER = 30


def read_form(parts: Parts) -> tuple[str, Source]:
    """Return the name of a dataset and where and how it is read.

    Raises Invalid with a pointer to each field that is missing, wrong, or no option of such a file.
    """
    errors = [
        FieldError(pointer_to(name), "must be given once")
        for name, values in parts.fields.items()
        if len(values) > 1 and name not in LISTS
    ]
    name, *_ = parts.fields.get("name", [""])
    if problem := _name_problem(name, parts):
        errors.append(FieldError("#/name", problem))
    kind = _kind(parts.files)
    errors += _strange(kind, parts)
    if errors:
        raise Invalid(errors[: MOST_ERRORS + 1])
    paths = {field: str(path) for field, path in parts.files.items()}
    where = {"path": paths[FILE]} if FILE in paths else paths
    options = {name: _value(name, values) for name, values in parts.fields.items() if name != "name"}
    try:
        source: Source = from_json(kind, where | options)
    except RecipeError as error:
        raise Invalid([_field_error(path, text) for path, text in error.problems.items()]) from None
    return name, source


def options_of(kind: type) -> list[str]:
    """Return the names of the fields that say how a source of a kind is read."""
    paths: tuple[str, ...] = getattr(kind, "PATHS", ())
    return [field.name for field in dataclasses.fields(kind) if field.name not in paths]


def shown_options(source: Mapping[str, Any]) -> dict[str, Any]:
    """Return a source as JSON without where its files lay."""
    kind = SOURCES[source["type"]]
    return {"type": source["type"]} | {name: source[name] for name in options_of(kind)}


def _name_problem(name: str, parts: Parts) -> str | None:
    if "name" not in parts.fields:
        return f"is missing: what the dataset is to be called, {NAME_MEANING}"
    if not NAME.fullmatch(name):
        return f"must be {NAME_MEANING}, not {name[:60]!r}"
    return f"must not be {name!r}: a dataset of that name is built in" if name in DATASETS else None


def _kind(files: Mapping[str, Path]) -> type:
    """Return what kind of source the files are, by their first bytes."""
    if files.keys() == set(PAIR):
        return Idx
    if files.keys() != {FILE}:
        lacking = next((name for name in PAIR if files and name not in files), FILE)
        text = (
            "is missing: a CSV, NPZ or zip file is sent in the field file, an IDX pair in inputs and targets"
        )
        if FILE in files:
            lacking, text = FILE, "must come alone: inputs and targets are the files of an IDX pair"
        raise Invalid([FieldError(pointer_to(lacking), text)])
    path = files[FILE]
    with path.open("rb") as file:
        start = file.read(1024)
    if start.startswith(ZIP):
        return Npz if _first_member(start).endswith(b".npy") else Pictures
    if path.suffix.lower() in (".zip", ".npz"):
        raise Invalid([FieldError("#/file", f"{path.name}: is no zip file, which its name says that it is")])
    if start.startswith(GZIP) or b"\0" in start:
        text = f"{path.name}: is no CSV (UTF-8), NPZ or zip file; an IDX pair is sent as inputs and targets"
        raise Invalid([FieldError("#/file", text)])
    return Csv


def _first_member(start: bytes) -> bytes:
    """Return the name of a zip file's first member from its own header; the directory is read elsewhere."""
    length = int.from_bytes(start[26:28], "little")
    return start[HEADER_OF_MEMBER : HEADER_OF_MEMBER + length]


def _strange(kind: type, parts: Parts) -> list[FieldError]:
    known = options_of(kind)
    text = f"is no option of {KINDS[kind]}; those are {', '.join(known)}"
    return [FieldError(pointer_to(name), text) for name in parts.fields if name not in ("name", *known)]


def _value(name: str, texts: list[str]) -> Any:
    """Return what a text means; one that means nothing stays, to be complained of."""
    if name in LISTS:
        return texts
    text = texts[0]
    if name == "header":
        return TRUTHS.get(text, text)
    if name in WHOLE and re.fullmatch(r"[0-9]{1,9}", text):
        return int(text)
    if name in SHARES and re.fullmatch(r"[0-9]*\.?[0-9]+", text):
        return float(text)
    return {"tab": "\t"}.get(text, text) if name == "delimiter" else text


def _field_error(path: str, text: str) -> FieldError:
    if path == "delimiter":
        text = f"must be {', '.join(mark for mark in DELIMITERS if mark.isprintable())} or tab"
    if path == "target" and text == "is missing":
        text = "is missing: the name of the column that is to be told from the others"
    return FieldError(pointer_to(path.partition("[")[0]), text)
