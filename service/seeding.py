"""Bringing the shipped models into the store, which alone is served and written to."""

import fcntl
import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nncore.publishing import MODEL_FILE, NAME, publish, read_facts, versions
from service.labels import STABLE, labels_of, write_label
from service.problems import Conflict
from service.provenance import as_fact

SHIPPED = "shipped"

logger = logging.getLogger(__name__)


def seed(store: Path, shipped: Path) -> None:
    """Bring in each shipped version whose SHA-256 the store lacks, under the model's next number.

    `stable` moves to it only if it pointed at a shipped version, or the model is new: a user's own
    choice stays, also that none of his versions is stable yet. Processes that do this at once take turns.
    """
    store.mkdir(parents=True, exist_ok=True)
    folders = sorted(shipped.iterdir()) if shipped.is_dir() else []
    with _locked(store / ".lock"):
        for folder in folders:
            if NAME.fullmatch(folder.name):
                for number in versions(folder):
                    _bring_in(store / folder.name, (folder / str(number) / MODEL_FILE).read_bytes())


def _bring_in(model: Path, data: bytes) -> None:
    present = {number: read_facts(model / str(number)) for number in versions(model)}
    if hashlib.sha256(data).hexdigest() in {facts.get("sha256") for facts in present.values()}:
        return
    try:
        stable = labels_of(model, list(present)).get(STABLE)
    except Conflict as problem:
        # Nobody knows which one was stable, and once somebody has said so it comes in.
        logger.error("a shipped version of %s is not brought in: %s", model.name, problem.detail)
        return
    follows = not present or (stable is not None and present.get(stable, {}).get("origin") == SHIPPED)
    if stable is not None and not follows:
        # Said outright, since without a label the newest version would be the stable one.
        write_label(model, STABLE, stable)
    number = publish(model, data, origin=SHIPPED, **as_fact(data))
    if follows:
        write_label(model, STABLE, number)
    logger.info("brought in the shipped model %s as version %d", model.name, number)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock on a file, across processes; the kernel lets go of it when a process dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
