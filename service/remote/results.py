"""What a service answers, typed and frozen.

Each result has the fields that docs/api.md lists, and in `document` the whole answer as it came: a newer
service may say more than is known here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

Document = Mapping[str, Any]
T = TypeVar("T")


def read(kind: type[T], document: Document, **made: Any) -> T:
    """Return a document as a result: what it has of the fields, lists as tuples, `made` in their place.

    Raises TypeError where a field is missing that every service has.
    """
    known = {one.name for one in fields(kind)} - made.keys()  # type: ignore[arg-type]
    values = {name: _frozen(value) for name, value in document.items() if name in known}
    return kind(**values, **made, document=document)  # type: ignore[call-arg]


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _whole() -> Any:
    return field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True)
class Prediction:
    """One example's answer: a label with probabilities in the order of the labels, or a value."""

    label: str | None = None
    confidence: float | None = None
    probabilities: tuple[float, ...] = ()
    value: Any = None


@dataclass(frozen=True)
class Predictions:
    """An answer: which version gave it, and a prediction for each example."""

    model: str
    version: int
    sha256: str
    predictions: tuple[Prediction, ...]
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Model:
    """A model: what its labels point at, its versions, and why some of them are not served."""

    model: str
    labels: Mapping[str, int]
    versions: tuple[int, ...]
    stable: int | None = None
    failures: Mapping[str, str] = field(default_factory=dict)
    document: Document = _whole()


@dataclass(frozen=True)
class Version:
    """What a version says of itself: its file, and its card, which is left out where it cannot be served."""

    model: str
    version: int
    labels: tuple[str, ...] = ()
    sha256: str | None = None
    bytes: int | None = None
    published: str | None = None
    origin: str | None = None
    job: str | None = None
    failure: str | None = None
    input: Document | None = None
    output: Document | None = None
    architecture: Document | None = None
    metrics: Document | None = None
    recipe: Document | None = None
    provenance: Document | None = None
    note: str | None = None
    document: Document = _whole()


@dataclass(frozen=True)
class Promotion:
    """Whether a version became the stable one, why, and how both did on the same rows."""

    promoted: bool
    reason: str
    metric: str | None = None
    candidate: float | None = None
    stable: float | None = None
    stable_version: int | None = None
    document: Document = _whole()


@dataclass(frozen=True)
class Upload:
    """A model file that was sent: the version that it is, and whether that was promoted."""

    model: str
    version: int
    sha256: str
    bytes: int
    promotion: Promotion
    document: Document = _whole()


@dataclass(frozen=True)
class Move:
    """A label was moved, by whom and why; None is no version at all."""

    from_version: int | None
    to_version: int | None
    who: str
    why: str
    time: str
    document: Document = _whole()


@dataclass(frozen=True)
class Label:
    """Where a label points, and its newest moves; `Client.label_history` has all of them."""

    model: str
    label: str
    version: int | None
    history: tuple[Move, ...]
    document: Document = _whole()


@dataclass(frozen=True)
class Dataset:
    """What a dataset holds; a list of datasets has what stands first, and of the rest nothing."""

    name: str
    sha256: str
    rows: Mapping[str, int]
    task: str
    bytes: int
    created: str
    reading: Document | None = None
    input_shape: tuple[int, ...] = ()
    columns: tuple[Document, ...] = ()
    classes: tuple[Document, ...] = ()
    target: Document | None = None
    first: tuple[Document, ...] = ()
    note: str | None = None
    sheet: str | None = None
    recipe: Document | None = None
    document: Document = _whole()


@dataclass(frozen=True)
class Plan:
    """What a job does, or would do."""

    recipe: Document
    dataset: Document
    promote: str
    parameters: int
    memory: int
    start_from: Document | None = None
    document: Document = _whole()


@dataclass(frozen=True)
class JobResult:
    """What a job that succeeded has made."""

    version: int
    sha256: str
    metrics: Document
    promotion: Promotion
    epochs: Document | None = None
    seconds: float | None = None
    reinitialized: tuple[str, ...] = ()
    document: Document = _whole()


@dataclass(frozen=True)
class Event:
    """Something that became of a job: an `epoch` with its figures, or a new `state`."""

    number: int
    kind: str
    data: Document


@dataclass(frozen=True)
class Readiness:
    """Whether every model can answer, and what is known of each."""

    ready: bool
    models: Document
    document: Document = _whole()
