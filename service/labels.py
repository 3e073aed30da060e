"""Labels: movable names for versions, in one small file a model that is replaced whole."""

import json
import logging
from pathlib import Path

from nncore.publishing import replace_file

STABLE = "stable"
LABELS_FILE = "labels.json"

logger = logging.getLogger(__name__)


def read_labels(model: Path) -> dict[str, int] | None:
    """Return a model's labels; None, and a line in the log, where the file cannot be used."""
    try:
        labels = json.loads((model / LABELS_FILE).read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        logger.error("%s/%s cannot be read: %s", model.name, LABELS_FILE, error)
        return None
    if not isinstance(labels, dict) or not all(type(number) is int for number in labels.values()):
        logger.error('%s/%s must be like {"%s": 1}', model.name, LABELS_FILE, STABLE)
        return None
    return labels


def write_label(model: Path, label: str, number: int) -> None:
    """Point a label at a version; every worker serves it within a moment."""
    labels = (read_labels(model) or {}) | {label: number}
    replace_file(model / LABELS_FILE, json.dumps(labels, sort_keys=True).encode() + b"\n")
