"""Models, their versions, and the labels that point at them."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from service.remote import reading
from service.remote.calls import Calls, json_body, segment
from service.remote.errors import ClientError, unexpected
from service.remote.results import Label, Model, Move, Upload, Version


class Models(Calls):
    """The calls below /models."""

    def models(self) -> list[Model]:
        """Return every model: its labels, versions and what could not be served."""
        return self.call("GET", "/models", lambda found: [reading.model(one) for one in found["models"]])

    def model(self, model: str) -> Model:
        """Return one model."""
        return self.call("GET", f"/models/{segment(model)}", reading.model)

    def version(self, model: str, version: int | str = "stable") -> Version:
        """Return what a version says of itself, by its number or a label."""
        return self.call("GET", _version(model, version), reading.version)

    def upload(self, model: str, path: str | Path, *, promote: str = "if_better") -> Upload:
        """Publish a model file trained elsewhere; return its version, and whether it was promoted."""
        return self.call(
            "POST",
            f"/models/{segment(model)}/versions",
            reading.upload,
            # The same file again is the version that it already is.
            repeatable=True,
            params={"promote": promote},
            data=Path(path).read_bytes(),
            headers={"Content-Type": "application/octet-stream"},
        )

    def download(self, model: str, version: int | str, path: str | Path) -> str:
        """Write a version's model file to `path`, and return its SHA-256."""
        response = self.ask("GET", f"{_version(model, version)}/file")
        sha256 = hashlib.sha256(response.content).hexdigest()
        if response.headers.get("ETag") != f'"{sha256}"':
            raise unexpected(response)
        Path(path).write_bytes(response.content)
        return sha256

    def delete_version(self, model: str, version: int) -> None:
        """Delete a version that no label points to and no job starts from."""
        self.ask("DELETE", _version(model, version))

    def promote(self, model: str, version: int | str, label: str = "stable") -> Label:
        """Point a label at a version, forward or back, and return the label with its history."""
        return self.call("PUT", _label(model, label), reading.label, **json_body({"version": version}))

    def rollback(self, model: str, label: str = "stable") -> Label:
        """Point a label at the version that it pointed to before, as far as that is there still.

        Twice is back again. Raises ClientError where its history has no other version.
        """
        there = self.model(model)
        for move in self.label_history(model, label):
            before = move.from_version
            if before in there.versions and before != there.labels.get(label):
                return self.promote(model, before, label)
        raise ClientError(f"the history of {model} {label} has no other version to go back to")

    def label_history(self, model: str, label: str = "stable") -> Iterator[Move]:
        """Yield the moves of a label, newest first."""
        yield from self.pages(_label(model, label), "history", reading.move)


def _version(model: str, version: int | str) -> str:
    return f"/models/{segment(model)}/versions/{segment(str(version))}"


def _label(model: str, label: str) -> str:
    return f"/models/{segment(model)}/labels/{segment(label)}"
