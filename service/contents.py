"""What datasets hold, `<store>/.datasets/<sha256>/`: arrays that were checked once and never change.

They lie beside the models, so that every trainer that shares those has them.
"""

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nncore.datasets import DATASETS, Dataset, Source, Stored
from nncore.datasets.stored import read_stored
from nncore.errors import DatasetError
from nncore.files import DRAFT, sync_folder
from nncore.publishing import TRASH

CONTENTS = ".datasets"
SHA256 = re.compile(r"[0-9a-f]{64}")


def content(root: Path, sha256: str) -> Path | None:
    """Return the folder of a content in a store; None where it is not there."""
    # A hash may come from a stranger's model file, and lead anywhere.
    folder = root / CONTENTS / sha256 if SHA256.fullmatch(sha256) else None
    return folder if folder is not None and folder.is_dir() else None


def contents(root: Path) -> list[Path]:
    """Return the folders of all contents in a store."""
    folder = root / CONTENTS
    return [path for path in folder.iterdir() if SHA256.fullmatch(path.name)] if folder.is_dir() else []


def load(root: Path, dataset: str | Source, *, verify: bool = False) -> Dataset:
    """Return a dataset that is built in or stored here, then mapped; with `verify` its hashes are compared.

    Raises DatasetError where it is not here, or is not what it was, and for files, which a service never
    reads on anybody's word.
    """
    if isinstance(dataset, str):
        return DATASETS[dataset]()
    if not isinstance(dataset, Stored):
        raise DatasetError("a service trains on datasets that it keeps, and on no files")
    folder = content(root, dataset.sha256)
    if folder is None:
        raise DatasetError(f"the dataset {dataset.name!r} ({dataset.sha256}) is not here any more")
    return read_stored(folder, dataset.name, verify=verify)


@contextmanager
def drafted(root: Path) -> Iterator[Path]:
    """Give a folder to receive and read a dataset in; at the end it goes, with what is still in it."""
    beside = root / CONTENTS
    beside.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=DRAFT, dir=beside))
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def is_whole(folder: Path) -> bool:
    """Say whether a content is what it was when it was taken in; reads all of it."""
    try:
        read_stored(folder, folder.name, verify=True)
    except DatasetError:
        return False
    return True


def place(folder: Path, root: Path, sha256: str) -> None:
    """Have a folder appear as a content, unless that is there already."""
    target = root / CONTENTS / sha256
    if target.is_dir():
        return
    folder.rename(target)
    sync_folder(target.parent)


def vanish(folder: Path) -> Path:
    """Make a content vanish at once; return the folder in which its files wait to be deleted."""
    trash = Path(tempfile.mkdtemp(prefix=TRASH, dir=folder.parent))
    folder.rename(trash)
    return trash
