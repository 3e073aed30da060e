"""Which dataset a model says that it was trained on; in a file it stands at the beginning."""

import json
from pathlib import Path

from nncore.artifact import METADATA_KEY, MOST_HEADER_BYTES, Card
from nncore.files import open_regular
from nncore.publishing import MODEL_FILE, read_facts

MOST_NAME = 100


def dataset_name(card: Card) -> str:
    """Return the name of the dataset that a card tells of."""
    asked = card.recipe["dataset"]
    dataset = card.provenance.get("dataset")
    told = dataset.get("name") if isinstance(dataset, dict) else None
    return asked if isinstance(asked, str) else str(told)[:MOST_NAME]


def dataset_in(data: bytes) -> str | None:
    """Return the SHA-256 that the beginning of a model file names; None where it names none."""
    length = int.from_bytes(data[:8], "little")
    try:
        card = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][METADATA_KEY])
        sha256 = card["provenance"]["dataset"]["sha256"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return sha256 if isinstance(sha256, str) else None


def dataset_of(version: Path) -> str | None:
    """Return the SHA-256 of the dataset of a version in its folder, from version.json where that has it."""
    facts = read_facts(version)
    if "dataset" in facts:
        return str(facts["dataset"])
    # Trained by `nncore train`, or by an older nnserve.
    try:
        with open_regular(version / MODEL_FILE) as file:
            return dataset_in(file.read(8 + MOST_HEADER_BYTES))
    except OSError:
        return None


def as_fact(data: bytes) -> dict[str, str]:
    """Return what version.json is to say of a model file's dataset."""
    sha256 = dataset_in(data)
    return {} if sha256 is None else {"dataset": sha256}
