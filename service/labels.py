"""Labels: movable names for versions, in one small file a model that is replaced whole."""

import json
import logging
from pathlib import Path

from nncore.publishing import read_file, replace_file

STABLE = "stable"
LABELS_FILE = "labels.json"
MOST_LABELS_BYTES = 1 << 20

logger = logging.getLogger(__name__)


def read_labels(model: Path) -> dict[str, int] | None:
    """Return a model's labels; None, and a line in the log, where the file cannot be used."""
    try:
        labels = json.loads(read_file(model / LABELS_FILE, MOST_LABELS_BYTES))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        logger.error("%s/%s cannot be read: %s", model.name, LABELS_FILE, error)
        return None
    if not isinstance(labels, dict) or not all(_is_label(name, number) for name, number in labels.items()):
        logger.error('%s/%s must be like {"%s": 1}', model.name, LABELS_FILE, STABLE)
        return None
    return labels


def _is_label(name: str, number: object) -> bool:
    # Lone surrogates are not printable, and larger numbers no JSON for everybody: GET /models shows both.
    return name.isprintable() and type(number) is int and abs(number) < 10**9


def write_label(model: Path, label: str, number: int) -> None:
    """Point a label at a version; every worker serves it within a moment."""
    labels = (read_labels(model) or {}) | {label: number}
    replace_file(model / LABELS_FILE, json.dumps(labels, sort_keys=True).encode() + b"\n")
