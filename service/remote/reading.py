"""Answers of a service, as JSON has them, made results; each raises KeyError or TypeError for another's."""

from functools import partial

from service.remote.results import (
    Dataset,
    Document,
    JobResult,
    Label,
    Model,
    Move,
    Plan,
    Prediction,
    Predictions,
    Promotion,
    Readiness,
    Upload,
    Version,
    read,
)

model = partial(read, Model)
version = partial(read, Version)
dataset = partial(read, Dataset)
plan = partial(read, Plan)
readiness = partial(read, Readiness)


def upload(document: Document) -> Upload:
    """Return the answer to a model file."""
    return read(Upload, document, promotion=read(Promotion, document["promotion"]))


def job_result(document: Document) -> JobResult:
    """Return what a job has made."""
    return read(JobResult, document, promotion=read(Promotion, document["promotion"]))


def move(document: Document) -> Move:
    """Return an entry of a label's history."""
    return read(Move, document, from_version=document["from"], to_version=document["to"])


def label(document: Document) -> Label:
    """Return a label with its newest moves."""
    return read(Label, document, history=tuple(map(move, document["history"])))


def predictions(document: Document) -> Predictions:
    """Return the answer to a prediction."""
    return Predictions(
        document["model"],
        document["version"],
        document["sha256"],
        tuple(map(_prediction, document["predictions"])),
        tuple(document.get("labels", ())),
    )


def _prediction(one: Document) -> Prediction:
    probabilities = tuple(one.get("probabilities", ()))
    return Prediction(one.get("label"), one.get("confidence"), probabilities, one.get("value"))
