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
# For `stable` there is room beyond that.
MOST_LABELS = 100
# Of digits alone it would be a number.
NAME = re.compile(r"(?![0-9]+\Z)[a-z0-9_-]{1,64}")
NAME_MEANING = "1 to 64 lower-case letters, digits, - and _, not digits alone"
REPAIR = (
    f'Write {{"{STABLE}": N}} into it, where N is the version to be served, or move it away: then the newest '
    f"version is {STABLE}."
)


def read_labels(model: Path) -> dict[str, int] | None:
    """Return what stands in labels.json; None where there is no such file.

    Raises Conflict, which says why, where it cannot be used.
    """
    path = model / LABELS_FILE
    name = f"{model.name}/{LABELS_FILE}"
    try:
        labels = json.loads(read_file(path, MOST_LABELS_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        # A link that leads nowhere is there, and broken.
        if isinstance(error, FileNotFoundError) and not path.is_symlink():
            return None
        why = error.strerror if isinstance(error, OSError) else error
        raise Conflict(f"{name} cannot be read: {why}. {REPAIR}") from None
    if not isinstance(labels, dict) or not all(_is_label(name, number) for name, number in labels.items()):
        raise Conflict(f"{name} does not have a version's number for every label. {REPAIR}")
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
    """Have labels.json say this and nothing else; every worker serves it within a moment.

    Raises Conflict where it would be too large to be read again.
    """
    content = _content(labels)
    if len(content) > MOST_LABELS_BYTES:
        raise Conflict(
            f"{model.name}/{LABELS_FILE} would have {len(content):,} bytes, and may have "
            f"{MOST_LABELS_BYTES:,}: take labels out of it."
        )
    replace_file(model / LABELS_FILE, content)


def write_label(model: Path, label: str, number: int) -> None:
    """Point a label at a version, where nobody else writes labels at this moment."""
    write_labels(model, (read_labels(model) or {}) | {label: number})


def pin(model: Path) -> None:
    """Write down what is stable, the newest version or none, so that no new version is it by itself.

    Where there is a labels.json already, it stays as it is; raises Conflict where it cannot be used.
    """
    path = model / LABELS_FILE
    if read_labels(model) is not None:
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
