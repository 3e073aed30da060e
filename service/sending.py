"""A multipart body (RFC 7578) that is read from disk as it is sent, however large its files are."""

import secrets
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

PIECE = 1 << 20
END = b"\r\n"


class Form:
    """Fields and files, as `requests` sends them: a length, and pieces that can be gone through again."""

    def __init__(self, fields: Iterable[tuple[str, str]], files: Mapping[str, Path]) -> None:
        self.boundary = secrets.token_hex(16)
        self.content_type = f"multipart/form-data; boundary={self.boundary}"
        self.parts: list[bytes | Path] = []
        for name, value in fields:
            self.parts += [self._head(name) + value.encode() + END]
        for name, path in files.items():
            self.parts += [self._head(name, path.name), path, END]
        self.parts.append(f"--{self.boundary}--\r\n".encode())

    def __len__(self) -> int:
        return sum(part.stat().st_size if isinstance(part, Path) else len(part) for part in self.parts)

    def __iter__(self) -> Iterator[bytes]:
        for part in self.parts:
            if isinstance(part, bytes):
                yield part
                continue
            with part.open("rb") as file:
                while piece := file.read(PIECE):
                    yield piece

    def _head(self, name: str, file_name: str | None = None) -> bytes:
        file = "" if file_name is None else f'; filename="{_quoted(file_name)}"'
        about = f'Content-Disposition: form-data; name="{_quoted(name)}"{file}'
        return f"--{self.boundary}\r\n{about}\r\n\r\n".encode()


def _quoted(text: str) -> str:
    """Return a text as browsers write it between quotes (the HTML standard, "multipart form data")."""
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
