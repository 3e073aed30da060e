"""Labels: movable names for versions, in one small file a model that is replaced whole."""

import json
import os
import re
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from nncore.files import DRAFT, read_file, replace_file, sync_folder, write_synced
from nncore.publishing import versions
from service.problems import Conflict

STABLE = "stable"
LABELS_FILE = "labels.json"
MOST_LABELS_BYTES = 1 << 20
# Of digits alone it would be a number.
NAME = re.compile(r"(?![0-9]+\Z)[a-z0-9_-]{1,64}")
NAME_MEANING = "1 to 64 lower-case letters, digits, - and _, not digits alone"


def read_labels(model: Path) -> dict[str, int] | None:
    """Return what stands in labels.json; None where there is no such file.

    Raises Conflict, which says why, where it cannot be used.
    """
    name = f"{model.name}/{LABELS_FILE}"
    try:
        labels = json.loads(read_file(model / LABELS_FILE, MOST_LABELS_BYTES))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise Conflict(f"{name} cannot be read: {error}") from None
    if not isinstance(labels, dict) or not all(_is_label(name, number) for name, number in labels.items()):
        raise Conflict(f'{name} must be like {{"{STABLE}": 1}}')
    return labels


def _is_label(name: str, number: object) -> bool:
    # Lone surrogates are not printable, and larger numbers no JSON for everybody: GET /models shows both.
    return name.isprintable() and type(number) is int and abs(number) < 10**9


def labels_of(model: Path, numbers: Sequence[int]) -> dict[str, int]:
    """Return which version each label means: where there is no labels.json, `stable` is the newest.

    Raises Conflict where the file cannot be used.
    """
    labels = read_labels(model)
    return labels if labels is not None else _unwritten(numbers)


def _unwritten(numbers: Sequence[int]) -> dict[str, int]:
    return {STABLE: numbers[-1]} if numbers else {}


def write_labels(model: Path, labels: Mapping[str, int]) -> None:
    """Have labels.json say this and nothing else; every worker serves it within a moment."""
    replace_file(model / LABELS_FILE, _content(labels))


def write_label(model: Path, label: str, number: int) -> None:
    """Point a label at a version, where nobody else writes labels at this moment."""
    labels: dict[str, int] = {}
    with suppress(Conflict):
        labels = read_labels(model) or {}
    write_labels(model, labels | {label: number})


def pin(model: Path) -> None:
    """Write down what is stable, the newest version or none, so that no new version is it by itself.

    Where there is a labels.json already, it stays as it is.
    """
    path = model / LABELS_FILE
    if path.exists():
        return
    draft = model / f"{DRAFT}pin-{os.getpid()}-{threading.get_ident()}"
    try:
        write_synced(draft, _content(_unwritten(versions(model))))
        # Unlike a rename it never replaces what somebody else has just written.
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(model)


def _content(labels: Mapping[str, int]) -> bytes:
    return json.dumps(labels, sort_keys=True).encode() + b"\n"
