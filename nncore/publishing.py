"""Versions on disk: `<models>/<name>/<number>/model.safetensors` with `version.json` beside it."""

import errno
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

MODEL_FILE = "model.safetensors"
VERSION_FILE = "version.json"
# The highest number ever given: it outlives the folder, so that a number is never given twice.
COUNTER_FILE = ".last-version"
MOST_FACTS_BYTES = 1 << 20
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
NAME_MEANING = "1 to 64 lower-case letters, digits, - and _, beginning with a letter or digit"


def versions(model: Path) -> list[int]:
    """Return the numbers of the versions in a model's folder, lowest first."""
    try:
        entries = list(os.scandir(model))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(int(entry.name) for entry in entries if re.fullmatch(r"[1-9][0-9]{0,8}", entry.name))


def publish(model: Path, data: bytes, **about: Any) -> int:
    """Write a model file as the next version of a model and return its number.

    The version is written beside, flushed to disk and renamed: it is never seen half-written.
    `about` goes into version.json, with number, size, SHA-256 and time.
    """
    model.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=model))
    try:
        draft.chmod(0o755)
        write_synced(draft / MODEL_FILE, data)
        number = max(_last_number(model), *versions(model), 0) + 1
        while True:
            facts = {
                "version": number,
                "sha256": hashlib.sha256(data).hexdigest(),
                "bytes": len(data),
                "published": datetime.now(UTC).isoformat(timespec="seconds"),
            } | about
            write_synced(draft / VERSION_FILE, json.dumps(facts, indent=2, sort_keys=True).encode() + b"\n")
            try:
                draft.rename(model / str(number))
            except OSError:
                # Somebody else published this number first; a folder that is not empty is never replaced.
                if not (model / str(number)).exists():
                    raise
                number += 1
                continue
            # Raced by another publisher this may fall behind, but never behind the folders that are there.
            replace_file(model / COUNTER_FILE, f"{number}\n".encode())
            return number
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _last_number(model: Path) -> int:
    try:
        return int((model / COUNTER_FILE).read_text())
    except (OSError, ValueError):
        return 0


def read_facts(version: Path) -> dict[str, Any]:
    """Return what version.json says: SHA-256, size, time; nothing where there is none to be read."""
    try:
        facts = json.loads(read_file(version / VERSION_FILE, MOST_FACTS_BYTES))
        # Python reads lone surrogates, which nobody could be sent.
        json.dumps(facts, ensure_ascii=False).encode()
    except (OSError, ValueError, RecursionError):
        return {}
    kinds = {"version": int, "sha256": str, "bytes": int, "published": str, "origin": str}
    if not isinstance(facts, dict) or any(
        type(facts.get(n, kind())) is not kind for n, kind in kinds.items()
    ):
        return {}
    return facts if abs(facts.get("bytes", 0)) < 2**63 else {}


def read_file(path: Path, most_bytes: int) -> bytes:
    """Return the bytes of a file; raises OSError where there is no regular one, or a larger one.

    A pipe in its place would be waited for without end.
    """
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "is not a regular file")
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise OSError(errno.EFBIG, f"has more than {most_bytes:,} bytes")
    return data


def write_synced(path: Path, data: bytes) -> None:
    """Write a file and flush it to disk."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk, so that a rename in it outlives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, data: bytes) -> None:
    """Write a file beside `path`, flush it to disk and rename it: readers see the old or the new."""
    draft = path.with_name(f".draft-{path.name}-{os.getpid()}-{threading.get_ident()}")
    write_synced(draft, data)
    draft.replace(path)
    sync_folder(path.parent)
