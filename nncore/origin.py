"""The dataset that a model was trained on, as long as it is here and is what it was."""

from nncore.artifact import Card
from nncore.config import from_json
from nncore.datasets import Dataset, load_dataset
from nncore.errors import InputError
from nncore.recipe import Recipe


def own_dataset(card: Card) -> Dataset:
    """Return the dataset that a model was trained on: what it holds out can be measured on.

    Raises DatasetError where it is not here, and InputError where it is not what it was: other rows would be
    held out, and some of them have been learned from.
    """
    dataset = load_dataset(from_json(Recipe, card.recipe).dataset)
    if dataset_sha256(card) != dataset.sha256:
        raise InputError(f"was not trained on the dataset {dataset.name!r} that is here")
    return dataset


def dataset_sha256(card: Card) -> str:
    """Return the SHA-256 of the dataset that a card tells of, empty where it tells of none."""
    dataset = card.provenance.get("dataset")
    sha256 = dataset.get("sha256") if isinstance(dataset, dict) else None
    return sha256 if isinstance(sha256, str) else ""
