"""Datasets: data of one's own, sent once and trained on by name."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from service.remote import reading
from service.remote.calls import Calls, segment
from service.remote.results import Dataset
from service.sending import Form

# Seconds to connect, and until it is answered: a dataset is read before.
_TIMEOUT = (3.05, 600.0)


class Datasets(Calls):
    """The calls below /datasets."""

    def upload_dataset(
        self, name: str, path: str | Path | tuple[str | Path, str | Path], **options: Any
    ) -> Dataset:
        """Send a CSV, NPZ or zip file, or the two of an IDX pair, as a dataset; return what it holds.

        `options` say how it is read, `target="species", ignore=["id"]` say: docs/datasets.md. A name that is
        there already stands for the new content from then on.
        """
        paths = {"file": path} if isinstance(path, (str, Path)) else {"inputs": path[0], "targets": path[1]}
        form = Form([("name", name), *_fields(options)], {field: Path(path) for field, path in paths.items()})
        headers = {"Content-Type": form.content_type}
        how = {"data": form, "headers": headers, "timeout": _TIMEOUT}
        return self.call("POST", "/datasets", reading.dataset, repeatable=True, **how)

    def datasets(self) -> Iterator[Dataset]:
        """Yield the datasets in the order of their names, each with its rows and SHA-256."""
        yield from self.pages("/datasets", "datasets", reading.dataset)

    def dataset(self, name: str) -> Dataset:
        """Return what a dataset holds, and in `recipe` one to begin with."""
        return self.call("GET", f"/datasets/{segment(name)}", reading.dataset)

    def delete_dataset(self, name: str) -> None:
        """Delete a dataset that no job and no version needs."""
        self.ask("DELETE", f"/datasets/{segment(name)}")


def _fields(options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield options as the fields of a form: several for a list, none for None."""
    for name, value in options.items():
        for one in value if isinstance(value, (list, tuple)) else [value]:
            if one is not None:
                yield name, str(one).lower() if isinstance(one, bool) else str(one)
