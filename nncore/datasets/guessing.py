"""What kind of data files are, from their names."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nncore.config import from_json
from nncore.datasets.cells import open_cells
from nncore.datasets.sources import Csv, Idx, Npz, Pictures, Source
from nncore.errors import DatasetError, RecipeError


def source_of(paths: Sequence[Path], options: Mapping[str, Any]) -> Source:
    """Return the source that files are, read with options, which are fields of the source by their names.

    A folder or zip file holds pictures, two files are a pair of IDX, and what is not called `.npz` is CSV.
    Raises DatasetError that names the field where an option is wrong.
    """
    if len(paths) > 2:
        raise DatasetError(f"{len(paths)} files are given; data are one file or folder, or two IDX files")
    kind: type[Source]
    if len(paths) == 2:
        kind, fields = Idx, {"inputs": str(paths[0]), "targets": str(paths[1])}
    else:
        path = paths[0]
        kind = Pictures if path.is_dir() or path.suffix == ".zip" else Npz if path.suffix == ".npz" else Csv
        fields = {"path": str(path)}
    if kind is Csv and "target" not in options:
        with open_cells(Csv(str(path), target="")) as cells:
            known = ", ".join(cells.names)[:500]
        raise DatasetError(f"{path}: which column is to be told from the others, the target? One of {known}")
    try:
        return from_json(kind, {**options, **fields})
    except RecipeError as error:
        raise DatasetError(f"{', '.join(map(str, paths))}: {error}") from None
