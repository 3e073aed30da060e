"""Versions on disk: `<models>/<name>/<number>/model.safetensors` with `version.json` beside it."""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nncore.files import DRAFT, read_file, replace_file, sync_folder, write_synced

MODEL_FILE = "model.safetensors"
VERSION_FILE = "version.json"
# The highest number ever given: it outlives the folder, so that a number is never given twice.
COUNTER_FILE = ".last-version"
# A folder beside the versions that comes and goes; a kill may leave it behind.
TRASH = ".trash-"
MOST_FACTS_BYTES = 1 << 20
KINDS_OF_FACTS = {
    "version": int, "sha256": str, "bytes": int, "published": str, "origin": str, "job": str, "dataset": str
}  # fmt: skip
NUMBER = re.compile(r"[1-9][0-9]{0,8}")
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
NAME_MEANING = "1 to 64 lower-case letters, digits, - and _, beginning with a letter or digit"


def versions(model: Path) -> list[int]:
    """Return the numbers of the versions, which are folders, in a model's folder, lowest first."""
    try:
        entries = list(os.scandir(model))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(int(entry.name) for entry in entries if NUMBER.fullmatch(entry.name) and _is_folder(entry))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # A link in a circle.
        return False


def publish(model: Path, data: bytes, **about: Any) -> int:
    """Write a model file as the next version of a model and return its number.

    The version is written beside, flushed to disk and renamed: it is never seen half-written.
    `about` goes into version.json, with number, size, SHA-256 and time.
    """
    while True:
        number = next_number(model)
        with drafted(model, number, data, **about) as draft:
            if place(draft, model, number):
                return number


def next_number(model: Path) -> int:
    """Take the number of a model's next version, and write down that it is taken.

    Where others may do the same at this moment two can be given one number: `place` tells.
    """
    model.mkdir(parents=True, exist_ok=True)
    number = _highest(model) + 1
    _write_counter(model, number)
    return number


@contextmanager
def drafted(model: Path, number: int, data: bytes, **about: Any) -> Iterator[Path]:
    """Write a version beside the others and flush it to disk; unless it is placed it goes again."""
    draft = Path(tempfile.mkdtemp(prefix=DRAFT, dir=model))
    facts = {
        "version": number,
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "published": datetime.now(UTC).isoformat(timespec="seconds"),
    } | about
    try:
        draft.chmod(0o755)
        write_synced(draft / MODEL_FILE, data)
        write_synced(draft / VERSION_FILE, json.dumps(facts, indent=2, sort_keys=True).encode() + b"\n")
        sync_folder(draft)
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def place(draft: Path, model: Path, number: int) -> bool:
    """Have a draft appear as a version; False where something has that number already."""
    try:
        draft.rename(model / str(number))
    except OSError:
        # A folder that is not empty is never replaced, nor is a file or a link.
        if not os.path.lexists(model / str(number)):
            raise
        return False
    sync_folder(model)
    return True


def remove(model: Path, number: int) -> None:
    """Make a version vanish at once, then delete its files; its number is never given again.

    Raises FileNotFoundError where it is not there.
    """
    if _last_number(model) < (highest := _highest(model)):
        # It was made by hand, and nobody wrote its number down.
        _write_counter(model, highest)
    trash = Path(tempfile.mkdtemp(prefix=TRASH, dir=model))
    try:
        (model / str(number)).rename(trash)
        sync_folder(model)
    finally:
        shutil.rmtree(trash, ignore_errors=True)


def _highest(model: Path) -> int:
    """Return the highest number that a version has or had."""
    return max(_last_number(model), *versions(model), 0)


def _write_counter(model: Path, number: int) -> None:
    replace_file(model / COUNTER_FILE, f"{number}\n".encode())


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
    if not isinstance(facts, dict) or any(
        type(facts.get(name, kind())) is not kind for name, kind in KINDS_OF_FACTS.items()
    ):
        return {}
    return facts if abs(facts.get("bytes", 0)) < 2**63 else {}
