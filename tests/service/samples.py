"""Data as people have them, and how they are sent: flowers and wines, pictures of digits, small tables."""

import functools
import gzip
import io
import struct
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from serving import Answer, Service, multipart

from nncore.contact_sheet import png

Array = np.ndarray[Any, Any]
# Two kinds of fruit by weight, colour and a remark that some spreadsheet would run.
FRUIT = "weight,colour,remark,kind\n" + "".join(
    f"{100 + 7 * (n % 9)},{'red' if n % 3 else 'green'},{'=1+1' if n % 2 else '@SUM(A1)'},apple\n"
    f"{200 + 9 * (n % 7)},{'yellow' if n % 4 else 'green'},{'=1+1' if n % 5 else '-cmd'},melon\n"
    for n in range(20)
)


def csv_of(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    return "\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows), ""]).encode()


@functools.cache
def table(name: str, every: int = 5) -> tuple[bytes, list[dict[str, float]], list[str]]:
    """Return a table of scikit-learn as CSV, every so-manieth row left out; those as objects, and answers."""
    from sklearn import datasets

    data = getattr(datasets, f"load_{name}")()
    columns = [column.split(" (")[0].replace(" ", "_").replace("/", "_") for column in data.feature_names]
    answers = [str(data.target_names[target]) for target in data.target]
    kept, rows, held = [], [], []
    for place, (row, answer) in enumerate(zip(data.data.tolist(), answers, strict=True)):
        if place % every:
            kept.append([*row, answer])
        else:
            rows.append(dict(zip(columns, row, strict=True)))
            held.append(answer)
    return csv_of([*columns, "answer"], kept), rows, held


@functools.cache
def digits(classes: int = 5) -> tuple[Array, Array]:
    """Return scikit-learn's pictures of the first few digits, (N, 8, 8) bytes, and what each is."""
    from sklearn import datasets

    data = datasets.load_digits(n_class=classes)
    return (data.images * 255 / 16).astype(np.uint8), data.target


def zip_of(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in files.items():
            file.writestr(name, data)
    return buffer.getvalue()


def picture_zip(pictures: Array, labels: Sequence[str]) -> bytes:
    """Return a zip file with a folder a class."""
    return zip_of(
        {
            f"{label}/{place}.png": png(picture)
            for place, (picture, label) in enumerate(zip(pictures, labels, strict=True))
        }
    )


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def idx(array: Array) -> bytes:
    """Return bytes as an IDX file, gzipped."""
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return gzip.compress(header + array.astype(np.uint8).tobytes(), 1)


def form(
    name: str | None = None, *, files: Mapping[str, tuple[str, bytes]] | None = None, **options: Any
) -> tuple[bytes, dict[str, str]]:
    """Return the body and header of POST /datasets; an option with a list is sent several times."""
    fields = [("name", name)] if name is not None else []
    for field, value in options.items():
        fields += [(field, str(one)) for one in (value if isinstance(value, list) else [value])]
    parts = [(field, file, content) for field, (file, content) in (files or {}).items()]
    return multipart(fields, parts)


def send(service: Service, name: str, file: str, content: bytes, **options: Any) -> Answer:
    """POST /datasets with one file."""
    return service.ask("POST", "/datasets", *form(name, files={"file": (file, content)}, **options))


def drafts(service: Service) -> list[str]:
    """Return what is being received, or was left behind."""
    folder = service.store / ".datasets"
    return [path.name for path in folder.glob(".*")] if folder.is_dir() else []
